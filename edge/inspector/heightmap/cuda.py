"""Heightmaps on the GPU: a raw frame goes up once, kernels turn it into the network's input, and what they refuse is told afterwards.

The results are those of `edge.inspector.heightmap.cpu` to the last bit before the resize, and within one gray level behind it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from edge.errors import FrameError, GpuError
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.errors import RESTART, translated
from edge.inspector.cuda.memory import DeviceMemory, SharedMemory
from edge.inspector.heightmap.cuda_kernels import Kernels
from edge.inspector.heightmap.cuda_layout import CONSTANT, NOTHING_VALID, RESULT, STATE
from edge.inspector.heightmap.cuda_plan import Plan
from edge.inspector.heightmap.refusals import check_image, constant_view, constant_window, no_contrast, no_heights, no_plane, nonfinite
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.inspector.scan import Scan

__all__ = ["CudaPreparer", "FrameUpload", "Kernels"]
MAX_WORKSPACES = 4
"""So many shapes of frames keep their memory, the latest ones."""
UPLOADED_AT_ONCE = 4 << 20
"""Bytes of a frame: while they are on their way, the CPU fills the pinned memory with the next ones."""
TICKETS = 2**32 - 1
_STALE = f"{RESTART}. Report it: kernels did not run, or not all of them"


class FrameUpload:
    """The raw frame's way to the GPU, once for all specs. Everything that reads it is queued on the same stream, or behind it."""

    def __init__(self, device: Device, stream: Any) -> None:
        self._device, self._stream = device, stream
        self._free = device.event()
        self._staging: SharedMemory | None = None

    def take(self, scan: Scan) -> int:
        """Queue the copy of the frame's bytes and return their address on the GPU, valid until the next call. Raises GpuError.

        Memory grows only when a frame is larger than all before. What is still queued for the last frame is waited for.
        """
        data = np.ascontiguousarray(scan.image).reshape(-1).view(np.uint8)
        staging = self._staging_for(data.nbytes)
        for start in range(0, data.nbytes, UPLOADED_AT_ONCE):
            part = data[start : start + UPLOADED_AT_ONCE]
            np.copyto(staging.host[start : start + part.nbytes], part)
            with translated("a frame cannot be sent to the GPU"):
                staging.upload(self._stream, part.nbytes, offset=start)
        return staging.address

    def _staging_for(self, nbytes: int) -> SharedMemory:
        if self._staging is not None:
            with translated("the GPU's stream cannot be asked"):
                self._free.record(self._stream)
            self._device.wait(self._free, "the last frame's work")
            if self._staging.nbytes >= nbytes:
                return self._staging
            self.close()
        self._staging = self._device.shared_memory(nbytes, np.uint8)
        return self._staging

    def close(self) -> None:
        """Free the memory; the work that reads it must be finished."""
        if self._staging is not None:
            self._staging.free()
            self._staging = None


class CudaPreparer:
    """Turns frames into network inputs by one spec, on one stream; `settle` tells what became of the frame enqueued last."""

    def __init__(self, spec: HeightmapSpec, device: Device, kernels: Kernels, stream: Any) -> None:
        """The context must be current, here and in every method. Raises GpuError."""
        self.spec = spec
        self._device, self._kernels, self._stream = device, kernels, stream
        self.tensor: DeviceMemory = device.device_memory(spec.height * spec.width)
        """u8 (height, width): what the engines read."""
        self._state = device.device_memory(STATE.itemsize)
        self._result = device.shared_memory(1, RESULT)
        self._idle = device.event()
        self._works: dict[_Key, _Workspace] = {}
        self._last: _Workspace | None = None
        self._ticket = 0

    def enqueue(self, scan: Scan, raw: int) -> None:
        """Queue the kernels for `scan`, whose bytes are at `raw` on the GPU. Memory is made when a shape of frame is new.

        Raises FrameError (FRAME_KIND, FRAME_DTYPE, FRAME_SHAPE) for what can be seen here, and GpuError.
        """
        self._ticket = self._ticket % TICKETS + 1
        check_image(self.spec, scan.image, scan.kind)
        work = self._workspace(_Key(scan.kind, scan.image.dtype.name, scan.image.shape))
        with translated("a heightmap's kernels cannot be queued"):
            if work is not self._last:  # another shape is placed elsewhere in the tensor, and what lies around stays 0
                self._device.driver.memset_d8_async(self.tensor.address, 0, self.tensor.nbytes, self._stream)
            work.enqueue(scan, raw, self._ticket)
            self._result.download(self._stream)
        self._last = work

    def settle(self) -> None:
        """Look at the result; the stream was waited for. Raises FrameError FRAME_NONFINITE or FRAME_EMPTY as the CPU does, or GpuError."""
        result, work = self.result, self._last
        if work is None or result["ticket"] != self._ticket:
            raise GpuError("the GPU holds another frame's heightmap", seen=f"{result['ticket']}, not {self._ticket}", remedy=_STALE)
        refusal = _gray_refusal(result) if work.plan.gray else _height_refusal(result, work.key.kind)
        if refusal is None and self.spec.resize != "letterbox" and result["seen_darkest"] == result["seen_brightest"]:
            refusal = constant_view()
        if refusal is not None:
            raise refusal

    @property
    def result(self) -> np.void:
        """RESULT of the last frame that was finished: plane, window, counts."""
        result: np.void = self._result.host[0]
        return result

    def _workspace(self, key: _Key) -> _Workspace:
        work = self._works.get(key)
        if work is None:
            if len(self._works) == MAX_WORKSPACES:
                self._drop(next(iter(self._works)))
            addresses = {"out": self.tensor.address, "state": self._state.address, "result": self._result.address}
            plan = Plan(self.spec, key.kind, np.dtype(key.dtype), (key.shape[0], key.shape[1]))
            work = self._works[key] = _Workspace(key, plan, addresses, (self._device, self._kernels, self._stream))
        return work

    def _drop(self, key: _Key) -> None:
        with translated("the GPU's stream cannot be asked"):
            self._idle.record(self._stream)
        self._device.wait(self._idle, "the work before")
        work = self._works.pop(key)
        work.close()
        if work is self._last:
            self._last = None

    def close(self) -> None:
        """Free all memory; the work that uses it must be finished."""
        for work in self._works.values():
            work.close()
        self._works.clear()
        self._last = None
        for memory in (self._result, self._state, self.tensor):
            memory.free()


