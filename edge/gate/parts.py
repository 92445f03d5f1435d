"""Parts: which welds of which part were accepted and confirmed in this session, and the verdict on a whole part; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from edge.contract import Outcome, Reason
from edge.gate.messages import PartQuery, Refusal, Trigger
from edge.gate.recipe import Recipe
from edge.gate.rows import Disposition
from edge.gate.verdict import Asked, Condition, Decision, Duty, Plan, always, judge

MAX_OPEN = 16
"""Parts without a part verdict at a time."""
NOTE_CHARS = 1_900
"""Longest text of missing welds in one row; further ones go into rows of their own."""


class Missing(NamedTuple):
    """A weld of the recipe that does not count as accepted, and why."""

    weld: str
    why: str


class PartFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a part's verdict may rest on; times are CLOCK_MONOTONIC nanoseconds."""

    now_ns: int
    cutoff_ns: int
    """The verdict must be decided before this moment."""
    session: str | None
    """The link session that is open now."""
    asked: Asked | None
    """The part query, while it is open."""
    store_healthy: bool
    latched: tuple[str, ...]
    recipe: str | None
    """Name of the active recipe."""
    named: str
    """Name of the recipe that the robot believes to be active."""
    welds: int
    """Welds of that recipe."""
    accepted: int
    """Welds whose last verdict in this session and part was ACCEPT and was confirmed as ACCEPTED."""
    missing: tuple[Missing, ...]
    """The others, in the recipe's order."""
    challenge: Duty | None
    """None where no challenge parts are configured."""


def decide_part(facts: PartFacts) -> Decision:
    """ACCEPT only if every condition holds; the first that does not gives the reason. Never raises."""
    return judge(facts, PART)


PART: tuple[Condition[PartFacts], ...] = (
    Condition(
        "link session open",
        lambda f: f.asked is not None and f.session is not None and f.session == f.asked.session,
        always(Reason.SESSION_LOST),
        lambda f: f"open: {f.session}",
    ),
    Condition(
        "asked for a part",
        lambda f: f.asked is not None and f.asked.by == "part" and not f.asked.weld,
        always(Reason.INTERNAL),
        lambda f: f"asked: {f.asked}",
    ),
    Condition(
        "records healthy",
        lambda f: f.store_healthy,
        always(Reason.RECORD_FAULT),
        lambda _: "a write failed; latched until the store was checked",
    ),
    Condition("not latched", lambda f: f.latched == (), always(Reason.LATCHED), lambda f: "; ".join(f.latched)),
    Condition("a recipe is active", lambda f: bool(f.recipe), always(Reason.RECIPE), lambda _: "the robot must name one first"),
    Condition(
        "the robot names the active recipe",
        lambda f: f.named == f.recipe,
        always(Reason.RECIPE),
        lambda f: f"it named {f.named}, active is {f.recipe}",
    ),
    Condition(
        "challenge parts passed",
        lambda f: f.challenge is None or f.challenge.lack == "",
        always(Reason.CHALLENGE),
        lambda f: f.challenge.lack if f.challenge is not None else "",
    ),
    Condition("every weld accepted", lambda f: f.missing == (), always(Reason.WELDS_MISSING), lambda f: notes_of(f.missing)[0]),
    Condition(
        "as many accepted as the recipe has",
        lambda f: f.accepted == f.welds >= 1,
        always(Reason.WELDS_MISSING),
        lambda f: f"{f.accepted} of {f.welds}",
    ),
    Condition(
        "before the deadline",
        lambda f: f.now_ns < f.cutoff_ns,
        always(Reason.DEADLINE),
        lambda f: f"{(f.now_ns - f.cutoff_ns) / 1e6:.3f} ms too late",
    ),
)
"""Conditions of a part's ACCEPT."""


def notes_of(missing: tuple[Missing, ...]) -> list[str]:
    """Every missing weld with its reason, in as many texts as rows can hold; the first begins with the count."""
    texts = [f"{len(missing)} missing: "]
    for number, (weld, why) in enumerate(missing):
        text = f"{weld} {why}" + ("" if number == len(missing) - 1 else ", ")
        if len(texts[-1]) + len(text) > NOTE_CHARS:
            texts.append("")
        texts[-1] += text
    return texts


@dataclass(kw_only=True)
class _Shown:
    """The last trigger of a weld, and what came of it."""

    sequence: int
    accepted: bool = False
    why: str = "has no verdict yet"


@dataclass(kw_only=True)
class _Part:
    since: int
    """Sequence that opened it."""
    shown: dict[str, _Shown] = field(default_factory=dict)
    defects: dict[str, int] = field(default_factory=dict)
    """Welds that were a DEFECT, and in which trigger: nothing makes them good again in this part."""


