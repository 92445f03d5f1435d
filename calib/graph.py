"""An ONNX graph by name: who makes and who uses each tensor, where Q/DQ pairs stand on activations, and the graph without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from calib.fold import tidy

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Graph:
    """The model's nodes by what they make and use, and its initialisers as arrays."""

    nodes: tuple[onnx.NodeProto, ...]
    maker: dict[str, onnx.NodeProto]
    users: dict[str, list[onnx.NodeProto]]
    values: dict[str, NDArray[Any]]
    outputs: frozenset[str]

    def dequantised(self, name: str) -> bool:
        """Whether DequantizeLinear makes this tensor."""
        maker = self.maker.get(name)
        return maker is not None and maker.op_type == "DequantizeLinear"

    def before_pair(self, name: str) -> str | None:
        """The float activation in front of QuantizeLinear → DequantizeLinear → `name`; None when there is no such pair."""
        dequantiser = self.maker.get(name)
        if dequantiser is None or dequantiser.op_type != "DequantizeLinear":
            return None
        quantiser = self.maker.get(dequantiser.input[0])
        if quantiser is None or quantiser.op_type != "QuantizeLinear" or quantiser.input[0] in self.values:
            return None
        before: str = quantiser.input[0]
        return before

    def quantisers(self) -> list[onnx.NodeProto]:
        """Every QuantizeLinear of an activation, in graph order."""
        return [n for n in self.nodes if n.op_type == "QuantizeLinear" and n.input[0] not in self.values]

    def consumers(self, quantiser: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that use a QuantizeLinear's tensor after its DequantizeLinear."""
        pairs = self.users.get(quantiser.output[0], [])
        return [user for pair in pairs for user in self.users.get(pair.output[0], [])]


def read_graph(model: onnx.ModelProto) -> Graph:
    """Index a model; its nodes are not copied."""
    nodes = tuple(model.graph.node)
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in dict.fromkeys(node.input):
            users.setdefault(name, []).append(node)
    return Graph(
        nodes=nodes,
        maker={name: node for node in nodes for name in node.output},
        users=users,
        values={tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer},
        outputs=frozenset(value.name for value in model.graph.output),
    )


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """A node's attribute, or `default`."""
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model that may be changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def rewire(nodes: Sequence[onnx.NodeProto], names: Mapping[str, str]) -> None:
    """Let every node read names[x] where it read x."""
    for node in nodes:
        for index, name in enumerate(node.input):
            if name in names:
                node.input[index] = names[name]


def float_twin(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which nothing is rounded to INT8 on the way: every QuantizeLinear → DequantizeLinear is bypassed.

    Float weights come back; weights stored as INT8 keep their DequantizeLinear and so their rounding.
    """
    copy = copy_of(model)
    maker = {name: node for node in copy.graph.node for name in node.output}
    before: dict[str, str] = {}
    for node in copy.graph.node:
        quantiser = maker.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if quantiser is not None and quantiser.op_type == "QuantizeLinear":
            before[node.output[0]] = quantiser.input[0]
    rewire(copy.graph.node, before)
    return tidy(copy)