class _Key(NamedTuple):
    kind: str
    dtype: str
    shape: tuple[int, ...]


class _Workspace:
    """The memory and the filled-in jobs for one kind and shape of frame."""

    def __init__(self, key: _Key, plan: Plan, addresses: dict[str, int], on: tuple[Device, Kernels, Any]) -> None:
        self.key, self.plan = key, plan
        self._device, self._kernels, self._stream = on
        self._memory: list[DeviceMemory | SharedMemory] = []
        self._clear = [(addresses["state"], plan.state_bytes // 4)]
        try:
            addresses = addresses | self._allocate()
        except BaseException:
            self.close()
            raise
        self._jobs = plan.jobs(addresses)
        self._launches = [(step.kernel, self._kernels.blocks(step.work), step.job) for step in plan.steps]

    def _allocate(self) -> dict[str, int]:
        addresses = {}
        for name, nbytes in self.plan.sizes().items():
            self._memory.append(memory := self._device.device_memory(nbytes))
            addresses[name] = memory.address
        if self.plan.grid is not None:
            self._clear.append((addresses["first"], math.prod(self.plan.shape)))
        return addresses | self._upload_tables()

    def _upload_tables(self) -> dict[str, int]:
        """Tables are read again and again, so they lie in the GPU's own memory even where it can read the CPU's."""
        addresses = {}
        for name, table in self.plan.tables().items():
            self._memory.append(staging := self._device.shared_memory(table.nbytes, np.uint8))
            self._memory.append(memory := self._device.device_memory(table.nbytes))
            np.copyto(staging.host, table.reshape(-1).view(np.uint8))
            with translated("a resize's tables cannot be sent to the GPU"):
                self._device.driver.memcpy_htod_async(memory.address, staging.host, self._stream)
            addresses[name] = memory.address
        return addresses

    def enqueue(self, scan: Scan, raw: int, ticket: int) -> None:
        """Clear what the last frame left, and queue every step."""
        self._describe(scan, raw, ticket)
        for address, words in self._clear:
            self._device.driver.memset_d32_async(address, 0, words, self._stream)
        packed = [job.tobytes() for job in self._jobs]
        for kernel, blocks, job in self._launches:
            self._kernels.launch(kernel, blocks, self._stream, packed[job])

    def _describe(self, scan: Scan, raw: int, ticket: int) -> None:
        jobs, no_data = self._jobs, scan.no_data
        jobs["raw"][self.plan.from_frame] = raw
        jobs["ticket"] = ticket
        with np.errstate(over="ignore"):  # beyond f32 no value is equal, and no height is finite
            jobs["scale"], jobs["offset"], jobs["no_data"] = np.float32(scan.z_scale_mm), np.float32(scan.z_offset_mm), np.float32(no_data)
        jobs["nan_missing"] = math.isnan(no_data)
        jobs["missing_step"] = int(no_data) if 0 <= no_data <= np.iinfo(np.uint16).max and no_data == int(no_data) else -1

    def close(self) -> None:
        """Free the memory; the work that uses it must be finished."""
        for memory in reversed(self._memory):
            memory.free()
        self._memory.clear()


def _gray_refusal(result: np.void) -> FrameError | None:
    if result["darkest"] >= result["brightest"]:
        return no_contrast(int(result["valid"]))
    if result["window"] == CONSTANT:
        return constant_window(f"gray {result['lowest']:g}")
    return None


def _height_refusal(result: np.void, kind: str) -> FrameError | None:
    if result["bad"]:
        return nonfinite(int(result["bad"]), "points" if kind == "cloud" else "pixels")
    if result["planeless"]:
        return no_plane(int(result["samples"]))
    if result["window"] == NOTHING_VALID:
        return no_heights()
    if result["window"] == CONSTANT:
        return constant_window(f"{result['lowest']:g} mm")
    if result["darkest"] >= result["brightest"]:
        return no_contrast(int(result["valid"]))
    return None
