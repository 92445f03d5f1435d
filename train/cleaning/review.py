"""The review list: which scans somebody should look at, why, and what to do if the reasons are right."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.errors import DatasetError
from scans.folder import Scan
from train.cleaning.decisions import FORMULA
from train.cleaning.duplicates import Pair, merged_groups
from train.cleaning.judgement import Judged

COLUMNS = (
    *("file", "label", "defect", "group", "reasons", "badness_mean", "badness_min", "badness_max", "misjudged", "quality"),
    *("suggestion", "decision", "sha256"),
)
BOTH_LABELS, UNUSABLE, WRONG_LABEL, COPY, OTHER_GROUP, DOUBTFUL, HIGH_LOSS = range(7)
"""How grave a reason is, the gravest first; also the order of the list."""

UNSURE = 0.2
"""Mean badness this far from 0 and 1 does not say which of two labels of one weld is right."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything known about a folder's scans. `judged` counts along `place`: scan index → row of the out-of-fold scores."""

    names: tuple[str, ...]
    scans: tuple[Scan, ...]
    hashes: tuple[str, ...]
    pairs: tuple[Pair, ...]
    unusable: Mapping[int, str]
    judged: Judged
    place: Mapping[int, int]
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the review."""

    index: int
    severity: int
    reasons: tuple[str, ...]
    suggestion: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class _Reason:
    index: int
    severity: int
    text: str
    suggestion: str = "keep"
    pair: Pair | None = None


def review_entries(evidence: Evidence, *, top: int) -> tuple[Entry, ...]:
    """Every scan with a reason, the gravest first; `top` limits how many are listed for their loss alone."""
    reasons = [*_unusable(evidence), *_pairs(evidence), *_groups(evidence), *_labels(evidence), *_losses(evidence, top)]
    of_scan: dict[int, list[_Reason]] = defaultdict(list)
    for reason in reasons:
        of_scan[reason.index].append(reason)
    entries = [_entry(index, found) for index, found in of_scan.items()]
    return tuple(sorted(entries, key=lambda entry: (entry.severity, _quality(evidence, entry.index), evidence.names[entry.index])))


def save_review(evidence: Evidence, entries: Sequence[Entry], path: Path) -> None:
    """Write review.csv with an empty column `decision`. Raises DatasetError."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(review_cells(evidence, entry) for entry in entries)
    except OSError as exc:
        raise DatasetError(f"cannot write {path}", seen=exc.strerror, remedy="Check the folder's rights and free space") from exc


def review_cells(evidence: Evidence, entry: Entry) -> list[str]:
    """One line of review.csv; no cell can be taken for a formula."""
    scan, row = evidence.scans[entry.index], evidence.place.get(entry.index)
    judged = evidence.judged
    figures = [""] * 5
    if row is not None:
        scores = (judged.mean[row], judged.lowest[row], judged.highest[row])
        figures = [*(f"{score:.4f}" for score in scores), f"{judged.misjudged[row]} of {evidence.seeds}", f"{judged.quality[row]:.4f}"]
    texts = [evidence.names[entry.index], scan.label, scan.defect, scan.group, "; ".join(entry.reasons)]
    cells = [*texts, *figures, entry.suggestion, "", evidence.hashes[entry.index]]
    return [_guarded(cell) for cell in cells]


def joined_groups(evidence: Evidence) -> dict[str, tuple[str, ...]]:
    """Groups that should have been one: the name to keep → the others."""
    found: dict[str, set[str]] = defaultdict(set)
    for scan, merged in zip(evidence.scans, merged_groups(evidence.scans, _staying(evidence)), strict=True):
        if scan.group != merged:
            found[merged].add(scan.group)
    return {name: tuple(sorted(others)) for name, others in sorted(found.items())}


def _entry(index: int, reasons: list[_Reason]) -> Entry:
    strongest = ("remove", "relabel", "regroup", "keep")
    suggestion = min((reason.suggestion for reason in reasons), key=lambda text: strongest.index(text.split(" ")[0]))
    return Entry(
        index=index,
        severity=min(reason.severity for reason in reasons),
        reasons=tuple(dict.fromkeys(reason.text for reason in sorted(reasons, key=lambda reason: reason.severity))),
        suggestion=suggestion,
        pairs=tuple(reason.pair for reason in reasons if reason.pair is not None),
    )


def _unusable(evidence: Evidence) -> list[_Reason]:
    return [_Reason(index, UNUSABLE, f"cannot be judged: {why}", "remove") for index, why in evidence.unusable.items()]


def _pairs(evidence: Evidence) -> list[_Reason]:
    reasons = []
    for pair in evidence.pairs:
        first, second = evidence.scans[pair.first], evidence.scans[pair.second]
        if first.label != second.label and pair.kind != "same weld, altered":
            reasons += _both_labels(evidence, pair)
        elif pair.kind in ("same bytes", "same pixels"):
            text = f"{pair.kind} as {evidence.names[pair.first]}"
            reasons.append(_Reason(pair.second, COPY, text, "remove", pair))
    return reasons


