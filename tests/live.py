"""A real daemon, started by its command on a folder of its own, for tests to talk to."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from daemon.tasks import NewTask

#: How long anything may take on a busy machine before a test gives up. A bound, never a wait: seconds.
PATIENCE = 60


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """The sentence of an error; fails if the answer is not the contract's error shape."""
        assert list(self.json) == ["detail"], self.body
        assert self.headers["content-type"] == "application/json"
        return self.json["detail"]


def until(
    condition: Callable[[], Any], what: str = "the condition", patience: float = PATIENCE, pause: float = 0.01
) -> Any:
    """Look again and again until `condition` gives something true; returns it.

    Args:
        pause: seconds between two looks, for those that cost something.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(pause)
    raise AssertionError(f"{what} did not come true within {patience:g} s")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def write_wav(file: Path, seconds: float = 1.0, rate: int = 16_000, level: int = 1) -> Path:
    """A small recording; another `level` is another content."""
    with wave.open(str(file), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(level.to_bytes(2, "little") * round(seconds * rate))
    return file


def wav_facts(file: Path | str) -> tuple[int, int, int, float]:
    """Sample rate, channels, bytes per sample, seconds; fails if it is no whole WAV file."""
    with wave.open(str(file), "rb") as reader:
        frames = reader.readframes(reader.getnframes())
        assert len(frames) == reader.getnframes() * reader.getsampwidth() * reader.getnchannels()
        return (
            reader.getframerate(),
            reader.getnchannels(),
            reader.getsampwidth(),
            reader.getnframes() / reader.getframerate(),
        )


class LiveDaemon:
    """One daemon on `folder` (config.yaml, prompts/, inbox/, state/, outputs/), on a free port.

    Args:
        settings: sections for config.yaml, merged over the tests' own (tone engine, quick settling).
    """

    def __init__(self, folder: Path, **settings: dict[str, Any]) -> None:
        self.folder = folder
        self.port = free_port()
        self.config = folder / "config.yaml"
        self.inbox = folder / "inbox"
        self.outputs = folder / "outputs"
        self.log = folder / "daemon.log"
        self._process: subprocess.Popen[bytes] | None = None
        if not (folder / "prompts").exists():
            (folder / "prompts").mkdir(parents=True)
            write_wav(folder / "prompts" / "alice.wav", level=1)
            write_wav(folder / "prompts" / "bob.wav", level=2)
        self.write_config(**settings)

    def write_config(self, **settings: dict[str, Any]) -> None:
        defaults: dict[str, dict[str, Any]] = {
            "server": {"port": self.port},
            "engine": {"name": "tone"},
            "inbox": {"settle_seconds": 0.1},
        }
        merged = {key: {**defaults.get(key, {}), **settings.get(key, {})} for key in {**defaults, **settings}}
        self.config.write_text(yaml.safe_dump(merged, allow_unicode=True), encoding="utf-8")

    def start(self, *, ready: bool = True) -> LiveDaemon:
        """Start it, and wait until its doors are open (and its engine is loaded, unless `ready` is false)."""
        self.spawn()
        until(lambda: self._answers("/ready" if ready else "/health"), "the daemon")
        return self

    def spawn(self, *launcher: str) -> LiveDaemon:
        """Start it and wait for nothing.

        Args:
            launcher: a module that runs the daemon's command after doing something to it, and its arguments.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *(launcher or ("daemon",)), "serve", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            )
        return self

    def ended_with(self) -> int | None:
        """Its exit code if it has ended, of a signal -N."""
        assert self._process is not None
        return self._process.poll()

    def _answers(self, path: str) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text(errors="replace")
        try:
            return self.get(path).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def running(self) -> LiveDaemon:
        """Start it unless it runs; for a daemon that tests share though some of them end it."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def engine_pid(self) -> int | None:
        """The engine's process, a child of the daemon."""
        children = Path(f"/proc/{self.pid}/task").glob("*/children")
        found = [int(pid) for file in children for pid in file.read_text().split()]
        return found[0] if found else None

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(PATIENCE)

    def restart(self, number: int = signal.SIGTERM) -> LiveDaemon:
        self.stop(number)
        return self.start()

    def close(self) -> None:
        """End it whatever happens; for fixtures."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    # HTTP

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        """One request. A body that is not bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = self.connection()
        try:
            connection.request(method, path, data, headers or {})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, body: object = None, **headers: str) -> Answer:
        return self.ask("POST", path, body, headers)

    def delete(self, path: str) -> Answer:
        return self.ask("DELETE", path)

    # Tasks

    def submit(self, text: str = "A short text.", **keys: Any) -> str:
        """Post a task; its id."""
        answer = self.post("/api/tts/tasks", {"text": text, "output_path": "out", **keys})
        assert answer.status == 200, answer.body
        return answer.json["task_id"]

    def submit_batch(self, speeches: dict[str, str], **keys: Any) -> str:
        answer = self.post("/api/tts/batch_tasks", {"speeches": speeches, "output_directory": "batch", **keys})
        assert answer.status == 200, answer.body
        return answer.json["task_id"]

    def view(self, task_id: str) -> dict[str, Any]:
        answer = self.get(f"/api/tts/tasks/{task_id}")
        assert answer.status == 200, answer.body
        return answer.json

    def ended(self, task_id: str, patience: float = PATIENCE) -> dict[str, Any]:
        """The task's view once it is over."""
        over = ("completed", "failed")
        return until(lambda: (view := self.view(task_id))["status"] in over and view, task_id, patience)

    def reaches(self, task_id: str, status: str) -> dict[str, Any]:
        """The task's view once it has this status."""
        return until(lambda: (view := self.view(task_id))["status"] == status and view, f"{task_id} {status}")

    def drop(self, name: str, content: object) -> Path:
        """Put a file into the inbox as a careful producer does: written beside it, then moved in."""
        data = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()
        part = self.folder / f"{name}.part"
        part.write_bytes(data)
        return part.rename(self.inbox / name)

    def note(self, relative: str) -> Any:
        """The JSON of `inbox/<relative>` once it is there, such as `done/x.json.result.json`."""
        file = self.inbox / relative
        until(file.exists, relative)
        return json.loads(file.read_text(encoding="utf-8"))


def new_task(text: str = "A short text.", **values: Any) -> NewTask:
    """A task as the counter hands it to the ledger; `speeches` makes it a batch."""
    defaults: dict[str, Any] = {
        "batch": "speeches" in values,
        "speeches": {"": text},
        "output_path": "/out",
        "directory": "/out",
        "infer_mode": "普通推理",
        "prompt": "alice.wav",
        "priority": 5,
        "seed": 7,
    }
    return NewTask(**defaults | values)
