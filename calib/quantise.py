"""FP32 ONNX to explicit Q/DQ INT8: NVIDIA ModelOpt says where Q/DQ stands and rounds the weights, `calib.ranges` finds the scales.

Symmetric, one scale per output channel of a weight and one per activation, FP32 elsewhere. ModelOpt's own calibrator is not used: it
keeps every activation of every image in memory, and has no percentiles.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from calib.fold import fold_weights, tidy, to_bytes
from calib.histogram import METHODS, Method
from calib.mixed import without_layers
from calib.qdq import check_qdq
from calib.quiet import silence
from calib.ranges import measure, with_ranges
from calib.run import Progress
from edge.errors import DatasetError, ExportError

__all__ = ["FLOAT_TAIL", "METHODS", "Method", "quantise", "quantise_each", "read_model", "require_rules"]

FLOAT_TAIL = "/float_tail/"
"""Nodes with this in their name, the submodule's path, stay in float: statistics whose differences INT8 would round away."""


def quantise(
    network: bytes,
    images: NDArray[np.uint8],
    *,
    method: Method = "max",
    exclude: Sequence[str] = (),
    progress: Progress | None = None,
    verbose: bool = False,
) -> bytes:
    """Q/DQ ONNX of `network` (one u8 input [1, 1, H, W]), its activation ranges taken from `images` u8 [N, 1, H, W].

    `max` keeps the largest value seen, `entropy` and `percentile` clip rare outliers; the nodes named in `exclude` stay in float.
    The same arguments give the same bytes. Raises ExportError when the network cannot be quantised by the Q/DQ rules or holds a value
    that is not finite, DatasetError when the images are not the network's.
    """
    return quantise_each(network, images, methods=[method], exclude=exclude, progress=progress, verbose=verbose)[method]


def quantise_each(
    network: bytes,
    images: NDArray[np.uint8],
    *,
    methods: Sequence[Method] = METHODS,
    exclude: Sequence[str] = (),
    progress: Progress | None = None,
    verbose: bool = False,
) -> dict[Method, bytes]:
    """As `quantise`, for several methods in one pass over the images."""
    model = tidy(read_model(network))
    name = _check_images(model, images)
    _require_finite(model)
    placed = _place(model, {name: images[:1]}, verbose=verbose)
    seen = measure(placed, images, progress)
    found: dict[Method, bytes] = {}
    for method in methods:
        quantised = fold_weights(with_ranges(placed, seen, method))
        if exclude:
            quantised = without_layers(model, quantised, exclude)
        require_rules(quantised)
        found[method] = to_bytes(quantised)
    return found


def require_rules(quantised: onnx.ModelProto) -> None:
    """Raises ExportError naming the first Q/DQ rules that the graph breaks."""
    findings = check_qdq(quantised)
    if findings:
        raise ExportError(
            "the quantised network breaks the Q/DQ rules",
            seen="; ".join(findings[:5]),
            remedy="Use an architecture of convolutions with 16 or more channels, or report the network",
        )


def read_model(data: bytes) -> onnx.ModelProto:
    """Parse ONNX bytes. Raises ExportError for anything that is no ONNX graph."""
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as exc:
        raise ExportError("this is not an ONNX file", seen=f"{len(data)} bytes", remedy="Export the network again") from exc
    if not model.graph.node or not model.graph.output:
        raise ExportError("the ONNX file holds no graph", seen=f"{len(data)} bytes", remedy="Export the network again")
    return model


def _check_images(model: onnx.ModelProto, images: NDArray[np.uint8]) -> str:
    """The network's only input, which must be u8 [1, 1, H, W] as the images are."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise ExportError("the network must have one input", seen=[i.name for i in inputs], remedy="Export it with `cordon export`")
    tensor = inputs[0].type.tensor_type
    shape = [d.dim_value for d in tensor.shape.dim]
    if tensor.elem_type != onnx.TensorProto.UINT8 or len(shape) != 4 or shape[:2] != [1, 1]:
        raise ExportError(
            "the network must take a u8 heightmap [1, 1, H, W]", seen=f"type {tensor.elem_type} {shape}", remedy="Use `cordon export`"
        )
    if images.dtype != np.uint8 or images.ndim != 4 or list(images.shape[1:]) != shape[1:] or not len(images):
        raise DatasetError(
            "the calibration images are not what the network takes",
            seen=f"{images.dtype} {images.shape}, network {shape}",
            remedy="Prepare them with the heightmap spec the network was trained with",
        )
    name: str = inputs[0].name
    return name


def _require_finite(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            raise ExportError(
                "the network's weights are not all finite",
                seen=f"{bad} of {array.size} values of {tensor.name} are NaN or infinite",
                remedy="Train the network again; a lower learning rate or gradient clipping keeps weights finite",
            )


def _place(model: onnx.ModelProto, data: dict[str, NDArray[np.uint8]], *, verbose: bool) -> onnx.ModelProto:
    """ModelOpt's Q/DQ nodes, with scales that stem from a single image and mean nothing yet."""
    from modelopt.onnx.quantization import quantize  # noqa: PLC0415 - takes seconds, and checks come first

    options: dict[str, Any] = {"quantize_mode": "int8", "calibration_eps": ["cpu"], "high_precision_dtype": "fp32"}
    if any(FLOAT_TAIL in node.name for node in model.graph.node):
        options["nodes_to_exclude"] = [f".*{FLOAT_TAIL}.*"]
    level = "INFO" if verbose else "CRITICAL"
    with tempfile.TemporaryDirectory(prefix="cordon-calib-") as folder, contextlib.nullcontext() if verbose else silence():
        before, after = Path(folder, "network.onnx"), Path(folder, "network.int8.onnx")
        before.write_bytes(to_bytes(model))
        quantize(str(before), calibration_data=data, calibration_method="max", output_path=str(after), log_level=level, **options)
        return onnx.load(after)
