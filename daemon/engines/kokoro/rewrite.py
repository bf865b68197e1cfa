"""Rewrites the model's int8 convolutions as matrix products, once: `python -m daemon.engines.kokoro.rewrite FROM TO`.

onnxruntime's ConvInteger unfolds its input slowly and, the weights being uint8, does not use the CPU's int8 dot
products (AVX-VNNI, AVX512-VNNI). The same sum as a product with constant int8 weights takes about a third of the time.
The weights span 7 bits; shifted to -64..63 they are exact and no product can overflow the 16-bit steps of a CPU without
VNNI. The int32 sums are the original's; only the bias, which the original rounds down to a whole step, is added as it
is. It runs in a process of its own, which takes its memory (and the package onnx) along when it ends.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

_MIDDLE = 64
_END = np.iinfo(np.int64).max


class _Chain(NamedTuple):
    """A quantised convolution: ConvInteger, perhaps Add of a bias, Cast, Mul by the scales."""

    conv: onnx.NodeProto
    bias: str | None
    last: onnx.NodeProto


class _Rewriter:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.maker = {output: node for node in graph.node for output in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)
        self.nodes: list[onnx.NodeProto] = []
        self.made: set[str] = set()

    def run(self) -> int:
        """Replaces all it can; the number of convolutions replaced."""
        chains = [self.chain(node) for node in self.graph.node if node.op_type == "ConvInteger" and self.fits(node)]
        by_last = {chain.last.output[0]: chain for chain in chains}
        for node in self.graph.node:
            chain = by_last.get(node.output[0])
            self.nodes.append(node) if chain is None else self.replace(chain)
        self.drop_unused()
        return len(chains)

    def fits(self, conv: onnx.NodeProto) -> bool:
        weights = self.value(conv.input[1])
        return _attributes(conv)["strides"] == [1] and weights.shape[0] > 1 and int(weights.max()) < 2 * _MIDDLE

    def chain(self, conv: onnx.NodeProto) -> _Chain:
        bias, node = None, self.only_reader(conv)
        if node.op_type == "Add":
            bias = node.input[1]
            while bias not in self.constants:  # Reshape, Cast, Floor and Div led from the bias to here
                bias = self.maker[bias].input[0]
            node = self.only_reader(node)
        last = self.only_reader(node)
        if (node.op_type, last.op_type) != ("Cast", "Mul"):
            raise ValueError(f"unexpected nodes after {conv.name}")
        return _Chain(conv, bias, last)

    def replace(self, chain: _Chain) -> None:
        quantised, weights, zero, weights_zero = chain.conv.input
        result = chain.last.output[0]
        scale = self.maker[quantised].output[1]
        (weights_scale,) = (name for name in self.maker[chain.last.input[1]].input if name in self.constants)
        matrix = self.value(weights).transpose(2, 1, 0)
        inputs = [
            self.unfold(chain.conv),
            self.constant(f"{weights}_matrix", _signed(matrix.reshape(-1, matrix.shape[2]))),
            scale,
            weights_scale,
            zero,
            self.constant(f"{weights_zero}_signed", _signed(self.value(weights_zero))),
            *([chain.bias] if chain.bias else []),
        ]
        product = self.node("MatMulIntegerToFloat", inputs, f"{result}_product", domain="com.microsoft")
        self.node("Transpose", [product], result, perm=[0, 2, 1])

    def unfold(self, conv: onnx.NodeProto) -> str:
        """Name of the input as rows of all the values under the kernel, (1, time, width * channels)."""
        source, zero, attributes = conv.input[0], conv.input[2], _attributes(conv)
        (width,), (step,), pads = attributes["kernel_shape"], attributes["dilations"], attributes["pads"]
        rows = self.node("Transpose", [source], f"{source}_rows", perm=[0, 2, 1])
        if width == 1:
            return rows
        name = f"{rows}_{width}_{step}_{pads[0]}_{pads[1]}"
        padded = self.node("Pad", [rows, self.numbers(0, pads[0], 0, 0, pads[1], 0), zero], f"{name}_padded")
        parts = [
            self.node(
                "Slice",
                [padded, self.numbers(at * step), self.numbers((at + 1 - width) * step or _END), self.numbers(1)],
                f"{name}_{at}",
            )
            for at in range(width)
        ]
        return self.node("Concat", parts, f"{name}_unfolded", axis=2)

    def node(self, kind: str, inputs: list[str], output: str, domain: str | None = None, **more: Any) -> str:
        """Adds a node, unless one for this output is there: convolutions share inputs."""
        if output not in self.made:
            self.made.add(output)
            self.nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **more))
        return output

    def numbers(self, *values: int) -> str:
        return self.constant("numbers_" + "_".join(map(str, values)), np.array(values, np.int64))

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        return name

    def value(self, name: str) -> npt.NDArray[np.generic]:
        return numpy_helper.to_array(self.constants[name])

    def only_reader(self, node: onnx.NodeProto) -> onnx.NodeProto:
        (reader,) = self.readers[node.output[0]]
        return reader

    def drop_unused(self) -> None:
        used = {output.name for output in self.graph.output}
        kept = []
        for node in reversed(self.nodes):
            if used.intersection(node.output):
                kept.append(node)
                used.update(node.input)
        constants = [tensor for name, tensor in self.constants.items() if name in used]
        for field, content in ((self.graph.node, kept[::-1]), (self.graph.initializer, constants)):
            # Copies: clearing the list empties the items.
            copies = [type(item).FromString(item.SerializeToString()) for item in content]
            del field[:]
            field.extend(copies)


def rewrite(source: Path, target: Path) -> int:
    """Writes the rewritten model; the number of convolutions replaced."""
    model = onnx.load(source)
    count = _Rewriter(model.graph).run()
    if not count:
        raise ValueError("there is no convolution to replace")
    onnx.save(model, target)
    # A model that cannot be opened here must not get into the cache.
    onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    return count


def _signed(values: npt.NDArray[np.generic]) -> npt.NDArray[np.int8]:
    return (values.astype(np.int16) - _MIDDLE).astype(np.int8)


def _attributes(node: onnx.NodeProto) -> dict[str, list[int]]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


if __name__ == "__main__":
    rewrite(Path(sys.argv[1]), Path(sys.argv[2]))
