import subprocess
import sys

import pytest

FOREIGN = (
    "torch",
    "onnx",
    "fastai",
    "modelopt",
    "tensorrt",
    "tensorrt_rtx",
    "tensorrt_rtx_bindings",
    "pycuda",
    "sklearn",
    "export",
    "calib",
    "train",
    "sim",
    "nets",
    "scans",
)
GATE_FOREIGN = (*FOREIGN, "numpy", "cv2", "openvino", "zmq", "cryptography")


def _loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize(
    "module", ["edge.cli", "edge.commands", "edge.bundle", "edge.bundle_cli", "edge.bundle_lookup", "edge.inspector.daemon"]
)
def test_the_box_loads_nothing_it_does_not_have(module: str) -> None:
    assert not _loaded_by(module) & set(FOREIGN)


def test_the_gate_is_standard_library_pyserial_and_msgspec() -> None:
    assert not _loaded_by("edge.gate.daemon") & set(GATE_FOREIGN)
