"""A serialised engine: a header of 64 bytes that tells where it runs, what was built as JSON, and the ONNX file, without a checksum."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import asdict, dataclass

_HEADER = struct.Struct("<4s12s16s8HQII")
HEADER_SIZE = _HEADER.size
_MARK = b"stand-in plan"[:12]
_MAGIC = {True: b"vtrt", False: b"STRT"}
_TARGETS = 8


@dataclass(frozen=True)
class TensorSpec:
    """An input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """A member of DataType."""
    output: bool


@dataclass(frozen=True)
class Plan:
    """What a build leaves behind."""

    version: str
    rtx: bool
    targets: tuple[int, ...]
    """Compute capabilities such as 87."""
    gpu: str
    """The device it was built on; empty for TensorRT-RTX."""
    tensors: tuple[TensorSpec, ...]
    layers: int
    scratch: int
    """Bytes that an execution needs beside its inputs, outputs and weights."""
    aux_streams: int
    onnx: bytes

    def dump(self) -> bytes:
        """The bytes; no two are equal, as with the real builders."""
        facts = asdict(self) | {"onnx": None, "built": os.urandom(8).hex()}
        told = json.dumps(facts).encode()
        size = HEADER_SIZE + len(told) + len(self.onnx)
        targets = (*self.targets, *([0] * _TARGETS))[:_TARGETS]
        header = _HEADER.pack(_MAGIC[self.rtx], _MARK, self.version.encode(), *targets, size, len(told), 0)
        return header + told + self.onnx


class PlanError(Exception):
    """The plan cannot be used; the text is what goes to the log, `diagnostics` the bits of EngineInvalidityDiagnostics."""

    def __init__(self, text: str, diagnostics: int) -> None:
        self.diagnostics = diagnostics
        super().__init__(text)


VERSION_MISMATCH, UNSUPPORTED_CC, MALFORMED = 1, 2, 32


def check_header(data: bytes, *, version: str, rtx: bool, capability: int) -> tuple[int, int]:
    """(size of all, size of the JSON) of a plan for this version and device, from its first bytes. Raises PlanError."""
    if not data:
        raise PlanError("Cannot deserialize with an empty memory buffer.", MALFORMED)
    if len(data) < HEADER_SIZE:
        raise PlanError("Assertion bufferSize >= minBufferSize failed.", MALFORMED)
    magic, mark, built, *targets, size, told, _ = _HEADER.unpack_from(data)
    if (magic, mark) != (_MAGIC[rtx], _MARK):
        raise PlanError(
            "Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed.Trying to load an engine created with incompatible "
            "serialization version. Check that the engine was not created using safety runtime, same OS was used and version "
            "compatibility parameters were set accordingly and that it is a TRT engine file.",
            MALFORMED,
        )
    if built.rstrip(b"\0") != version.encode():
        raise PlanError(
            "The engine plan file is not compatible with this version of TensorRT, expecting library version "
            f"{version} got {built.rstrip(bytes(1)).decode(errors='replace')}, please rebuild.",
            VERSION_MISMATCH,
        )
    if capability not in targets:
        raise PlanError(f"The engine was built for compute capability {_list(targets)}, this device has {capability}.", UNSUPPORTED_CC)
    return size, told


def load(data: bytes, *, version: str, rtx: bool, capability: int) -> Plan:
    """The plan in `data`. Raises PlanError; what lies in the ONNX file is not looked at."""
    size, told = check_header(data, version=version, rtx=rtx, capability=capability)
    if size != len(data):
        raise PlanError("Serialization assertion plan.header.size == blobSize failed.", MALFORMED)
    try:
        facts = json.loads(data[HEADER_SIZE : HEADER_SIZE + told])
        tensors = tuple(TensorSpec(t["name"], tuple(t["shape"]), t["dtype"], t["output"]) for t in facts.pop("tensors"))
        del facts["built"]
        facts |= {"onnx": data[HEADER_SIZE + told :], "tensors": tensors, "targets": tuple(facts["targets"])}
        return Plan(**facts)
    except (ValueError, KeyError, TypeError) as exc:
        raise PlanError(f"Serialization assertion failed: {exc}", MALFORMED) from exc


def _list(targets: list[int]) -> str:
    return ", ".join(str(target) for target in targets if target)
