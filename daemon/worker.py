"""The loop: claim, speak, publish, finish. One thread, one engine, one speech at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from daemon import audio, strict_json
from daemon.bell import Bell
from daemon.engines.base import Clip, Segment, SegmentError, Utterance
from daemon.errors import EngineDied, EngineUnavailable, SpeechFailed
from daemon.host import Facts, Host
from daemon.outputs import Outputs
from daemon.prompts import Prompts, content_hash
from daemon.spool import Shelf, Spool
from daemon.store import Claim, ClaimLost, Store
from daemon.tasks import BATCH_MODE, segment_seed

log = logging.getLogger("indexttsd.worker")

#: How long to wait before an engine that could not be loaded is tried again: doubled each time, in seconds.
_FIRST_PATIENCE, _LONGEST_PATIENCE = 1.0, 60.0
#: How often an idle worker sees whether its engine still lives, in seconds; `/ready` is no staler than this.
_IDLE_LOOK = 10.0


class _Cancelled(Exception):
    """A client wants this speech to end."""


class _Stopped(Exception):
    """The daemon is being stopped."""


class _SegmentDamaged(Exception):
    """A finished segment changed on the disk; the next try finds it missing and speaks it again."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A claimed speech with all that is needed to speak it."""

    claimed: Claim
    facts: Facts
    prompt: Clip
    clips: dict[str, Clip]
    shelf: Shelf
    segments: list[Segment]


