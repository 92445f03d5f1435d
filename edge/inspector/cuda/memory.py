"""Memory of the GPU, and memory that GPU and CPU share, each freed by name and never by chance in another thread."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edge.inspector.cuda.errors import translated

if TYPE_CHECKING:
    from edge.inspector.cuda.device import Device

ALIGNMENT = 256
"""Bytes; every address that TensorRT is given must be a multiple of it."""


class DeviceMemory:
    """`nbytes` of the GPU's own memory at `address`, with whatever lay in it before. Made by `Device.device_memory`."""

    def __init__(self, device: Device, nbytes: int) -> None:
        if nbytes < 1:
            raise ValueError(f"device memory of {nbytes} bytes")
        self._device = device
        self.nbytes = nbytes
        self._allocation: Any = device.driver.mem_alloc(nbytes)
        self.address = int(self._allocation)
        """A multiple of 256."""

    def free(self) -> None:
        """Give it back; the work that uses it must be finished. A second call does nothing."""
        allocation, self._allocation = self._allocation, None
        if allocation is not None:
            self._device.release(self, allocation)


class SharedMemory:
    """Pinned memory of the CPU with its counterpart on the GPU: the same bytes where they share memory, otherwise a copy apart.

    Made by `Device.shared_memory`, filled with zeros on the CPU's side.
    """

    def __init__(self, device: Device, shape: int | tuple[int, ...], dtype: DTypeLike) -> None:
        if math.prod(np.atleast_1d(shape)) < 1:
            raise ValueError(f"shared memory of shape {shape}")
        self._device = device
        flags = device.driver.host_alloc_flags.DEVICEMAP if device.zero_copy else 0
        self.host: NDArray[Any] = device.driver.pagelocked_empty(shape, dtype, mem_flags=flags)
        """The CPU's side; no view of it may be touched after `free`."""
        self.host[...] = 0
        self.nbytes = self.host.nbytes
        self._allocation: Any = self.host.base
        self._bytes: NDArray[np.uint8] = self.host.reshape(-1).view(np.uint8)
        self._memory = None if device.zero_copy else device.device_memory(self.nbytes)
        self.address: int = self._allocation.get_device_pointer() if self._memory is None else self._memory.address
        """The GPU's side, a multiple of 256."""

    def upload(self, stream: Any, nbytes: int | None = None, *, offset: int = 0) -> None:
        """Queue a copy of `nbytes` (default: all from `offset` on) to the GPU on `stream`; nothing to do where memory is shared.

        Raises GpuError.
        """
        if self._memory is not None:
            stop = self.nbytes if nbytes is None else offset + nbytes
            with translated("a copy to the GPU cannot be queued"):
                self._device.driver.memcpy_htod_async(self.address + offset, self._bytes[offset:stop], stream)

    def download(self, stream: Any, nbytes: int | None = None, *, offset: int = 0) -> None:
        """Queue a copy from the GPU on `stream`; read `host` only after an event behind it was waited for.

        Raises GpuError.
        """
        if self._memory is not None:
            stop = self.nbytes if nbytes is None else offset + nbytes
            with translated("a copy from the GPU cannot be queued"):
                self._device.driver.memcpy_dtoh_async(self._bytes[offset:stop], self.address + offset, stream)

    def free(self) -> None:
        """Give both sides back; the work that uses them must be finished. A second call does nothing."""
        allocation, self._allocation = self._allocation, None
        if allocation is not None:
            self.host, self._bytes = np.zeros(0, self.host.dtype), np.zeros(0, np.uint8)
            self._device.release(self, allocation)
            if self._memory is not None:
                self._memory.free()
