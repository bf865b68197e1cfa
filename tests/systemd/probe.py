"""What a process under the service's sandbox can do; run before the daemon by a drop-in, and tells the journal."""

import ctypes
import errno
import json
import os
import socket
from pathlib import Path

#: CLONE_NEWNET of sched.h.
_NEW_NETWORK = 0x40000000


def reason(attempt):
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno, "TIMEOUT")
    return "done"


def write(path):
    Path(path).touch()
    Path(path).unlink()


def connect(address):
    socket.create_connection((address, 9000), timeout=2).close()


def main():
    found = {
        "write below the state": reason(lambda: write("/var/lib/indexttsd/probe")),
        "write to /etc": reason(lambda: write("/etc/indexttsd/probe")),
        "write its own code": reason(lambda: write("/opt/indexttsd/venv/probe")),
        "write to /srv": reason(lambda: write("/srv/probe")),
        "look into a home": reason(lambda: list(Path("/home/alice").iterdir())),
        "see the memory device": reason(lambda: Path("/dev/mem").stat()),
        "connect to loopback": reason(lambda: connect("127.0.0.1")),
        "connect elsewhere": reason(lambda: connect("192.0.2.1")),
        "become root": reason(lambda: os.setuid(0)),
        "make a namespace": reason(_unshare),
        "see other processes": "done" if Path("/proc/1/cmdline").exists() else "ENOENT",
        "open a raw socket": reason(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)),
        "open a packet socket": reason(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    }
    print("PROBE " + json.dumps(found), flush=True)


def _unshare():
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "no namespace")


if __name__ == "__main__":
    main()
