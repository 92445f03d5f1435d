"""Labels, records and images brought together: each label on exactly one weld, each image proved to be the one that was judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from edge.errors import DatasetError
from train.intake.images import Archive, ArchivedImage
from train.intake.labels import LabelRow, LabelTable, named
from train.intake.records import Judged, Key, ProvenExport


@dataclass(frozen=True, kw_only=True, slots=True)
class Weld:
    """A record with the image it was judged by."""

    judged: Judged
    image: ArchivedImage
    day: str
    """UTC day on which its part came."""

    @property
    def typology(self) -> str:
        """As the record says; empty where nothing named it."""
        return self.judged.typology or self.image.entry.typology or ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Relabelled:
    """A weld and what the operators said of it."""

    weld: Weld
    said: LabelRow

    @property
    def escape(self) -> bool:
        """The box accepted a bad weld."""
        return self.said.label == "bad" and self.weld.judged.outcome == "ACCEPT"

    @property
    def overkill(self) -> bool:
        """The network rejected a good weld."""
        judged = self.weld.judged
        return self.said.label == "good" and judged.outcome != "ACCEPT" and judged.reason == "DEFECT"


@dataclass(frozen=True, kw_only=True)
class Welds:
    """Every image that has its record; `foreign` counts those without one, `wrong` names those that contradict theirs.

    `challenges` are images of challenge parts, which are left out.
    """

    welds: dict[Key, Weld]
    foreign: int
    wrong: tuple[str, ...]
    copies: int
    challenges: dict[Key, Judged]


@dataclass(frozen=True, kw_only=True)
class Matched:
    """What the table says about which welds, in the order of the triggers.

    `unmatched` names the rows that fit none, `challenges` those about challenge parts that are left out.
    """

    relabelled: tuple[Relabelled, ...]
    unmatched: tuple[str, ...]
    challenges: tuple[str, ...]


def welds_of(export: ProvenExport, archive: Archive, *, challenge_parts: bool = False) -> Welds:
    """Join images and records by session, sequence and payload hash; those of challenge parts only where they are asked for."""
    welds: dict[Key, Weld] = {}
    challenges: dict[Key, Judged] = {}
    foreign, copies, wrong = 0, 0, list(archive.unusable)
    for image in archive.images:
        entry = image.entry
        judged = export.welds.get((entry.session, entry.sequence))
        if judged is None:
            foreign += 1
        elif (entry.payload_hash, entry.part, entry.weld) != (judged.payload_hash, judged.part, judged.weld):
            wrong.append(f"{image.path.name}: the record of its trigger is about another image or weld")
        elif judged.key in welds or judged.key in challenges:
            copies += 1
        elif judged.challenge and not challenge_parts:
            challenges[judged.key] = judged
        else:
            welds[judged.key] = Weld(judged=judged, image=image, day=export.days[judged.key])
    return Welds(welds=welds, foreign=foreign, wrong=tuple(wrong), copies=copies, challenges=challenges)


def match(table: LabelTable, export: ProvenExport, found: Welds, *, skip_unmatched: bool) -> Matched:
    """Find each row's weld. Raises DatasetError, naming all, for rows that fit none or several (unless skipped) and for contradictions."""
    places: dict[tuple[str, str], list[Weld]] = defaultdict(list)
    for one in found.welds.values():
        places[one.judged.part.lower(), one.judged.weld.lower()].append(one)
    aside = {(judged.part.lower(), judged.weld.lower()) for judged in found.challenges.values()}
    said: dict[Key, LabelRow] = {}
    unmatched: list[str] = []
    challenges: list[str] = []
    contradicting: list[str] = []
    for row in table.rows:
        weld = _found(row, export, found, places)
        if isinstance(weld, str):
            if (row.session, row.sequence) in found.challenges or (row.sequence is None and (row.part.lower(), row.weld.lower()) in aside):
                challenges.append(row.name)
            else:
                unmatched.append(f"{row.name}: {weld}")
            continue
        earlier = said.setdefault(weld.judged.key, row)
        if earlier.label != row.label:
            contradicting.append(f"lines {earlier.line} and {row.line}: {weld.judged.name} is {earlier.label} and {row.label}")
    _refuse(table, [] if skip_unmatched else unmatched, contradicting)
    relabelled = sorted((Relabelled(weld=found.welds[key], said=row) for key, row in said.items()), key=_order)
    return Matched(relabelled=tuple(relabelled), unmatched=tuple(unmatched), challenges=tuple(challenges))


def _order(relabelled: Relabelled) -> tuple[int, Key]:
    return relabelled.weld.judged.wall_ns, relabelled.weld.judged.key


def _found(row: LabelRow, export: ProvenExport, found: Welds, places: dict[tuple[str, str], list[Weld]]) -> Weld | str:
    """The one weld of a row, or why there is none."""
    if row.sequence is None:
        here = places.get((row.part.lower(), row.weld.lower()), [])
        if len(here) > 1:
            return f"it was judged {len(here)} times ({_triggers(here)}): name session and sequence"
        return here[0] if here else "no image of such a weld has a record here"
    key = (row.session, row.sequence)
    weld = found.welds.get(key)
    if weld is None:
        return "the archive has no usable image of it" if key in export.welds else "the export has no such trigger"
    judged = weld.judged
    for name, told, recorded in (("part", row.part, judged.part), ("weld", row.weld, judged.weld)):
        if told and told.lower() != recorded.lower():
            return f"the table says {name} {told}, the record {recorded}"
    return weld


def _triggers(welds: Sequence[Weld]) -> str:
    return ", ".join(f"{weld.judged.session}/{weld.judged.sequence}" for weld in welds[:4])


def _refuse(table: LabelTable, unmatched: list[str], contradicting: list[str]) -> None:
    if contradicting:
        remedy = "Nothing was written. Decide which label is right and delete the other row"
        raise DatasetError(f"{len(contradicting)} welds have two labels in {table.path}", seen=named(contradicting), remedy=remedy)
    if unmatched:
        remedy = "Nothing was written. Correct the rows, bring the missing images and records, or leave them out with --skip-unmatched"
        raise DatasetError(f"{len(unmatched)} rows of {table.path} fit no weld", seen=named(unmatched), remedy=remedy)
