"""Networks run by onnxruntime on the CPU, one image at a time, with any tensors of the graph as results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from calib.graph import copy_of
from edge.errors import ExportError

Progress: TypeAlias = Callable[[int, int], None]
"""Told (done, total) after every step of a long computation."""


class Network:
    """A compiled network. One thread, so that a machine with more cores does not round otherwise."""

    def __init__(self, model: onnx.ModelProto, *, extra: Sequence[str] = (), optimise: bool = True) -> None:
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - a second that choosing images need not pay

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        data = _with_outputs(model, extra).SerializeToString()
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as exc:  # its own exceptions share no narrower base
            raise ExportError("onnxruntime cannot load the network", seen=_short(exc), remedy="Export the network again") from exc
        self._input: str = self._session.get_inputs()[0].name
        self._names = [model.graph.output[0].name, *extra]

    def run(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The first output and the extra tensors for one image u8 [1, H, W]. Raises ExportError."""
        try:
            found: list[NDArray[Any]] = self._session.run(self._names, {self._input: image[None]})
        except Exception as exc:  # as above
            raise ExportError("onnxruntime cannot run the network", seen=_short(exc), remedy="Export the network again") from exc
        return found


def score(network: Network, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """First output f32 [N, classes] for u8 [N, 1, H, W]."""
    return np.concatenate([network.run(image)[0] for image in images]).astype(np.float32, copy=False)


def counted(images: NDArray[np.uint8], progress: Progress | None) -> Iterator[NDArray[np.uint8]]:
    """The images one by one, telling `progress` after each."""
    for number, image in enumerate(images, start=1):
        yield image
        if progress is not None:
            progress(number, len(images))


def _with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    copy = copy_of(model)
    present = {value.name for value in copy.graph.output}
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in present)
    return copy


def _short(exc: Exception) -> str:
    return " ".join(str(exc).split())[:300]
