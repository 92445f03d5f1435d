"""One typology, from its order to everything the bundle needs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from calib.images import CalibrationSet, candidates, choose_images, require_one_size
from calib.prepare import Prepared, prepare_scans
from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.manifest import TypologySpec
from export.graph.evidence import with_map
from export.graph.kinds import prepare_kind
from export.network import Network, full_network, member_of
from export.order import MemberOrder, TypologyOrder
from export.paper.certificate import TypologyCertificate, typology_certificate
from export.progress import Progress
from export.proof.evaluate import BAD, Evaluation, gather, require_fp32, settle
from export.proof.explain import MapRecord, explained
from export.proof.golden import choose_golden
from export.proof.half import require_fp16, try_fp16
from export.proof.measure import Latency, measure_latency
from export.proof.parser_check import check_with_parser
from export.proof.similar import similar_file
from export.sets import Sets, find_sets, heightmap_of
from export.sources.load import Source, load_source
from export.sources.pixels import require_same_pixels
from scans.checks import check_scans


@dataclass(frozen=True, kw_only=True)
class ExportedTypology:
    """Its part of the manifest, its files, its part of the certificate; and what was measured here, which is no part of the proof."""

    spec: TypologySpec
    files: dict[str, bytes]
    certificate: TypologyCertificate
    latency: tuple[Latency, ...]


@dataclass(frozen=True, kw_only=True)
class Material:
    """Scans of one typology, prepared as the box prepares them, and the images that calibrate."""

    sets: Sets
    spec: HeightmapSpec
    training: Prepared
    proof: Prepared
    chosen: CalibrationSet


def export_typology(order: TypologyOrder, progress: Progress, *, trust_pickle: bool = False) -> ExportedTypology:
    """Load, convert, choose the threshold, prove, pick golden inputs. Raises ExportError, DatasetError, ConfigError or EngineError."""
    progress = progress.of(order.name)
    with progress.step("load") as note:
        sources = [load_member(member, order, trust_pickle=trust_pickle) for member in order.members]
        note.text = ", ".join(member.source.name for member in order.members)
    return export_sources(sources, order, progress)


def load_member(member: MemberOrder, order: TypologyOrder, *, trust_pickle: bool) -> Source:
    """One trained network as its order describes it. Raises ExportError, DatasetError or ConfigError."""
    return load_source(
        member.source,
        heightmap=heightmap_of(member.heightmap, order.scans),
        architecture=member.architecture,
        classes=member.classes,
        output=member.output,
        trust_pickle=trust_pickle,
    )


def export_sources(sources: Sequence[Source], order: TypologyOrder, progress: Progress) -> ExportedTypology:
    """The same for networks in hand, one per member of the order; the order's source paths are not read."""
    for source in sources:
        _require_good_and_bad(source, order.name)
    material = _material(sources, order, progress)
    networks = _networks(sources, material, order, progress)
    with progress.step("fp32") as note:
        evidence = gather(networks, material.proof)
        require_fp32(networks, evidence, order)
        note.text = f"{len(material.proof.images)} held-out scans"
    found = settle(networks, evidence, order, progress)
    maps: tuple[MapRecord, ...] = ()
    if order.explain:
        with progress.step("map") as note:
            found, maps = explained(found)
            note.text = ", ".join(record.summary() for record in maps)
    with progress.step("parser") as note:
        parsed = check_with_parser(found.networks)
        note.text = parsed or "no tensorrt_rtx could be loaded here"
    with progress.step("fp16") as note:
        half = try_fp16(found)
        require_fp16(found, half, order)
        note.text = half.summary()
    with progress.step("latency") as note:
        latency = tuple(measure_latency(network, material.proof.images) for network in found.networks)
        note.text = ", ".join(f"{t.shipped_ms:.2f} ms, FP32 {t.fp32_ms:.2f}, source {t.source_ms:.2f}" for t in latency)
    with progress.step("prove") as note:
        spec, files = _parts(found, material, order)
        at = found.comparison.shipped.shipped
        note.text = f"threshold {at.threshold:.4f}, {at.escapes} escapes, {at.overkills} overkills"
    certificate = typology_certificate(order, found, material.sets, half, parsed, maps=maps)
    return ExportedTypology(spec=spec, files=files, certificate=certificate, latency=latency)


