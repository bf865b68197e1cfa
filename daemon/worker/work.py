"""A claimed speech with all that is needed to speak it: how it is planned, and how its file is made."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from daemon import audio, strict_json
from daemon.engines.base import Clip, Segment, Utterance
from daemon.errors import SpeechFailed
from daemon.host import Facts
from daemon.prompts import content_hash
from daemon.spool import Shelf
from daemon.store import Claim
from daemon.tasks import BATCH_MODE, segment_seed
from daemon.worker.fate import Cancelled, SegmentDamaged, in_engine, insist
from daemon.worker.rooms import Rooms

log = logging.getLogger("indexttsd.worker")


@dataclass(slots=True, eq=False)
class Work:
    """A speech in work.

    Attributes:
        prompt, clips: the voice, and the recordings its options name.
        missing: which of the segments are still to be spoken, in order.
        last_call: the number of its crew's last call it was in, or of the last one before it came.
    """

    claimed: Claim
    prompt: Clip
    clips: dict[str, Clip]
    shelf: Shelf
    segments: list[Segment]
    missing: list[int]
    last_call: int = 0

    def utterance(self, index: int) -> Utterance:
        """The segment as the engine is to speak it."""
        return Utterance(
            segment=self.segments[index],
            prompt=self.prompt,
            options=self.claimed.options,
            clips=self.clips,
            seed=segment_seed(self.claimed.seed, index),
            batched=self.claimed.infer_mode == BATCH_MODE,
        )

    def keep(self, index: int, spoken: audio.Audio) -> None:
        """Keep a finished segment."""
        self.shelf.keep(index, spoken)
        self.missing.remove(index)

    def pieces(self) -> Iterator[bytes]:
        """The file's samples, one segment in memory at a time. Raises SegmentDamaged."""
        last = len(self.segments) - 1
        for index, segment in enumerate(self.segments):
            kept = self.shelf.segment(index)
            if kept is None:
                raise SegmentDamaged(f"segment {index} of {self.claimed.task_id} was damaged in the state folder")
            yield kept.pcm
            if index < last:
                yield audio.silence(segment.pause, kept.sample_rate)


def plan(rooms: Rooms, claimed: Claim, facts: Facts) -> Work:
    """Cut the text into segments, or find how an earlier try cut it and what it finished.

    Raises:
        SpeechFailed: it cannot be spoken, or took the engine down too often.
        EngineDied, EngineUnavailable
    """
    if claimed.attempts >= rooms.max_attempts:
        reason = claimed.last_error or "the daemon died while it was spoken"
        raise SpeechFailed(f"given up after {claimed.attempts} attempts: {reason}")
    prompt = _clip(rooms, claimed.prompt)
    named = {key: claimed.options[key] for key in rooms.host.clip_options if key in claimed.options}
    clips = {key: _clip(rooms, name) for key, name in named.items()}
    shelf = rooms.spool.shelf(claimed.speech)
    key = _key(claimed, facts, [prompt, *clips.values()])
    kept = shelf.plan(key)
    segments = [Segment(**row) for row in kept] if kept is not None else _split(rooms, claimed, shelf, key)
    missing = list(shelf.missing(len(segments)))
    if kept is not None:
        rooms.store.planned(claimed, len(segments), len(segments) - len(missing), survived=False)
    return Work(claimed, prompt, clips, shelf, segments, missing)


def publish(rooms: Rooms, work: Work, sample_rate: int) -> None:
    """Make the file of a speech whose segments are all there.

    Raises:
        SpeechFailed, Cancelled, SegmentDamaged, OSError
    """
    claimed = work.claimed
    with rooms.outputs.draft(claimed.directory, f"{claimed.task_id}-{claimed.speech}") as draft:
        seconds = audio.write(draft.file, claimed.format, sample_rate, _alive(rooms, work.pieces()))
        digest = draft.seal()
        if not draft.stands(claimed.file_name, digest, claimed.digest):
            rooms.store.publishing(claimed, digest)
            if rooms.store.cancel_requested(claimed):
                raise Cancelled
            draft.publish(claimed.file_name, overwrite=claimed.overwrite)
    rooms.store.complete(claimed, seconds)
    work.shelf.clear()
    rooms.bell.ring()
    said = {"action": "speech_done", "task": claimed.task_id}
    log.info("%s: %s is there", claimed.task_id, claimed.file_name, extra=said)


def _alive(rooms: Rooms, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """To write hours of speech takes minutes, in some formats: each piece is a sign of life."""
    for piece in pieces:
        rooms.sign.within()
        yield piece


def _clip(rooms: Rooms, name: str) -> Clip:
    file = rooms.prompts.file(name)
    return Clip(file, content_hash(file))


def _key(claimed: Claim, facts: Facts, clips: list[Clip]) -> str:
    """Names all that shapes the sound: segments kept under another key are of no use."""
    heard = [clip.sha256 for clip in clips]
    shape = [facts.identity, heard, claimed.options, claimed.seed, claimed.infer_mode, claimed.text]
    return hashlib.sha256(strict_json.canonical(shape)).hexdigest()


def _split(rooms: Rooms, claimed: Claim, shelf: Shelf, key: str) -> list[Segment]:
    with in_engine(rooms, claimed):
        segments = rooms.host.split(claimed.text, dict(claimed.options))
    if not segments:
        raise SpeechFailed("nothing in the text can be spoken")
    # First of all that it came back: whatever the disks say next is no fault of this text.
    insist(rooms, lambda: rooms.store.planned(claimed, len(segments), 0, survived=True))
    shelf.keep_plan(key, [dataclasses.asdict(segment) for segment in segments])
    return segments
