"""The calibration methods side by side on held-out scans: score differences to FP32, changed verdicts, separation and clipping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from calib.histogram import METHODS, Method
from calib.prepare import Prepared
from calib.quantise import quantise_each, read_model
from calib.ranges import TensorRange, observe_each
from calib.run import Progress, counted
from edge.bundle import Member
from edge.errors import DatasetError, ExportError
from edge.inspector.engines.openvino import Compiler

THRESHOLD = 0.5
THREADS = 2


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One method. Differences are those of the badness score to FP32's, flips the scans judged otherwise at THRESHOLD."""

    method: Method
    difference_max: float
    difference_mean: float
    flips: int
    escapes_added: int
    """Of the flips, bad welds that only INT8 calls good."""
    auroc: float
    clipped: float
    """Part of all quantised activations that lie beyond their range, 0 to 1, on the calibration images."""
    ranges: tuple[TensorRange, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All methods on the same scans, and FP32 alone."""

    scans: int
    auroc_fp32: float
    methods: tuple[Compared, ...]


def compare_methods(
    network: bytes,
    images: NDArray[np.uint8],
    proof: Prepared,
    *,
    methods: Sequence[Method] = METHODS,
    bad: int = 0,
    progress: Mapping[str, Progress] | None = None,
) -> Comparison:
    """Quantise with every method from calibration images u8 [N, 1, H, W], and score the held-out scans as the box would.

    `bad` is the column of the bad label in the network's scores. `progress` may hold a listener for each of "calibrate", "observe"
    and "score". Raises ExportError, DatasetError or EngineError.
    """
    told = progress or {}
    is_bad = np.array([label == "bad" for label in proof.labels])
    if not is_bad.any() or is_bad.all():
        raise DatasetError("the held-out scans are all of one label", seen=sorted(set(proof.labels)), remedy="Hold out more scans")
    quantised = quantise_each(network, images, methods=methods, progress=told.get("calibrate"))
    ranges = observe_each([quantised[method] for method in methods], images, told.get("observe"))
    member = _member(read_model(network), bad)
    compiler = Compiler(threads=THREADS)
    badness = partial(_badness, compiler, member, images=proof.images, bad=bad, progress=told.get("score"))
    fp32 = badness(network)
    found = []
    for method, seen in zip(methods, ranges, strict=True):
        found.append(_compared(method, fp32, badness(quantised[method]), is_bad, seen))
    return Comparison(scans=len(is_bad), auroc_fp32=float(roc_auc_score(is_bad, fp32)), methods=tuple(found))


def table(found: Comparison) -> str:
    """The comparison for people, one line per method."""
    lines = [f"{'method':<11}{'largest':>9}{'mean':>10}{'flips':>7}{'escapes':>9}{'AUROC':>9}{'clipped':>11}"]
    lines.append(f"{'FP32':<11}{'':>35}{found.auroc_fp32:>9.4f}")
    for m in found.methods:
        figures = f"{m.difference_max:>9.4f}{m.difference_mean:>10.5f}{m.flips:>7}{m.escapes_added:>9}{m.auroc:>9.4f}{m.clipped:>11.5%}"
        lines.append(f"{m.method:<11}{figures}")
    lines.append(f"{found.scans} held-out scans; differences of the badness score to FP32; flips and added escapes at {THRESHOLD}")
    return "\n".join(lines)


def _compared(
    method: Method, fp32: NDArray[np.float64], int8: NDArray[np.float64], is_bad: NDArray[np.bool_], ranges: tuple[TensorRange, ...]
) -> Compared:
    difference = np.abs(int8 - fp32)
    flipped = (int8 > THRESHOLD) != (fp32 > THRESHOLD)
    values = np.array([r.histogram.sum() for r in ranges], np.float64)
    return Compared(
        method=method,
        difference_max=float(difference.max()),
        difference_mean=float(difference.mean()),
        flips=int(flipped.sum()),
        escapes_added=int((flipped & is_bad & (int8 <= THRESHOLD)).sum()),
        auroc=float(roc_auc_score(is_bad, int8)),
        clipped=float(np.average([r.clipped for r in ranges], weights=values)),
        ranges=ranges,
    )


def _member(model: onnx.ModelProto, bad: int) -> Member:
    result = model.graph.output[0]
    classes = [d.dim_value for d in result.type.tensor_type.shape.dim][-1]
    if not 0 <= bad < classes:
        raise ExportError("the network has no such score", seen=f"column {bad} of {classes}", remedy="Give --bad, the bad label's place")
    names = tuple("bad" if place == bad else f"class{place}" for place in range(classes))
    weights = {tensor.name for tensor in model.graph.initializer}
    data = next(value.name for value in model.graph.input if value.name not in weights)
    return Member(name="network", file="network.onnx", architecture="", input=data, output=result.name, classes=names)


def _badness(
    compiler: Compiler, member: Member, network: bytes, *, images: NDArray[np.uint8], bad: int, progress: Progress | None
) -> NDArray[np.float64]:
    data = np.zeros(images.shape[2:], np.uint8)
    engine = compiler.compile(member, network, data)
    found = np.empty(len(images))
    for place, image in enumerate(counted(images, progress)):
        data[:] = image[0]
        found[place] = engine.run()[bad]
    return found
