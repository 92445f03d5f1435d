"""One network compiled for this box's CPU by OpenVINO, bound once to memory it reads from and writes to."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Member
from edge.errors import EngineError
from edge.inspector.engines.openvino_graph import cut_off, guard_concats

_CONVERTER = "openvino.tools.ovc"


def import_openvino() -> ModuleType:
    """OpenVINO without its model converter, whose import reports the use to its maker over the network and costs 90 ms."""
    hidden = _CONVERTER not in sys.modules
    if hidden:
        sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    try:
        import openvino  # noqa: PLC0415
    finally:
        if hidden:
            del sys.modules[_CONVERTER]
    module: ModuleType = openvino
    return module


@functools.cache
def _core() -> Any:
    """One for the whole process, and never freed.

    Its CPU plugin gives the thread that compiles first another stack for signal handlers, and frees that stack with itself: where
    another thread frees the last core, the next signal ends the process (OpenVINO 2026.4.1).
    """
    return import_openvino().Core()


class Compiler:
    """Compiles networks with `threads` CPU threads each.

    Without `maps` the output of that sort is cut off a network, and nothing is computed for it.
    """

    def __init__(self, *, threads: int, maps: bool = False) -> None:
        self._maps = maps
        self._openvino = import_openvino()
        self._core = _core()
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            # Without it newer CPUs run the non-quantised layers in bf16, and the score would depend on the box.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self.backend = f"openvino {self._openvino.__version__.split('-')[0]} CPU"

    def compile(self, member: Member, onnx: memoryview | bytes, data: NDArray[np.uint8]) -> Engine:
        """An engine for `member` that reads `data`, u8 (height, width). Raises EngineError when network and manifest differ."""
        with _translated(f"network {member.name} ({member.file}) cannot be compiled"):
            model = self._core.read_model(bytes(onnx))
            _require_interface(member, model.inputs, model.outputs, data.shape)
            if member.map is not None and not self._maps:
                cut_off(model, member.map.name)
            guard_concats(model, self._openvino.opset8)
            request = self._core.compile_model(model, "CPU", self._settings).create_infer_request()
        output = np.zeros((1, len(member.classes)), np.float32)
        memory: dict[str, NDArray[Any]] = {member.input: data.reshape(1, 1, *data.shape), member.output: output}
        if member.embedding is not None:
            memory[member.embedding] = np.zeros(tuple(model.output(member.embedding).shape), np.float32)
        if member.map is not None and self._maps:
            memory[member.map.name] = np.zeros((1, *member.map.shape), np.float32)
        tensors = {name: self._openvino.Tensor(array, shared_memory=True) for name, array in memory.items()}
        for name, tensor in tensors.items():
            request.set_tensor(name, tensor)
        return Engine(member, request, memory, tensors)


class Engine:
    """A compiled network; `input` is read and the returned view written by every `run`."""

    def __init__(self, member: Member, request: Any, memory: Mapping[str, NDArray[Any]], tensors: Mapping[str, Any]) -> None:
        self.member = member
        self.input: NDArray[np.uint8] = memory[member.input][0, 0]
        """u8 (height, width), 0 = no data; written in place before `run`."""
        self.embedding: NDArray[np.float32] | None = None if member.embedding is None else memory[member.embedding][0]
        """f32 (features,), a view that every run overwrites, where the manifest declares one."""
        self.output: NDArray[np.float32] = memory[member.output][0]
        """Probabilities f32 (classes,), which every run overwrites."""
        self.map: NDArray[np.float32] | None = memory[member.map.name][0] if member.map and member.map.name in memory else None
        """f32 (rows, columns), likewise, where the manifest declares one and it was asked for."""
        self._request, self._keep = request, tensors

    def run(self) -> NDArray[np.float32]:
        """Probabilities f32 (classes,), a view that the next run overwrites. Raises EngineError."""
        with _translated(f"network {self.member.name} failed while running"):
            # Not infer(): side by side at one call per 20 ms it was the slower of the two.
            self._request.start_async()
            self._request.wait()
        return self.output


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as exc:
        seen = " ".join(str(exc).split())[:300]
        raise EngineError(what, seen=seen, remedy="Verify the bundle with `cordon bundle verify` and export it again") from exc


def _require_interface(member: Member, inputs: Sequence[Any], outputs: Sequence[Any], shape: tuple[int, ...]) -> None:
    seen = [_port(port) for port in inputs], [_port(port) for port in outputs]
    wanted = [(member.input, f"[1,1,{shape[0]},{shape[1]}]", "u8")], [(member.output, f"[1,{len(member.classes)}]", "f32")]
    if member.embedding is not None:
        wanted[1].append((member.embedding, "[1,features]", "f32"))
    if member.map is not None:
        wanted[1].append((member.map.name, f"[1,{member.map.shape[0]},{member.map.shape[1]}]", "f32"))
    # The order of the outputs does not matter; their number and names do.
    agree = [len(side) for side in seen] == [len(side) for side in wanted] and all(
        _has(there, *port) for there, side in zip(seen, wanted, strict=True) for port in side
    )
    if not agree:
        raise EngineError(
            f"network {member.name} ({member.file}) is not what the manifest says", seen=seen, remedy=f"Export it again: wanted {wanted}"
        )


def _port(port: Any) -> tuple[list[str], str, str]:
    return sorted(port.names), str(port.partial_shape), port.element_type.to_string()


def _has(seen: Sequence[tuple[list[str], str, str]], name: str, size: str, kind: str) -> bool:
    """Is there a port of this name, size and type? Where features are wanted, any fixed number of them will do."""
    sizes = re.escape(size).replace("features", "[1-9][0-9]*")
    return any(name in names and re.fullmatch(sizes, seen_size) and kind == seen_kind for names, seen_size, seen_kind in seen)
