"""What a process of the service's user can do: told of the sandbox, where a drop-in runs it before the daemon, and of
no sandbox, where all of it succeeds."""

import ctypes
import errno
import json
import socket
import subprocess
from pathlib import Path

#: An interpreter whose file makes everybody root, where that is allowed.
AS_ROOT = "/usr/local/lib/as-root"
#: CLONE_NEWUSER of sched.h: the one namespace that everybody may make.
_NEW_USER = 0x10000000


def reason(attempt):
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno, "TIMEOUT")
    return "done"


def write(folder):
    file = Path(folder, "probe")
    file.touch()
    file.unlink()


def connect(address):
    socket.create_connection((address, 9000), timeout=2).close()


def as_root(statement):
    code = f"import os, socket\ntry: {statement}\nexcept OSError as error: print(error.errno)"
    said = subprocess.run([AS_ROOT, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    if said:
        raise OSError(int(said), statement)


def unshare():
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_USER):
        raise OSError(ctypes.get_errno(), "no namespace")


def main():
    found = {
        "write below the state": reason(lambda: write("/var/lib/indexttsd")),
        "write to /etc": reason(lambda: write("/etc/open")),
        "write beside its own code": reason(lambda: write("/opt/indexttsd/open")),
        "write to /srv": reason(lambda: write("/srv/open")),
        "write to /run/lock": reason(lambda: write("/run/lock")),
        "see everybody's shared memory": reason(lambda: Path("/dev/shm/others").stat()),
        "see everybody's message queues": reason(lambda: Path("/dev/mqueue/others").stat()),
        "see a device": reason(lambda: Path("/dev/others").stat()),
        "look into a home": reason(lambda: list(Path("/home/alice").iterdir())),
        "see other processes": reason(lambda: Path("/proc/1/cmdline").read_bytes()),
        "connect to loopback": reason(lambda: connect("127.0.0.1")),
        "connect elsewhere": reason(lambda: connect("192.0.2.1")),
        "become root": reason(lambda: as_root("os.setuid(0)")),
        "open a raw socket": reason(lambda: as_root("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)")),
        "open a packet socket": reason(lambda: as_root("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)")),
        "make a namespace": reason(unshare),  # the last: it changes who this process is
    }
    print("PROBE " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
