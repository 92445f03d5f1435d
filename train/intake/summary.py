"""What an import did, in lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from train.intake.labels import named
from train.intake.matching import Relabelled, Welds
from train.intake.plan import Plan

COLUMNS = ("typology", "taken", "there", "left out", "other", "escapes", "overkills")


def table(matched: Sequence[Relabelled], plan: Plan, chosen: str) -> Iterator[str]:
    """One line a typology: scans taken, already in the folder, left out, of another typology than `chosen`; escapes and overkills told."""
    counts = {
        "taken": _by_typology(addition.relabelled for addition in plan.added),
        "there": _by_typology(plan.present),
        "left out": _by_typology(one for one, _ in plan.refused),
        "other": _by_typology(one for one in matched if one.weld.typology != chosen),
        "escapes": _by_typology(one for one in matched if one.escape),
        "overkills": _by_typology(one for one in matched if one.overkill),
    }
    yield f"{COLUMNS[0]:24s}" + "".join(f"{name:>10s}" for name in COLUMNS[1:])
    for typology in sorted({one.weld.typology for one in matched}):
        yield f"{typology or '(none)':24s}" + "".join(f"{counts[name][typology]:10d}" for name in COLUMNS[1:])


def remarks(found: Welds, plan: Plan, unmatched: Sequence[str], challenges: Sequence[str], unlabelled: int) -> Iterator[str]:
    """Everything that was not taken, named or counted."""
    if found.foreign:
        yield f"{found.foreign} images have no record in the export"
    if found.copies:
        yield f"{found.copies} images lie in the archive twice"
    if found.challenges:
        yield f"{len(found.challenges)} images are of challenge parts, always the same ones, and left out (--challenge-parts takes them)"
    if unlabelled:
        yield f"{unlabelled} rows have no label"
    for what, names in (
        ("images cannot be used", list(found.wrong)),
        ("images left out", [why for _, why in plan.refused]),
        ("rows fit no weld", list(unmatched)),
        ("rows are about challenge parts and left out", list(challenges)),
    ):
        if names:
            yield f"{len(names)} {what}: {named(names)}"
    if inexact := sum(not addition.exact for addition in plan.added):
        yield f"{inexact} scans come from 16-bit steps of height and are within half a step of what the box judged, not equal to it"


def _by_typology(welds: Iterable[Relabelled]) -> Counter[str]:
    return Counter(one.weld.typology for one in welds)
