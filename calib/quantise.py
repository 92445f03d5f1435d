"""FP32 ONNX to explicit Q/DQ INT8 with NVIDIA ModelOpt: symmetric, per-channel weights, per-tensor activations, FP32 elsewhere."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from calib.fold import fold_weights, tidy, to_bytes
from calib.qdq import check_qdq
from edge.errors import DatasetError, ExportError

Method = Literal["max", "entropy"]
METHODS: tuple[Method, ...] = ("max", "entropy")


def quantise(network: bytes, images: NDArray[np.uint8], *, method: Method = "max", verbose: bool = False) -> bytes:
    """Q/DQ ONNX of `network` (one u8 input [1, 1, H, W]), its activation ranges taken from `images` u8 [N, 1, H, W].

    `max` keeps the largest value seen, `entropy` clips rare outliers. The same arguments give the same bytes.
    Raises ExportError when the result breaks a Q/DQ rule, DatasetError when the images are not the network's.
    """
    model = read_model(network)
    name = _check_images(model, images)
    with tempfile.TemporaryDirectory(prefix="cordon-calib-") as folder:
        before, after = Path(folder, "network.onnx"), Path(folder, "network.int8.onnx")
        before.write_bytes(to_bytes(tidy(model)))
        with contextlib.nullcontext() if verbose else _silence():
            _run_modelopt(before, after, {name: images}, method, verbose=verbose)
        quantised = fold_weights(onnx.load(after))
    findings = check_qdq(quantised)
    if findings:
        raise ExportError(
            "the quantised network breaks the Q/DQ rules",
            seen="; ".join(findings[:5]),
            remedy="Use an architecture of convolutions with 16 or more channels, or report the network",
        )
    return to_bytes(quantised)


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


def _run_modelopt(before: Path, after: Path, data: dict[str, NDArray[np.uint8]], method: Method, *, verbose: bool) -> None:
    from modelopt.onnx.quantization import quantize  # noqa: PLC0415 - takes seconds, and checks come first

    options: dict[str, Any] = {"quantize_mode": "int8", "calibration_eps": ["cpu"], "high_precision_dtype": "fp32"}
    level = "INFO" if verbose else "CRITICAL"
    quantize(str(before), calibration_data=data, calibration_method=method, output_path=str(after), log_level=level, **options)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep ModelOpt's and onnxruntime's chatter off the terminal, and leave the process's logging as it was."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