def _require_good_and_bad(source: Source, name: str) -> None:
    if sorted(source.classes) != [BAD, "good"]:
        raise ExportError(f"{name}: a typology's network tells good from bad", seen=source.classes, remedy="Name its classes bad and good")


def _material(sources: Sequence[Source], order: TypologyOrder, progress: Progress) -> Material:
    spec = one_heightmap(sources, order.name)
    with progress.step("scans") as note:
        sets = find_sets(order, *(source.provenance for source in sources))
        if not order.mixed_sizes:
            require_one_size((*sets.training, *sets.held_out))
        check_scans(replace(sets.folder, scans=(*sets.training, *sets.held_out)), mixed_sizes=order.mixed_sizes)
        training = prepare_scans(candidates(sets.training), spec, sets.folder.scale)
        proof = prepare_scans(sets.held_out, spec, sets.folder.scale)
        note.text = f"{len(sets.training)} training, {len(proof.images)} held out"
    with progress.step("calibrate") as note:
        chosen = choose_images(training, count=order.calibration_images)
        note.text = f"{len(chosen.images)} of {chosen.candidates} images, set {chosen.hash[:12]}"
    for source in sources:
        if source.learner is not None:
            with progress.step("pixels") as note:
                same = require_same_pixels(source.learner, chosen.scans, source.heightmap, sets.folder.scale)
                note.text = f"the Learner's own pipeline differs by at most {same.max_difference:g} gray levels on {same.images} scans"
    return Material(sets=sets, spec=spec, training=training, proof=proof, chosen=chosen)


def one_heightmap(sources: Sequence[Source], name: str) -> HeightmapSpec:
    """What all members see; mean and std may differ, they are inside the networks. Raises ExportError."""
    first = sources[0].heightmap
    for source in sources[1:]:
        if msgspec.structs.replace(source.heightmap, mean=first.mean, std=first.std) != first:
            raise ExportError(
                f"{name}: the members of a committee must see the same heightmap",
                seen=f"{source.architecture} {source.heightmap}, {sources[0].architecture} {first}",
                remedy="Train them with one spec, or export them as typologies of their own",
            )
    return first


def _networks(sources: Sequence[Source], material: Material, order: TypologyOrder, progress: Progress) -> tuple[Network, ...]:
    good = material.training.images[[label == "good" for label in material.training.labels]]
    networks: list[Network] = []
    for source, member in zip(sources, order.members, strict=True):
        name = order.name if order.source is not None else member.title
        with progress.step("onnx") as note:
            ready = prepare_kind(source, good, references=member.references, quantile=member.quantile)
            entry = member_of(ready, name, folder=order.name, weight=member.weight, embedding=order.embeddings and not networks)
            networks.append(full_network(ready, entry, material.chosen, material.proof, method=order.method, good=good))
            if order.explain:  # refused now, not after an hour of quantising
                with_map(networks[-1].full, entry.classes.index(BAD))
            note.text = f"{source.architecture}, {len(networks[-1].full):,} bytes"
    return tuple(networks)


def _parts(found: Evaluation, material: Material, order: TypologyOrder) -> tuple[TypologySpec, dict[str, bytes]]:
    away = found.committee.away(found.badness, found.evidence.is_bad)
    scale = material.sets.folder.scale
    golden, frames = choose_golden(found.shipped, found.badness, away, material.proof, scale, folder=order.name)
    files = {network.member.file: network.shipped for network in found.networks}
    similar = None
    if order.embeddings:
        similar = f"{order.name}/similar"
        files[similar] = similar_file(found.networks[0], material.training, material.sets.folder.root)
    spec = TypologySpec(
        name=order.name,
        heightmap=material.spec,
        members=found.committee.members,
        combine=order.combine,
        threshold=found.committee.threshold.value,
        golden=golden,
        bad_label=BAD,
        similar=similar,
    )
    return spec, {**files, **frames}
