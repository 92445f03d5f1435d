"""The judge of whole parts: which welds of which part were shown, answered and confirmed, kept apart from the product's own book."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edge.gate.messages import ChangeOver, Message, PartQuery, Trigger
from edge.gate.parts import MAX_OPEN
from faults.world.core import Violation
from faults.world.disk import Key
from faults.world.program import RECIPES


@dataclass(slots=True)
class _Part:
    welds: dict[str, Key] = field(default_factory=dict)
    """The last trigger of each weld that reached the gate."""
    defects: set[str] = field(default_factory=set)


class PartOracle:
    """Fed with what reaches and leaves the gate; `accepted` holds triggers whose ACCEPT the robot confirmed."""

    def __init__(self, preset: str) -> None:
        self.is_reserved: Callable[[str], bool] = lambda _part: False
        """Whether a part of this name is no part of production."""
        self._preset = preset
        self._highest: dict[str, int] = {}
        self._active: dict[str, str] = {}
        self._open: dict[str, dict[str, _Part]] = {}
        self._of: dict[Key, tuple[_Part, str]] = {}
        self._lacking: dict[Key, list[str]] = {}
        self._answers: dict[Key, bytes] = {}
        self._confirmed: set[Key] = set()
        self._unanswered: dict[str, set[int]] = {}
        self._changes: dict[Key, str] = {}
        self._unsure: set[str] = set()
        """Sessions in which a change-over met an open question, so that its moment cannot be told from outside."""

    def knows(self, session: str) -> bool:
        """Whether the recipe of that session can be told from outside."""
        return session not in self._unsure

    def recipe(self, session: str) -> str:
        """Name of the recipe that is active in this session, or empty."""
        return self._active.get(session, self._preset)

    def welds(self, session: str) -> tuple[str, ...]:
        """Welds of the recipe that is active in this session."""
        recipe = RECIPES.get(self.recipe(session))
        return recipe.welds if recipe is not None else ()

    def received(self, message: Message) -> None:
        """A whole message reaches the gate; one whose number is not above all before is refused there."""
        if not isinstance(message, Trigger | PartQuery | ChangeOver) or message.sequence <= self._highest.get(message.session, 0):
            return
        self._highest[message.session] = message.sequence
        parts = self._open.setdefault(message.session, {})
        key = (message.session, message.sequence)
        if isinstance(message, ChangeOver):
            self._change(message, key, parts)
            return
        self._unanswered.setdefault(message.session, set()).add(message.sequence)
        if isinstance(message, Trigger):
            self._shown(message, parts)
        else:
            self._lacking[key] = self._lacks(parts.pop(message.part, _Part()), self.welds(message.session))

    def _change(self, change: ChangeOver, key: Key, parts: dict[str, _Part]) -> None:
        if self._unanswered.get(change.session):
            self._unsure.add(change.session)
        if parts:
            self._changes[key] = f"{sorted(parts)} were open"
        elif change.recipe not in RECIPES:
            self._changes[key] = f"{change.recipe} is no recipe"
        else:
            self._active[change.session] = change.recipe

    def _shown(self, trigger: Trigger, parts: dict[str, _Part]) -> None:
        if self.is_reserved(trigger.part):
            return
        if trigger.weld in self.welds(trigger.session) and (trigger.part in parts or len(parts) < MAX_OPEN):
            part = parts.setdefault(trigger.part, _Part())
            key = (trigger.session, trigger.sequence)
            part.welds[trigger.weld] = key
            self._of[key] = (part, trigger.weld)

    def _lacks(self, part: _Part, welds: tuple[str, ...]) -> list[str]:
        good = (weld for weld, key in part.welds.items() if self._let_pass(key) and weld not in part.defects)
        left = set(welds) - set(good)
        return sorted(left) if welds else ["a recipe"]

    def _let_pass(self, key: Key) -> bool:
        return key in self._confirmed and b",ACCEPT," in self._answers.get(key, b"")

    def confirmed(self, key: Key) -> None:
        """The robot said ACCEPTED for this trigger."""
        self._confirmed.add(key)

    def weld_answered(self, key: Key, frame: bytes) -> None:
        """The verdict on a weld leaves."""
        self._answers[key] = frame
        known = self._of.get(key)
        if self.is_reserved(frame.split(b",", 4)[3].decode("ascii")):
            return
        if known is None and key[0] not in self._unsure and b",ACCEPT," in frame:
            raise Violation("false accept", f"ACCEPT for {key}, a weld that the active recipe does not have or that has no room")
        if known is None or b",DEFECT" not in frame:
            return
        known[0].defects.add(known[1])

    def sticky(self, key: Key) -> None:
        """An ACCEPT leaves: the weld may not have been a defect of this part before."""
        known = self._of.get(key)
        if known is not None and known[1] in known[0].defects:
            raise Violation("false accept", f"ACCEPT for {key}, a weld that was a defect of this part before")

    def part_answered(self, key: Key) -> None:
        """ACCEPT for a whole part leaves."""
        lacking = self._lacking.get(key, ["the question"])
        if lacking and key[0] not in self._unsure:
            raise Violation("false accept", f"the part of {key} is accepted without {', '.join(lacking)}")

    def answered(self, key: Key) -> None:
        """Any answer to this trigger or question leaves."""
        self._unanswered.get(key[0], set()).discard(key[1])

    def changed_over(self, key: Key) -> None:
        """The gate confirms a change-over."""
        why = self._changes.get(key)
        if why is not None and key[0] not in self._unsure:
            raise Violation("broken rule", f"the gate changed over in {key} although {why}")
