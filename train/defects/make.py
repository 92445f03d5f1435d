"""From a folder of good scans to a labelled one: which defect on which scan, painted, written beside its sources."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from tqdm import tqdm

from edge.errors import DatasetError
from scans.folder import read_image
from train.defects.draw import BAD, GOOD, draw, draw_conditions, weights
from train.defects.find import find_weld
from train.defects.paint import capture, paint
from train.defects.source import GoodFolder, Source, to_mm
from train.defects.standards import Standard
from train.defects.weld import Painted, Weld
from train.defects.write import Writer

ATTEMPTS = 4
"""Draws on one scan before a defect is taken to the next one."""
ROUNDS = 4
"""Scans that a defect is tried on."""
MULTIPLE = 6
"""Derived sets are by default this many times as large as the good scans, as in the thesis."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One derived scan to make."""

    number: int
    defect: str


@dataclass(kw_only=True)
class Outcome:
    """What became of a folder: written scans per label and defect, and what was left out, by name and reason."""

    written: Counter[tuple[str, str]] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    """Source → why no bead was found in it."""
    unfit: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Defect → what kept it from being painted on a scan, with the scan's name."""
    unmade: Counter[str] = field(default_factory=Counter)
    """Defects that fitted on none of the scans they were tried on."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        written = {f"{label}/{defect}": count for (label, defect), count in sorted(self.written.items())}
        return {
            "written": written,
            "skipped": self.skipped,
            "unfit": {name: why for name, why in sorted(self.unfit.items()) if why},
            "unmade": dict(self.unmade),
        }


def plan(standard: Standard, *, good: int, bad: int, seed: int, only: Sequence[str] = ()) -> list[Job]:
    """Which defects to make: every kind gets its weight's share, to the nearest scan; numbered in a mixed order."""
    of_good, of_bad = weights(standard)
    chosen = set(only)
    good_kinds = {name: of_good[name] for name in GOOD if name in chosen} or {"sound": 1.0} if chosen else of_good
    bad_kinds = {name: of_bad[name] for name in BAD if name in chosen} if chosen else of_bad
    names = [*_shares(good_kinds, good), *_shares(bad_kinds, bad)]
    order = np.random.default_rng([seed, 0]).permutation(len(names))
    return [Job(number=number, defect=names[index]) for number, index in enumerate(order)]


def _shares(kinds: dict[str, float], count: int) -> list[str]:
    total = sum(kinds.values())
    if count <= 0:
        return []
    if total <= 0:
        raise DatasetError(
            "no defect has a weight", seen=kinds, remedy="Give at least one a weight above 0 in the standard, or name it in --only"
        )
    exact = {name: count * weight / total for name, weight in kinds.items()}
    whole = {name: int(share) for name, share in exact.items()}
    for name in sorted(exact, key=lambda name: whole[name] - exact[name])[: count - sum(whole.values())]:
        whole[name] += 1
    return [name for name, many in whole.items() for _ in range(many)]


def usable_sources(folder: GoodFolder, standard: Standard, outcome: Outcome) -> list[Source]:
    """The scans in which a bead can be found; the others go into `outcome.skipped`. Raises DatasetError when none is left."""
    usable = []
    for source in progress(folder.sources, "find beads"):
        try:
            weld_of(source, folder, standard)
        except DatasetError as exc:
            outcome.skipped[source.name] = f"{exc.what} (seen: {exc.seen})"
        else:
            usable.append(source)
    if not usable:
        name, why = next(iter(outcome.skipped.items()))
        remedy = "Check pitch and z scale in scan.toml, and axis and region_mm in the standard's [find]"
        raise DatasetError("no scan shows a bead", seen=f"{len(outcome.skipped)} scans; {name}: {why}", remedy=remedy)
    return usable


def weld_of(source: Source, folder: GoodFolder, standard: Standard) -> Weld:
    """One source, read and taken apart. Raises DatasetError: constant, or no bead found."""
    image = read_image(source.path)
    if image.min() == image.max():
        raise DatasetError("constant image", seen=image.flat[0], remedy="Leave it out")
    return find_weld(to_mm(image, folder.scale), folder.scale.pitch_mm, standard.hint())


def make(folder: GoodFolder, standard: Standard, jobs: Sequence[Job], usable: Sequence[Source], writer: Writer, *, seed: int) -> Outcome:
    """Paint and write every job; scans take turns, so that each gives nearly as many. Returns the counts. Raises DatasetError."""
    outcome = Outcome()
    order = [usable[index] for index in np.random.default_rng([seed, 1]).permutation(len(usable))]
    left = [(job, place % len(order)) for place, job in enumerate(jobs)]
    with progress(None, "paint", total=len(jobs)) as bar:
        for _ in range(ROUNDS):
            by_source: dict[int, list[Job]] = defaultdict(list)
            for job, place in left:
                by_source[place].append(job)
            left = []
            for place, waiting in sorted(by_source.items()):
                unfit = _from_one(order[place], waiting, folder, standard, writer, seed=seed, outcome=outcome)
                left += [(job, (place + 1) % len(order)) for job in unfit]
                bar.update(len(waiting) - len(unfit))
    outcome.unmade.update(job.defect for job, _ in left)
    return outcome


def _from_one(
    source: Source, jobs: Sequence[Job], folder: GoodFolder, standard: Standard, writer: Writer, *, seed: int, outcome: Outcome
) -> list[Job]:
    """Paint and write the jobs of one source; returns those that do not fit on it."""
    weld = weld_of(source, folder, standard)
    unfit = []
    for job in jobs:
        painted = derive(job, weld, standard, seed, unfit=outcome.unfit[job.defect])
        if painted is None:
            outcome.unfit[job.defect][-1] += f", {source.name}"
            unfit.append(job)
            continue
        writer.write(source, job.defect, painted, number=job.number, seed=seed, transposed=weld.transposed)
        outcome.written[painted.label, job.defect] += 1
    return unfit


def derive(job: Job, weld: Weld, standard: Standard, seed: int, *, unfit: list[str]) -> Painted | None:
    """One derived scan by the job's own random numbers; None when it does not fit on this weld, with the reason in `unfit`."""
    why = ""
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([seed, 2, job.number, attempt])
        painter, camera = (int(value) for value in rng.integers(2**63, size=2))
        try:
            painted = paint(weld, draw(job.defect, weld, standard, rng), painter)
        except DatasetError as exc:
            why = f"{exc.what} (seen: {exc.seen})"
            continue
        conditions = draw_conditions(standard, rng)
        return capture(weld, painted, conditions, camera)
    unfit.append(why)
    return None


def provenance(folder: GoodFolder, standard: Standard, outcome: Outcome, **said: object) -> str:
    """The text of provenance.json: where the scans come from, the standard as used, what was made and what was left out."""
    sources = {"folder": folder.root.name, "scans": len(folder.sources), "dtype": str(folder.dtype), "shape": list(folder.shape)}
    whole = {**said, "source": sources, "standard": msgspec.to_builtins(standard), **outcome.as_dict()}
    return json.dumps(whole, indent=2, sort_keys=True) + "\n"


def progress(items: Iterable[Any] | None, what: str, *, total: int | None = None) -> tqdm[Any]:
    """A bar on standard error, on a terminal only."""
    return tqdm(items, desc=what, unit="scan", total=total, disable=not sys.stderr.isatty())
