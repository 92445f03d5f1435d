"""`[gate.challenge]`: known-good and known-bad parts that must pass before anything else is accepted (`docs/challenge.md`)."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from edge.config.checks import between, plain_name, require

Expect = Literal["good", "bad"]
MAX_WELDS = 64
MAX_SHIFTS = 24
SHIFT = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]\Z")


class ChallengePart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[gate.challenge.part]]`: one weld of a part that is kept beside the line because its truth is known."""

    name: str
    """Exactly as the robot (push: the camera) names it. No part of production may carry it."""
    weld: str
    """The weld of it that is shown."""
    expect: Expect
    """`good`: it must be accepted. `bad`: it must be found defective; it is never accepted."""
    recipe: str = ""
    """Only asked for while this recipe is active; empty: under every recipe."""

    def __post_init__(self) -> None:
        plain_name("gate.challenge.part.name", self.name)
        plain_name("gate.challenge.part.weld", self.weld)
        if self.recipe:
            plain_name("gate.challenge.part.recipe", self.recipe)


class ChallengeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[gate.challenge]`: which parts must pass, and when again (`docs/challenge.md`). Without this table there is no such rule."""

    part: tuple[ChallengePart, ...]
    every_h: float = 8.0
    """A passed challenge holds this long; 0: its age does not matter."""
    shifts: tuple[str, ...] = ()
    """Local times of day ("06:00") at which the next challenge is due, by the box's clock and time zone."""
    after_change_over: bool = True
    """Due when the robot changes over to another recipe. (After another bundle it always is.)"""
    after_boot: bool = True
    """Due when the box itself was started anew; false needs a clock that runs while the box is off."""
    warn_min: float = 15.0
    """Said in records and log this long before it is due."""
    grace_min: float = 0.0
    """Production may still be accepted this long after a shift's start or the age of `every_h`; after nothing else."""
    within_min: float = 30.0
    """All parts of one challenge must be shown within this time."""

    def __post_init__(self) -> None:
        between("gate.challenge.every_h", self.every_h, 0, 8_784)
        between("gate.challenge.warn_min", self.warn_min, 0, 1_440)
        between("gate.challenge.grace_min", self.grace_min, 0, 240)
        between("gate.challenge.within_min", self.within_min, 0.1, 1_440)
        for shift in self.shifts:
            require(SHIFT.match(shift) is not None, "gate.challenge.shifts", repr(shift), 'Give local times of day such as "06:00"')
        require(
            len(set(self.shifts)) == len(self.shifts) <= MAX_SHIFTS,
            "gate.challenge.shifts",
            ", ".join(self.shifts),
            f"Give each shift's start once, at most {MAX_SHIFTS}",
        )
        self._check_parts()

    def _check_parts(self) -> None:
        key, parts = "gate.challenge.part", self.part
        require(len(parts) <= MAX_WELDS, key, f"{len(parts)} welds", f"Name at most {MAX_WELDS} welds")
        for expect in ("good", "bad"):
            some = any(part.expect == expect for part in parts)
            require(some, key, f"no weld with expect = {expect!r}", "Name at least one known-good and one known-bad weld")
        for part in parts:
            same = [other for other in parts if (other.name, other.weld) == (part.name, part.weld)]
            seen = f"{part.name} {part.weld} {len(same)} times"
            once = len({other.recipe for other in same}) == len(same) and (len(same) == 1 or all(other.recipe for other in same))
            require(once, key, seen, "Name each weld of a part once, or once for each recipe")
            require(len({other.expect for other in same}) == 1, key, f"{seen}, good and bad", "A weld is either good or bad")
            alike = {other.name for other in parts if other.name.lower() == part.name.lower()}
            require(len(alike) == 1, key, ", ".join(sorted(alike)), "Two names must differ in more than upper and lower case")
