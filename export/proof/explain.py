"""The maps of networks whose precision is settled: put behind the shipped graphs, and proved to change no score by a single bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from calib.half import to_fp16
from edge.errors import ExportError
from edge.inspector.engines.openvino import Compiler
from edge.manifest import MapOutput
from export.graph.evidence import MAP, with_map
from export.network import THREADS, Images, Network
from export.proof.committee import badness_of
from export.proof.evaluate import BAD, Evaluation
from export.proof.threshold import Scores

Maps = NDArray[np.float32]


class MapRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One member's maps on the held-out scans, shipped against FP32."""

    member: str
    rows: int
    columns: int
    scans: int
    correlation_mean: float
    """Pearson's, over the cells of one scan's map; mean over the scans."""
    correlation_least: float
    peaks_within_a_cell: float
    """Part of the scans whose strongest cell is FP32's or beside it."""

    def summary(self) -> str:
        """One line."""
        return (
            f"{self.member} {self.rows} x {self.columns}, correlation with FP32 {self.correlation_mean:.4f} "
            f"(least {self.correlation_least:.4f}), {self.peaks_within_a_cell:.1%} of the peaks within a cell"
        )


def explained(found: Evaluation) -> tuple[Evaluation, tuple[MapRecord, ...]]:
    """`found` with networks that also give a map, and how the maps agree with FP32's.

    Raises ExportError where a network has no map, or where a score is not the very same with it.
    """
    networks, records = [], []
    for network, badness in zip(found.networks, found.badness, strict=True):
        made, record = _explained(network, badness, found.evidence.proof.images)
        networks.append(made)
        records.append(record)
    maps = [network.member.map for network in networks]
    members = tuple(msgspec.structs.replace(member, map=one) for member, one in zip(found.committee.members, maps, strict=True))
    return replace(found, networks=tuple(networks), committee=replace(found.committee, members=members)), tuple(records)


def _explained(network: Network, badness: Scores, images: Images) -> tuple[Network, MapRecord]:
    bad = network.member.classes.index(BAD)
    full, shape = with_map(network.full, bad)
    shipped = to_fp16(full) if network.precision == "fp16" else with_map(network.shipped, bad)[0]
    member = msgspec.structs.replace(network.member, map=MapOutput(name=MAP, shape=shape))
    made = replace(network, member=member, shipped=shipped)
    answers, maps = run_with_map(made, shipped, images)
    differing = int((badness_of(answers, member.classes, BAD) != badness).sum())
    if differing:
        raise ExportError(
            f"{member.name}: the second output changes scores",
            seen=f"{differing} of {len(badness)} held-out scans",
            remedy="Export it without explain, and report the network",
        )
    return made, agreement(member.name, run_with_map(made, full, images)[1], maps)


def run_with_map(network: Network, graph: bytes, images: Images) -> tuple[NDArray[np.float32], Maps]:
    """Probabilities [N, classes] and maps [N, h, w] of u8 [N, 1, H, W], by the engine class the box uses. Raises EngineError."""
    data = np.zeros(images.shape[2:], np.uint8)
    engine = Compiler(threads=THREADS, maps=True).compile(network.member, graph, data)
    answers, maps = [], []
    for image in images:
        data[:] = image[0]
        answers.append(engine.run().copy())
        assert engine.map is not None
        maps.append(engine.map.copy())
    return np.stack(answers), np.stack(maps)


def agreement(name: str, full: Maps, shipped: Maps) -> MapRecord:
    """Both f32 [N, h, w]; a map without any variation agrees only with one that has none either."""
    found = [_correlation(one, other) for one, other in zip(full, shipped, strict=True)]
    near = [_within_a_cell(one, other) for one, other in zip(full, shipped, strict=True)]
    return MapRecord(
        member=name,
        rows=full.shape[1],
        columns=full.shape[2],
        scans=len(full),
        correlation_mean=round(float(np.mean(found)), 6),
        correlation_least=round(float(np.min(found)), 6),
        peaks_within_a_cell=round(float(np.mean(near)), 6),
    )


def _correlation(one: Maps, other: Maps) -> float:
    first, second = (values.astype(np.float64).ravel() - float(values.mean(dtype=np.float64)) for values in (one, other))
    scale = float(np.sqrt((first @ first) * (second @ second)))
    if scale == 0.0:
        return float(not first.any() and not second.any())
    return float(first @ second) / scale


def _within_a_cell(one: Maps, other: Maps) -> bool:
    places: Sequence[tuple[np.intp, ...]] = [np.unravel_index(int(values.argmax()), values.shape) for values in (one, other)]
    return max(abs(int(a) - int(b)) for a, b in zip(*places, strict=True)) <= 1
