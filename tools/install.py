"""Install, upgrade or remove the service: `sudo make install`, `sudo make uninstall`. Python's own library is enough.

Code comes into an environment of its own below /opt/indexttsd, made anew each time, and at the end the link `venv` is
switched to it: a daemon that runs meanwhile never imports half of one version and half of another. Whatever stops an
installation, the same command begins anew and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[1]
PREFIX = Path("/opt/indexttsd")
CURRENT = PREFIX / "venv"
COMMAND = Path("/usr/local/bin/indexttsd")
CONFIG = Path("/etc/indexttsd/config.yaml")
DATA = Path("/var/lib/indexttsd")
#: Where units belong that no package manager brought: those in /etc stay the operator's.
UNITS = Path("/usr/local/lib/systemd/system")
#: One of these by hand, as this project once advised, would hide ours.
OLD_UNIT = Path("/etc/systemd/system/indexttsd.service")
UNIT_FILES = {SOURCE / "systemd" / name: UNITS / name for name in ("indexttsd.service", "indexttsd.socket")}
USER_FILE = Path("/usr/local/lib/sysusers.d/indexttsd.conf")
FOLDERS_FILE = Path("/usr/local/lib/tmpfiles.d/indexttsd.conf")
#: What the unit's ProtectHome= hides from the service.
HOMES = ("/home/", "/root/", "/run/user/")
#: Of an environment that is whole; tells the next installation what it must bring too.
RECORD = "installed.json"
#: What the project is built from.
BUILT_FROM = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE")


KEPT = """removed: the service, its units and its code.
Kept: the configuration and tokens, tasks, recordings and all that was spoken, drop-ins below /etc/systemd/system, and
the user. To remove those too:
  rm -r /etc/indexttsd /var/lib/indexttsd /var/cache/indexttsd
  rm -rf /etc/systemd/system/indexttsd.*.d
  userdel indexttsd
  groupdel indexttsd    # if it had members; without any it went with the user"""


def main() -> None:
    """The command line; ends with a sentence where something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    wanted = commands.add_parser("install")
    wanted.add_argument("--python", help="the interpreter to run on")
    wanted.add_argument("--wheels", type=Path, help="a folder with all packages, instead of the package index")
    wanted.add_argument("--torch", choices=["cuda", "cpu", "any", "none"], help="IndexTTS too, on this build")
    wanted.add_argument("--no-start", action="store_true", help="neither enable nor start the service")
    commands.add_parser("uninstall")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit(f"this changes the whole machine, so it needs root: sudo make {arguments.command}")
    os.umask(0o022)  # with a stricter one of root's, the service could not read its own code
    if arguments.command == "install":
        install(arguments)
    else:
        uninstall()


def install(wanted: argparse.Namespace) -> None:
    """Install this checkout, or upgrade what is installed; data, configuration and tokens stay as they are."""
    if OLD_UNIT.is_file():
        sys.exit(f"{OLD_UNIT} would hide the unit to be installed; remove it, and keep what you changed as a drop-in:\n"
                 "systemctl edit indexttsd")  # fmt: skip
    for tool in ("systemd-sysusers", "systemd-tmpfiles", "systemctl"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not on this machine: this installs a service of systemd; without it, see: make run")
    torch = wanted.torch or record(CURRENT).get("torch") or "none"
    python = interpreter(wanted.python, indextts=torch != "none")
    with alone():
        remove_unused()
        try:
            put_in_place(build(python, torch, wanted.wheels), leave=wanted.no_start)
        finally:
            remove_unused()


def put_in_place(environment: Path, *, leave: bool) -> None:
    """Put a new environment in the place of the one before; until its configuration is known to be right, nothing of
    the installed service changes, not even its unit: it may be started anew at any time."""
    put_user_and_folders()
    put_config(environment)
    put_prompts()
    check_config(environment)
    for source, target in UNIT_FILES.items():
        put(target, source.read_text(encoding="utf-8"))
    switch(environment)
    start(leave=leave)
    print(f"installed: indexttsd {version()} in {environment}, configured by {CONFIG}")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Two installations at once would each remove what the other has not finished."""
    PREFIX.mkdir(parents=True, exist_ok=True)
    folder = os.open(PREFIX, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"another installation works in {PREFIX}; once it has ended, run the same command again")
        yield
    finally:
        os.close(folder)


