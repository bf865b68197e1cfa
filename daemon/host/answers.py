"""What the engine's process may answer to a call: anything else is garbage, however well its frame is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from daemon.audio import SAMPLE_BYTES, Audio
from daemon.engines.base import Json, Segment, SegmentError
from daemon.schema import Strict

#: Longest audio of one segment: 23 minutes at 24 kHz. Bytes.
LONGEST_AUDIO = 64 << 20
#: Longest silence that an engine may ask for after a segment. Seconds.
_LONGEST_PAUSE = 60.0

#: Of what a process says, so many signs are told on.
_LONGEST_SAYING = 1000


def plain(text: str) -> str:
    """What a process said, as the ledger can hold it: half a character, as in a file's name, cannot be kept."""
    return text.encode(errors="replace").decode()[:_LONGEST_SAYING]


T = TypeVar("T")
_Saying = Annotated[str, AfterValidator(plain)]
_Count = Annotated[int, Field(ge=0)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Nonsense(Exception):
    """An answer that cannot be one; the message says where it goes wrong."""


class Facts(Strict):
    """What a loaded engine says of itself; see `daemon.engines.base.Engine`."""

    sample_rate: int = Field(gt=0, le=768_000)
    plain_batch: int = Field(ge=1)
    max_batch: int = Field(ge=1)
    identity: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """The answer to one call: a result per utterance, in order, and the engine's seconds for all."""

    results: tuple[Audio | SegmentError, ...]
    took: float


class Answer(Strict):
    """call: the number of the call that is answered. memory: bytes that the process holds, by kind."""

    call: int
    memory: dict[str, _Count]


class Loaded(Answer):
    """The engine can speak."""

    facts: Facts


class Unavailable(Strict):
    """The engine cannot be loaded, for this reason."""

    call: int
    unavailable: _Saying


class _Piece(Strict):
    text: str
    pause: float = Field(ge=0, le=_LONGEST_PAUSE)
    payload: Json
    size: _Count


class Split(Answer):
    """The segments of a text."""

    segments: list[_Piece]

    def pieces(self) -> list[Segment]:
        """The same as the engine's own values."""
        return [Segment(row.text, row.pause, row.payload, row.size) for row in self.segments]


class Failed(Answer):
    """Why a text cannot be spoken."""

    failed: _Saying


class _Sound(Strict):
    bytes: int = Field(ge=0, le=LONGEST_AUDIO, multiple_of=SAMPLE_BYTES)


class _Fault(Strict):
    error: _Saying


class Speech(Answer):
    """A result per utterance; the sounds lie one after the other in the frame's blob."""

    results: list[_Sound | _Fault]
    took: _Seconds

    def spoken(self, asked: int, blob: bytes, sample_rate: int) -> Spoken:
        """The same as values.

        Args:
            asked: how many utterances there were.

        Raises:
            Nonsense: there are more or fewer results, or the blob is longer or shorter than they are.
        """
        if len(self.results) != asked:
            raise Nonsense(f"{len(self.results)} results for {asked} utterances")
        if sum(row.bytes for row in self.results if isinstance(row, _Sound)) != len(blob):
            raise Nonsense(f"{len(blob)} bytes of sound are not what the results say")
        return Spoken(tuple(_cut(self.results, blob, sample_rate)), self.took)


class Heard(Answer):
    """What is to be said of a recording."""

    fault: _Saying | None
    advice: list[_Saying]
    unread: _Saying | None


def _cut(rows: Sequence[_Sound | _Fault], blob: bytes, sample_rate: int) -> Iterator[Audio | SegmentError]:
    at = 0
    for row in rows:
        if isinstance(row, _Fault):
            yield SegmentError(row.error)
        else:
            yield Audio(blob[at : at + row.bytes], sample_rate)
            at += row.bytes


LOADED: TypeAdapter[Loaded | Unavailable] = TypeAdapter(Loaded | Unavailable)
SPLIT: TypeAdapter[Split | Failed] = TypeAdapter(Split | Failed)
SPEECH: TypeAdapter[Speech] = TypeAdapter(Speech)
HEARD: TypeAdapter[Heard] = TypeAdapter(Heard)


def read(answer: dict[str, Any], expected: TypeAdapter[T], call: int) -> T:
    """The answer to call number `call`.

    Raises:
        Nonsense
    """
    if answer.get("call") != call:
        raise Nonsense(f"an answer to call {answer.get('call')!r:.20} instead of {call}")
    try:
        return expected.validate_python(answer)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        raise Nonsense(f"{'.'.join(map(str, found['loc']))}: {found['msg']}") from None
