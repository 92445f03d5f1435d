"""The certificate inside every bundle: what was exported from what, how it was proved, and with which tools."""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from importlib.metadata import PackageNotFoundError, version

import msgspec

from calib.images import CalibrationSet
from export.sets import Split
from export.verify import Comparison

NAME = "certificate.json"
TOOLS = ("cordon", "torch", "onnx", "onnxruntime", "onnxruntime-gpu", "nvidia-modelopt", "openvino", "numpy", "opencv-python-headless")


class NetworkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One network's way from file to file."""

    architecture: str
    classes: tuple[str, ...]
    source_sha256: str
    source_provenance: dict[str, str]
    fp32_sha256: str
    int8_sha256: str
    int8_bytes: int
    method: str
    torch_difference: float
    """Largest difference of a probability, PyTorch against FP32 ONNX."""


class CalibrationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The images whose ranges the INT8 network uses."""

    images: int
    labels: dict[str, int]
    candidates: int
    duplicates: int
    sha256: str
    """Over the contents of the chosen images, in order."""


class TypologyCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """One typology."""

    name: str
    network: NetworkRecord
    calibration: CalibrationRecord
    split: Split
    proof_sha256: str
    """Over the prepared held-out images, in order."""
    result: Comparison


class RouterResult(msgspec.Struct, frozen=True, kw_only=True):
    """Counts on held-out scans of every typology; `wrong` is named with confidence, but wrongly."""

    scans: int
    named_fp32: int
    named_int8: int
    """Rightly, and with confidence."""
    wrong_fp32: int
    wrong_int8: int
    unsure_int8: int
    wrong_rate_bound: float
    difference_max: float


class RouterCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """The router."""

    network: NetworkRecord
    calibration: CalibrationRecord
    proof_sha256: str
    confidence: float
    result: RouterResult


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """The whole `certificate.json`; signed with the bundle."""

    format: int = 1
    name: str
    version: int
    typologies: tuple[TypologyCertificate, ...]
    router: RouterCertificate | None
    known_answers: int
    """Golden inputs in the bundle; the box runs them all."""
    tools: dict[str, str]


def calibration_record(chosen: CalibrationSet) -> CalibrationRecord:
    """What the certificate keeps of a calibration set."""
    return CalibrationRecord(
        images=len(chosen.images),
        labels=dict(sorted(Counter(chosen.labels).items())),
        candidates=chosen.candidates,
        duplicates=chosen.duplicates,
        sha256=chosen.hash,
    )


def tool_versions() -> dict[str, str]:
    """Versions of everything that takes part, and the kind of machine."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def to_json(certificate: Certificate) -> bytes:
    """Readable JSON."""
    return msgspec.json.format(msgspec.json.encode(certificate), indent=2) + b"\n"


def sha256(data: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(data).hexdigest()
