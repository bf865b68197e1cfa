"""An inbox is often open to a group. Without the sticky bit whoever may write there may rename our folders in it."""

from __future__ import annotations

import logging
import os
import pwd
import stat
from pathlib import Path

log = logging.getLogger("indexttsd.inbox")

_WHY = "others may write to it, and without the sticky bit they may put links in the place of our folders there"


def protect(inbox: Path) -> None:
    """See that only its owner and we may rename our folders in this one, or say what is to be done (rename(2)).

    Raises:
        OSError: it cannot be looked at.
    """
    there = inbox.stat()
    if there.st_mode & stat.S_ISVTX or not there.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return
    if there.st_uid != os.geteuid():
        # The bit alone would harm: in a sticky folder of somebody else's we could not move what others drop.
        todo = f"make {_ourselves()} its owner, then set it: chown {_ourselves()} {inbox} && chmod +t {inbox}"
        log.warning("the inbox %s is not protected: %s; %s", inbox, _WHY, todo, extra={"action": "inbox"})
        return
    try:
        inbox.chmod(stat.S_IMODE(there.st_mode) | stat.S_ISVTX)
    except OSError as error:  # RestrictSUIDSGID= of a unit refuses every chmod of a folder that hands its group on
        todo = f"it cannot be set from here ({error.strerror}): chmod +t {inbox}"
        log.warning("the inbox %s is not protected: %s; %s", inbox, _WHY, todo, extra={"action": "inbox"})
    else:
        log.info("the inbox %s got the sticky bit: %s", inbox, _WHY, extra={"action": "inbox"})


def _ourselves() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user may have no name
        return str(os.geteuid())