def _both_labels(evidence: Evidence, pair: Pair) -> list[_Reason]:
    """The one whose label contradicts what networks say about both should go, and both where they do not say it clearly.

    The networks asked saw neither: scans of one weld are held out together.
    """
    rows = [evidence.place[index] for index in (pair.first, pair.second) if index in evidence.place]
    badness = float(np.mean(evidence.judged.mean[rows])) if rows else 0.5
    stays = "bad" if badness > 1 - UNSURE else "good" if badness < UNSURE else ""
    reasons = []
    for here, there in ((pair.first, pair.second), (pair.second, pair.first)):
        suggestion = "keep" if evidence.scans[here].label == stays else "remove"
        text = f"in both labels: {pair.kind} as {evidence.names[there]}"
        reasons.append(_Reason(here, BOTH_LABELS, text, suggestion, pair))
    return reasons


def _groups(evidence: Evidence) -> list[_Reason]:
    """Scans whose group shows the welds of another group; all of a group move together."""
    reasons = []
    staying = _staying(evidence)
    merged = merged_groups(evidence.scans, staying)
    explained: dict[str, str] = {}
    for pair in staying:
        first, second = evidence.scans[pair.first], evidence.scans[pair.second]
        if first.group == second.group:
            continue
        for here, there in ((pair.first, pair.second), (pair.second, pair.first)):
            text = f"{pair.kind} as {evidence.names[there]} of group {evidence.scans[there].group}"
            explained.setdefault(evidence.scans[here].group, text)
            if evidence.scans[here].group != merged[here]:
                reasons.append(_Reason(here, OTHER_GROUP, text, f"regroup {merged[here]}", pair))
    direct = {reason.index for reason in reasons}
    for index, scan in enumerate(evidence.scans):
        if scan.group != merged[index] and index not in direct:
            text = f"its group {scan.group} has a scan that is the {explained[scan.group]}"
            reasons.append(_Reason(index, OTHER_GROUP, text, f"regroup {merged[index]}"))
    return reasons


def _staying(evidence: Evidence) -> list[Pair]:
    """Pairs of which both scans may stay: where one of two should go, groups need not be joined."""

    def stays(pair: Pair) -> bool:
        same = evidence.scans[pair.first].label == evidence.scans[pair.second].label
        return pair.kind == "same weld, altered" or (same and pair.kind == "same weld")

    return [pair for pair in evidence.pairs if stays(pair)]


def _labels(evidence: Evidence) -> list[_Reason]:
    reasons, judged = [], evidence.judged
    for index, row in evidence.place.items():
        other = "good" if evidence.scans[index].label == "bad" else "bad"
        said = f"judged {other} by all {evidence.seeds} splits"
        if judged.error[row]:
            reasons.append(_Reason(index, WRONG_LABEL, f"label probably wrong: {said}", f"relabel {other}"))
        elif judged.doubtful[row]:
            reasons.append(_Reason(index, DOUBTFUL, f"label doubtful: {said}"))
    return reasons


def _losses(evidence: Evidence, top: int) -> list[_Reason]:
    judged, index_of = evidence.judged, {row: index for index, row in evidence.place.items()}
    order = [int(row) for row in np.argsort(-judged.loss, kind="stable") if judged.misjudged[row]]
    texts = [f"loss {judged.loss[row]:.2f} (worst {judged.worst_loss[row]:.2f})" for row in order[:top]]
    return [_Reason(index_of[row], HIGH_LOSS, text) for row, text in zip(order, texts, strict=False)]


def _quality(evidence: Evidence, index: int) -> float:
    row = evidence.place.get(index)
    return 0.0 if row is None else float(evidence.judged.quality[row])


def save_losses(evidence: Evidence, path: Path) -> None:
    """Every judged scan, the highest mean loss first. Raises DatasetError."""
    judged, index_of = evidence.judged, {row: index for index, row in evidence.place.items()}
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "label", "defect", "mean_loss", "worst_loss", "misjudged", "split_seeds", "badness_mean"])
            for row in (int(row) for row in np.argsort(-judged.loss, kind="stable")):
                name, scan = evidence.names[index_of[row]], evidence.scans[index_of[row]]
                figures = [f"{value:.4f}" for value in (judged.loss[row], judged.worst_loss[row])]
                texts = [_guarded(text) for text in (name, scan.label, scan.defect)]
                writer.writerow([*texts, *figures, judged.misjudged[row], evidence.seeds, f"{judged.mean[row]:.4f}"])
    except OSError as exc:
        raise DatasetError(f"cannot write {path}", seen=exc.strerror, remedy="Check the folder's rights and free space") from exc


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell
