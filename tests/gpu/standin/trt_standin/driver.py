"""The few functions of libcuda.so.1 that the stand-in calls, through ctypes, and soft_launch of the software driver."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
NO_DRIVER = 35  # cudaErrorInsufficientDriver: what the CUDA runtime says where there is no driver at all
ILLEGAL_ADDRESS, LAUNCH_FAILED = 700, 719
WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_TEXTS = {
    1: "invalid argument",
    2: "out of memory",
    3: "initialization error",
    NO_DRIVER: "CUDA driver version is insufficient for CUDA runtime version",
    100: "no CUDA-capable device is detected",
    201: "invalid device context",
    700: "an illegal memory access was encountered",
    719: "unspecified launch failure",
    900: "operation not permitted when stream is capturing",
    901: "operation failed due to a previous error during capture",
}


def text(error: int) -> str:
    """How the log names a CUDA error."""
    return f"cudaError {error}: {_TEXTS.get(error, 'see cuda.h')}"


@functools.cache
def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


@functools.cache
def _function(name: str) -> Any:
    library = _library()
    found = None if library is None else getattr(library, name, None)
    if found is not None:
        found.restype = ctypes.c_int
    return found


def call(name: str, *arguments: Any) -> int:
    """The CUresult of driver function `name`, NO_DRIVER where there is none."""
    function = _function(name)
    return NO_DRIVER if function is None else int(function(*arguments))


def usable() -> int:
    """0 where there is a driver with a device, else the error."""
    count = ctypes.c_int()
    error = call("cuInit", ctypes.c_uint(0)) or call("cuDeviceGetCount", ctypes.byref(count))
    return error or (0 if count.value else 100)


def current() -> int:
    """The calling thread's context, 0 where it has none."""
    context = ctypes.c_void_p()
    return (context.value or 0) if call("cuCtxGetCurrent", ctypes.byref(context)) == 0 else 0


def use_primary_context() -> None:
    """What the CUDA runtime does in a process where nobody made a context: take the primary one, for good.

    Where somebody did and this thread has not pushed it, the real runtime does so too; here that stays an error, to be found.
    """
    context, flags, active = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_int(1)
    if current() or call("cuDevicePrimaryCtxGetState", ctypes.c_int(0), ctypes.byref(flags), ctypes.byref(active)) or active.value:
        return
    if call("cuDevicePrimaryCtxRetain", ctypes.byref(context), ctypes.c_int(0)) == 0:
        call("cuCtxSetCurrent", context)


def device() -> tuple[str, int]:
    """Name and compute capability, such as 87, of the first device; ("", 0) where there is none."""
    handle, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    error = (
        usable()
        or call("cuDeviceGet", ctypes.byref(handle), ctypes.c_int(0))
        or call("cuDeviceGetName", name, ctypes.c_int(len(name)), handle)
        or call("cuDeviceGetAttribute", ctypes.byref(major), ctypes.c_int(_MAJOR), handle)
        or call("cuDeviceGetAttribute", ctypes.byref(minor), ctypes.c_int(_MINOR), handle)
    )
    return ("", 0) if error else (name.value.decode(), major.value * 10 + minor.value)


def total_memory() -> int:
    """Bytes of the first device's memory, 64 GiB where there is none."""
    nbytes = ctypes.c_size_t()
    error = usable() or call("cuDeviceTotalMem_v2", ctypes.byref(nbytes), ctypes.c_int(0))
    return 64 << 30 if error else nbytes.value


def driver_version() -> int:
    """The newest CUDA version that the driver speaks, such as 12060."""
    version = ctypes.c_int()
    call("cuDriverGetVersion", ctypes.byref(version))
    return version.value


def allocate(nbytes: int) -> tuple[int, int]:
    """(CUresult, address)."""
    address = ctypes.c_uint64()
    return call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(nbytes)), address.value


def free(address: int) -> int:
    """The CUresult of cuMemFree."""
    return call("cuMemFree_v2", ctypes.c_uint64(address))


def capturing(stream: int) -> bool:
    """Is `stream` being captured into a graph?"""
    status = ctypes.c_int()
    return call("cuStreamIsCapturing", ctypes.c_void_p(stream), ctypes.byref(status)) == 0 and status.value == 1


def launch(stream: int, work: Any, data: int) -> int:
    """Queue `work` (a WORK) with `data` on `stream`; the CUresult."""
    return call("soft_launch", ctypes.c_void_p(stream), work, ctypes.c_void_p(data))


def record(event: int, stream: int) -> int:
    """Record `event` on `stream`."""
    return call("cuEventRecord", ctypes.c_void_p(event), ctypes.c_void_p(stream))


def synchronise(stream: int) -> int:
    """Wait for `stream`."""
    return call("cuStreamSynchronize", ctypes.c_void_p(stream))


def device_may_use(address: int, nbytes: int) -> bool:
    """Lie these bytes in one live allocation? Only work on the device may ask."""
    return call("soft_range", ctypes.c_uint64(address), ctypes.c_uint64(nbytes)) == 1


def work_failed(error: int) -> None:
    """End the running work with a CUDA error, which stays; only work on the device may say so."""
    function = _function("soft_fail")
    if function is not None:
        function.restype = None
        function(ctypes.c_int(error))


def new_stream() -> int:
    """A non-blocking stream, 0 where none could be made."""
    stream = ctypes.c_void_p()
    return (stream.value or 0) if call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(1)) == 0 else 0


def end_stream(stream: int) -> None:
    """Destroy what `new_stream` made."""
    if stream:
        call("cuStreamDestroy_v2", ctypes.c_void_p(stream))
