"""Mixed precision: which layers suffer from INT8, and the same graph with some of them back in float."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from calib.fold import tidy, to_bytes
from calib.graph import copy_of, read_graph
from calib.qdq import check_qdq
from calib.run import Network, Progress, score
from edge.errors import ExportError

_PAIR = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True, kw_only=True)
class LayerSensitivity:
    """What rounding one layer alone to INT8 does to the scores."""

    layer: str
    """Name of its node."""
    operator: str
    mean: float
    """Over the images, of the largest |score difference| to FP32 among the classes."""
    largest: float


def quantised_layers(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the nodes that read a dequantised tensor, in graph order."""
    graph = read_graph(model)
    return tuple(n.name for n in graph.nodes if n.op_type not in _PAIR and any(graph.dequantised(name) for name in n.input))


def exclude_layers(full: bytes, quantised: bytes, layers: Sequence[str]) -> bytes:
    """`quantised` with the named nodes in float: they read what stood before Q/DQ, and their weights come from `full`.

    Raises ExportError for a node that is not quantised, or when nothing sound is left.
    """
    model = without_layers(tidy(onnx.load_model_from_string(full)), onnx.load_model_from_string(quantised), layers)
    findings = check_qdq(model)
    if findings:
        raise ExportError(
            "the network without these layers breaks the Q/DQ rules",
            seen="; ".join(findings[:3]),
            remedy="Exclude fewer layers, or use FP16 for the whole network",
        )
    return to_bytes(model)


def without_layers(full: onnx.ModelProto, quantised: onnx.ModelProto, layers: Sequence[str]) -> onnx.ModelProto:
    """As `exclude_layers`, on models, and without checking the rules."""
    unknown = sorted(set(layers) - set(quantised_layers(quantised)))
    if unknown:
        known = ", ".join(quantised_layers(quantised))
        raise ExportError("these layers are not quantised", seen=", ".join(unknown), remedy=f"Quantised are: {known}")
    return _in_float(full, quantised, set(layers))


def sensitivity(full: bytes, quantised: bytes, images: NDArray[np.uint8], progress: Progress | None = None) -> tuple[LayerSensitivity, ...]:
    """For every quantised layer the score difference on u8 [N, 1, H, W] when only this layer is INT8; worst mean first.

    `progress` is told (layers done, layers in all). One onnxruntime session per layer.
    """
    model, rounded = tidy(onnx.load_model_from_string(full)), onnx.load_model_from_string(quantised)
    wanted = score(Network(model), images)
    names = quantised_layers(rounded)
    operators = {node.name: node.op_type for node in rounded.graph.node}
    found = []
    for number, name in enumerate(names, start=1):
        alone = _in_float(model, rounded, set(names) - {name})
        difference = np.abs(score(Network(alone), images) - wanted).max(axis=1)
        found.append(LayerSensitivity(layer=name, operator=operators[name], mean=float(difference.mean()), largest=float(difference.max())))
        if progress is not None:
            progress(number, len(names))
    return tuple(sorted(found, key=lambda layer: (-layer.mean, -layer.largest, layer.layer)))


def _in_float(full: onnx.ModelProto, quantised: onnx.ModelProto, layers: set[str]) -> onnx.ModelProto:
    copy = copy_of(quantised)
    graph = read_graph(copy)
    originals = {node.output[0]: node for node in full.graph.node}
    weights: set[str] = set()
    for node in graph.nodes:
        if node.name in layers:
            for index, name in enumerate(node.input):
                before = graph.before_pair(name)
                if before is not None:
                    node.input[index] = before
                elif graph.dequantised(name):
                    weight = originals[node.output[0]].input[index]
                    node.input[index] = f"{weight}_float"
                    weights.add(weight)
    copy.graph.initializer.extend(_renamed(full, weights))
    return tidy(copy)


def _renamed(full: onnx.ModelProto, weights: set[str]) -> Iterable[onnx.TensorProto]:
    for tensor in full.graph.initializer:
        if tensor.name in weights:
            yield numpy_helper.from_array(numpy_helper.to_array(tensor), f"{tensor.name}_float")
