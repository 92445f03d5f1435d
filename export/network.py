"""The steps every network takes, whatever it decides: source → FP32 ONNX → calibration → INT8 → both sets of answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.images import CalibrationSet, choose_images
from calib.prepare import Prepared
from calib.quantise import Method, quantise
from edge.bundle import Member
from edge.inspector.engines.openvino import Compiler
from export.certificate import NetworkRecord, sha256
from export.graph import INPUT, OUTPUT, export_onnx, require_same_as_torch, run_torch
from export.progress import Progress
from export.source import Source
from export.verify import run_network

THREADS = 2
TORCH_SAMPLES = 8


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A network in INT8, its answers [N, classes] on the proof images next to those of FP32, and the record of how it came to be."""

    member: Member
    onnx: bytes
    fp32: NDArray[np.float32]
    int8: NDArray[np.float32]
    calibration: CalibrationSet
    record: NetworkRecord


def convert(
    source: Source, member: Member, training: Prepared, proof: Prepared, *, count: int, method: Method, progress: Progress
) -> Converted:
    """Run the steps. Raises ExportError, DatasetError or EngineError."""
    with progress.step("onnx") as note:
        full = export_onnx(source)
        note.text = f"{source.architecture}, {len(full):,} bytes"
    with progress.step("calibrate") as note:
        chosen = choose_images(training, count=count)
        note.text = f"{len(chosen.images)} of {chosen.candidates} images, set {chosen.hash[:12]}"
    with progress.step("int8") as note:
        quantised = quantise(full, chosen.images, method=method)
        note.text = f"{len(quantised):,} bytes"
    with progress.step("run") as note:
        compiler = Compiler(threads=THREADS)
        fp32, int8 = (run_network(compiler, member, onnx, proof.images) for onnx in (full, quantised))
        sample = slice(None, None, max(1, len(proof.images) // TORCH_SAMPLES))
        difference = require_same_as_torch(fp32[sample], run_torch(source, proof.images[sample]))
        note.text = f"{len(proof.images)} held-out scans, FP32 and INT8"
    record = NetworkRecord(
        architecture=source.architecture,
        classes=source.classes,
        source_sha256=source.sha256,
        source_provenance=source.provenance,
        fp32_sha256=sha256(full),
        int8_sha256=sha256(quantised),
        int8_bytes=len(quantised),
        method=method,
        torch_difference=difference,
    )
    return Converted(member=member, onnx=quantised, fp32=fp32, int8=int8, calibration=chosen, record=record)


def member_of(source: Source, name: str, *, folder: str) -> Member:
    """The manifest's entry for a network named `name` in `folder` of the bundle."""
    file = f"{folder}/{name}.onnx"
    return Member(name=name, file=file, architecture=source.architecture, input=INPUT, output=OUTPUT, classes=source.classes)
