"""The certificate inside every bundle: what was exported from what, how it was proved, and with which data, code and tools.

Nothing in it depends on when or how fast it was made: equal inputs give equal bytes. What was measured lies beside the bundle.
"""

from __future__ import annotations

import hashlib
from collections import Counter

import msgspec

from calib.images import CalibrationSet
from edge.manifest import Combine, Kind
from export.network import Network, Shipped
from export.order import TypologyOrder
from export.paper.provenance import scans_sha256
from export.proof.evaluate import BAD, Attempt, Evaluation, Sensitivity
from export.proof.explain import MapRecord
from export.proof.half import HalfResult
from export.proof.verify import Comparison
from export.sets import Sets, Split

NAME = "certificate.json"
MOST_SENSITIVE = 10
"""Layers of the sensitivity list that the certificate keeps."""


class NetworkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One network's way from file to file."""

    name: str
    kind: Kind
    architecture: str
    classes: tuple[str, ...]
    source_sha256: str
    source_provenance: dict[str, str]
    precision: Shipped
    """int8: all layers that can be; mixed: but `float_layers`; fp16: none."""
    float_layers: tuple[str, ...]
    fp32_sha256: str
    shipped_sha256: str
    shipped_bytes: int
    method: str
    source_difference: float
    """Largest difference of a probability: the source's own runtime against the FP32 graph."""


class CalibrationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The images whose ranges the INT8 network uses."""

    images: int
    labels: dict[str, int]
    candidates: int
    duplicates: int
    sha256: str
    """Over the contents of the chosen images, in order."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the order allowed."""

    max_escape_rate: float
    escape_bound: float
    overkill_bound: float
    added_escapes: int
    added_overkill: float
    mean_difference: float
    auroc_floor: float


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Every held-out scan's badness, rounded to six decimals, so that every figure and plot can be made again."""

    files: tuple[str, ...]
    bad: tuple[bool, ...]
    fp32: tuple[float, ...]
    shipped: tuple[float, ...]


class TypologyCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """One typology."""

    name: str
    networks: tuple[NetworkRecord, ...]
    combine: Combine
    calibration: CalibrationRecord
    split: Split
    scans_sha256: str
    """Over name, label, group and content of every scan of the folder that took part."""
    proof_sha256: str
    """Over the prepared held-out images, in order."""
    limits: Limits
    result: Comparison
    fp16: HalfResult
    attempts: tuple[Attempt, ...]
    """The precisions tried, the last of which is shipped."""
    sensitivity: tuple[Sensitivity, ...]
    """The worst layers, where they had to be looked for."""
    parser: str
    """Which TensorRT parsed and built the shipped graphs; empty where none was installed."""
    scores: Scores
    maps: tuple[MapRecord, ...] = ()
    """How well the shipped networks' maps agree with FP32's; empty where the order asked for none."""


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
    parser: str


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """The whole `certificate.json`; signed with the bundle."""

    format: int = 2
    name: str
    version: int
    typologies: tuple[TypologyCertificate, ...]
    router: RouterCertificate | None
    known_answers: int
    """Golden inputs in the bundle; the box runs them all."""
    code_sha256: str
    tools: dict[str, str]


def typology_certificate(
    order: TypologyOrder, found: Evaluation, sets: Sets, half: HalfResult, parser: str, *, maps: tuple[MapRecord, ...] = ()
) -> TypologyCertificate:
    """Put together what one typology's export found out. Raises DatasetError when a scan can no longer be read."""
    root, proof = sets.folder.root, found.evidence.proof
    return TypologyCertificate(
        name=order.name,
        networks=tuple(network_record(network) for network in found.networks),
        combine=order.combine,
        calibration=calibration_record(found.networks[0].calibration),
        split=sets.split,
        scans_sha256=scans_sha256((*sets.training, *sets.held_out), root),
        proof_sha256=sha256(proof.images.tobytes()),
        limits=Limits(**{name: getattr(order, name) for name in Limits.__struct_fields__}),
        result=found.comparison,
        fp16=half,
        attempts=found.attempts,
        sensitivity=found.sensitivity[:MOST_SENSITIVE],
        parser=parser,
        scores=Scores(
            files=tuple(scan.path.relative_to(root).as_posix() for scan in proof.scans),
            bad=tuple(label == BAD for label in proof.labels),
            fp32=tuple(round(value, 6) for value in found.fp32.tolist()),
            shipped=tuple(round(value, 6) for value in found.shipped.tolist()),
        ),
        maps=maps,
    )


def network_record(network: Network) -> NetworkRecord:
    """What the certificate keeps of a network."""
    source = network.source
    return NetworkRecord(
        name=network.member.name,
        kind=source.kind,
        architecture=source.architecture,
        classes=source.classes,
        source_sha256=source.sha256,
        source_provenance=source.provenance,
        precision=network.precision,
        float_layers=network.float_layers,
        fp32_sha256=sha256(network.full),
        shipped_sha256=sha256(network.shipped),
        shipped_bytes=len(network.shipped),
        method=network.method,
        source_difference=network.source_difference,
    )


def calibration_record(chosen: CalibrationSet) -> CalibrationRecord:
    """What the certificate keeps of a calibration set."""
    return CalibrationRecord(
        images=len(chosen.images),
        labels=dict(sorted(Counter(chosen.labels).items())),
        candidates=chosen.candidates,
        duplicates=chosen.duplicates,
        sha256=chosen.hash,
    )


def to_json(certificate: msgspec.Struct) -> bytes:
    """Readable JSON."""
    return msgspec.json.format(msgspec.json.encode(certificate), indent=2) + b"\n"


def sha256(data: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(data).hexdigest()
