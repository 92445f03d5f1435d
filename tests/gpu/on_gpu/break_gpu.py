"""Breaks the GPU on purpose, one way per process: what is printed, and how the process ends, is what the inspector's operator would see."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from edge.errors import GpuError
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.leave import leave
from edge.inspector.heightmap.cuda_kernels import SHIPPED, read_binary, read_index

LOST = 3
"""How a process ends that lost its GPU here."""
LIMIT_MS = 1000.0
PTX = b"""
.version 7.0
.target sm_75
.address_size 64

.visible .entry illegal(.param .u64 flag)
{
    .reg .u64 %a;
    .reg .u32 %v;
    mov.u64 %a, 4096;
    mov.u32 %v, 1;
    st.volatile.global.u32 [%a], %v;
    ret;
}

.visible .entry endless(.param .u64 flag)
{
    .reg .u64 %a;
    .reg .u32 %v;
    .reg .pred %p;
    ld.param.u64 %a, [flag];
again:
    ld.volatile.global.u32 %v, [%a];
    setp.eq.u32 %p, %v, 0;
    @%p bra again;
    ret;
}
"""
"""Writes where nothing was allocated, and waits for a value that nobody writes. Text, so that no compiler is needed."""


def main() -> int:
    """0: the error came and the GPU goes on; LOST: it came and the GPU was given up; 1: it did not come."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("how", choices=["illegal", "endless", "memory", "foreign"])
    parser.add_argument("--software-driver", action="store_true", help="the driver breaks by itself: SOFTCUDA_FAULT says when")
    arguments = parser.parse_args()
    device = Device(timeout_ms=LIMIT_MS)
    with device.current():
        try:
            _break(device, arguments.how, software=arguments.software_driver)
        except GpuError as exc:
            print(exc, flush=True)
            if device.lost is not None:
                device.abandon()
                leave(LOST)
            return _goes_on(device)
    device.close()
    print("nothing happened", flush=True)
    return 1


def _break(device: Device, how: str, *, software: bool) -> None:
    if how == "memory":
        device.device_memory(1 << 50)
    elif how == "foreign":
        device.module(_foreign(device))
    else:
        _run(device, how, software=software)


def _run(device: Device, kernel: str, *, software: bool) -> None:
    """Queue the kernel and wait as for a frame. Raises GpuError."""
    stream, done, flag = device.stream(), device.event(), device.device_memory(256)
    device.driver.memset_d8_async(flag.address, 0, flag.nbytes, stream)
    if not software:
        launch: Any = device.module(PTX).get_function(kernel).prepare("P")
        launch.prepared_async_call((1, 1), (1, 1, 1), stream, flag.address)
    done.record(stream)
    device.wait(done, f"the {kernel} kernel")


def _foreign(device: Device) -> bytes:
    """Shipped kernels for a GPU of another generation."""
    index = read_index()
    other = next(b for b in index.binaries if not b.portable and b.capability[0] != device.compute_capability[0])
    return read_binary(other, Path(SHIPPED))


def _goes_on(device: Device) -> int:
    memory = device.device_memory(1 << 20)
    memory.free()
    device.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
