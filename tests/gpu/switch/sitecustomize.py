"""Lets a test switch faults on in an inspector that runs: at SIGUSR1 it takes those in the file that CORDON_TEST_FAULTS names.

Python imports this module by itself in every process that has its folder on PYTHONPATH.
"""

import os
import signal
from pathlib import Path
from types import FrameType


def _switch(_number: int, _frame: FrameType | None) -> None:
    """Lines such as `driver hang:after=5` (as SOFTCUDA_FAULT, from now on) or `tensorrt slow 0 1 80` (what, after, times, value)."""
    import ctypes  # noqa: PLC0415 -- nothing but this handler may differ from a process without it

    for line in Path(os.environ["CORDON_TEST_FAULTS"]).read_text().splitlines():
        where, what, *counts = line.split()
        if where == "driver":
            ctypes.CDLL("libcuda.so.1").soft_fault(what.encode())
        else:
            from trt_standin import fail  # noqa: PLC0415

            fail(what, after=int(counts[0]), times=int(counts[1]), value=float(counts[2]))


if "CORDON_TEST_FAULTS" in os.environ:
    signal.signal(signal.SIGUSR1, _switch)
