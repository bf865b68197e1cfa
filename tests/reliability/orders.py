"""What clients ask of a daemon that is being broken, and whether they got it: every file, once, to the byte."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon import audio
from daemon.engines.base import Clip, Utterance
from daemon.engines.tone import ToneEngine, ToneOptions
from daemon.prompts import content_hash
from daemon.tasks import segment_seed
from tests.live import PATIENCE, LiveDaemon, until, wav_facts

#: A text that holds this takes the engine down, whenever it is spoken.
POISON = "CRASH"
#: The same engine as the daemon's, in this process.
ENGINE = ToneEngine(ToneOptions())
MODES = ("普通推理", "批次推理")
#: How the tone engine sounds: seconds of a character, and of the pause between two sentences.
_CHARACTER, _PAUSE = 0.05, 0.1


@dataclass(frozen=True)
class Order:
    """One request: a task, or a batch of files.

    Attributes:
        body: as it is sent; prompt and seed are named, so that the sound is known beforehand.
    """

    body: dict[str, Any]

    @property
    def batch(self) -> bool:
        return "speeches" in self.body

    @property
    def texts(self) -> dict[str, str]:
        """File name to text; of a single task the name is not known yet."""
        return self.body["speeches"] if self.batch else {"": self.body["text"]}

    @property
    def sounds(self) -> list[tuple[str, int, str]]:
        """Prompt, seed and text of every file."""
        return [(self.body["prompt_path"], self.body["seed"], text) for text in self.texts.values()]

    @property
    def path(self) -> str:
        return "/api/tts/batch_tasks" if self.batch else "/api/tts/tasks"


@dataclass
class Accepted:
    """What the daemon took: the order of every posted task, and the orders of every dropped file."""

    posted: dict[str, Order] = field(default_factory=dict)
    dropped: dict[str, list[Order]] = field(default_factory=dict)

    @property
    def orders(self) -> list[Order]:
        return [*self.posted.values(), *(order for orders in self.dropped.values() for order in orders)]


def text_number(number: int, sentences: int = 2) -> str:
    """A text of its own for every number."""
    return " ".join(f"Sentence {part} of {number}." for part in range(sentences))


def order(number: int, *, poison: bool = False, **keys: Any) -> Order:
    """A task of which everything is known beforehand; both modes, two voices and three seeds take turns."""
    text = f"{POISON} {number}." if poison else text_number(number, 1 + number % 3)
    return Order({"text": text, "output_path": "tasks"} | _manner(number) | keys)


def batch(number: int, files: int = 3, *, poison: bool = False, **keys: Any) -> Order:
    """A batch likewise, in a folder of its own; of a poisoned one the first file is poison."""
    texts = [text_number(100_000 + 100 * number + at, 1 + at % 2) for at in range(files)]
    if poison:
        texts[0] = f"{POISON} {number}."
    speeches = {f"{at}.wav": text for at, text in enumerate(texts)}
    return Order({"speeches": speeches, "output_directory": f"batches/{number}"} | _manner(number) | keys)


def _manner(number: int) -> dict[str, Any]:
    prompt = ("alice.wav", "bob.wav")[number % 2]
    return {"prompt_path": prompt, "seed": number % 3, "infer_mode": MODES[number // 2 % 2]}


def post(daemon: LiveDaemon, asked: Order, key: str, *, give_up: threading.Event | None = None) -> str | None:
    """Ask until it is accepted, as a client does that wants it once; the id, or None if it gave up."""
    give_up = give_up or threading.Event()
    while not give_up.is_set():
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = daemon.post(asked.path, asked.body, **{"Idempotency-Key": key})
            if answer.status == 200:
                return str(answer.json["task_id"])
            assert answer.status in (429, 503), answer.body
        give_up.wait(0.02)
    return None


def drop(daemon: LiveDaemon, name: str, orders: list[Order]) -> Path:
    """Drop a file with one order, or an array of several; written elsewhere and then moved in."""
    bodies = [asked.body for asked in orders]
    part = daemon.folder / f"{name}.json.part"
    part.write_text(json.dumps(bodies[0] if len(bodies) == 1 else bodies, ensure_ascii=False))
    return part.rename(daemon.inbox / f"{name}.json")


# The aftermath


def sound_of(daemon: LiveDaemon, sound: tuple[str, int, str]) -> str:
    """SHA-256 of the file that the tone engine's samples make, spoken here, where nobody kills anybody."""
    prompt, seed, text = sound
    clip = Clip(daemon.folder / "prompts" / prompt, content_hash(daemon.folder / "prompts" / prompt))
    pieces: list[bytes] = []
    for index, segment in enumerate(ENGINE.split(text, {})):
        (spoken,) = ENGINE.speak([Utterance(segment, clip, {}, {}, segment_seed(seed, index), batched=False)])
        assert isinstance(spoken, audio.Audio)
        pieces += [spoken.pcm, audio.silence(segment.pause, spoken.sample_rate)]
    file = io.BytesIO()
    seconds = audio.write(file, "wav", ENGINE.sample_rate, pieces[:-1])
    assert abs(seconds - _seconds(text)) < 0.001, text
    return hashlib.sha256(file.getvalue()).hexdigest()


