"""How much faster IndexTTS 1.5 speaks many tasks in `批次推理` than in `普通推理`, as ratios within one run.

The weights are random and the vocoder is tiny: it is the GPT's time that batches save.

    python benchmarks/batches.py                      # a small model, any machine
    python benchmarks/batches.py --size true --device cuda:0 --segments 64 --json

Random weights cost what true ones cost, but how long they speak is arranged: every segment ends after about --codes
codes. Modes take turns, so that a busy machine disturbs both alike; the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from daemon.audio import Audio
from daemon.engines import SPECS
from daemon.engines.base import Clip, Engine, EngineSettings, Utterance
from tests.tiny import common, v15

SIZES = {"small": (256, 6, 8), "middle": (512, 8, 8), "true": (1280, 24, 20)}
TEXTS = [
    "今天天气很好，我们去散步。",
    "HELLO WORLD, THIS IS A GOOD DAY.",
    "你好世界。",
    "我们一起去公园散步，晚上再回家吃饭！",
]
#: name -> (batched, options)
MODES: dict[str, tuple[bool, dict[str, Any]]] = {
    "普通推理, 3 beams": (False, {}),
    "普通推理, 1 beam": (False, {"num_beams": 1}),
    "批次推理, sampled": (True, {}),
    "批次推理, greedy, 3 beams": (True, {"do_sample": False}),
}


def main() -> None:
    """Build the model, let it speak, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--segments", type=int, default=16)
    parser.add_argument("--codes", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine, clips = _engine(Path(folder), asked)
        took = {name: [] for name in MODES}
        for round_ in range(asked.rounds + 1):  # the first warms up
            for name, (batched, options) in MODES.items():
                seconds = _spoken(engine, clips, asked.segments, options, batched=batched)
                took[name] += [seconds] if round_ else []
        _report(took, asked)


def _engine(folder: Path, asked: argparse.Namespace) -> tuple[Engine, list[Clip]]:
    width, layers, heads = SIZES[asked.size]
    config = copy.deepcopy(v15.CONFIG)
    config["gpt"] |= {"model_dim": width, "layers": layers, "heads": heads, "number_mel_codes": 8194}
    config["gpt"] |= {"start_mel_token": 8192, "stop_mel_token": 8193}
    config["bigvgan"] |= {"gpt_dim": width}
    model = folder / "model"
    model.mkdir()
    v15.build(model, config, lambda gpt: common.set_end(gpt, asked.codes, ramp=6, strength=30, stop_weight=1.5))
    cache = folder / "cache"
    cache.mkdir()
    options = {"max_batch": asked.segments}
    with contextlib.redirect_stdout(io.StringIO()):
        engine = SPECS["indextts-1.5"].load(EngineSettings(model, asked.device, options, cache))
    files = [common.write_voice(folder / f"{hertz}.wav", hertz) for hertz in (120, 160, 210, 260)]
    return engine, [Clip(file, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]


def _spoken(
    engine: Engine, clips: list[Clip], count: int, options: dict[str, Any], *, batched: bool
) -> tuple[float, float]:
    """Seconds of work and of speech for `count` segments of as many tasks, in turn of each voice."""
    segments = [engine.split(TEXTS[at % len(TEXTS)], options)[0] for at in range(count)]
    rows = [
        Utterance(segment, clips[at % len(clips)], options, seed=at, batched=batched)
        for at, segment in enumerate(segments)
    ]
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):  # upstream prints much
        results = engine.speak(rows)
    took = time.perf_counter() - began
    return took, sum(result.seconds for result in results if isinstance(result, Audio))


def _report(took: dict[str, list[tuple[float, float]]], asked: argparse.Namespace) -> None:
    speeds = {name: statistics.median(speech / work for work, speech in rounds) for name, rounds in took.items()}
    base = next(iter(speeds.values()))
    table = {
        name: {"speech_per_second": round(speed, 3), "ratio": round(speed / base, 2)} for name, speed in speeds.items()
    }
    if asked.json:
        print(json.dumps({**vars(asked), "cores": os.cpu_count(), "modes": table}, ensure_ascii=False))
        return
    print(f"{asked.segments} tasks of one segment, 4 voices, {asked.size} model, {asked.device}")
    for name, row in table.items():
        print(f"{name:32} {row['speech_per_second']:8.3f} s of speech per second   x{row['ratio']:.2f}")


if __name__ == "__main__":
    main()
