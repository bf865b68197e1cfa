"""What a running daemon uses, measured again and again: as figures, as a table and as a picture."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import os
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.live import LiveDaemon

_MB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """One look.

    Attributes:
        seconds: since the first look. completed: tasks that were over.
        daemon_mb, engine_mb: resident memory of both processes.
        daemon_files, engine_files: their open descriptors, but for those of the ledger, which are pooled.
        ledger_files: the daemon's descriptors of the ledger. threads: of the daemon.
        log_mb: the ledger's write-ahead log. spool: shelves of finished segments.
    """

    seconds: float
    completed: int
    daemon_mb: float
    engine_mb: float
    daemon_files: int
    engine_files: int
    ledger_files: int
    threads: int
    log_mb: float
    spool: int


class Gauges:
    """Looks at a daemon about once a second until it is left; says how far it is about twice a minute."""

    def __init__(self, daemon: LiveDaemon, tasks: int) -> None:
        self._daemon = daemon
        self._tasks = tasks
        self._engine = daemon.engine_pid() or 0
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def look(self) -> Sample:
        """Measure now."""
        daemon, state = self._daemon, self._daemon.folder / "state"
        log = state / "indexttsd.db-wal"
        ledger, others = _descriptors(daemon.pid, str(state / "indexttsd.db"))
        return Sample(
            seconds=round(time.monotonic() - self._began, 1),
            completed=daemon.get("/api/tts/stats").json["tasks"]["completed"],
            daemon_mb=_status(daemon.pid, "VmRSS") / 1024,
            engine_mb=_status(self._engine, "VmRSS") / 1024,
            daemon_files=others,
            engine_files=_descriptors(self._engine, "")[0],
            ledger_files=ledger,
            threads=_status(daemon.pid, "Threads"),
            log_mb=log.stat().st_size / _MB,
            spool=len(os.listdir(state / "spool")),  # noqa: PTH208 - counted, not walked
        )

    def _run(self) -> None:
        while not self._stop.wait(1):
            self.samples.append(self.look())
            if len(self.samples) % 30 == 0:
                print(self._progress(), flush=True)

    def _progress(self) -> str:
        last = self.samples[-1]
        return f"soak: {last.completed} of {self._tasks} tasks after {last.seconds:.0f} s, " + (
            f"daemon {last.daemon_mb:.0f} MB, engine {last.engine_mb:.0f} MB, log {last.log_mb:.1f} MB"
        )

    def quarter(self, number: int, name: str) -> float:
        """The median of a figure over a quarter (1 to 4) of the tasks."""
        bounds = [self._tasks * at / 4 for at in (number - 1, number)]
        found = [getattr(one, name) for one in self.samples if bounds[0] <= one.completed <= bounds[1]]
        return statistics.median(found)

    def most(self, name: str) -> float:
        """The largest value of a figure."""
        return max(getattr(one, name) for one in self.samples)

    def write(self, folder: Path) -> None:
        """Leave soak.csv and soak.svg in the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        names = [field.name for field in dataclasses.fields(Sample)]
        with (folder / "soak.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(names)
            table.writerows(dataclasses.astuple(one) for one in self.samples)
        series = {name: [getattr(one, name) for one in self.samples] for name in names[1:]}
        (folder / "soak.svg").write_text(picture([one.seconds for one in self.samples], series))


def _descriptors(pid: int, prefix: str) -> tuple[int, int]:
    """How many open files of a process have a name that begins so, and how many have not."""
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            names.append(str(link.readlink()))
    found = sum(name.startswith(prefix) for name in names)
    return found, len(names) - found


def _status(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


_WIDTH, _HEIGHT, _MARGIN = 900, 110, 40


def picture(times: list[float], series: dict[str, list[float]]) -> str:
    """One line chart above the other over the same seconds, as SVG."""
    charts = [_chart(at, name, times, values) for at, (name, values) in enumerate(series.items())]
    height = len(charts) * (_HEIGHT + _MARGIN) + _MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + 2 * _MARGIN}" height="{height}" '
    return head + 'font-family="sans-serif" font-size="12">' + "".join(charts) + "</svg>\n"


def _chart(at: int, name: str, times: list[float], values: list[float]) -> str:
    top, most, end = at * (_HEIGHT + _MARGIN) + _MARGIN, max(*values, 1), max(*times, 1)
    points = " ".join(
        f"{_MARGIN + _WIDTH * time / end:.1f},{top + _HEIGHT * (1 - value / most):.1f}"
        for time, value in zip(times, values, strict=True)
    )
    frame = f'<rect x="{_MARGIN}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#bbb"/>'
    title = f'<text x="{_MARGIN}" y="{top - 6}">{name}: {min(values):g} to {most:g}, last {values[-1]:g}</text>'
    axis = f'<text x="{_MARGIN + _WIDTH}" y="{top + _HEIGHT + 14}" text-anchor="end">{end:.0f} s</text>'
    return f'{frame}{title}{axis}<polyline points="{points}" fill="none" stroke="#1565c0"/>'
