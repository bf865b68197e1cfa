"""The engine's own process: loads one engine, then answers calls on its socket until the daemon is gone.

Started as `python -m daemon.engines.process FD PARENT_PID`. What the engine prints goes to the log, never on the line.
Every answer tells how much memory the process holds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from daemon import logs, wire
from daemon.audio import Audio
from daemon.engines import SPECS, noise
from daemon.engines.base import Clip, Engine, EngineSettings, EngineSpec, Segment, SegmentError, Utterance
from daemon.engines.clips import ClipRules, Verdict, inspect
from daemon.errors import EngineUnavailable, SpeechFailed
from daemon.offspring import die_with
from daemon.schema import first_complaint

log = logging.getLogger("indexttsd.engine")

#: Exit status of a process that can speak no more: a GPU's context cannot be had anew within it.
GAVE_UP = 70


class _GaveUp(Exception):
    """The engine cannot recover from what is named here, without a word of the text: everybody may ask how it is."""


def main() -> None:
    """Serve the socket given on the command line until it closes."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    faulthandler.enable()
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the daemon's to handle; it lets a segment finish
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with socket.socket(fileno=descriptor) as line:
        try:
            _serve(line)
        except (wire.WireBroken, OSError):
            log.debug("the daemon is gone", exc_info=True)
        except Exception:
            log.critical("the engine's process broke", exc_info=True)
            sys.exit(1)


def _serve(line: socket.socket) -> None:
    request, _ = wire.receive(line)
    logs.set_up(request["log_level"], texts=request["log_texts"])
    noise.to_log()
    try:
        spec = SPECS[request["name"]]
        engine = spec.load(_settings(request))
    except EngineUnavailable as error:
        wire.send(line, {"call": request["call"], "unavailable": str(error)})
        return
    except Exception as error:
        log.exception("the engine could not be loaded")
        unavailable = f"the engine could not be loaded: {_named(error)}"  # no text has come here yet
        wire.send(line, {"call": request["call"], "unavailable": unavailable})
        return
    facts = {fact: getattr(engine, fact) for fact in ("sample_rate", "plain_batch", "max_batch", "identity")}
    wire.send(line, {"call": request["call"], "facts": facts, "memory": _memory(engine)})
    # The test tone judges recordings only when it is told to.
    _answer_calls(line, engine, spec, getattr(engine, "clip_rules", spec.clip_rules))


def _answer_calls(line: socket.socket, engine: Engine, spec: EngineSpec, rules: ClipRules | None) -> None:
    answers: dict[str, Callable[[dict[str, Any]], tuple[dict[str, Any], bytes]]] = {
        "split": lambda call: _split(engine, spec, call),
        "speak": lambda call: _speak(engine, call),
        "inspect": lambda call: _inspect(rules, call),
    }
    while True:
        call, _ = wire.receive(line)
        try:
            answer, blob = answers[call["do"]](call)
        except _GaveUp as error:
            _give_up(line, str(error))
        wire.send(line, answer | {"call": call["call"], "memory": _memory(engine)}, blob)


def _give_up(line: socket.socket, reason: str) -> NoReturn:
    log.critical("the engine's process gives up: %s", reason)
    with contextlib.suppress(OSError):
        wire.send(line, {"gave_up": reason})
    os._exit(GAVE_UP)  # a broken GPU context can hang an exit in good order


def _memory(engine: Engine) -> dict[str, int]:
    """Bytes this process holds, of the machine's memory and of the GPU's."""
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    return {"rss": resident * os.sysconf("SC_PAGE_SIZE"), "gpu": engine.gpu_bytes()}


def _settings(request: Mapping[str, Any]) -> EngineSettings:
    model_dir = request["model_dir"]
    return EngineSettings(
        model_dir=Path(model_dir) if model_dir else None,
        device=request["device"],
        options=request["options"],
        cache_dir=Path(request["cache_dir"]),
    )


def _split(engine: Engine, spec: EngineSpec, call: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        _check_options(spec, call["options"])
        segments = engine.split(call["text"], call["options"])
    except SpeechFailed as error:
        return {"failed": str(error)}, b""
    except Exception as error:
        reason, plain = _named(error), logs.words(error)
        log.exception("a text could not be split")
    else:
        return {"segments": [dataclasses.asdict(segment) for segment in segments]}, b""
    if not _recovered(engine):  # a described feeling is read on the GPU
        raise _GaveUp(plain)
    return {"failed": f"the engine could not split the text: {reason}"}, b""


def _check_options(spec: EngineSpec, options: Mapping[str, Any]) -> None:
    """Refuse what was accepted while another engine was configured."""
    try:
        spec.request_options.model_validate(options)
    except ValidationError as error:
        sentence = first_complaint(error, spec.request_options).sentence
        raise SpeechFailed(f"{spec.name}, which is the engine now, does not take its 'options': {sentence}") from None


def _inspect(rules: ClipRules | None, call: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        verdict = inspect(Path(call["file"]), rules)
    except Exception as error:
        log.exception("a recording could not be listened to")
        verdict = Verdict(f"it cannot be listened to ({_named(error)}); save it again as a WAV file")
    return dataclasses.asdict(verdict), b""


def _speak(engine: Engine, call: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    batch = [_utterance(item) for item in call["batch"]]
    began = time.perf_counter()
    results = _spoken(engine, batch)
    took = time.perf_counter() - began
    rows: list[dict[str, Any]] = [
        {"bytes": len(result.pcm)} if isinstance(result, Audio) else {"error": result.message} for result in results
    ]
    blob = b"".join(result.pcm for result in results if isinstance(result, Audio))
    return {"results": rows, "took": took}, blob


def _spoken(engine: Engine, batch: Sequence[Utterance]) -> Sequence[Audio | SegmentError]:
    """A failing batch is spoken again in halves: less memory may do, and in the end only the culprit fails."""
    try:
        return engine.speak(batch)
    except Exception as error:
        reason, plain = _named(error), logs.words(error)
        log.warning("%d segments could not be spoken: %s", len(batch), plain, exc_info=len(batch) == 1)
    # Only now, without the error, its frames let go of what they hold on the GPU.
    if not _recovered(engine):
        raise _GaveUp(plain)
    if len(batch) == 1:
        return [SegmentError(f"the engine failed: {reason}")]
    half = len(batch) // 2
    return [*_spoken(engine, batch[:half]), *_spoken(engine, batch[half:])]


def _recovered(engine: Engine) -> bool:
    try:
        return engine.recover()
    except Exception:
        log.exception("the engine could not free what it holds")
        return False


def _utterance(item: Mapping[str, Any]) -> Utterance:
    return Utterance(
        segment=Segment(**item["segment"]),
        prompt=_clip(item["prompt"]),
        options=item["options"],
        clips={key: _clip(clip) for key, clip in item["clips"].items()},
        seed=item["seed"],
        batched=item["batched"],
    )


def _clip(item: Mapping[str, str]) -> Clip:
    return Clip(Path(item["file"]), item["sha256"])


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
