"""Which segments share a call of the engine."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """A segment that waits to be spoken.

    Attributes:
        speech, index: whose it is and which.
        size: how long it will take (`Segment.size`).
        options: of its request.
    """

    speech: int
    index: int
    size: int
    options: Mapping[str, Any]


def pick(waiting: Sequence[Row], limit: int) -> list[Row]:
    """At most `limit` of those that wait, the longest waiting first: it is always among them, so nobody starves.

    With it go those that ask for the same options, for an engine can speak only those at once, and then those of the
    nearest size, for a call takes as long as its longest row.
    """
    anchor, *others = waiting

    def distance(row: Row) -> tuple[bool, int]:
        return row.options != anchor.options, abs(row.size - anchor.size)

    return [anchor, *heapq.nsmallest(limit - 1, others, key=distance)]