# --- Which Python


def interpreter(named: str | None, *, indextts: bool) -> str:
    """A Python that the service can run on: the one that was named, or the machine's own."""
    folders = ("/usr/bin", "/usr/local/bin")
    usual = [f"{folder}/python{version}" for version in ("3.11", "3.12", "3") for folder in folders]
    complaints = []
    for path in [named] if named else [path for path in usual if Path(path).exists()]:
        fault = python_fault(path, indextts=indextts)
        if fault is None:
            return path
        complaints.append(f"{path}: {fault}")
    wanted = "3.11" if indextts else "3.11 or 3.12"
    found = "\n".join(complaints) or "nothing was found in /usr/bin and /usr/local/bin"
    sys.exit(f"Python {wanted} is needed, and not below a home directory:\n{found}\n"
             "Install it (on Debian: apt-get install python3 python3-venv), or name one:\n"
             "sudo make install PYTHON=/path/to/python3.11")  # fmt: skip


def python_fault(path: str, *, indextts: bool) -> str | None:
    """Why the service cannot run on this interpreter."""
    question = "import json, os, sys; print(json.dumps([sys.version_info[:2], os.path.realpath(sys.executable) + '/']))"
    try:
        told = subprocess.run([path, "-c", question], capture_output=True, text=True, check=True).stdout
        (major, minor), real = json.loads(told)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"it cannot be run: {error}"
    except ValueError:
        return "it is not Python"
    if (major, minor) != (3, 11) and (indextts or (major, minor) != (3, 12)):
        return f"it is Python {major}.{minor}"
    if real.startswith(HOMES):
        return f"it is {real[:-1]}, below a home directory, which the service cannot see (ProtectHome=)"
    if subprocess.run([path, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode:
        return "it cannot make environments; on Debian: apt-get install python3-venv"
    return None


# --- The environment


def build(python: str, torch: str, wheels: Path | None) -> Path:
    """A new environment with this checkout and all it needs, by the locks' versions and hashes."""
    environment = PREFIX / f"venv-{version()}-{time.strftime('%Y%m%dT%H%M%S')}"
    print(f"{environment}: Python packages, some minutes ...", flush=True)
    run(python, "-m", "venv", str(environment))
    locks = ["build", "runtime", *(["indextts"] if torch != "none" else [])]
    for lock in locks:
        pip(environment, wheels, "--require-hashes", "-r", str(SOURCE / "requirements" / f"{lock}.lock"))
    with tempfile.TemporaryDirectory() as folder:
        pip(environment, wheels, str(copy_source(Path(folder))))
    if torch != "none":
        run(str(environment / "bin/python"), str(SOURCE / "tools/install_torch.py"), torch, env=index(wheels))
    put_share(environment)
    put(environment / RECORD, json.dumps({"version": version(), "torch": torch}))
    return environment


def pip(environment: Path, wheels: Path | None, *arguments: str) -> None:
    """Everything that is needed is in the locks, so nothing is resolved, and nothing is fetched in order to build."""
    options = ("--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-build-isolation", "--use-pep517")
    run(str(environment / "bin/python"), "-m", "pip", *options, *arguments, env=index(wheels))


def index(wheels: Path | None) -> dict[str, str]:
    """Where pip looks for packages."""
    quiet = {"PIP_ROOT_USER_ACTION": "ignore"}
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels.resolve())} if wheels else {}
    return {**os.environ, **quiet, **offline}


