"""A typology's networks on its held-out scans: the threshold, the comparison with FP32, and the first precision that may be shipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from calib.prepare import Prepared
from calib.quantise import METHODS, Method
from edge.errors import DatasetError, ExportError
from export.network import Network, Shipped, answers, in_fp16, in_int8, in_mixed, sensitive_layers
from export.order import TypologyOrder
from export.progress import Progress
from export.proof.committee import Committee, badness_of, choose_committee
from export.proof.threshold import Scores, Truth
from export.proof.verify import Comparison, compare, judged, objections
from scans.split import folds_by_group

BAD = "bad"
FOLDS = (5, 3, 2)
MOST_FLOAT = 0.5
"""Part of the layers that a mixed graph may leave in float; beyond it FP16 is the better choice."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One precision that was tried, and what spoke against it."""

    precision: Shipped
    method: Method
    """How the activation ranges were found, where there are any."""
    float_layers: tuple[str, ...]
    objections: tuple[str, ...]


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """How much the score differs from FP32 when only this layer is quantised."""

    member: str
    layer: str
    operator: str
    difference: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Held-out scans with FP32's badness of them, member by member."""

    proof: Prepared
    is_bad: Truth
    folds: tuple[NDArray[np.intp], ...]
    fp32: tuple[Scores, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Networks with their threshold and what they do to the held-out scans."""

    networks: tuple[Network, ...]
    evidence: Evidence = field(repr=False)
    committee: Committee
    badness: tuple[Scores, ...]
    """Of each member as shipped."""
    fp32: Scores
    shipped: Scores
    comparison: Comparison
    attempts: tuple[Attempt, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = field(default=(), repr=False)


def gather(networks: Sequence[Network], proof: Prepared) -> Evidence:
    """Run FP32 once. Raises EngineError."""
    return Evidence(
        proof=proof,
        is_bad=np.array([label == BAD for label in proof.labels]),
        folds=folds_of(proof),
        fp32=tuple(badness_of(answers(n, proof.images, full=True), n.member.classes, BAD) for n in networks),
    )


def folds_of(proof: Prepared) -> tuple[NDArray[np.intp], ...]:
    """Indices of the held-out scans in 5 (else 3, else 2) folds of whole groups; none where the groups do not allow it."""
    place = {scan: index for index, scan in enumerate(proof.scans)}
    for folds in FOLDS:
        try:
            return tuple(np.array([place[scan] for scan in test]) for _, test in folds_by_group(proof.scans, folds=folds, seed=0))
        except DatasetError:
            continue
    return ()


def evaluate(networks: Sequence[Network], evidence: Evidence, order: TypologyOrder) -> Evaluation:
    """Threshold by the shipped networks' scores, everything counted. Raises ExportError when no threshold does what is asked."""
    badness = [badness_of(answers(n, evidence.proof.images), n.member.classes, BAD) for n in networks]
    return _evaluated(networks, badness, evidence, order)


def require_fp32(networks: Sequence[Network], evidence: Evidence, order: TypologyOrder) -> None:
    """Raises ExportError when the network itself, before any quantisation, is not what the order asks for."""
    try:
        found = objections(_evaluated(networks, evidence.fp32, evidence, order).comparison, order)
    except ExportError as exc:
        raise ExportError(f"{order.name}, in FP32 already: {exc.what}", seen=exc.seen, remedy=exc.remedy) from exc
    if found:
        remedy = "Train it further or on more scans, check the labels, or change what the order allows"
        raise ExportError(
            f"{order.name}: the trained network itself, in FP32, {found[0]}", seen="; ".join(found[1:]) or None, remedy=remedy
        )


def settle(networks: Sequence[Network], evidence: Evidence, order: TypologyOrder, progress: Progress) -> Evaluation:
    """The first precision the order allows against which nothing speaks. Raises ExportError with the layers that cause the trouble."""
    attempts: list[Attempt] = []
    ranking: tuple[Sensitivity, ...] = ()
    for precision, tried, found_ranking in _candidates(networks, order, progress):
        ranking = found_ranking or ranking
        layers = tuple(f"{n.member.name}: {layer}" for n in tried for layer in n.float_layers)
        with progress.step(precision) as note:
            try:
                result: Evaluation | None = evaluate(tried, evidence, order)
                against = objections(result.comparison, order) if result else []
            except ExportError as exc:
                result, against = None, [f"{exc.what} ({exc.seen})"]
            note.text = against[0] if against else f"nothing against it, {len(layers)} layers in float" if layers else "nothing against it"
        attempts.append(Attempt(precision=precision, method=tried[0].method, float_layers=layers, objections=tuple(against)))
        if result is not None and not against:
            return Evaluation(**{**vars(result), "attempts": tuple(attempts), "sensitivity": ranking})
    raise _refused(order, attempts, ranking or _ranked([n if n.int8 else in_int8(n) for n in networks], progress))


def _candidates(
    networks: Sequence[Network], order: TypologyOrder, progress: Progress
) -> Iterator[tuple[Shipped, tuple[Network, ...], tuple[Sensitivity, ...]]]:
    if order.precision == "fp16":
        yield "fp16", tuple(in_fp16(n) for n in networks), ()
        return
    with progress.step("quantise") as note:
        quantised = tuple(in_int8(n) for n in networks)
        note.text = f"{sum(len(n.shipped) for n in quantised):,} bytes, method {order.method}"
    yield "int8", quantised, ()
    if order.precision == "int8":
        return
    for method in METHODS:  # another way to find the ranges costs the box nothing
        if method != order.method:
            yield "int8", tuple(in_int8(replace(n, method=method)) for n in networks), ()
    ranking = _ranked(quantised, progress)
    count = 1
    while count <= max(1, MOST_FLOAT * len(ranking)):
        worst = ranking[:count]
        yield "mixed", tuple(in_mixed(n, [s.layer for s in worst if s.member == n.member.name]) for n in quantised), ranking
        count *= 2
    if order.precision == "auto":
        yield "fp16", tuple(in_fp16(n) for n in quantised), ranking


def _ranked(networks: Sequence[Network], progress: Progress) -> tuple[Sensitivity, ...]:
    with progress.step("sensitive") as note:
        found = [
            Sensitivity(member=network.member.name, layer=layer.layer, operator=layer.operator, difference=layer.mean)
            for network in networks
            for layer in sensitive_layers(network)
        ]
        found.sort(key=lambda s: (-s.difference, s.member, s.layer))
        note.text = f"{len(found)} layers, worst {found[0].layer} ({found[0].difference:.4f})" if found else "no quantised layer"
    return tuple(found)


def _refused(order: TypologyOrder, attempts: Sequence[Attempt], ranking: Sequence[Sensitivity]) -> ExportError:
    said = "; ".join(
        f"{a.precision} ({a.method}{f', {len(a.float_layers)} float' if a.float_layers else ''}) {', '.join(a.objections)}"
        for a in attempts
    )
    worst = ", ".join(f"{s.layer} {s.difference:.4f}" for s in ranking[:5])
    if order.precision == "int8":
        remedy = "Calibrate with more representative images or another method, or set precision = 'auto' to leave these layers in float"
    else:
        remedy = "Calibrate with more representative images, or train the network further"
    return ExportError(f"{order.name} may not be shipped: {said}", seen=f"score difference by layer: {worst}", remedy=remedy)


def _evaluated(networks: Sequence[Network], badness: Sequence[Scores], evidence: Evidence, order: TypologyOrder) -> Evaluation:
    rate = order.max_escape_rate
    members = [network.member for network in networks]
    committee = choose_committee(badness, members, order.combine, evidence.is_bad, max_escape_rate=rate)
    fp32, shipped = committee.scores(evidence.fp32), committee.scores(badness)
    try:
        own = choose_committee(evidence.fp32, members, order.combine, evidence.is_bad, max_escape_rate=rate).threshold
    except ExportError:
        own = None  # FP32 has no threshold that does what is asked; the shipped network may still have one
    value = committee.threshold.value
    judgements = tuple(
        judged(scores, evidence.is_bad, threshold=value, own=its, folds=evidence.folds, max_escape_rate=rate)
        for scores, its in ((fp32, own), (shipped, committee.threshold))
    )
    found = compare(
        fp32=fp32,
        shipped=shipped,
        is_bad=evidence.is_bad,
        threshold=committee.threshold,
        refused=evidence.proof.refused,
        judgements=(judgements[0], judgements[1]),
    )
    return Evaluation(
        networks=tuple(networks),
        evidence=evidence,
        committee=committee,
        badness=tuple(badness),
        fp32=fp32,
        shipped=shipped,
        comparison=found,
    )
