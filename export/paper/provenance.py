"""Where an export comes from: hashes over the scans' contents and over the project's own code, and the tools' versions."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from edge.errors import DatasetError
from scans.folder import Scan

ROOMS = ("edge", "scans", "nets", "calib", "export")
"""Packages whose code takes part in an export."""
TOOLS = (
    "cordon",
    "torch",
    "torchvision",
    "fastai",
    "onnx",
    "onnxslim",
    "onnxruntime",
    "onnxruntime-gpu",
    "nvidia-modelopt",
    "openvino",
    "tensorrt-rtx-cu13-bindings",
    "numpy",
    "opencv-python-headless",
)


def scans_sha256(scans: Sequence[Scan], root: Path) -> str:
    """SHA-256 over name, label, group and content of every scan, in order of their names. Raises DatasetError."""
    total = hashlib.sha256()
    for scan in sorted(scans, key=lambda scan: scan.path.as_posix()):
        name = scan.path.relative_to(root).as_posix()
        try:
            content = hashlib.sha256(scan.path.read_bytes()).hexdigest()
        except OSError as exc:
            raise DatasetError(f"cannot read the scan {scan.path}", seen=exc.strerror, remedy="Check the file's rights") from exc
        total.update(f"{name}\0{scan.label}\0{scan.group}\0{content}\n".encode())
    return total.hexdigest()


@cache
def code_sha256() -> str:
    """SHA-256 over every module of the rooms that take part, by name and content."""
    total = hashlib.sha256()
    for room in ROOMS:
        spec = find_spec(room)
        folder = Path((spec.submodule_search_locations or [""])[0]) if spec else Path()
        for path in sorted(folder.rglob("*.py")):
            total.update(f"{room}/{path.relative_to(folder).as_posix()}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def tool_versions() -> dict[str, str]:
    """Versions of everything that takes part, and the kind of machine."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