def copy_source(folder: Path) -> Path:
    """What the project is built from: a build in the checkout leaves files of root there, and takes up old ones."""
    for name in BUILT_FROM:
        shutil.copy(SOURCE / name, folder)
    shutil.copytree(SOURCE / "daemon", folder / "daemon", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def put_share(environment: Path) -> None:
    """The drop-ins to choose from, and the configuration as it was shipped, to compare the next one with."""
    share = environment / "share/indexttsd"
    for file in (SOURCE / "systemd/indexttsd.service.d").glob("*.conf"):
        put(share / file.name, file.read_text(encoding="utf-8"))
    put(share / "config.yaml", default_config())


def switch(environment: Path) -> None:
    """From now on this is what starts."""
    link(CURRENT, environment)
    if command_is_ours() or not os.path.lexists(COMMAND):
        link(COMMAND, CURRENT / "bin/indexttsd")
    else:
        print(f"left alone: {COMMAND} is not ours; the command is {CURRENT}/bin/indexttsd")


def command_is_ours() -> bool:
    """Whether the command's name is a link we made."""
    return COMMAND.is_symlink() and COMMAND.readlink() == CURRENT / "bin/indexttsd"


def remove_unused() -> None:
    """The versions before, what was refused, and what a broken-off installation left; 500 MB each."""
    for folder in PREFIX.glob("venv-*"):
        if folder.resolve() != CURRENT.resolve() and not in_use(folder):
            shutil.rmtree(folder)


def in_use(environment: Path) -> bool:
    """Whether a process runs on its Python, as a daemon that was not to be restarted does."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if command.read_bytes().startswith(bytes(environment) + b"/"):
                return True
    return False


def record(environment: Path) -> dict[str, Any]:
    """What an environment says it holds; nothing if it is not whole."""
    try:
        found: dict[str, Any] = json.loads((environment / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def version() -> str:
    """Of this checkout."""
    text = (SOURCE / "daemon/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    assert found is not None, "daemon/__init__.py names no version"
    return found[1]


# --- Files, users, folders


def put_user_and_folders() -> None:
    """The service's user, and the folders with their owners."""
    put(USER_FILE, (SOURCE / "systemd/sysusers.d/indexttsd.conf").read_text(encoding="utf-8"))
    put(FOLDERS_FILE, (SOURCE / "systemd/tmpfiles.d/indexttsd.conf").read_text(encoding="utf-8"))
    run("systemd-sysusers", str(USER_FILE))
    run("systemd-tmpfiles", "--create", str(FOLDERS_FILE))


def put_config(environment: Path) -> None:
    """The configuration if there is none; beside it the new default if that changed since the last installation."""
    if not CONFIG.exists():
        put(CONFIG, default_config())
        return
    last = CURRENT / "share/indexttsd/config.yaml"
    if environment != CURRENT.resolve() and last.exists() and last.read_text(encoding="utf-8") != default_config():
        new = CONFIG.with_name("config.yaml.new")
        put(new, default_config())
        print(f"{CONFIG} stays as it is; the shipped one has changed, see {new}")


def default_config() -> str:
    """config.yaml as shipped, with its folders below /var/lib."""
    text = (SOURCE / "config.yaml").read_text(encoding="utf-8")
    for name in ("inbox", "prompts", "state"):
        text = replaced(rf"^  {name}: {name} *", f"  {name}: {DATA}/{name}  ", text)
    return replaced(r"^  roots: \[outputs\] *", f"  roots: [{DATA}/outputs]  ", text)


def replaced(pattern: str, text: str, config: str) -> str:
    """One line of the configuration in other words."""
    config, found = re.subn(pattern, text, config, flags=re.MULTILINE)
    assert found == 1, f"config.yaml has no one line like {pattern}"
    return config


def put_prompts() -> None:
    """The sample recordings, where there are none at all: a daemon without any has no voice.

    Root writes here into a folder of the service's user, who may plant links at any moment: none is followed.
    """
    folder = DATA / "prompts"
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        print(f"left alone: {folder} is a link or no folder ({error.strerror}); no sample recordings were put there")
        return
    try:
        if not os.listdir(opened):  # noqa: PTH208 - the opened folder, whatever its name now leads to
            for file in (SOURCE / "prompts").glob("*.wav"):
                copy_new(file, opened)
    finally:
        os.close(opened)


def copy_new(file: Path, folder: int) -> None:
    """Copy a file into an opened folder, unless something of that name is there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with contextlib.suppress(FileExistsError):
        copy = os.open(file.name, flags, 0o644, dir_fd=folder)
        with os.fdopen(copy, "wb") as stream:
            stream.write(file.read_bytes())


def put(file: Path, text: str) -> None:
    """Write a whole file or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    part.unlink(missing_ok=True)
    with part.open("x", encoding="utf-8") as stream:
        stream.write(text)
    part.chmod(0o644)
    part.replace(file)


def link(name: Path, target: Path) -> None:
    """Let a link point elsewhere, at no moment to nothing."""
    part = name.with_name(f".{name.name}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(name)


# --- systemd


def check_config(environment: Path) -> None:
    """A configuration that the new version refuses stops here, while the old one runs on."""
    command = [str(environment / "bin/indexttsd"), "check", "--config-only", "--config", str(CONFIG)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    if checked.returncode:
        sys.exit(
            f"{checked.stdout}{checked.stderr}\nnothing was switched: mend {CONFIG} and run the same command again"
        )


def start(*, leave: bool) -> None:
    """Enable the service and start it anew, unless it is to be left alone."""
    if not systemd_runs():
        print("systemd does not run here: the units are in place, but nothing was enabled or started")
        return
    run("systemctl", "daemon-reload")
    if leave:
        print("left as it was; to run what is installed now: systemctl enable indexttsd && systemctl restart indexttsd")
        return
    run("systemctl", "enable", "--quiet", "indexttsd.service")
    subprocess.run(["systemctl", "reset-failed", "indexttsd.*"], capture_output=True, check=False)
    if subprocess.run(["systemctl", "restart", "indexttsd.service"], check=False).returncode:
        subprocess.run(["journalctl", "-u", "indexttsd", "-n", "10", "-o", "cat", "--no-pager"], check=False)
        sys.exit("the service is installed, but it did not start; its last words are above (journalctl -u indexttsd)")


def systemd_runs() -> bool:
    """As sd_booted(3) tells it."""
    return Path("/run/systemd/system").is_dir()


def uninstall() -> None:
    """Stop the service and remove its code and units; what people made stays."""
    controlled = shutil.which("systemctl") is not None
    if systemd_runs() and not controlled:
        sys.exit("systemctl is not found, so the service cannot be stopped; nothing was removed")
    with alone():
        if controlled:
            names = ("indexttsd.socket", "indexttsd.service")
            subprocess.run(["systemctl", "disable", "--quiet", "--now", *names], check=False)
        remove_installed()
    if systemd_runs():
        run("systemctl", "daemon-reload")
    print(KEPT)


def remove_installed() -> None:
    """Units, links and environments."""
    for file in (*UNIT_FILES.values(), USER_FILE, FOLDERS_FILE):
        file.unlink(missing_ok=True)
    if command_is_ours():
        COMMAND.unlink()
    CURRENT.unlink(missing_ok=True)
    for folder in PREFIX.glob("venv-*"):
        shutil.rmtree(folder)
    with contextlib.suppress(OSError):  # gone already, or somebody keeps something there
        PREFIX.rmdir()


def run(*command: str, env: dict[str, str] | None = None) -> None:
    """Run a program, which says itself what went wrong; that ends this one."""
    if status := subprocess.run(command, env=env, check=False).returncode:
        sys.exit(
            f"{' '.join(command)} failed ({status}); its message is above. Once mended, run the same command again."
        )


if __name__ == "__main__":
    main()
