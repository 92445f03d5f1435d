"""Challenge parts in the simulated cell: the rule, the wall clock it reads, and what people show, often wrongly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from edge.config import ChallengeConfig, ChallengePart
from faults.world.core import MS, Core

NS_PER_S = 1_000_000_000
_WALL_NS = 1_795_000_000 * NS_PER_S
_MISTAKES = ("challenge_order", "challenge_name", "challenge_part_forgotten")
_JUMPS_S = (-86_400, -3_600, -30, -2, 2, 30, 3_600, 86_400)


class ToShow(NamedTuple):
    """One weld of a challenge part; `blind`: the networks take it for the opposite of what it is."""

    part: str
    weld: str
    good: bool
    blind: bool


class Wall:
    """The box's wall clock, which people and time servers set."""

    def __init__(self, core: Core) -> None:
        self._core, self._ahead_ns = core, _WALL_NS

    def ns(self) -> int:
        """Nanoseconds since 1970, as far as the box knows."""
        return self._core.now + self._ahead_ns

    def jump(self) -> None:
        """It is set, forwards or backwards."""
        seconds = self._core.pick(_JUMPS_S)
        self._core.injected("wall_clock", seconds)
        self._ahead_ns += seconds * NS_PER_S


def rule_for(core: Core, *, recipes: bool) -> ChallengeConfig:
    """One of many rules: due again after seconds, at a shift that begins within the run, after a change-over, or not."""
    begins_s = (_WALL_NS + core.now) // NS_PER_S + core.pick((60, 120))
    parts = [("BAD", "W0", "bad", ""), ("GOOD", "W0", "good", ""), ("WORSE", "W3", "bad", "hood" if recipes else "")]
    return ChallengeConfig(
        part=tuple(ChallengePart(name=name, weld=weld, expect=expect, recipe=recipe) for name, weld, expect, recipe in parts),  # type: ignore[arg-type]
        every_h=core.pick((0.0, 5 / 3600, 20 / 3600)),
        shifts=core.pick(((), (time.strftime("%H:%M", time.localtime(begins_s)),))),
        after_change_over=core.pick((True, False)),
        warn_min=0.02,
        within_min=core.pick((0.1, 1.0)),
    )


class Challenger:
    """The person who shows the parts: when they are asked for, sometimes unasked, and not always as the rule wants it."""

    def __init__(self, core: Core, rule: ChallengeConfig, wall: Wall, believed: Callable[[], str]) -> None:
        """`believed` gives the recipe that the robot takes for the active one, or empty."""
        self.core, self.rule, self.wall = core, rule, wall
        self._believed = believed
        self._left: list[ToShow] = []

    def step(self, *, asked: bool) -> ToShow | None:
        """What is shown now instead of a part of production; `asked`: the gate waits for it."""
        core = self.core
        if core.chance() < 0.004 and "wall_clock" not in core.muted:
            self.wall.jump()
        if not self._left and core.chance() < (0.4 if asked else 0.01):
            self._left = self._plan()
        return self._left.pop(0) if self._left else None

    def _plan(self) -> list[ToShow]:
        core = self.core
        parts = [part for part in self.rule.part if part.recipe in ("", self._believed())]
        parts.sort(key=lambda part: part.expect)
        mistake = core.pick(_MISTAKES) if core.chance() < 0.2 else ""
        if mistake in core.muted:
            mistake = ""
        if mistake:
            core.injected(mistake)
        if mistake == "challenge_order":
            parts.reverse()
        elif mistake == "challenge_part_forgotten":
            del parts[core.between(0, len(parts))]
        shown = [ToShow(part.name, part.weld, part.expect == "good", self._blind()) for part in parts]
        if mistake == "challenge_name":
            at = core.between(0, len(shown))
            name, weld, good, blind = shown[at]
            shown[at] = core.pick((ToShow(name.lower(), weld, good, blind), ToShow(name, "W8", good, blind)))
        return shown

    def _blind(self) -> bool:
        blind = self.core.chance() < 0.04 and "challenge_blind" not in self.core.muted
        if blind:
            self.core.injected("challenge_blind")
        return blind


def soon(core: Core) -> int:
    """When the recorder's thread takes what it was given while it has nothing else to do."""
    return core.now + core.between(MS // 10, MS)
