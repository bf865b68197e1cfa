"""A real systemd, booted in namespaces of its own: what it does stays in memory and ends with it.

It needs root, and a kernel and tools that let root make such a machine; `obstacle` says what is missing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.live import until

_INSIDE = Path(__file__).with_name("inside.sh")
_TOOLS = ("unshare", "setpriv", "nsenter", "mount", "pivot_root", "ip", "systemctl", "journalctl")
_NAMESPACES = "--mount --pid --uts --ipc --net --cgroup --fork --kill-child=SIGKILL"
_SYSTEMD = Path("/lib/systemd/systemd")


def obstacle() -> str | None:
    """Why no systemd can be booted on this machine; None if it seems to allow it."""
    if os.geteuid() != 0:
        return "booting a systemd needs root"
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"booting a systemd needs {', '.join(missing)}"
    if not _SYSTEMD.exists():
        return f"there is no {_SYSTEMD}"
    if _cgroups() is None:
        return "booting a systemd needs a cgroup2 mount that can be written to"
    tried = subprocess.run(["unshare", *_NAMESPACES.split(), "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"booting a systemd needs namespaces, and they are not to be had: {tried.stderr.strip()}"
    return None


def _cgroups() -> Path | None:
    """The root of the second version's control groups; on a hybrid machine it lies aside."""
    for root in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        if (root / "cgroup.procs").exists() and os.access(root, os.W_OK) and not os.statvfs(root).f_flag & os.ST_RDONLY:
            return root
    return None


class Machine:
    """One booted systemd.

    Args:
        folder: a scratch folder outside of any home directory, seen inside as /host.

    Raises:
        RuntimeError: it did not come up; with what it said.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        cgroups = _cgroups()
        assert cgroups is not None
        self._group = cgroups / f"indexttsd-test-{os.getpid()}-{folder.name}"
        self._pid: int | None = None
        with (folder / "boot.log").open("wb") as log:
            self._outer = subprocess.Popen(
                ["/bin/bash", "-c", _UP, "up", str(self._group), str(_INSIDE), str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            until(self._is_up, "the booted systemd", patience=20, pause=0.05)
        except (AssertionError, RuntimeError) as error:
            self.down()
            said = (folder / "boot.log").read_text(errors="replace")
            raise RuntimeError(f"no systemd could be booted: {error}\n{said}") from None

    def _is_up(self) -> bool:
        if self._outer.poll() is not None:
            raise RuntimeError(f"unshare ended with {self._outer.returncode}")
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        if not children or Path(f"/proc/{children[0]}/comm").read_text().strip() != "systemd":
            return False
        self._pid = int(children[0])
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def run(self, *command: str, check: bool = True, timeout: float = 240, **options: Any) -> Any:
        """Run a command inside, as root; unless `check` is false, fails with what it said if it fails."""
        ended = subprocess.run(
            ["nsenter", "--target", str(self._pid), "--all", "--", "env", "-i", _PATH, *command],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **options,
        )
        if check and ended.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
        return ended

    def shell(self, script: str, *, user: str = "root", check: bool = True) -> str:
        """What a shell's commands print, errors too."""
        ended = self.run("runuser", "-u", user, "--", "/bin/sh", "-c", f"cd /; {script}", check=check)
        return str(ended.stdout + ended.stderr)

    def show(self, unit: str, key: str) -> str:
        """A property of a unit, as systemd has it now."""
        return str(self.run("systemctl", "show", "--property", key, "--value", unit).stdout).strip()

    def journal(self, unit: str) -> str:
        """All a unit said since the boot."""
        return str(self.run("journalctl", "-u", unit, "-o", "cat", "--no-pager").stdout)

    def write(self, file: str, text: str) -> None:
        """Write a file inside; its folder is made."""
        self.run("install", "-D", "-m", "644", "/dev/stdin", file, input=text)

    def down(self) -> None:
        """End it: the kernel ends all in it with its first process, and the mounts go with the last."""
        with contextlib.suppress(ProcessLookupError):
            if self._pid is not None:
                os.kill(self._pid, 9)
        self._outer.kill()
        self._outer.wait()
        for _ in range(100):
            if self._removed():
                return
            time.sleep(0.05)

    def _removed(self) -> bool:
        for folder, _, _ in os.walk(self._group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        return not self._group.exists()


_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The shell joins its own control group before it makes the namespaces: a cgroup namespace takes for its root the group
# its maker is in, and without that systemd would meet the host's groups. Killed tests take their machine along.
_UP = f"""
set -e
mkdir "$1"
echo $$ > "$1/cgroup.procs"
exec setpriv --pdeathsig KILL unshare {_NAMESPACES} "$2" "$3"
"""
