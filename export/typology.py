"""One typology, from its order to everything the bundle needs of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calib.images import candidates
from calib.prepare import prepare_scans
from edge.bundle import TypologySpec
from edge.errors import ExportError
from export.certificate import TypologyCertificate, calibration_record, sha256
from export.golden import choose_golden
from export.network import convert, member_of
from export.order import TypologyOrder
from export.progress import Progress
from export.sets import find_sets, heightmap_of
from export.source import Source, load_source
from export.threshold import choose_threshold
from export.verify import badness, compare, require_shippable

BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class ExportedTypology:
    """Its part of the manifest, its files, its part of the certificate."""

    spec: TypologySpec
    files: dict[str, bytes]
    certificate: TypologyCertificate


def export_typology(order: TypologyOrder, progress: Progress, *, trust_pickle: bool = False) -> ExportedTypology:
    """Load, convert, choose the threshold, prove, pick golden inputs. Raises ExportError, DatasetError, ConfigError or EngineError."""
    progress = progress.of(order.name)
    with progress.step("load") as note:
        source = load_source(order.source, heightmap=heightmap_of(order.heightmap, order.scans), trust_pickle=trust_pickle)
        note.text = order.source.name
    return export_source(source, order, progress)


def export_source(source: Source, order: TypologyOrder, progress: Progress) -> ExportedTypology:
    """The same for a network in hand; `order.source` is not read."""
    if sorted(source.classes) != [BAD, "good"]:
        raise ExportError(
            f"{order.name}: a typology's network tells good from bad", seen=source.classes, remedy="Name its classes bad and good"
        )
    with progress.step("scans") as note:
        sets = find_sets(order, source.provenance)
        training = prepare_scans(candidates(sets.training), source.heightmap, sets.folder.scale)
        proof = prepare_scans(sets.held_out, source.heightmap, sets.folder.scale)
        note.text = f"{len(sets.training)} training, {len(proof.images)} held out"
    member = member_of(source, order.name, folder=order.name)
    done = convert(source, member, training, proof, count=order.calibration_images, method=order.method, progress=progress)
    with progress.step("prove") as note:
        is_bad = np.array([label == BAD for label in proof.labels])
        fp32, int8 = (badness(answers, source.classes, BAD) for answers in (done.fp32, done.int8))
        threshold = choose_threshold(int8, is_bad, allowed_escapes=order.allowed_escapes)
        found = compare(fp32, int8, is_bad, threshold, proof.refused)
        require_shippable(found, allowed_escapes=order.allowed_escapes, added_escapes=order.added_escapes, auroc_floor=order.auroc_floor)
        golden, frames = choose_golden(int8, proof, threshold.value, sets.folder.scale, folder=order.name)
        note.text = f"threshold {threshold.value:.4f}, {found.escapes_int8} escapes, {found.overkills_int8} overkills"
    spec = TypologySpec(
        name=order.name, heightmap=source.heightmap, members=(member,), threshold=threshold.value, golden=golden, bad_label=BAD
    )
    certificate = TypologyCertificate(
        name=order.name,
        network=done.record,
        calibration=calibration_record(done.calibration),
        split=sets.split,
        proof_sha256=sha256(proof.images.tobytes()),
        result=found,
    )
    return ExportedTypology(spec=spec, files={member.file: done.onnx, **frames}, certificate=certificate)
