"""IndexTTS 1.5, 2 and 2.5: voices cloned from the prompt, on a GPU. Importing this imports nothing heavy."""

from __future__ import annotations

from daemon.engines.base import Engine, EngineSettings, EngineSpec
from daemon.engines.clips import ClipRules
from daemon.engines.indextts.files import WEIGHTS_2, WEIGHTS_15, WEIGHTS_25
from daemon.engines.indextts.options import IndexSettings, Options2, Options15, Options25, Settings25

__all__ = ["SPECS"]

#: The whole recording is loaded; 1.5 clones from all of it, 2 and 2.5 from what they hear first.
_CLIPS_15 = ClipRules(longest=60, heard=60)
_CLIPS = ClipRules(longest=60)


def _load_15(settings: EngineSettings) -> Engine:
    from daemon.engines.indextts.v15 import load  # noqa: PLC0415 (torch and the model's code come with it)

    return load(settings)


def _load_2(settings: EngineSettings) -> Engine:
    from daemon.engines.indextts.v2 import load  # noqa: PLC0415

    return load(settings)


def _load_25(settings: EngineSettings) -> Engine:
    from daemon.engines.indextts.v25 import load  # noqa: PLC0415

    return load(settings)


SPECS = (
    EngineSpec(
        name="indextts-1.5",
        load=_load_15,
        weights=WEIGHTS_15,
        request_options=Options15,
        engine_options=IndexSettings,
        about="IndexTTS 1.5 speaks Mandarin and English in the voice of the prompt",
        clip_rules=_CLIPS_15,
    ),
    EngineSpec(
        name="indextts-2",
        load=_load_2,
        weights=WEIGHTS_2,
        request_options=Options2,
        engine_options=IndexSettings,
        about="IndexTTS 2 speaks Mandarin and English in the voice of the prompt, with a feeling of its own",
        clip_options=("emo_audio",),
        clip_rules=_CLIPS,
    ),
    EngineSpec(
        name="indextts-2.5",
        load=_load_25,
        weights=WEIGHTS_25,
        request_options=Options25,
        engine_options=Settings25,
        about="IndexTTS 2.5 speaks Mandarin, English, Japanese, Spanish and Arabic in the voice of the prompt",
        clip_options=("emo_audio",),
        clip_rules=_CLIPS,
    ),
)
