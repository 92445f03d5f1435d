"""The one GPU of this process over PyCUDA: its primary context for every thread, streams, events, modules, memory, and waiting."""

from __future__ import annotations

import ctypes
import importlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeVar

from numpy.typing import DTypeLike

from edge.errors import GpuError
from edge.inspector.cuda.errors import RESTART, translated
from edge.inspector.cuda.leave import give_up
from edge.inspector.cuda.memory import DeviceMemory, SharedMemory

T = TypeVar("T")
ZeroCopy = Literal["auto", "on", "off"]
NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING, for which PyCUDA has no name: such a stream never waits for the legacy default one."""
SPIN_S = 300e-6
"""For so long `wait` only looks again and again; after that it sleeps between two looks."""
NAP_S = 50e-6
_INSTALL = "Install PyCUDA and the NVIDIA driver as docs/engines.md says, or set the inspector's backend to the CPU"


class Device:
    """The first GPU with its primary context, which TensorRT and the kernels share; one per process, `close` at its end.

    Everything that it hands out belongs to it: streams, events and modules live until `close`, memory until its `free` or `close`.
    Except for `current`, methods are called with the context current. All raise GpuError.
    """

    def __init__(self, *, timeout_ms: float = 1000.0, zero_copy: ZeroCopy = "auto") -> None:
        self._timeout_ms = timeout_ms
        self._depth = threading.local()
        self._made: list[Any] = []
        self._memory: dict[int, DeviceMemory | SharedMemory] = {}
        self.lost: str | None = None
        """Why the GPU does not answer any more, once a wait has found out; `close` then touches nothing."""
        self.driver: Any = _driver()
        """The module pycuda.driver."""
        with translated("the GPU cannot be used"):
            self.driver.init()
            found = self.driver.Device(0)
            self._describe(found, zero_copy)
            self._context: Any = found.retain_primary_context()

    def _describe(self, found: Any, zero_copy: ZeroCopy) -> None:
        attribute = self.driver.device_attribute
        self.name: str = found.name()
        self.compute_capability: tuple[int, int] = tuple(found.compute_capability())
        self.integrated = bool(found.get_attribute(attribute.INTEGRATED))
        """CPU and GPU have the same memory, as on a Jetson."""
        self.multiprocessors: int = found.get_attribute(attribute.MULTIPROCESSOR_COUNT)
        version: int = self.driver.get_driver_version()
        self.driver_version: tuple[int, int] = version // 1000, version % 1000 // 10
        """The newest CUDA that the driver speaks, such as (12, 6)."""
        can_map = bool(found.get_attribute(attribute.CAN_MAP_HOST_MEMORY))
        if zero_copy == "on" and not can_map:
            raise GpuError("this GPU cannot read the CPU's memory", seen=self.name, remedy="Set zero_copy to auto or off")
        self.zero_copy = zero_copy == "on" or (zero_copy == "auto" and self.integrated and can_map)

    @contextmanager
    def current(self) -> Iterator[None]:
        """The context is current in this thread inside, whatever happens there; may be nested."""
        if getattr(self._depth, "value", 0):
            yield
            return
        if self._context is None:
            raise GpuError("the GPU was closed", remedy=RESTART)
        with translated("the GPU's context cannot be made current"):
            self._context.push()
        self._depth.value = 1
        try:
            yield
        except BaseException:
            with suppress(GpuError):  # what happened before says more
                self._pop()
            raise
        self._pop()

    def _pop(self) -> None:
        """A thread that ends with a context pushed takes the process with it."""
        self._depth.value = 0
        if self._context is not None:  # closing took it off
            with translated("the GPU's context cannot be left"):
                self.driver.Context.pop()

    def stream(self) -> Any:
        """A stream of its own, which waits for nothing but its own work."""
        with translated("a stream cannot be made"):
            return self.keep(self.driver.Stream(NON_BLOCKING))

    def event(self, *, timing: bool = False) -> Any:
        """An event to order streams by and wait for; with `timing` its `time_since(other)` gives ms."""
        flags = self.driver.event_flags.DEFAULT if timing else self.driver.event_flags.DISABLE_TIMING
        with translated("an event cannot be made"):
            return self.keep(self.driver.Event(flags))

    def module(self, image: bytes) -> Any:
        """The kernels of a cubin or of PTX text."""
        major, minor = self.compute_capability
        with translated(f"the kernels cannot be loaded on {self.name} (sm_{major}{minor}, CUDA {_dotted(self.driver_version)})"):
            return self.keep(self.driver.module_from_buffer(image if image.startswith(b"\x7fELF") else image + b"\0"))

    def device_memory(self, nbytes: int) -> DeviceMemory:
        """Memory of the GPU alone; it takes a device-wide wait, so allocate at the start."""
        with translated(f"{nbytes} bytes of GPU memory cannot be allocated"):
            memory = DeviceMemory(self, nbytes)
        self._memory[id(memory)] = memory
        return memory

    def shared_memory(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> SharedMemory:
        """Memory that both sides see: mapped when `zero_copy`, otherwise pinned, to be copied."""
        with translated(f"pinned memory of shape {shape} cannot be allocated"):
            memory = SharedMemory(self, shape, dtype)
        self._memory[id(memory)] = memory
        return memory

    def release(self, memory: DeviceMemory | SharedMemory, allocation: Any) -> None:
        """Free what `memory` held; called by its `free`."""
        self._memory.pop(id(memory), None)
        if self.lost is None:
            with self.current(), translated("GPU memory cannot be freed"):
                allocation.free()
        else:
            self._made.append(allocation)

    def wait(self, event: Any, what: str, *, timeout_ms: float | None = None) -> None:
        """Return once `event` has happened; GpuError when CUDA reports an error, or nothing within the time set for the device."""
        try:
            with translated(f"{what} failed on the GPU"):
                _poll(event, what, self._timeout_ms if timeout_ms is None else timeout_ms)
        except GpuError as exc:
            self.lost = str(exc)
            raise

    def keep(self, made: T) -> T:
        """Hold on to `made`, so that it is freed here, in order, or never, on a GPU that was lost."""
        self._made.append(made)
        return made

    def settle(self, what: str = "the last work") -> None:
        """Wait until nothing runs on any stream made here, as `wait` does."""
        try:
            event = self.event()
            with translated(f"{what} cannot be waited for"):
                for stream in [made for made in self._made if isinstance(made, self.driver.Stream)]:
                    event.record(stream)
                    self.wait(event, what)
        except GpuError as exc:
            self.lost = self.lost or str(exc)
            raise
        self.drop(event)

    def close(self) -> None:
        """Wait for what runs, free what is left, newest first, and give the context back. A second call does nothing.

        On a GPU that was lost, or is found to be lost now, nothing is freed.
        """
        if self._context is None:
            return
        if self.lost is not None:
            self.abandon()
            return
        with self.current():
            try:
                self.settle()
            except GpuError:
                self.abandon()
                raise
            for memory in reversed(list(self._memory.values())):
                memory.free()
            while self._made:
                self._made.pop()
            context, self._context = self._context, None
            with translated("the GPU's context cannot be given back"):
                context.detach()
            _pop_released()

    def drop(self, *made: Any) -> None:
        """Let go of what was kept before `close` does; it ends with the caller's last reference to it."""
        self._made = [kept for kept in self._made if not any(kept is gone for gone in made)]

    def abandon(self) -> None:
        """Touch the GPU no more: on one that hangs every free would wait for ever. The process must end with os._exit."""
        self.lost = self.lost or "abandoned"
        give_up(self)


def _driver() -> Any:
    try:
        return importlib.import_module("pycuda.driver")
    except (ImportError, OSError, RuntimeError, AttributeError) as exc:  # the latter two: built for another numpy
        raise GpuError("PyCUDA cannot be loaded", seen=exc, remedy=_INSTALL) from exc


def _pop_released() -> None:
    """PyCUDA takes a primary context that it releases off its own stack, but not off CUDA's, where it would stay this thread's."""
    ctypes.CDLL("libcuda.so.1").cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))


def _poll(event: Any, what: str, limit_ms: float) -> None:
    began = time.monotonic()
    while not event.query():
        waited = time.monotonic() - began
        # Looked at once more: this process itself may have stood still since.
        if waited * 1000.0 > limit_ms and not event.query():
            raise GpuError(f"{what} does not finish on the GPU", seen=f"nothing after {limit_ms:.0f} ms", remedy=RESTART)
        # Sleeping 0 lets other threads run.
        time.sleep(0.0 if waited < SPIN_S else NAP_S)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
