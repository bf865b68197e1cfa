"""From .claimed/ to done/ or failed/: files whose tasks have ended are put away, a note beside each."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from daemon.inbox import notes
from daemon.inbox.archive import Archive
from daemon.inbox.claimed import Claimed
from daemon.inbox.stuck import Stuck, blaming_the_disk
from daemon.life import Sign
from daemon.store import Drop, Store

log = logging.getLogger("indexttsd.inbox")

#: So many are brought to the disk together.
_HANDFUL = 50


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A file whose note lies in `archive` already, under `name`. `source`: where it is; None: it is not to be moved."""

    drop: Drop
    source: Path | None
    archive: Archive
    name: str


class PuttingAway:
    """Puts the files of one inbox away."""

    def __init__(
        self, folder: Path, claimed: Claimed, done: Archive, failed: Archive, store: Store, sign: Sign
    ) -> None:
        self._folder = folder
        self._claimed = claimed
        self._done = done
        self._failed = failed
        self._store = store
        self._stuck = Stuck(sign)

    def put_away(self) -> None:
        """Put away all whose tasks have ended.

        Raises:
            StorageUnavailable, LedgerUnavailable: it cannot be done for now.
        """
        drops = self._store.ended_drops()
        for start in range(0, len(drops), _HANDFUL):
            self._put_away(drops[start : start + _HANDFUL])

    def _put_away(self, drops: list[Drop]) -> None:
        # Four steps, each on the disk before the next, whenever the power fails: the chosen name in the ledger, so that
        # a note without a file is known as ours; the note, so that no file lies in the archive without one; the file;
        # and that it is archived, in the ledger. What is in between is found and gone on with.
        noted = [leaving for drop in drops for leaving in self._noted(drop)]
        self._keep(noted)
        moved = [leaving for leaving in noted if self._moved(leaving)]
        self._keep(moved)
        with blaming_the_disk(self._folder):
            self._claimed.keep()
        for leaving in moved:
            self._store.archive_drop(leaving.drop.uid)

    def _keep(self, came: Iterable[_Leaving]) -> None:
        # A folder into which nothing came is left alone: what is wrong with it keeps only its own files waiting.
        with blaming_the_disk(self._folder):
            for archive in {leaving.archive for leaving in came}:
                archive.keep()

    def _noted(self, drop: Drop) -> list[_Leaving]:
        """Choose a file's name and write its note; empty if it is stuck."""
        with self._stuck.told(drop.name), blaming_the_disk(self._folder):
            source = self._claimed.taken(drop.uid, drop.name).path
            there = os.path.lexists(source)
            if drop.kept_as:
                archive, name = self._place(drop.kept_as)
                if not there:  # an earlier try got as far as the move
                    return [_Leaving(drop, None, archive, name)]
                archive.withdraw(name)  # it got no further than the note
            return [self._note(drop, source if there else None)]
        return []

    def _note(self, drop: Drop, source: Path | None) -> _Leaving:
        tasks = self._store.tasks_of_drop(drop.uid)
        fault = notes.fault(tasks) if tasks else self._known_fault(drop)
        archive = self._failed if fault else self._done
        name = archive.free_name(drop.name)
        self._store.keep_drop_as(drop.uid, f"{archive.name}/{name}")
        archive.leave_note(name, notes.failure(fault, tasks) if fault else notes.result(tasks))
        return _Leaving(drop, source, archive, name)

    def _known_fault(self, drop: Drop) -> str | None:
        """Of a file that was put away before, and came back with the disk it lay on when its tasks were forgotten."""
        failed = drop.kept_as and self._place(drop.kept_as)[0] is self._failed
        return "not all of its tasks were completed, and they are forgotten by now" if failed else None

    def _moved(self, leaving: _Leaving) -> bool:
        with self._stuck.told(leaving.drop.name), blaming_the_disk(self._folder):
            if leaving.source:
                leaving.archive.receive(leaving.source, leaving.name)
            return True
        return False

    def _place(self, kept_as: str) -> tuple[Archive, str]:
        folder, _, name = kept_as.partition("/")
        return (self._done if folder == self._done.name else self._failed), name
