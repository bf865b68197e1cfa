"""IndexTTS 1.5, 2 and 2.5: voices cloned from the prompt, on a GPU. Importing this imports nothing heavy."""

from __future__ import annotations

from functools import partial

from daemon.engines.base import Engine, EngineSettings, EngineSpec
from daemon.engines.indextts import upstream
from daemon.engines.indextts.files import WEIGHTS_2, WEIGHTS_15, WEIGHTS_25
from daemon.engines.indextts.options import IndexSettings, Options2, Options15, Options25, Settings25
from daemon.engines.indextts.survey import survey
from daemon.engines.indextts.voices import RULES, RULES_15
from daemon.engines.weights import Weights, require

__all__ = ["SPECS"]


def _load(version: str, weights: Weights, settings: EngineSettings) -> Engine:
    """Heavy: torch and upstream's code come with the version's module, into a process that was prepared for them."""
    model_dir = require(weights, settings.model_dir)  # before the seconds that torch takes
    upstream.prepare(settings.cache_dir)
    engine: Engine = upstream.module(f"{__name__}.{version}").load(settings, model_dir)
    return engine


def _load_15(settings: EngineSettings) -> Engine:
    return _load("v15", WEIGHTS_15, settings)


def _load_2(settings: EngineSettings) -> Engine:
    return _load("v2", WEIGHTS_2, settings)


def _load_25(settings: EngineSettings) -> Engine:
    return _load("v25", WEIGHTS_25, settings)


SPECS = (
    EngineSpec(
        name="indextts-1.5",
        load=_load_15,
        weights=WEIGHTS_15,
        survey=partial(survey, ("torchaudio", "transformers", "indextts2-cli")),
        request_options=Options15,
        engine_options=IndexSettings,
        about="IndexTTS 1.5 speaks Mandarin and English in the voice of the prompt",
        clip_rules=RULES_15,
    ),
    EngineSpec(
        name="indextts-2",
        load=_load_2,
        weights=WEIGHTS_2,
        survey=partial(survey, ("torchaudio", "transformers", "indextts2-cli")),
        request_options=Options2,
        engine_options=IndexSettings,
        about="IndexTTS 2 speaks Mandarin and English in the voice of the prompt, with a feeling of its own",
        clip_options=("emo_audio",),
        clip_rules=RULES,
    ),
    EngineSpec(
        name="indextts-2.5",
        load=_load_25,
        weights=WEIGHTS_25,
        survey=partial(survey, ("transformers", "indextts25-inference")),
        request_options=Options25,
        engine_options=Settings25,
        about="IndexTTS 2.5 speaks Mandarin, English, Japanese, Spanish and Arabic in the voice of the prompt",
        clip_options=("emo_audio",),
        clip_rules=RULES,
    ),
)
