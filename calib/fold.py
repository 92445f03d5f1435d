"""Passes over an ONNX graph that change its form but no result: constants in one place, INT8 weights stored as INT8, one order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

MAX_IR_VERSION = 10
"""TensorRT 10.3's parser reads files up to this IR version."""
PRODUCER = "cordon"


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` with constants as initialisers, no Identity, nothing unused, and one canonical order.

    Two models that differ only in the order in which a tool happened to write them become the same bytes.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    _constants_to_initialisers(graph)
    _drop_identities(graph)
    _drop_unused(graph)
    _sort(graph)
    for node in graph.node:
        node.ClearField("doc_string")
    graph.ClearField("value_info")
    graph.ClearField("doc_string")
    copy.ClearField("doc_string")
    copy.ClearField("metadata_props")
    copy.producer_name, copy.producer_version = PRODUCER, ""
    copy.ir_version = min(copy.ir_version, MAX_IR_VERSION)
    used = {node.domain for node in graph.node}
    kept = sorted(((o.domain, o.version) for o in copy.opset_import if o.domain in used), key=str)
    copy.ClearField("opset_import")
    copy.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in kept)
    return copy


def fold_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Float weight → QuantizeLinear → DequantizeLinear becomes INT8 weight → DequantizeLinear: a quarter of the size, same result."""
    copy = tidy(model)
    graph = copy.graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and all(name in values for name in node.input):
            arrays = [numpy_helper.to_array(values[name]) for name in node.input]
            graph.initializer.append(numpy_helper.from_array(_quantised(arrays, _axis(node)), node.output[0]))
        else:
            kept.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    graph.ClearField("node")
    graph.node.extend(nodes)
    return tidy(copy)


def to_bytes(model: onnx.ModelProto) -> bytes:
    """The model as bytes; equal models give equal bytes."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _axis(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)


def _quantised(arrays: list[NDArray[np.generic]], axis: int) -> NDArray[np.int8]:
    weight, scale = arrays[0].astype(np.float32), arrays[1].astype(np.float32)
    if scale.ndim:
        scale = scale.reshape([-1 if i == axis % weight.ndim else 1 for i in range(weight.ndim)])
    # Round half to even, as ONNX and TensorRT do.
    quantised: NDArray[np.int8] = np.clip(np.rint(weight / scale), -128, 127).astype(np.int8)
    return quantised


def _constants_to_initialisers(graph: onnx.GraphProto) -> None:
    kept = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None) if node.op_type == "Constant" else None
        if value is None:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
        else:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
    graph.ClearField("node")
    graph.node.extend(kept)


def _drop_identities(graph: onnx.GraphProto) -> None:
    results = {value.name for value in graph.output}
    source = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity" and node.output[0] not in results}
    kept = [node for node in graph.node if node.output[0] not in source]
    for node in kept:
        for index, name in enumerate(node.input):
            while name in source:
                name = source[name]  # noqa: PLW2901 - follows a chain
            node.input[index] = name
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    graph.ClearField("node")
    graph.node.extend(nodes)


def _drop_unused(graph: onnx.GraphProto) -> None:
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    tensors = {t.name: t.SerializeToString() for t in graph.initializer if t.name in needed}
    graph.ClearField("node")
    graph.node.extend(reversed(kept))
    graph.ClearField("initializer")
    graph.initializer.extend(onnx.TensorProto.FromString(tensors[name]) for name in sorted(tensors))


def _sort(graph: onnx.GraphProto) -> None:
    """Topological order, ties broken by the name of the first output."""
    nodes = {node.output[0]: onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node}
    maker = {output: first for first, node in nodes.items() for output in node.output}
    waiting = {first: {maker[name] for name in node.input if name in maker} for first, node in nodes.items()}
    graph.ClearField("node")
    graph.node.extend(nodes[first] for first in _topological(waiting))


def _topological(waiting: dict[str, set[str]]) -> Iterable[str]:
    users: dict[str, list[str]] = {}
    for first, makers in waiting.items():
        for made in makers:
            users.setdefault(made, []).append(first)
    ready = [first for first, makers in waiting.items() if not makers]
    heapq.heapify(ready)
    while ready:
        first = heapq.heappop(ready)
        yield first
        for user in users.get(first, ()):
            waiting[user].discard(first)
            if not waiting[user]:
                heapq.heappush(ready, user)
