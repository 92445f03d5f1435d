"""The case and the parts of gate.pml: `weld_state`, `part_open` and `gate_recipe` are here for any number of parts by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge.contract import Outcome
from edge.gate.messages import Done, PartQuery, Trigger

MAX_PARTS = 16
PRESET = "R1"


@dataclass
class Open:
    """A case: `case_of`, `case_stage`, `case_sending` and its times."""

    asked: Trigger | PartQuery
    opened: int
    known: bool = True
    """The recipe has this weld, and the part may be open."""
    defect_before: bool = False
    stage: str = "WAITING"
    durable: bool = False
    defect: bool = False
    sending: Outcome | None = None
    sent: int | None = None
    resend: int = 0
    busy: bool = False
    done: Done | None = None


@dataclass
class Part:
    """An open part: the last trigger of every weld with whether it counts, and the welds that were a defect."""

    since: int
    shown: dict[str, tuple[int, bool]] = field(default_factory=dict)
    defects: set[str] = field(default_factory=set)


class ModelParts:
    """Of one session, under the active recipe."""

    def __init__(self, recipes: Mapping[str, Sequence[str]]) -> None:
        self.recipes = recipes
        self.recipe = PRESET
        self.open: dict[str, Part] = {}

    def forget(self) -> None:
        """forget_part, and the preset recipe."""
        self.open.clear()
        self.recipe = PRESET

    def whole(self, query: PartQuery) -> bool:
        """ALL_CONFIRMED, under the recipe that the robot names: the model's robot has no such name to give."""
        part = self.open.get(query.part, Part(0))
        counts = all(part.shown.get(weld, (0, False))[1] and weld not in part.defects for weld in self.recipes[self.recipe])
        return query.recipe == self.recipe and counts

    def show(self, asked: Trigger) -> tuple[bool, bool]:
        """Whatever this weld was before, it has no verdict now; says whether it is to be judged, and whether it was a defect."""
        part = self.open.get(asked.part)
        planned = asked.weld in self.recipes[self.recipe] and (part is not None or len(self.open) < MAX_PARTS)
        defect = part is not None and asked.weld in part.defects
        if planned:
            self.open.setdefault(asked.part, Part(asked.sequence)).shown[asked.weld] = (asked.sequence, False)
        return planned and asked.typology == "T2", defect

    def settle(self, asked: Trigger | PartQuery, *, defect: bool, counts: bool) -> None:
        """weld_judged, CONFIRMED."""
        part = self.open.get(asked.part)
        if part is None or not isinstance(asked, Trigger) or asked.sequence < part.since:
            return
        if defect:
            part.defects.add(asked.weld)
        if part.shown.get(asked.weld, (0, False))[0] == asked.sequence:
            part.shown[asked.weld] = (asked.sequence, counts)

    def change(self, recipe: str, *, idle: bool) -> str:
        """Why the recipe is not changed, or an empty text."""
        if self.open or not idle:
            return "PART"
        if recipe not in self.recipes:
            return "RECIPE"
        self.recipe = recipe
        return ""
