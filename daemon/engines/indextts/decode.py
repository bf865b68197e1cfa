"""The GPT's part of `批次推理`: the codes of many segments at once, whatever their voices.

All three versions have the same `UnifiedVoice` here. Each row has conditioning and a random stream of its own, so that
its codes do not depend on who else is in the batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

log = logging.getLogger("indexttsd.decode")

T = TypeVar("T")
Tensor = Any  # torch.Tensor: mypy does not look into torch


@dataclass(frozen=True, slots=True)
class Row:
    """One segment to decode.

    Attributes:
        conditioning: (1, n, dim), as the version's `prepare_gpt_inputs` takes it; n is the same in all rows.
        tokens: ids of the text, without start and stop.
        sampling: `Sampling.batched()` of its options.
        seed: of its random stream.
        lang: id of its language, where the version has one.
    """

    conditioning: Tensor
    tokens: Sequence[int]
    sampling: Mapping[str, Any]
    seed: int
    lang: int | None = None


class Groups:
    """Cuts a batch into groups of rows that can go through the model together."""

    def __init__(self, most: int) -> None:
        """Args: most: rows of a group; becomes smaller for good when the GPU's memory turns out not to suffice."""
        self.most = most

    def each(self, rows: Sequence[Row], work: Callable[[list[Row]], Sequence[T]]) -> list[T]:
        """What `work` makes of the rows, in their order.

        Rows of a group share their sampling, and are of like length because the longest of them ends it.

        Raises:
            torch.OutOfMemoryError: a group was too big and so was its half.
        """
        results: dict[int, T] = {}
        for group in _alike(rows):
            left = group
            while left:
                chunk, left = left[: self.most], left[self.most :]
                results.update(zip(chunk, self._halving([rows[index] for index in chunk], work), strict=True))
        return [results[index] for index in range(len(rows))]

    def _halving(self, rows: list[Row], work: Callable[[list[Row]], Sequence[T]]) -> list[T]:
        try:
            return list(work(rows))
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
        torch.cuda.empty_cache()  # outside of the handler, whose traceback holds the tensors
        half = (len(rows) + 1) // 2
        self.most = min(self.most, half)
        log.warning("the GPU's memory does not suffice for %d segments at once; from now on %d", len(rows), self.most)
        return [result for part in (rows[:half], rows[half:]) for result in work(part)]


def _alike(rows: Sequence[Row]) -> list[list[int]]:
    """Indices of rows with equal sampling, the shortest first."""
    groups: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(tuple(sorted(row.sampling.items())), []).append(index)
    return [sorted(group, key=lambda index: len(rows[index].tokens)) for group in groups.values()]


def decode(gpt: Any, rows: Sequence[Row]) -> list[Tensor]:
    """The codes of rows that share their sampling.

    Args:
        gpt: a `UnifiedVoice` of any version, with its KV cache on. Called under the caller's autocast.

    Returns:
        A 1-D tensor of codes per row, without the STOP; as long as `max_mel_tokens` if the model never said STOP.
    """
    sampling = dict(rows[0].sampling)
    most = sampling.pop("max_mel_tokens")
    with torch.no_grad():
        ids, prefix, mask = _inputs(gpt, rows)
        gpt.inference_model.store_mel_emb(prefix)
        codes = gpt.inference_model.generate(
            ids,
            attention_mask=mask,
            bos_token_id=gpt.start_mel_token,
            pad_token_id=gpt.stop_mel_token,
            eos_token_id=gpt.stop_mel_token,
            max_length=ids.shape[1] + most,
            **_choosing(sampling, [row.seed for row in rows], ids.device),
        )
    return [_until_stop(row, gpt.stop_mel_token) for row in codes[:, ids.shape[1] :]]


def _inputs(gpt: Any, rows: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor]:
    """Placeholder ids, embeddings of voice and text, mask: padded on the left by upstream's own code."""
    device = rows[0].conditioning.device
    tokens = [torch.tensor(row.tokens, dtype=torch.int32, device=device) for row in rows]
    padded = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=gpt.stop_text_token)
    langs = [] if rows[0].lang is None else [torch.tensor([row.lang for row in rows], device=device)]
    ids, prefix, mask = gpt.prepare_gpt_inputs(torch.cat([row.conditioning for row in rows]), padded, *langs)
    return ids, prefix, mask


def _choosing(sampling: Mapping[str, Any], seeds: Sequence[int], device: Any) -> dict[str, Any]:
    """Arguments of `generate`: upstream's own for a search, our random streams for a draw."""
    common = {"do_sample": False, "num_return_sequences": 1, "repetition_penalty": sampling["repetition_penalty"]}
    if not sampling["do_sample"]:
        return {**common, "num_beams": sampling["num_beams"], "length_penalty": 0.0}
    drawn = RowGumbel(seeds, sampling["temperature"], sampling["top_k"], sampling["top_p"], device)
    return {**common, "num_beams": 1, "logits_processor": LogitsProcessorList([drawn])}


class RowGumbel:
    """Makes the likeliest code a draw: the greatest of logits with Gumbel noise is distributed as their softmax.

    The noise of a row comes from its own generator. All codes get some, also those that cannot be drawn: noise by rank
    would go to another code as soon as another batch rounds two likely ones otherwise.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, top_k: int, top_p: float, device: Any = "cpu") -> None:
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._warpers = [TemperatureLogitsWarper(float(temperature)), TopKLogitsWarper(top_k), TopPLogitsWarper(top_p)]

    def __call__(self, ids: Tensor, logits: Tensor) -> Tensor:
        """Logits (rows, codes) of the next code, with noise."""
        logits = logits.float()
        for warp in self._warpers:
            logits = warp(ids, logits)
        uniform = torch.stack(
            [torch.rand(logits.shape[1], generator=one, device=one.device) for one in self._generators]
        )
        return logits - torch.log(-torch.log(uniform.clamp_min(1e-12)))


def warn_of_cut(codes: int) -> None:
    """Upstream cuts speech off there too, and only warns."""
    log.warning("a segment was not over after %d codes and was cut there; raise 'max_mel_tokens'", codes)


def _until_stop(codes: Tensor, stop: int) -> Tensor:
    stops = (codes == stop).nonzero()
    return codes[: int(stops[0])] if len(stops) else codes
