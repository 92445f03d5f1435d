"""The router: one network over all typologies, calibrated and proved on their scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from calib.images import DEFAULT_IMAGES, candidates, choose_images
from calib.prepare import Prepared, join, prepare_scans
from edge.errors import ExportError
from edge.manifest import RouterSpec
from export.network import answers, full_network, in_int8, member_of
from export.order import RouterOrder, TypologyOrder
from export.paper.certificate import RouterCertificate, RouterResult, calibration_record, network_record, sha256
from export.progress import Progress
from export.proof.golden import choose_router_golden
from export.proof.measure import Latency, measure_latency
from export.proof.parser_check import check_with_parser
from export.proof.threshold import upper_bound
from export.sets import Sets, find_sets, heightmap_of
from export.sources.load import Source, load_source
from scans.folder import Scan

PER_CLASS = 8
"""Calibration images per typology, at least."""
MAX_TRAINING, MAX_PROOF = 32, 100
"""Scans per typology and label that are read."""


@dataclass(frozen=True, kw_only=True)
class ExportedRouter:
    """Its part of the manifest, its files, its part of the certificate."""

    spec: RouterSpec
    files: dict[str, bytes]
    certificate: RouterCertificate
    latency: Latency


def export_router(
    order: RouterOrder, typologies: Sequence[TypologyOrder], progress: Progress, *, trust_pickle: bool = False
) -> ExportedRouter:
    """Load, convert, prove, pick golden inputs. Raises ExportError, DatasetError, ConfigError or EngineError."""
    progress = progress.of("router")
    with progress.step("load") as note:
        first = typologies[0].scans
        source = load_source(
            order.source,
            heightmap=heightmap_of(order.heightmap, first),
            architecture=order.architecture,
            classes=order.classes,
            output=order.output,
            trust_pickle=trust_pickle,
        )
        orders = _scans_of(order, typologies, source)
        note.text = order.source.name
    with progress.step("scans") as note:
        sets = {name: find_sets(typology, source.provenance) for name, typology in orders.items()}
        training = join([_prepare(name, s, source, s.training, MAX_TRAINING) for name, s in sets.items()])
        proof = join([_prepare(name, s, source, s.held_out, MAX_PROOF) for name, s in sets.items()])
        note.text = f"{len(sets)} typologies, {len(proof.images)} held out"
    member = member_of(source, "router", folder="router")
    with progress.step("int8") as note:
        chosen = choose_images(training, count=max(DEFAULT_IMAGES, PER_CLASS * len(source.classes)))
        network = in_int8(full_network(source, member, chosen, proof))
        note.text = f"{source.architecture}, {len(network.shipped):,} bytes, {len(chosen.images)} images"
    with progress.step("parser") as note:
        parsed = check_with_parser([network])
        note.text = parsed or "no tensorrt_rtx could be loaded here"
    with progress.step("prove") as note:
        int8 = answers(network, proof.images)
        found = judge(answers(network, proof.images, full=True), int8, proof.labels, source.classes, order.confidence)
        require_routing(found, accuracy_floor=order.accuracy_floor)
        scales = {name: s.folder.scale for name, s in sets.items()}
        golden, frames = choose_router_golden(int8, proof, source.classes, order.confidence, scales)
        note.text = f"{found.named_int8} of {found.scans} named, {found.wrong_int8} wrongly, {found.unsure_int8} unsure"
    return ExportedRouter(
        spec=RouterSpec(heightmap=source.heightmap, member=member, confidence=order.confidence, golden=golden),
        files={member.file: network.shipped, **frames},
        certificate=RouterCertificate(
            network=network_record(network),
            calibration=calibration_record(chosen),
            proof_sha256=sha256(proof.images.tobytes()),
            confidence=order.confidence,
            result=found,
            parser=parsed,
        ),
        latency=measure_latency(network, proof.images),
    )


def judge(
    fp32: NDArray[np.float32], int8: NDArray[np.float32], labels: Sequence[str], classes: Sequence[str], confidence: float
) -> RouterResult:
    """Count over answers [N, classes]: named rightly, named wrongly, unsure."""
    truth = np.array([classes.index(label) for label in labels])
    counts = []
    for named in (fp32, int8):
        sure = named.max(axis=1) >= confidence
        right = named.argmax(axis=1) == truth
        counts.append((int((sure & right).sum()), int((sure & ~right).sum())))
    (named32, wrong32), (named8, wrong8) = counts
    return RouterResult(
        scans=len(truth),
        named_fp32=named32,
        named_int8=named8,
        wrong_fp32=wrong32,
        wrong_int8=wrong8,
        unsure_int8=len(truth) - named8 - wrong8,
        wrong_rate_bound=upper_bound(wrong8, len(truth)),
        difference_max=float(np.abs(int8 - fp32).max()),
    )


def require_routing(found: RouterResult, *, accuracy_floor: float) -> None:
    """Raises ExportError when too few scans are named rightly, or INT8 names more wrongly than FP32 does."""
    if not found.named_int8 >= accuracy_floor * found.scans:
        seen = f"{found.named_int8} of {found.scans} held-out scans (FP32 {found.named_fp32}), wanted {accuracy_floor:.0%}"
        raise ExportError("the router names too few scans rightly", seen=seen, remedy="Train it further, or lower router.confidence")
    if found.wrong_int8 > found.wrong_fp32:
        seen = f"{found.wrong_int8} scans, FP32 {found.wrong_fp32}"
        raise ExportError("INT8 names more scans wrongly than FP32", seen=seen, remedy="Raise router.confidence, or train it further")


def _scans_of(order: RouterOrder, typologies: Sequence[TypologyOrder], source: Source) -> dict[str, TypologyOrder]:
    """Where the scans of each of the router's classes lie."""
    known = {typology.name: typology for typology in typologies}
    strangers = sorted(set(source.classes) - set(known))
    if strangers:
        raise ExportError(
            "the router names typologies that are not in this bundle", seen=strangers, remedy="Export them too, or train the router anew"
        )
    chosen = {name: known[name] for name in source.classes}
    if order.root is None:
        return chosen
    return {name: msgspec.structs.replace(typology, scans=order.root / name, table=None) for name, typology in chosen.items()}


def _prepare(name: str, sets: Sets, source: Source, scans: Sequence[Scan], limit: int) -> Prepared:
    return prepare_scans(candidates(scans, limit=limit), source.heightmap, sets.folder.scale, label=name)
