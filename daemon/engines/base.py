"""What an engine is: text + prompt + options -> audio. Nothing here imports an engine or a heavy library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from daemon.audio import Audio
from daemon.engines.clips import ClipRules
from daemon.engines.weights import Weights
from daemon.schema import Strict

#: Anything JSON can say: segments and options cross a process border as JSON.
Json = object


@dataclass(frozen=True, slots=True)
class Segment:
    """One engine call's worth of text.

    Attributes:
        text: what is spoken, for people and logs.
        pause: seconds of silence that belong after it; the last one's is not played.
        payload: what the engine needs to speak it (tokens, phonemes), JSON-able and opaque to all others.
        size: how long it will take, in a unit of the engine's own (tokens, say): a batch is made of like sizes,
            because it takes as long as its longest row.
    """

    text: str
    pause: float = 0.0
    payload: Json = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording from `prompts/`.

    Attributes:
        file: where it lies; its content may have changed since.
        sha256: hex digest of the content that is meant: the only safe key for a cache of voices.
    """

    file: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Utterance:
    """A segment together with all that shapes its sound.

    Attributes:
        segment: what to say.
        prompt: whose voice.
        options: the request's options, already validated against `EngineSpec.request_options`.
        clips: the recordings that options name (`EngineSpec.clip_options`), by the option's key.
        seed: of this segment, 0 to 2**32-1; the same seed must give the same audio on one machine.
        batched: spoken in `批次推理`: with whatever company, it must sound the same; else as the model speaks alone.
    """

    segment: Segment
    prompt: Clip
    options: Mapping[str, Json] = field(default_factory=dict)
    clips: Mapping[str, Clip] = field(default_factory=dict)
    seed: int = 0
    batched: bool = False


@dataclass(frozen=True, slots=True)
class SegmentError:
    """Takes the audio's place for a segment that cannot be spoken; `message` is one sentence for the client."""

    message: str


class Engine(Protocol):
    """A loaded engine. It lives in a process of its own and is called by one thread.

    Attributes:
        sample_rate: Hz of all its audio.
        plain_batch: the most utterances of one speech that one `speak` takes in `普通推理`.
        max_batch: the most utterances of any speeches that one `speak` takes in `批次推理`; 1: no batching.
        identity: names code, model and settings that shape the sound; audio kept under another identity is not reused.
    """

    sample_rate: int
    plain_batch: int
    max_batch: int
    identity: str

    def split(self, text: str, options: Mapping[str, Json]) -> list[Segment]:
        """Cut a text into segments, in order.

        Raises:
            SpeechFailed: nothing in the text can be spoken, said in one sentence.
        """
        ...

    def speak(self, batch: Sequence[Utterance]) -> Sequence[Audio | SegmentError]:
        """Speak utterances of any voices and options, answered in order.

        What it raises counts for the whole batch: `recover` is asked, and the rows are tried again in halves.
        """
        ...

    def recover(self) -> bool:
        """After `speak` raised: free what can be freed. False if this process can speak no more; it is replaced."""
        ...

    def gpu_bytes(self) -> int:
        """GPU memory that this process holds now, in bytes; 0 without a GPU."""
        ...


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The operator's settings, as the engine's process gets them.

    Attributes:
        model_dir: folder of the weights, or None for the engine's own.
        device: `auto`, `cpu`, `cuda`, `cuda:1` ...
        options: the operator's `engine.options`, already validated against `EngineSpec.engine_options`.
        cache_dir: a folder the engine may fill with what it can make again.
    """

    model_dir: Path | None
    device: str
    options: Mapping[str, Json]
    cache_dir: Path


class Options(Strict):
    """Base of option tables: strict, unknown keys refused, immutable."""

    def clash(self, infer_mode: str) -> str | None:  # noqa: ARG002
        """Why these options cannot be had in that mode, as a sentence that names the key; None if they can."""
        return None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at for `indexttsd check`.

    Attributes:
        what: what it is, in a word or two. ok: whether speech can come of it. detail: a sentence about how it is.
        advice: what would be better, though it works.
    """

    what: str
    ok: bool
    detail: str
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What can be known of an engine without loading it; the doors validate options with it.

    Attributes:
        name: `engine.name` of the configuration.
        load: builds the engine; imports its heavy libraries only when called. Raises EngineUnavailable.
        request_options: what a request's `options` may hold.
        engine_options: what the operator's `engine.options` may hold.
        about: one sentence for people on what it is and what a prompt does to its sound.
        clip_options: the keys of `request_options` whose value is a prompt's name.
        clip_rules: what a prompt's recording must be like; None of an engine that hears no recordings.
        weights: the files it needs in `engine.model_dir`; None if it brings its own.
        survey: looks at what it needs of this machine besides; may import heavy libraries, so it is called in a process
            of its own. None if whatever has installed the daemon has installed that.
    """

    name: str
    load: Callable[[EngineSettings], Engine]
    request_options: type[Options]
    engine_options: type[Options]
    about: str = ""
    clip_options: tuple[str, ...] = ()
    clip_rules: ClipRules | None = field(default_factory=ClipRules)
    weights: Weights | None = None
    survey: Callable[[EngineSettings], Iterable[Finding]] | None = None
