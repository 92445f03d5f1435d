"""On a box without PyCUDA the GPU's part says so, and nothing before it needs PyCUDA."""

from __future__ import annotations

import sys

import pytest

from edge.errors import GpuError
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.errors import gpu_error, translated
from edge.inspector.cuda.graphs import Graphs


@pytest.fixture(autouse=True)
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pycuda", "pycuda.driver", "cuda.bindings.driver", "cuda.cuda"):
        monkeypatch.setitem(sys.modules, name, None)


def test_a_device_without_pycuda_says_what_to_install() -> None:
    with pytest.raises(GpuError, match=r"PyCUDA cannot be loaded .*Install PyCUDA and the NVIDIA driver"):
        Device()


def test_graphs_without_cuda_bindings_say_so() -> None:
    assert "cuda-bindings cannot be loaded" in (Graphs().reason or "")


def test_other_errors_pass_through() -> None:
    with pytest.raises(KeyError), translated("anything"):
        raise KeyError


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("cuInit failed: no CUDA-capable device is detected", "nvidia-smi"),
        ("cuMemAlloc failed: out of memory", "fewer typologies"),
        ("cuModuleLoadDataEx failed: no kernel image is available for execution on the device", "make cubins"),
        ("cuModuleLoadDataEx failed: the provided PTX was compiled with an unsupported toolchain.", "make cubins"),
        ("cuInit failed: CUDA driver is a stub library", "stubs"),
        ("cuInit failed: system has unsupported display driver / cuda driver combination", "NVIDIA driver"),
        ("cuEventQuery failed: uncorrectable ECC error encountered", "kernel log"),
        ("cuEventQuery failed: an illegal memory access was encountered", "kernel log"),
        ("cuEventQuery failed: invalid resource handle", "new process"),
    ],
)
def test_every_error_has_a_remedy_that_fits(text: str, remedy: str) -> None:
    assert remedy in gpu_error("something failed", text).remedy
