"""From .claimed/ to the ledger: what was claimed is read, and becomes tasks or is refused."""

from __future__ import annotations

import logging
from pathlib import Path

from daemon import logs
from daemon.errors import BadRequest, RequestRefused
from daemon.inbox import notes
from daemon.inbox.archive import Archive, shortened
from daemon.inbox.claimed import Claimed, Taken
from daemon.inbox.looks import Look, being_written, is_json, read_dropped
from daemon.inbox.stuck import Stuck, blaming_the_disk
from daemon.intake import Intake
from daemon.life import Sign
from daemon.store import Store

log = logging.getLogger("indexttsd.inbox")

#: Characters of a reason that the log shows.
_SHOWN = 500


class Reading:
    """Reads what lies in .claimed/ and is not in the ledger.

    Args:
        folder: the inbox. failed: where goes what is refused.
        max_bytes: largest file that is read.
    """

    def __init__(
        self, folder: Path, claimed: Claimed, failed: Archive, max_bytes: int, intake: Intake, store: Store, sign: Sign
    ) -> None:
        self._folder = folder
        self._claimed = claimed
        self._failed = failed
        self._max_bytes = max_bytes
        self._intake = intake
        self._store = store
        self._stuck = Stuck(sign)

    def refuse_strangers(self) -> None:
        """Refuse what somebody else put into .claimed/."""
        for stranger in self._claimed.strangers():
            with self._stuck.told(stranger.name):
                taken = self._claimed.claim(stranger, shortened(stranger.name))
                self._refuse(taken, BadRequest("it lay in .claimed/, where only the daemon puts files; drop it again"))

    def forget_known(self) -> None:
        """Read no more what the ledger knows: it may have taken the tasks although it seemed to fail."""
        known = [uid for uid in self._claimed.unread if self._store.knows_drop(uid)]
        if known:
            # It may even have counted them as put away, if the inbox was not mounted when their tasks ended.
            self._store.reopen_drops(known)
        for uid in known:
            del self._claimed.unread[uid]

    def read(self) -> bool:
        """Read all that was claimed, is on the disk and not read to its end; whether there are new tasks.

        Raises:
            StorageUnavailable, LedgerUnavailable: nothing can be kept for now; the rest is read when it can.
        """
        accepted = [self._read_one(taken) for taken in list(self._claimed.unread.values())]
        return any(accepted)

    def _read_one(self, taken: Taken) -> bool:
        with self._stuck.told(taken.name):
            if not taken.refused:
                return self._judge(taken)
            if unjudged := self._finished_refusing(taken):
                return self._judge(unjudged)
        return False

    def _finished_refusing(self, taken: Taken) -> Taken | None:
        """Go on with what was on its way to failed/; the file as it was before if it is to be judged once more."""
        with blaming_the_disk(self._folder):
            if not self._failed.expects(taken.name):  # its note was not written: the daemon died, or the disk was full
                return self._claimed.marked(taken, taken.name, refused=False)
            self._failed.receive(taken.path, taken.name)
        del self._claimed.unread[taken.uid]
        return None

    def _judge(self, taken: Taken) -> bool:
        """Turn a claimed file into tasks, or refuse it, unless it is still written to; whether there are new tasks."""
        look = Look.at(taken.path)
        if look is None:
            log.warning("%r was removed from .claimed/ before it was read", taken.name, extra={"action": "file_gone"})
        elif look.regular and being_written(taken.path):
            return False
        else:
            try:
                return self._became_tasks(taken, look)
            except RequestRefused as error:
                self._refuse(taken, error)
        self._claimed.unread.pop(taken.uid, None)
        return False

    def _became_tasks(self, taken: Taken, look: Look) -> bool:
        if fault := _why_not(look, taken.name):
            raise fault
        data = read_dropped(taken.path, self._max_bytes)
        if Look.at(taken.path) != look:  # a claim does not stop a writer, and a network tells of none
            return False
        receipts = self._intake.submit_drop(data, taken.uid, taken.name)
        del self._claimed.unread[taken.uid]
        ids = [receipt.task_id for receipt in receipts]
        log.info("%r became %s", taken.name, " ".join(ids), extra={"action": "file_taken", "task": ids})
        return True

    def _refuse(self, taken: Taken, error: RequestRefused) -> None:
        # The name it is to have is in its own name before its note is written: a crash leaves no second note.
        with blaming_the_disk(self._folder):
            name = self._failed.free_name(taken.name)
            marked = self._claimed.marked(taken, name, refused=True)
            self._failed.put(marked.path, name, notes.refusal(error))
        self._claimed.unread.pop(taken.uid)
        # The reason may quote what stands in the file, texts among it.
        why = str(error)[:_SHOWN] if logs.texts_are_shown() else f"{name}.error.json in failed/ says why"
        log.warning("%r was refused: %s", taken.name, why, extra={"action": "file_rejected"})


def _why_not(look: Look, name: str) -> BadRequest | None:
    """Why this is nothing to read, if so."""
    if not look.regular:
        return BadRequest(f"only *.json files are read here; this is {look.kind}")
    if not is_json(name):
        return BadRequest("only *.json files are read here; rename it if it is one")
    return None