def _seconds(text: str) -> float:
    return len(text) * _CHARACTER + text.strip(".").count(".") * _PAUSE


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def all_over(daemon: LiveDaemon, patience: float = PATIENCE) -> None:
    """Wait until nothing waits or is in work, and every dropped file is put away."""
    claimed = daemon.inbox / ".claimed"

    def over() -> bool:
        if not (counts := tasks_of(daemon)):
            return False
        lying = {file.name for folder in (daemon.inbox, claimed) for file in folder.iterdir() if file.is_file()}
        return not counts["pending"] and not counts["processing"] and lying == {".lock"}

    until(over, "the end of all tasks", patience, pause=0.05)


def tasks_of(daemon: LiveDaemon) -> dict[str, int]:
    """How many tasks are in which state; nothing while nobody answers."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return daemon.get("/api/tts/stats").json["tasks"]
    return {}


def views_of(daemon: LiveDaemon, accepted: Accepted) -> Iterator[tuple[Order, dict[str, Any]]]:
    """Every accepted order with the view of what became of it; fails where a task or a note is lost or doubled."""
    yield from ((asked, daemon.view(task_id)) for task_id, asked in accepted.posted.items())
    for name, orders in accepted.dropped.items():
        views = notes_views(daemon, name)
        assert len(views) == len(orders), f"{name} became {len(views)} tasks instead of {len(orders)}"
        for asked, noted in zip(orders, views, strict=True):
            view = daemon.view(noted["task_id"])
            assert view == noted, f"the note of {name} tells another story than the ledger"
            yield asked, view


def notes_views(daemon: LiveDaemon, name: str) -> list[dict[str, Any]]:
    """The views in the one note of a dropped file, which lies beside that note and nowhere else."""
    lying = sorted(str(file.relative_to(daemon.inbox)) for file in daemon.inbox.rglob(f"*{name}.json*"))
    lying += sorted(str(file.relative_to(daemon.inbox)) for file in daemon.inbox.rglob(f"{name}-[0-9]*"))
    done = [f"done/{name}.json", f"done/{name}.json.result.json"]
    failed = [f"failed/{name}.json", f"failed/{name}.json.error.json"]
    assert lying in (done, failed), lying
    note = json.loads((daemon.inbox / lying[1]).read_text())
    return note if lying == done else note["tasks"]


def check(daemon: LiveDaemon, accepted: Accepted) -> dict[str, int]:
    """Nothing is lost, doubled, broken or left over; how many tasks completed and how many failed."""
    counts = {"completed": 0, "failed": 0}
    expected: dict[Path, str] = {}
    for asked, view in views_of(daemon, accepted):
        counts[view["status"]] += 1
        _check_view(asked, view)
        expected |= {
            file: sound_of(daemon, sound) for file, sound in zip(_files(asked, view), asked.sounds, strict=True) if file
        }
    ids = [row[0] for row in rows(daemon, "SELECT id FROM tasks")]
    assert len(ids) == len(accepted.orders), f"{len(ids)} tasks for {len(accepted.orders)} orders"
    _check_files(daemon, expected)
    check_no_litter(daemon)
    return counts


def _check_view(asked: Order, view: dict[str, Any]) -> None:
    poisoned = {name for name, text in asked.texts.items() if POISON in text}
    wanted = "failed" if len(poisoned) == len(asked.texts) else "completed"
    assert view["status"] == wanted, view
    if asked.batch:
        assert {row["filename"] for row in view.get("errors", [])} == poisoned, view
    if poisoned:
        assert "attempts" in (view.get("error") or view["errors"][0]["error"]), view


def _files(asked: Order, view: dict[str, Any]) -> list[Path | None]:
    """The file of each of its sounds; None where poison has none."""
    if not asked.batch:
        return [Path(view["output_file"]) if "output_file" in view else None]
    folder = Path(view["output_directory"])
    return [None if POISON in text else folder / name for name, text in asked.texts.items()]


def _check_files(daemon: LiveDaemon, expected: dict[Path, str]) -> None:
    there = {file for file in daemon.outputs.rglob("*") if file.is_file()}
    assert there == set(expected), {"missing": set(expected) - there, "too much": there - set(expected)}
    for file, digest in expected.items():
        wav_facts(file)
        assert _hash(file) == digest, f"{file} sounds unlike the same text spoken undisturbed"


def file_of(daemon: LiveDaemon, asked: Order, task_id: str) -> Path | None:
    """The file of a single task, if it is there and sounds right."""
    file = daemon.outputs / asked.body["output_path"] / f"{task_id}.wav"
    return file if file.exists() and _hash(file) == sound_of(daemon, asked.sounds[0]) else None


def check_no_litter(daemon: LiveDaemon) -> None:
    """No temporary file, no shelf, nothing claimed; and the ledger is sound."""
    assert [str(file) for file in daemon.folder.rglob(".indexttsd-*")] == []
    until(lambda: not any((daemon.folder / "state/spool").iterdir()), "an empty spool")
    assert [file.name for file in (daemon.inbox / ".claimed").iterdir()] == [".lock"]
    assert rows(daemon, "PRAGMA integrity_check") == [("ok",)]
    assert rows(daemon, "SELECT count(*) FROM drops WHERE NOT archived") == [(0,)]


def rows(daemon: LiveDaemon, sql: str) -> list[tuple[Any, ...]]:
    """What a question finds in the daemon's ledger."""
    file = daemon.folder / "state/indexttsd.db"
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def processes_in(folder: Path) -> list[int]:
    """The processes at home in this folder: a daemon's and its engine's."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == folder:
                found.append(int(process.name))
    return found


def in_threads(*works: Callable[[], None]) -> list[threading.Thread]:
    """Start them, each in a thread of its own."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return threads
