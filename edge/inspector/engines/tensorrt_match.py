"""An engine's inputs and outputs held against the manifest, by name: nothing that was not promised is ever bound or read."""

from __future__ import annotations

from typing import Any

from edge.bundle import Member
from edge.engines.api import CudaEngineApi, TensorRT
from edge.errors import EngineError
from edge.inspector.engines.tensorrt_load import BUILD_AGAIN


def match(trt: TensorRT, engine: CudaEngineApi, member: Member, shape: tuple[int, int]) -> int:
    """How many features `member` embeds (0 without an embedding), when all else is as its manifest and `shape` say.

    That is one u8 input [1, 1, height, width] and the f32 outputs [1, classes], [1, features] and [1, rows, columns] of a map, on the
    GPU, in plain order.
    Raises EngineError.
    """
    seen = {name: _port(engine, name) for name in map(engine.get_tensor_name, range(engine.num_io_tensors))}
    plain = (trt.TensorFormat.LINEAR, trt.TensorLocation.DEVICE)
    promised = {
        member.input: (True, (1, 1, *shape), trt.DataType.UINT8, *plain),
        member.output: (False, (1, len(member.classes)), trt.DataType.FLOAT, *plain),
    }
    features = 0
    if member.embedding is not None:
        size = seen.get(member.embedding, (False, (0, 0)))[1]
        features = size[1] if len(size) == 2 else 0
        # Any number of features from one on will do.
        promised[member.embedding] = (False, (1, max(features, 1)), trt.DataType.FLOAT, *plain)
    if member.map is not None:
        promised[member.map.name] = (False, (1, *member.map.shape), trt.DataType.FLOAT, *plain)
    told = {name: (mode == trt.TensorIOMode.INPUT, *rest) for name, (mode, *rest) in seen.items()}
    if told != promised:
        raise EngineError(
            f"the engine of network {member.name} ({member.file}) is not what the manifest says, which is {_shown(promised)}",
            seen=_shown(told),
            remedy=BUILD_AGAIN,
        )
    return features


def _port(engine: CudaEngineApi, name: str) -> tuple[Any, ...]:
    size = tuple(engine.get_tensor_shape(name))
    return (
        engine.get_tensor_mode(name),
        size,
        engine.get_tensor_dtype(name),
        engine.get_tensor_format(name),
        engine.get_tensor_location(name),
    )


def _shown(ports: dict[str, tuple[Any, ...]]) -> str:
    shown = []
    for name, (is_input, *rest) in sorted(ports.items()):
        shown.append(f"{'input' if is_input else 'output'} {name} {' '.join(str(getattr(part, 'name', part)) for part in rest)}")
    return ", ".join(shown) or "nothing"
