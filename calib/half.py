"""A network in FP16: the graph for boxes that run it, and what its rounding does to the scores, computed on any CPU."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from calib.fold import tidy, to_bytes
from calib.graph import copy_of, read_graph
from calib.qdq import operators, versions
from calib.quiet import silence
from calib.run import Network, Progress, counted
from edge.errors import ExportError

LARGEST = 65504.0
"""The largest finite float16."""


def to_fp16(full: bytes) -> bytes:
    """The FP32 network with float16 weights and arithmetic; its input stays u8 and its outputs float32.

    By NVIDIA ModelOpt (onnxconverter-common 1.16 leaves the Cast behind the u8 input in float32, a graph no runtime reads). Weights
    below float16's smallest step, 6e-8, become that step. The same network gives the same bytes. Raises ExportError for weights
    beyond 65504, or when the result breaks a rule of `check_fp16`.
    """
    from modelopt.onnx.autocast.convert import convert_to_f16  # noqa: PLC0415 - takes seconds

    model = tidy(onnx.load_model_from_string(full))
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and not np.all(np.abs(numpy_helper.to_array(tensor)) <= LARGEST):
            raise ExportError("a weight does not fit into FP16", seen=tensor.name, remedy="Keep the network in FP32 or INT8")
    with silence():
        half = tidy(convert_to_f16(model, keep_io_types=True))
    findings = check_fp16(half)
    if findings:
        raise ExportError(
            "the FP16 network breaks the rules", seen="; ".join(findings[:3]), remedy="Keep it in FP32 or INT8, and report the network"
        )
    return to_bytes(half)


def check_fp16(model: onnx.ModelProto) -> list[str]:
    """What keeps a graph from running in FP16 throughout, one sentence each; empty when nothing does."""
    findings = [*versions(model), *operators(model)]
    graph = read_graph(model)
    findings += [f"{n.name}: {n.op_type} in an FP16 graph" for n in graph.nodes if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    for name, value in graph.values.items():
        readers = {node.op_type for node in graph.users.get(name, [])}
        # Resize takes its scales in float32 only.
        if value.dtype == np.float32 and readers - {"Resize"}:
            findings.append(f"{name} is float32")
        if value.dtype == np.float16 and not np.isfinite(value).all():
            findings.append(f"{name} is not finite")
    results = {value.name for value in model.graph.output}
    findings += [f"{v.name}: the result is not float32" for v in model.graph.output if v.type.tensor_type.elem_type != TensorProto.FLOAT]
    findings += [f"{name} is computed in float32" for name in _floats(model) if name not in results]
    return findings


def emulate_fp16(full: bytes, images: NDArray[np.uint8], progress: Progress | None = None) -> NDArray[np.float32]:
    """Scores f32 [N, classes] of u8 [N, 1, H, W] with every weight and every node's result rounded to float16; sums in float32.

    Where some result exceeds 65504, later nodes may hide it, so the whole row is infinite: check `np.isfinite`, and ask
    `fp16_overflows` which nodes did it.
    """
    scores, over = _emulated(full, images, progress)
    scores[over.any(axis=1)] = np.inf
    return scores


def fp16_overflows(full: bytes, images: NDArray[np.uint8]) -> tuple[str, ...]:
    """Names of the nodes that give a value beyond float16 on some image, in graph order."""
    _, over = _emulated(full, images, None)
    _, rounded = _rounding(tidy(onnx.load_model_from_string(full)))
    names = list(rounded.values())
    return tuple(names[place] for place in np.flatnonzero(over.any(axis=0)))


def _emulated(full: bytes, images: NDArray[np.uint8], progress: Progress | None) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores [N, classes], and whether each rounded tensor overflowed [N, tensors]."""
    model, rounded = _rounding(tidy(onnx.load_model_from_string(full)))
    # Unoptimised, because optimising removes a Cast to float16 and back.
    network = Network(model, extra=list(rounded), optimise=False)
    scores, over = [], np.zeros((len(images), len(rounded)), bool)
    for row, image in zip(over, counted(images, progress), strict=True):
        answer, *tensors = network.run(image)
        scores.append(answer)
        row[:] = [not np.isfinite(values).all() for values in tensors]
    return np.concatenate(scores).astype(np.float32, copy=False), over


def _rounding(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The model with every float rounded through float16, and its rounded tensors with the nodes that make them."""
    floats = set(_floats(model))
    copy = copy_of(model)
    for tensor in copy.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            with np.errstate(over="ignore"):
                array = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    nodes: list[onnx.NodeProto] = []
    rounded: dict[str, str] = {}
    for node in copy.graph.node:
        made = onnx.NodeProto.FromString(node.SerializeToString())
        nodes.append(made)
        for place, name in enumerate(node.output):
            if name in floats:
                made.output[place] = f"{name}_exact"
                nodes.extend(_through_half(name))
                rounded[name] = node.name or node.op_type
    copy.graph.ClearField("node")
    copy.graph.node.extend(nodes)
    copy.graph.ClearField("value_info")
    return copy, rounded


def _through_half(name: str) -> Iterable[onnx.NodeProto]:
    yield helper.make_node("Cast", [f"{name}_exact"], [f"{name}_half"], to=TensorProto.FLOAT16)
    yield helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT)


def _floats(model: onnx.ModelProto) -> list[str]:
    """Names of the float32 tensors that nodes make."""
    known = onnx.shape_inference.infer_shapes(model).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*known.value_info, *known.output)}
    return [name for node in model.graph.node for name in node.output if kinds.get(name) == TensorProto.FLOAT]
