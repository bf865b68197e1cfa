"""The installed service in the booted machine, as its operator and its users meet it."""

from __future__ import annotations

import json
from typing import Any

import yaml

from tests.live import until
from tests.systemd.boot import Machine

UNIT = "indexttsd.service"
DATA = "/var/lib/indexttsd"
CONFIG = "/etc/indexttsd/config.yaml"
DROP_INS = f"/etc/systemd/system/{UNIT}.d"
PORT = "51046"


class Service:
    """The service.

    Attributes:
        said_at_install: what `make install` printed.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.said_at_install = ""
        self._since = ""

    # The operator

    def make(self, target: str, *options: str, check: bool = True) -> str:
        """What `make` prints, run as the README says."""
        command = ["make", "-C", "/host/checkout", target, "WHEELS=/host/wheels", *options]
        ended = self.machine.run(*command, check=check, timeout=300)
        return str(ended.stdout + ended.stderr)

    def configure(self, **settings: dict[str, Any]) -> None:
        """The shipped configuration with these sections changed, and the quick engine unless they say otherwise."""
        shipped = yaml.safe_load(self.machine.shell("cat /opt/indexttsd/venv/share/indexttsd/config.yaml"))
        quick: dict[str, dict[str, Any]] = {"engine": {"name": "tone"}, "inbox": {"settle_seconds": 0.1}}
        for wanted in (quick, settings):
            for section, keys in wanted.items():
                shipped[section] |= keys
        self.machine.write(CONFIG, yaml.safe_dump(shipped))

    def drop_in(self, name: str, text: str) -> None:
        """A drop-in of the operator's."""
        self.machine.write(f"{DROP_INS}/{name}", text)
        self.machine.run("systemctl", "daemon-reload")

    def use(self, example: str) -> None:
        """One of the drop-ins that are shipped, put in place as its head says."""
        self.machine.shell(f"install -D -m 644 -t {DROP_INS} /opt/indexttsd/venv/share/indexttsd/{example}")
        self.machine.run("systemctl", "daemon-reload")

    def restart(self) -> None:
        """Start it anew and wait until it can speak; from here on `journal` begins."""
        self.machine.shell(f"systemctl stop {UNIT}; systemctl reset-failed {UNIT}", check=False)
        self._since = (
            self.machine.shell("journalctl -n 1 --show-cursor -o cat --no-pager").rpartition("cursor: ")[2].strip()
        )
        self.machine.run("systemctl", "start", UNIT)
        self.ready()

    def ready(self) -> None:
        """Wait until it can speak, or asks for a token before it says so."""
        until(lambda: self.answers("/ready", statuses=(200, 401)), "the service", pause=0.1)

    def as_installed(self) -> None:
        """Take back what a test changed."""
        self.machine.shell(f"rm -rf {DROP_INS} /etc/credstore /etc/indexttsd/tokens; systemctl daemon-reload")

    def show(self, key: str) -> str:
        return self.machine.show(UNIT, key)

    def journal(self) -> str:
        """What systemd and the daemon said since the last start by the test."""
        command = f"journalctl -u {UNIT} -o cat --no-pager --after-cursor='{self._since}'"
        return self.machine.shell(command)

    def fails(self) -> None:
        """Wait until systemd has given it up."""
        until(lambda: self.show("ActiveState") == "failed", "failed", pause=0.1)

    @property
    def pid(self) -> int:
        return int(self.show("MainPID"))

    # Its users

    def ask(
        self, method: str, path: str, body: object = None, *, user: str = "root", place: str = PORT, token: str = ""
    ) -> tuple[int, Any]:
        """Status and body of one request."""
        content = "" if body is None else json.dumps(body)
        command = ["/usr/bin/python3", "-I", "/host/ask.py", place, method, path, content, token]
        told = json.loads(self.machine.run("runuser", "-u", user, "--", *command).stdout)
        return told["status"], told["body"]

    def answers(self, path: str, *, user: str = "root", place: str = PORT, statuses: tuple[int, ...] = (200,)) -> bool:
        """Whether there is a good answer."""
        command = ["/usr/bin/python3", "-I", "/host/ask.py", place, "GET", path]
        ended = self.machine.run("runuser", "-u", user, "--", *command, check=False)
        return ended.returncode == 0 and json.loads(ended.stdout)["status"] in statuses

    def post(self, text: str, **keys: Any) -> str:
        status, body = self.ask("POST", "/api/tts/tasks", {"text": text, "output_path": "posted", **keys})
        assert status == 200, body
        return str(body["task_id"])

    def view(self, task_id: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"/api/tts/tasks/{task_id}")[1])

    def ended(self, task_id: str) -> dict[str, Any]:
        """The task's view once it is over."""
        return until(
            lambda: (view := self.view(task_id))["status"] in ("completed", "failed") and view, task_id, pause=0.1
        )

    def drop(self, user: str, name: str, content: object) -> None:
        """Put a file into the inbox as a user does, in one move."""
        part = f"{DATA}/inbox/{name}.part"
        write = [
            "runuser",
            "-u",
            user,
            "--",
            "/bin/sh",
            "-c",
            f"umask 027; cat > {part} && mv {part} {DATA}/inbox/{name}",
        ]
        self.machine.run(*write, input=json.dumps(content))

    def note(self, relative: str, *, user: str) -> Any:
        """The JSON of `inbox/<relative>` once a user can read it."""
        reading = ["runuser", "-u", user, "--", "cat", f"{DATA}/inbox/{relative}"]
        until(lambda: self.machine.run(*reading, check=False).returncode == 0, relative, pause=0.1)
        return json.loads(self.machine.run(*reading).stdout)

    def seconds_between(self, first: str, second: str) -> float:
        """Between two of the unit's times, such as ActiveEnterTimestampMonotonic."""
        return (int(self.show(second)) - int(self.show(first))) / 1_000_000
