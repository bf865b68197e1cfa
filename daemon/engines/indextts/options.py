"""What a request and the operator may ask of the IndexTTS engines. Nothing here imports torch."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from daemon.engines.base import Options
from daemon.tasks import BATCH_MODE

#: Beams of a greedy search, and of sampling in `普通推理`, unless the request says otherwise: upstream's own number.
DEFAULT_BEAMS = 3
DEFAULT_SEGMENT_TOKENS = 120
#: Below this, sampling with several beams finds all but one code impossible and ends in an error of CUDA's.
_COLDEST_BEAMS = 0.1


class Sampling(Options):
    """How the model chooses its codes. What is left out has upstream's default (`DEFAULTS`).

    Attributes:
        do_sample: draw codes at random; false takes the likeliest.
        temperature, top_k, top_p: how adventurous the draw is.
        num_beams: how many candidates are followed at once. Sampling in `批次推理` follows one.
        repetition_penalty: above 1, codes that were said already become less likely.
        max_mel_tokens: longest speech of one segment, in codes.
        max_text_tokens_per_segment: where the text is cut at the latest, in text tokens.
    """

    #: Upstream's own defaults; `infer` of each version has them in its first lines.
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 30,
        "top_p": 0.8,
        "repetition_penalty": 10.0,
        "max_mel_tokens": 600,
    }

    do_sample: bool | None = None
    temperature: float | None = Field(None, ge=0.01, le=5, allow_inf_nan=False)
    top_k: int | None = Field(None, ge=1, le=1000)
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    num_beams: int | None = Field(None, ge=1, le=10)
    repetition_penalty: float | None = Field(None, ge=0.1, le=100, allow_inf_nan=False)
    max_mel_tokens: int | None = Field(None, ge=1, le=800)
    max_text_tokens_per_segment: int = Field(DEFAULT_SEGMENT_TOKENS, ge=5, le=600)

    def clash(self, infer_mode: str) -> str | None:
        """Sampling with beams would need one random stream for all beams of all rows; greedy beams do not."""
        beams = self.num_beams or (1 if infer_mode == BATCH_MODE else DEFAULT_BEAMS)
        if self.do_sample is False or beams == 1:
            return None
        if infer_mode == BATCH_MODE:
            return (
                f"'num_beams' {self.num_beams} with sampling is not possible in {BATCH_MODE}; leave 'num_beams' out, "
                "or set 'do_sample' to false"
            )
        if self.temperature is not None and self.temperature < _COLDEST_BEAMS:
            return (
                f"'temperature' {self.temperature:g} is too low to sample with {beams} beams: give at least "
                f"{_COLDEST_BEAMS}, or set 'num_beams' to 1"
            )
        return None

    def given(self) -> dict[str, Any]:
        """What the request itself says of the sampling; upstream fills in the rest."""
        return {key: value for key in _SAMPLING if (value := getattr(self, key)) is not None}

    def batched(self) -> dict[str, Any]:
        """All of the sampling, for `批次推理`."""
        full = {**self.DEFAULTS, **self.given()}
        full.setdefault("num_beams", 1 if full["do_sample"] else DEFAULT_BEAMS)
        return full


_SAMPLING = (
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "num_beams",
    "repetition_penalty",
    "max_mel_tokens",
)


class Emotional(Sampling):
    """What IndexTTS 2 and 2.5 can do with a feeling. At most one of audio, vector and text.

    Attributes:
        emo_audio: name of a prompt that is spoken with that feeling.
        emo_alpha: how much of it, 0 to 1.
        emo_vector: weights of happy, angry, sad, afraid, disgusted, melancholic, surprised, calm; their sum at most 1
            (upstream's own page stays below 0.8).
        emo_text: a description of the feeling, read by the language model among the weights.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {**Sampling.DEFAULTS, "temperature": 0.8, "max_mel_tokens": 1500}

    max_mel_tokens: int | None = Field(None, ge=1, le=1815)
    emo_audio: str | None = Field(None, min_length=1)
    emo_alpha: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    emo_vector: list[float] | None = None
    emo_text: str | None = Field(None, min_length=1, max_length=1000)

    @field_validator("emo_vector")
    @classmethod
    def _eight(cls, vector: list[float] | None) -> list[float] | None:
        if vector is None:
            return None
        if len(vector) != 8 or not all(0 <= weight <= 1 for weight in vector):
            raise ValueError("'emo_vector' must be 8 numbers from 0 to 1")
        if sum(vector) > 1:
            raise ValueError(f"the weights of 'emo_vector' add up to {sum(vector):g}; 1 is the most")
        return vector

    @model_validator(mode="after")
    def _one_feeling(self) -> Self:
        feelings = [key for key in ("emo_audio", "emo_vector", "emo_text") if getattr(self, key) is not None]
        if len(feelings) > 1:
            raise ValueError(f"'{feelings[0]}' and '{feelings[1]}' exclude each other; give one of them")
        if self.emo_alpha is not None and not feelings:
            raise ValueError("'emo_alpha' says how much of a feeling; give 'emo_audio', 'emo_vector' or 'emo_text' too")
        return self


class Options15(Sampling):
    """What a request may ask of IndexTTS 1.5."""


class Options2(Emotional):
    """What a request may ask of IndexTTS 2. Upstream's `infer` of this version always samples."""

    def clash(self, infer_mode: str) -> str | None:
        """See `Sampling.clash`."""
        if self.do_sample is False and infer_mode != BATCH_MODE:
            return f"'do_sample' false is not possible here: IndexTTS 2 always samples, but in {BATCH_MODE}"
        return super().clash(infer_mode)


LANGUAGES = ("ZH", "EN", "JA", "ES", "AR")


class Options25(Emotional):
    """What a request may ask of IndexTTS 2.5.

    Attributes:
        lang: the text's language; found from the text if left out.
        duration_factor: above 1 slower, below 1 faster; below about 0.78 nothing gets faster any more.
    """

    lang: Literal["ZH", "EN", "JA", "ES", "AR"] | None = None
    duration_factor: float | None = Field(None, ge=0.5, le=2, allow_inf_nan=False)

    @field_validator("lang", mode="before")
    @classmethod
    def _any_case(cls, lang: object) -> object:
        return lang.upper() if isinstance(lang, str) else lang


class IndexSettings(Options):
    """What the operator may set of every version.

    Attributes:
        precision: of the GPT on a GPU; `auto` is what upstream takes. A CPU computes in fp32.
        max_batch: the most segments that are decoded together in `批次推理`.
        voices: of how many recordings the computed voice is kept.
    """

    precision: Literal["auto", "fp32", "fp16"] = "auto"
    max_batch: int = Field(16, ge=1, le=256)
    voices: int = Field(32, ge=1, le=10_000)


class Settings25(IndexSettings):
    """What the operator may set of IndexTTS 2.5, whose half precision is bf16."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"  # type: ignore[assignment]
