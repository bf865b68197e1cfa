"""`indexttsd say`: one text through the configured engine, straight into one file."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daemon import audio, premises, strict_json
from daemon.config import Config
from daemon.engines.base import Clip, EngineSpec, Segment, SegmentError, Utterance
from daemon.errors import BadRequest, SpeechFailed
from daemon.host import Host
from daemon.intake import check_options
from daemon.prompts import Prompts, content_hash
from daemon.schema import without_nulls
from daemon.tasks import MAX_SEED, PLAIN_MODE, segment_seed

_FORMATS = ("wav", "flac", "ogg", "mp3")


class _Speaking:
    """One text on its way through the engine."""

    def __init__(self, host: Host, prompts: Prompts, prompt: str, options: dict[str, Any], seed: int) -> None:
        named = {key: options[key] for key in host.clip_options if key in options}
        self._host = host
        self._prompt = _clip(prompts, prompt)
        self._options = options
        self._clips = {key: _clip(prompts, name) for key, name in named.items()}
        self._seed = seed
        self.took = 0.0

    def pieces(self, segments: list[Segment]) -> Iterator[bytes]:
        """PCM as it is spoken, with the pauses between."""
        facts = self._host.load()
        for at in range(0, len(segments), facts.plain_batch):
            batch = segments[at : at + facts.plain_batch]
            spoken = self._host.speak([self._utterance(segment, at + k) for k, segment in enumerate(batch)])
            self.took += spoken.took
            for k, result in enumerate(spoken.results):
                if isinstance(result, SegmentError):
                    raise SpeechFailed(result.message)
                yield result.pcm
                if at + k < len(segments) - 1:
                    yield audio.silence(segments[at + k].pause, facts.sample_rate)

    def _utterance(self, segment: Segment, index: int) -> Utterance:
        return Utterance(segment, self._prompt, self._options, self._clips, segment_seed(self._seed, index))


def _clip(prompts: Prompts, name: str) -> Clip:
    file = prompts.file(name)
    return Clip(file, content_hash(file))


def speak_once(
    config: Config, text: str, output: Path | None, prompt: str | None, seed: int | None, options: str
) -> dict[str, Any]:
    """Speak `text` into `output`; returns what was done, for people and programs.

    Args:
        options: as a request has them, a JSON object.

    Raises:
        BadRequest, SpeechFailed, EngineError, ConfigError
    """
    if not text.strip():
        raise BadRequest("the text is blank; give the words to speak")
    target = _free_default() if output is None else output
    if target.suffix[1:].lower() not in _FORMATS:
        raise BadRequest(f"{target} must end in {', '.join('.' + name for name in _FORMATS)}")
    _as_owner(config, target)
    prompts = Prompts(config.paths.prompts, config.prompts.default)
    name = prompts.choose(prompt)
    spec = premises.engine_spec(config)
    wanted = _options(spec, prompts, options)
    seed = random.randint(0, MAX_SEED) if seed is None else seed  # noqa: S311
    with premises.speaking_once(config) as host:
        segments = host.split(text, wanted)
        if not segments:
            raise SpeechFailed("nothing in the text can be spoken")
        speaking = _Speaking(host, prompts, name, wanted, seed)
        seconds = _write(target, host.load().sample_rate, _shown(speaking.pieces(segments), len(segments)))
    return {
        "output_file": str(target.absolute()),
        "audio_seconds": round(seconds, 3),
        "process_time": round(speaking.took, 2),
        "prompt": name,
        "seed": seed,
    }


def _as_owner(config: Config, target: Path) -> None:
    """The engine's copies of clips and models are the daemon's; so is, then, the file."""
    user = premises.act_as_owner(config)
    if user and not os.access(target.parent, os.W_OK | os.X_OK):
        raise BadRequest(f"{target} cannot be written by {user}, as whom root speaks here; name one in /tmp with -o")


def _options(spec: EngineSpec, prompts: Prompts, given: str) -> dict[str, Any]:
    try:
        options = strict_json.parse(given.encode(errors="surrogateescape"))
    except BadRequest as error:
        raise BadRequest(f"--options must be one JSON object: {error}") from None
    if not isinstance(options, dict):
        raise BadRequest("--options must be one JSON object")
    check_options(spec, prompts, options, PLAIN_MODE)
    return without_nulls(options, spec.request_options)


def _free_default() -> Path:
    """`speech.wav`, or `speech-2.wav` ... : a file that was not named is never overwritten."""
    names = (Path("speech.wav" if count == 1 else f"speech-{count}.wav") for count in range(1, 1_000_000))
    return next(name for name in names if not name.exists())


def _write(target: Path, sample_rate: int, pieces: Iterator[bytes]) -> float:
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("w+b") as file:
            seconds = audio.write(file, target.suffix[1:].lower(), sample_rate, pieces)
        os.replace(part, target)  # noqa: PTH105
    except OSError as error:
        raise BadRequest(f"{target} cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    return seconds


def _shown(pieces: Iterator[bytes], segments: int) -> Iterator[bytes]:
    """The same pieces, with a bar for a person who looks."""
    if not sys.stderr.isatty():
        yield from pieces
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("speaking", total=segments * 2 - 1)  # speech and pauses alternate
        for piece in pieces:
            progress.advance(bar)
            yield piece
