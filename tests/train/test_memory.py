from __future__ import annotations

import platform
import resource
from pathlib import Path

import numpy as np
import pytest

from train.memory import give_memory_back, keep_freed_memory


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory in its own way")
def test_memory_that_was_kept_goes_back_after_a_run() -> None:
    assert keep_freed_memory()
    blocks = [np.ones(1 << 20, np.uint8) for _ in range(128)]
    fences = [np.ones(1 << 12, np.uint8) for _ in blocks]
    del blocks
    kept = resident()
    assert give_memory_back()
    assert kept - resident() > 32 << 20
    assert fences
