"""Streams that engines run on side by side, each with one block of scratch memory: on one stream no two executions overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.inspector.cuda.device import Device
from edge.inspector.cuda.memory import ALIGNMENT, DeviceMemory


@dataclass(eq=False)
class Lane:
    """One stream, the event behind its last execution, and the scratch of the biggest engine on it."""

    stream: Any
    done: Any
    scratch_bytes: int = ALIGNMENT
    scratch: DeviceMemory | None = None

    @property
    def handle(self) -> int:
        """CUDA's own name of the stream."""
        handle: int = self.stream.handle
        return handle


class Lanes:
    """A fixed number of lanes, given out in turn: the i-th engine of the g-th group runs on lane (g + i) modulo their number."""

    def __init__(self, device: Device, count: int) -> None:
        self._device = device
        self._lanes = tuple(Lane(device.stream(), device.event()) for _ in range(count))
        self._groups: dict[str, list[int]] = {}

    def assign(self, group: str, scratch_bytes: int) -> tuple[int, Lane]:
        """The number of `group`, and the lane of its next engine, which needs so much scratch."""
        first, count = turn = self._groups.setdefault(group, [len(self._groups), 0])
        turn[1] += 1
        lane = self._lanes[(first + count) % len(self._lanes)]
        lane.scratch_bytes = max(lane.scratch_bytes, scratch_bytes)
        return first, lane

    def allocate(self) -> None:
        """One block of scratch for every lane. Raises GpuError."""
        for lane in self._lanes:
            lane.scratch = self._device.device_memory(-(-lane.scratch_bytes // ALIGNMENT) * ALIGNMENT)

    def close(self) -> None:
        """Give scratch, streams and events back; nothing may run on them."""
        for lane in self._lanes:
            if lane.scratch is not None:
                lane.scratch.free()
                lane.scratch = None
            self._device.drop(lane.stream, lane.done)
        self._lanes = ()