class Parts:
    """The open parts of one session under the active recipe; forgotten with the session."""

    def __init__(self, recipes: Mapping[str, Recipe], preset: str) -> None:
        """`preset` is the recipe that is active when a session begins, or empty."""
        self._recipes = recipes
        self._preset = recipes[preset] if preset else None
        self._open: dict[str, _Part] = {}
        self.recipe = self._preset

    @property
    def active(self) -> str:
        """Name of the active recipe, or empty."""
        return self.recipe.name if self.recipe else ""

    @property
    def welds(self) -> tuple[str, ...]:
        """Welds of the active recipe, in its order."""
        return self.recipe.welds if self.recipe else ()

    @property
    def full(self) -> bool:
        """Would a weld of one more part be refused?"""
        return len(self._open) >= MAX_OPEN

    @property
    def open(self) -> tuple[str, ...]:
        """Parts that had a trigger and no part query since."""
        return tuple(self._open)

    def forget(self) -> None:
        """The session is over: no part is open, and the recipe is the preset one."""
        self._open.clear()
        self.recipe = self._preset

    def replace(self, recipes: Mapping[str, Recipe], preset: str) -> None:
        """Other recipes count from now on, while no part is open; the active one by its name, or none where it is gone."""
        active = self.active
        self._recipes, self._preset = recipes, recipes[preset] if preset else None
        self.recipe = recipes.get(active)

    def change_over(self, name: str) -> Refusal | None:
        """Make a recipe the active one, or say why not."""
        if self._open:
            return Refusal.PART
        if name not in self._recipes:
            return Refusal.RECIPE
        self.recipe = self._recipes[name]
        return None

    def plan(self, trigger: Trigger, *, challenge: bool = False) -> Plan:
        """What the recipe says of a trigger that opens now; a challenge part is no open part, whatever was found in it before."""
        part = _Part(since=trigger.sequence) if challenge else self._open.get(trigger.part)
        return Plan(
            recipe=self.active or None,
            typology=self.recipe.typology(trigger.weld) if self.recipe else None,
            room=part is not None or len(self._open) < MAX_OPEN,
            defect=part.defects.get(trigger.weld, 0) if part else 0,
        )

    def show(self, trigger: Trigger) -> None:
        """A trigger opened: its part is open, and whatever this weld was before, it is not accepted now."""
        plan = self.plan(trigger)
        if plan.typology is None or not plan.room:
            return
        part = self._open.setdefault(trigger.part, _Part(since=trigger.sequence))
        part.shown[trigger.weld] = _Shown(sequence=trigger.sequence)

    def settle(self, asked: Asked, decided: Decision | None, sent: Decision | None, done: Disposition) -> None:
        """A trigger is closed: `decided` is its verdict, `sent` what the robot got (None: nothing), `done` what it did."""
        part = self._open.get(asked.part)
        if part is None or asked.sequence < part.since:
            return
        if decided is not None and decided.reason is Reason.DEFECT:
            part.defects.setdefault(asked.weld, asked.sequence)
        shown = part.shown.get(asked.weld)
        if shown is None or shown.sequence != asked.sequence:
            return
        shown.accepted = sent is not None and sent.outcome is Outcome.ACCEPT and done is Disposition.ACCEPTED
        shown.why = f"{sent.outcome.value} {sent.reason.value} {done.value}" if sent else f"unanswered {done.value}"

    def missing(self, name: str) -> tuple[Missing, ...]:
        """Welds of the active recipe that do not count as accepted for this part, in the recipe's order."""
        part = self._open.get(name)
        found = ((weld, self._lack(part, weld) if part else "was not shown") for weld in self.welds)
        return tuple(Missing(weld, why) for weld, why in found if why)

    def accepted(self, name: str) -> int:
        """Welds of the active recipe that count as accepted for this part."""
        shown = self._open[name].shown if name in self._open else {}
        return sum(shown[weld].accepted for weld in self.welds if weld in shown)

    def distrust(self, why: str) -> None:
        """What was accepted of open parts until now counts no more: those welds have to be shown again."""
        for shown in (shown for part in self._open.values() for shown in part.shown.values() if shown.accepted):
            shown.accepted, shown.why = False, why

    def end(self, query: PartQuery) -> None:
        """A part query ends its part, whatever the answer."""
        self._open.pop(query.part, None)

    def _lack(self, part: _Part, weld: str) -> str:
        if weld in part.defects:
            return f"DEFECT in trigger {part.defects[weld]}"
        shown = part.shown.get(weld)
        if shown is None:
            return "was not shown"
        return "" if shown.accepted else shown.why