class Worker:
    """Owns the engine and works through the ledger.

    Args:
        max_attempts: how often a speech may take the engine down before it is given up.
    """

    def __init__(
        self, store: Store, host: Host, prompts: Prompts, outputs: Outputs, spool: Spool, bell: Bell, max_attempts: int
    ) -> None:
        self._store = store
        self._host = host
        self._prompts = prompts
        self._outputs = outputs
        self._spool = spool
        self._bell = bell
        self._max_attempts = max_attempts
        self._stop = threading.Event()

    def stop(self) -> None:
        """Let `run` end after the segments that are in the engine now."""
        self._stop.set()
        self._bell.ring()

    def run(self) -> None:
        """Work until stopped."""
        patience = _FIRST_PATIENCE
        while not self._stop.is_set():
            heard = self._bell.rings
            try:
                busy = self.step()
                patience = _FIRST_PATIENCE
            except EngineUnavailable as error:
                if self._stop.is_set():
                    break
                log.error("%s (next try in %g s)", error, patience, extra={"action": "engine_unavailable"})
                self._stop.wait(patience)
                patience, busy = min(patience * 2, _LONGEST_PATIENCE), True
            if not busy:
                self._spool.sweep(self._store.unfinished())  # shelves of what was cancelled while it waited
                self._bell.wait(heard, _IDLE_LOOK)
        self._host.close()

    def step(self) -> bool:
        """Speak the next waiting speech; False if there is none.

        Raises:
            EngineUnavailable: there is no engine to speak with; nothing stays claimed.
        """
        facts = self._host.load()
        claimed = self._store.claim()
        if claimed is None:
            return False
        with self._fate_of(claimed):
            work = self._plan(claimed, facts)
            self._speak(work)
            self._publish(work)
        self._bell.ring()
        return True

    @contextlib.contextmanager
    def _fate_of(self, claimed: Claim) -> Iterator[None]:
        """What becomes of a speech when something goes wrong: all of the fault policy."""
        try:
            yield
        except SpeechFailed as error:
            self._end(claimed, str(error))
        except _Cancelled:
            self._spool.shelf(claimed.speech).clear()
            self._store.end_cancelled(claimed)
        except _Stopped:
            self._store.give_back(claimed)
        except EngineDied as error:
            self._store.give_back(claimed, str(error))
        except EngineUnavailable:
            self._store.give_back(claimed)
            raise
        except ClaimLost as error:
            log.warning("%s", error)
        except Exception as error:
            # A bug or a full disk must not end the loop, nor be tried for ever: it counts as an attempt.
            log.exception("%s could not be spoken", claimed.task_id, extra={"task": claimed.task_id})
            reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
            self._store.give_back(claimed, f"internal error: {reason}", attempts=claimed.attempts + 1)

    def _end(self, claimed: Claim, error: str) -> None:
        what = f"{claimed.task_id}: {claimed.file_name}"
        log.warning("%s failed: %s", what, error, extra={"action": "task_failed", "task": claimed.task_id})
        self._spool.shelf(claimed.speech).clear()
        self._store.fail(claimed, error)

    def _plan(self, claimed: Claim, facts: Facts) -> _Work:
        """Cut the text into segments, or find how an earlier try cut it."""
        if claimed.attempts >= self._max_attempts:
            reason = claimed.last_error or "the daemon died while it was spoken"
            raise SpeechFailed(f"given up after {claimed.attempts} attempts: {reason}")
        prompt = self._clip(claimed.prompt)
        named = {key: claimed.options[key] for key in self._host.clip_options if key in claimed.options}
        clips = {key: self._clip(name) for key, name in named.items()}
        shelf = self._spool.shelf(claimed.speech)
        key = _key(claimed, facts, [prompt, *clips.values()])
        kept = shelf.plan(key)
        segments = [Segment(**row) for row in kept] if kept is not None else self._split(claimed, shelf, key)
        kept_count = len(segments) - sum(1 for _ in shelf.missing(len(segments)))
        self._store.split(claimed, len(segments), kept_count)
        return _Work(claimed, facts, prompt, clips, shelf, segments)

    def _clip(self, name: str) -> Clip:
        file = self._prompts.file(name)
        return Clip(file, content_hash(file))

    def _split(self, claimed: Claim, shelf: Shelf, key: str) -> list[Segment]:
        self._charge(claimed)
        segments = self._host.split(claimed.text, dict(claimed.options))
        self._store.survived(claimed)
        if not segments:
            raise SpeechFailed("nothing in the text can be spoken")
        shelf.keep_plan(key, [dataclasses.asdict(segment) for segment in segments])
        return segments

    def _charge(self, claimed: Claim) -> None:
        """Count an attempt, with a living engine at hand: one that died before is not this speech's doing."""
        self._host.load()
        self._store.charge(claimed)

    def _speak(self, work: _Work) -> None:
        missing = work.shelf.missing(len(work.segments))
        while batch := list(itertools.islice(missing, work.facts.max_batch)):
            self._may_go_on(work.claimed)
            self._speak_batch(work, batch)

    def _may_go_on(self, claimed: Claim) -> None:
        if self._stop.is_set():
            raise _Stopped
        if self._store.cancel_requested(claimed):
            raise _Cancelled

    def _speak_batch(self, work: _Work, batch: list[int]) -> None:
        self._charge(work.claimed)
        spoken = self._host.speak([_utterance(work, index) for index in batch])
        pairs = zip(batch, spoken.results, strict=True)
        done = [(index, result) for index, result in pairs if not isinstance(result, SegmentError)]
        for index, result in done:
            work.shelf.keep(index, result)
        self._store.advance(work.claimed, len(done), sum(result.seconds for _, result in done), spoken.took)
        for answer in spoken.results:
            if isinstance(answer, SegmentError):
                raise SpeechFailed(answer.message)

    def _publish(self, work: _Work) -> None:
        claimed = work.claimed
        with self._outputs.draft(claimed.directory, f"{claimed.task_id}-{claimed.speech}") as draft:
            seconds = audio.write(draft.file, claimed.format, work.facts.sample_rate, _pieces(work))
            digest = draft.seal()
            self._store.publishing(claimed, digest)
            if self._store.cancel_requested(claimed):
                raise _Cancelled
            draft.publish(claimed.file_name, overwrite=claimed.overwrite, own=claimed.digest)
        self._store.complete(claimed, seconds)
        work.shelf.clear()
        log.info("%s: %s is there", claimed.task_id, claimed.file_name, extra={"action": "speech_done"})


def _key(claimed: Claim, facts: Facts, clips: list[Clip]) -> str:
    """Names all that shapes the sound: segments kept under another key are of no use."""
    heard = [clip.sha256 for clip in clips]
    shape = [facts.identity, heard, claimed.options, claimed.seed, claimed.infer_mode, claimed.text]
    return hashlib.sha256(strict_json.canonical(shape)).hexdigest()


def _utterance(work: _Work, index: int) -> Utterance:
    return Utterance(
        segment=work.segments[index],
        prompt=work.prompt,
        options=work.claimed.options,
        clips=work.clips,
        seed=segment_seed(work.claimed.seed, index),
        batched=work.claimed.infer_mode == BATCH_MODE,
    )


def _pieces(work: _Work) -> Iterator[bytes]:
    """The file's samples, one segment in memory at a time."""
    last = len(work.segments) - 1
    for index, segment in enumerate(work.segments):
        kept = work.shelf.segment(index)
        if kept is None:
            raise _SegmentDamaged(f"segment {index} of {work.claimed.task_id} was damaged in the state folder")
        yield kept.pcm
        if index < last:
            yield audio.silence(segment.pause, kept.sample_rate)
