"""The one path of a dropped file. Events only ring the bell; `Inbox.scan` looks at what is there."""

from __future__ import annotations

import logging
import math
import threading
from itertools import islice
from pathlib import Path

from daemon.bell import Bell
from daemon.config import InboxConfig
from daemon.errors import ConfigError, InUse, LedgerDamaged, MachineTrouble
from daemon.files import remote_kind
from daemon.inbox.archive import Archive
from daemon.inbox.bell_wire import BellWire
from daemon.inbox.claimed import Claimed
from daemon.inbox.claiming import Claiming
from daemon.inbox.putting_away import PuttingAway
from daemon.inbox.reading import Reading
from daemon.inbox.stuck import blaming_the_disk
from daemon.intake import Intake
from daemon.life import Sign
from daemon.space import trouble
from daemon.store import Store
from daemon.troubles import Troubles

log = logging.getLogger("indexttsd.inbox")

#: Most files taken in one pass, so that ended tasks are put away between two bites of a flood.
_BITE = 1000
#: So many are claimed, brought to the disk together, and then read. The queue's limit may be passed by what they hold.
_HANDFUL = 20
#: On a network size and time of change are seconds old (NFS asks its server again after 3 s to 60 s), and nobody tells
#: who writes: a file lies still for at least so long, seconds.
_SETTLE_REMOTE = 10.0
#: How often a folder that cannot be used is looked at again: whoever mended it waits for that, and it costs little.
_TROUBLED_SECONDS = 3.0


class Inbox:
    """One drop folder, owned by one daemon.

    Args:
        max_bytes: largest file that is read.
        sign: how the looks show that they go on.
    """

    def __init__(
        self,
        folder: Path,
        config: InboxConfig,
        max_bytes: int,
        intake: Intake,
        store: Store,
        bell: Bell,
        troubles: Troubles,
        sign: Sign | None = None,
    ) -> None:
        self._sign = sign = sign or Sign()
        self._folder = folder
        self._config = config
        self._intake = intake
        self._bell = bell
        self._troubles = troubles
        self._claimed = Claimed(folder)
        self._done = Archive(folder / "done", ".result.json")
        self._failed = Archive(folder / "failed", ".error.json")
        self._claiming = Claiming(folder, self._claimed, max_bytes, sign)
        self._reading = Reading(folder, self._claimed, self._failed, max_bytes, intake, store, sign)
        self._putting_away = PuttingAway(folder, self._claimed, self._done, self._failed, store, sign)
        self._wire = BellWire(folder, bell)
        self._stop = threading.Event()
        self._full = False
        self._waits_for_room = False

    @property
    def waiting(self) -> int:
        """How many files lie in the folder, as far as the last look could tell."""
        return len(self._claiming.backlog)

    def open(self) -> None:
        """Make the folders and become their owner; where the disk allows that not yet, the looks that follow do it.

        Raises:
            ConfigError: another daemon owns them, or they cannot be used.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._own()
        except MachineTrouble:
            return
        except OSError as error:
            if trouble(error, ""):
                return
            raise ConfigError(f"the inbox {self._folder} cannot be used: {error.strerror or error}") from None

    def stop(self) -> None:
        """Let `run` end."""
        self._stop.set()
        self._bell.ring()

    def run(self) -> None:
        """Scan whenever the bell rings, when something may have settled, and from time to time, until stopped."""
        while not self._stop.is_set():
            heard = self._bell.rings
            self._sign.within()
            pause = self.look()
            self._sign.within(pause)
            self._bell.wait(heard, pause)
        self._wire.close()
        self._claimed.release()
        self._sign.over()

    def look(self) -> float:
        """Scan; what is wrong with the folder is told and tried again. Seconds until the next look is due.

        Raises:
            InUse: another daemon owns the folder now.
            LedgerBroken, LedgerDamaged
        """
        try:
            self.scan()
        except OSError as error:
            self._troubles.tell(
                "inbox", f"the inbox {self._folder} cannot be looked through: {error.strerror or error}"
            )
        except (LedgerDamaged, InUse):
            raise
        except (MachineTrouble, ConfigError) as error:  # what would refuse a start may pass while we run
            self._troubles.tell("inbox", str(error))
        else:
            self._troubles.over("inbox")
            return min(self._config.rescan_seconds, self._due())
        return min(self._config.rescan_seconds, _TROUBLED_SECONDS)

    def scan(self) -> None:
        """Put away the files whose tasks have ended, and take those that are complete, at most a bite.

        Raises:
            ConfigError: the folders were removed, made again, and have another owner now.
            OSError: the folder cannot be looked into.
            MachineTrouble: nothing can be taken or put away for now.
        """
        moved = self._own()
        self._done.check()
        self._failed.check()
        moved |= self._wire.ensure()
        self._reading.forget_known()
        self._read()
        self._putting_away.put_away()
        self._claiming.refresh(must=moved)
        self._take()

    def _own(self) -> bool:
        """Make our folders and own them, at the start and when somebody has removed them; whether that was needed."""
        if self._claimed.is_ours():
            return False
        self._claimed.own()
        try:
            self._move_in()
        except BaseException:
            self._claimed.release()  # half of it done is nothing done: the next look begins anew
            raise
        return True

    def _move_in(self) -> None:
        self._done.prepare()
        self._failed.prepare()
        self._claimed.check_moves(self._done.folder, self._failed.folder)
        self._reading.refuse_strangers()
        remote = remote_kind(self._folder)
        settle = max(self._config.settle_seconds, _SETTLE_REMOTE if remote else 0)
        self._claiming.begin(settle, remote=remote is not None)
        self._tell_kind(remote, settle)

    def _tell_kind(self, remote: str | None, settle: float) -> None:
        every = f"it is looked through every {self._config.rescan_seconds:g} s"
        if remote:
            lies = f"lies on {remote}, where what others do rings no bell: {every}, and files settle for {settle:g} s"
            log.info("the inbox %s %s", self._folder, lies, extra={"action": "inbox"})
        else:
            log.info("the inbox %s is local: inotify rings, and %s", self._folder, every, extra={"action": "inbox"})

    def _take(self) -> None:
        """Take what is complete, the longest unchanged first, at most a bite and no more than there is room for."""
        complete, left = self._claiming.complete(), _BITE
        while left and (room := self._room()):
            claimed = sum(1 for _ in islice(complete, min(room, left)))
            if not claimed:
                return
            self._read()
            left -= claimed
        if not left:
            self._bell.ring()

    def _read(self) -> None:
        """Read all that is claimed and not read yet."""
        if not self._claimed.unread:
            return
        # A file's content was on the disk before it was claimed; now its place is; only then the ledger takes its
        # tasks. Were the ledger first, a power cut might give the file its old name back: tasks once more.
        with blaming_the_disk(self._folder):
            self._claimed.keep()
        if self._reading.read():
            self._bell.ring()

    def _room(self) -> int:
        """How many files may be claimed together; that some wait for room is told once, until none waits."""
        room = next((files for files in (_HANDFUL, 1) if self._intake.has_room(files)), 0)
        told, self._full = self._waits_for_room, not room
        self._waits_for_room = bool(self.waiting) and (told or self._full)
        if self._waits_for_room and not told:
            what = "%d files wait for room, in the queue (limits.queue) or on a disk"
            log.info(what, self.waiting, extra={"action": "files_wait"})
        return room

    def _due(self) -> float:
        """Seconds until a look may find more to do, if no bell rings."""
        return min(self._claiming.backlog.wait(), math.inf if self._full else self._claiming.wait())
