"""What every quantised activation holds on given images, and the INT8 range it gets from that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from calib.graph import Graph, copy_of, float_twin, read_graph
from calib.histogram import Histogram, Method
from calib.run import Network, Progress, counted
from edge.errors import ExportError

LEVELS = 127.0
"""Range = LEVELS x scale, as TensorRT computes it."""
PERCENTILES = (50.0, 99.0, 99.9, 99.99)
_ROUNDED = 1.0 + 1e-6
"""A range is 127 x a float32, which may lie a rounding below the value it was taken from."""


@dataclass(frozen=True, kw_only=True)
class ActivationRange:
    """One quantised activation: values beyond `amax` are clipped to it."""

    tensor: str
    consumers: str
    amax: float


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorRange:
    """One quantised activation of a graph and the values |x| it takes on some images."""

    tensor: str
    consumers: str
    """Operators that read it, joined by +."""
    amax: float
    """Range in the graph, 127 x scale."""
    largest: float
    """Largest |x| seen."""
    percentiles: dict[float, float]
    """Percent → |x| below which so many of the values lie."""
    clipped: float
    """Part of the values beyond `amax`, 0 to 1."""
    histogram: NDArray[np.int64]
    """Counts of |x| in equal bins of [0, top)."""
    top: float


def activation_ranges(model: onnx.ModelProto) -> tuple[ActivationRange, ...]:
    """The calibrated range of every quantised activation, in graph order, without running anything."""
    graph = read_graph(model)
    return tuple(
        ActivationRange(tensor=q.input[0], consumers=_consumers(graph, q), amax=_amax(graph, q))
        for q in graph.quantisers()
        if q.input[1] in graph.values
    )


def observe(quantised: bytes, images: NDArray[np.uint8], progress: Progress | None = None) -> tuple[TensorRange, ...]:
    """Run u8 [N, 1, H, W] through the quantised graph with its activations left in float, and compare them with their INT8 ranges.

    Weights stay rounded to INT8. In graph order. Raises ExportError when an activation is not finite.
    """
    (found,) = observe_each([quantised], images, progress)
    return found


def observe_each(
    quantised: Sequence[bytes], images: NDArray[np.uint8], progress: Progress | None = None
) -> tuple[tuple[TensorRange, ...], ...]:
    """As `observe`, for graphs that differ in nothing but their activation ranges, in a single pass over the images."""
    models = [onnx.load_model_from_string(data) for data in quantised]
    names = [q.input[0] for q in read_graph(models[0]).quantisers()]
    seen = collect(float_twin(models[0]), names, images, progress)
    return tuple(_compared(read_graph(model), seen) for model in models)


def _compared(graph: Graph, seen: dict[str, Histogram]) -> tuple[TensorRange, ...]:
    found = []
    for quantiser in graph.quantisers():
        histogram, amax = seen[quantiser.input[0]], _amax(graph, quantiser)
        found.append(
            TensorRange(
                tensor=quantiser.input[0],
                consumers=_consumers(graph, quantiser),
                amax=amax,
                largest=histogram.largest,
                percentiles={p: histogram.percentile(p) for p in PERCENTILES},
                clipped=histogram.share_above(amax * _ROUNDED),
                histogram=histogram.counts,
                top=histogram.top,
            )
        )
    return tuple(found)


def measure(placed: onnx.ModelProto, images: NDArray[np.uint8], progress: Progress | None = None) -> dict[str, Histogram]:
    """The values of all activations that `placed` quantises, computed in float. Raises ExportError for values that are not finite."""
    return collect(float_twin(placed), [q.input[0] for q in read_graph(placed).quantisers()], images, progress)


def with_ranges(placed: onnx.ModelProto, seen: Mapping[str, Histogram], method: Method) -> onnx.ModelProto:
    """A copy whose activation scales are those the method takes from what was seen; `placed` says where Q/DQ stands.

    All quantised inputs and the output of one Concat share the widest range among them, so that TensorRT need not requantise.
    """
    copy = copy_of(placed)
    graph = read_graph(copy)
    amax = {name: histogram.amax(method) for name, histogram in seen.items()}
    for group in _joined(graph):
        amax.update(dict.fromkeys(group, max(amax[name] for name in group)))
    for quantiser in graph.quantisers():
        name = f"{quantiser.input[0]}_range"
        for node in (quantiser, *graph.users.get(quantiser.output[0], [])):
            node.input[1] = name
    scales = [numpy_helper.from_array(np.float32(value / LEVELS).reshape(()), f"{name}_range") for name, value in sorted(amax.items())]
    copy.graph.initializer.extend(scales)
    return copy


def collect(
    model: onnx.ModelProto, tensors: Sequence[str], images: NDArray[np.uint8], progress: Progress | None = None
) -> dict[str, Histogram]:
    """Histograms of |x| of the named tensors over u8 [N, 1, H, W]; one image in memory at a time. Raises ExportError."""
    names = list(dict.fromkeys(tensors))
    found = {name: Histogram() for name in names}
    network = Network(model, extra=names)
    for number, image in enumerate(counted(images, progress)):
        for name, values in zip(names, network.run(image)[1:], strict=True):
            if not found[name].add(values):
                raise ExportError(
                    "the network computes a value that is not finite",
                    seen=f"tensor {name}, calibration image {number}",
                    remedy="Check its weights for NaN and infinity, and train it again",
                )
    return found


def _joined(graph: Graph) -> list[set[str]]:
    """Groups of quantised tensors that meet in a Concat as inputs or output."""
    groups: list[set[str]] = []
    for node in graph.nodes:
        if node.op_type == "Concat":
            group = {before for name in node.input if (before := graph.before_pair(name)) is not None}
            if any(user.op_type == "QuantizeLinear" for user in graph.users.get(node.output[0], [])):
                group.add(node.output[0])
            touched = [other for other in groups if other & group]
            groups = [other for other in groups if not other & group] + [group.union(*touched)]
    return [group for group in groups if len(group) > 1]


def _consumers(graph: Graph, quantiser: onnx.NodeProto) -> str:
    return "+".join(sorted({user.op_type for user in graph.consumers(quantiser)}))


def _amax(graph: Graph, quantiser: onnx.NodeProto) -> float:
    return float(np.max(graph.values[quantiser.input[1]])) * LEVELS
