"""The judge of challenge parts: what was shown, found, answered and confirmed since anything ended it, by nobody's book but its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from edge.config import ChallengeConfig, ChallengePart
from edge.gate.rows import TriggerRow, VerdictRow
from faults.world.challenge import NS_PER_S, Wall
from faults.world.core import Core, Violation
from faults.world.disk import Key

MINUTE_NS = 60 * NS_PER_S


@dataclass(slots=True)
class _Show:
    part: ChallengePart
    key: Key
    recipe: str
    opened: int
    """Order among all that happened; so is `proved`, which is 0 while nothing is."""
    opened_ns: int
    wall_ns: int
    proved: int = 0
    proved_ns: int = 0


class ChallengeOracle:
    """Told what the gate opens and decides; raises Violation for an ACCEPT that the parts shown do not cover."""

    def __init__(self, core: Core, rule: ChallengeConfig, wall: Wall, recipe_of: Callable[[str], str | None]) -> None:
        """`recipe_of` gives the recipe that is active in a session ("": none, None: it cannot be told from outside)."""
        self.core, self.rule, self.wall = core, rule, wall
        self._recipe_of = recipe_of
        self._shows: list[_Show] = []
        self._order = self._voided = 0
        self._blurred = 0
        """When a challenge part was shown in a session whose recipe cannot be told from outside."""
        self._bundle = ""

    def is_reserved(self, part: str) -> bool:
        """Whether a part of this name belongs to no production."""
        return part.lower() in {entry.name.lower() for entry in self.rule.part}

    # what happens

    def bundle(self, bundle: str) -> None:
        """An inspector that is ready says what it judges by."""
        if bundle and bundle != self._bundle:
            self._bundle = bundle
            self.ends()

    def ends(self) -> None:
        """Whatever was shown so far proves nothing for what comes."""
        self._order += 1
        self._voided = self._order

    def opened(self, row: TriggerRow) -> None:
        """The gate takes a trigger."""
        self._order += 1
        if self._recipe_of(row.session) is None and self.is_reserved(row.part):
            self._blurred = self._order
        part = self._entry(row.part, row.weld, row.session)
        if part is not None:
            recipe = self._recipe_of(row.session) or ""
            self._shows.append(_Show(part, (row.session, row.sequence), recipe, self._order, self.core.now, self.wall.ns()))

    def changed_over(self, recipe: str) -> None:
        """Another recipe is active: what was shown under others may count no more, even when they come back."""
        if self.rule.after_change_over:
            self._shows = [show for show in self._shows if show.recipe == recipe]

    def refused(self, key: Key) -> None:
        """It was no trigger after all: another one was open."""
        self._shows = [show for show in self._shows if show.key != key]

    def wrong(self, key: Key) -> None:
        """The gate found a defect: in a known-good part that ends every challenge."""
        if any(show.key == key and show.part.expect == "good" for show in self._shows):
            self.ends()

    def closed(self, key: Key, answer: bytes, done: str) -> None:
        """A part judged by its own sound frame is done with: it proves what it should when the gate said so and the robot did so."""
        for show in self._shows:
            word, did = (b",DEFECT", "REJECTED") if show.part.expect == "bad" else (b",ACCEPT,", "ACCEPTED")
            if show.key == key and word in answer and did == done:
                self._order += 1
                show.proved, show.proved_ns = self._order, self.core.now

    def died(self, durable: Callable[[Key], bool]) -> None:
        """The gate's process ended: what it had not recorded yet never happened."""
        self._shows = [show for show in self._shows if durable(show.key)]

    # what may be accepted

    def accepts(self, row: VerdictRow) -> None:
        """The gate decides to accept this."""
        entry = self._entry(row.part, row.weld, row.session)
        if self.is_reserved(row.part) and (entry is None or entry.expect == "bad"):
            raise Violation("false accept", f"ACCEPT for {row.part} {row.weld}, which is a challenge part that never passes")
        recipe = self._recipe_of(row.session)
        if recipe is None or self._blurred > self._voided:
            return
        wanted = [part for part in self.rule.part if part.recipe in ("", recipe)]
        bad = [self._last_bad(part, row) for part in wanted if part.expect == "bad"]
        if entry is not None:
            self._in_time(bad, row)
            if any(show.key[0] != row.session for show in bad):
                raise Violation("false accept", f"ACCEPT for the known-good {row.part}, whose known-bad ones were shown in another session")
            return
        shows = [*bad, *(self._good(part, bad, row) for part in wanted if part.expect == "good")]
        self._together(shows, row, recipe)
        self._fresh(shows, row)

    def _last_bad(self, part: ChallengePart, row: VerdictRow) -> _Show:
        shows = [show for show in self._shows if show.part == part]
        if not shows or not shows[-1].proved or shows[-1].opened < self._voided:
            raise Violation("false accept", f"ACCEPT for {row.part} {row.weld} without the known-bad {part.name}: {shows[-1:]}")
        return shows[-1]

    def _good(self, part: ChallengePart, bad: list[_Show], row: VerdictRow) -> _Show:
        after = max(show.proved for show in bad)
        for show in self._shows:
            if show.part == part and show.proved and show.opened > max(after, self._voided):
                return show
        raise Violation("false accept", f"ACCEPT for {row.part} {row.weld} without the known-good {part.name} after the known-bad ones")

    def _together(self, shows: list[_Show], row: VerdictRow, recipe: str) -> None:
        if len({show.key[0] for show in shows}) > 1:
            raise Violation("false accept", f"ACCEPT for {row.part} {row.weld} after a challenge in pieces of several sessions")
        took_ns = max(show.proved_ns for show in shows) - min(show.opened_ns for show in shows)
        if took_ns > self.rule.within_min * MINUTE_NS:
            raise Violation("false accept", f"ACCEPT for {row.part} {row.weld} after a challenge that took {took_ns / NS_PER_S:.1f} s")
        if self.rule.after_change_over and any(show.recipe != recipe for show in shows):
            raise Violation("false accept", f"ACCEPT for {row.part} {row.weld} under {recipe}, challenged under {shows[0].recipe}")

    def _in_time(self, shows: list[_Show], row: VerdictRow) -> None:
        if self.core.now - min(show.opened_ns for show in shows) > self.rule.within_min * MINUTE_NS:
            raise Violation("false accept", f"ACCEPT for {row.part} {row.weld}, too long after the known-bad parts")

    def _fresh(self, shows: list[_Show], row: VerdictRow) -> None:
        first = min(shows, key=lambda show: show.opened)
        ran_ns, wall_ns = self.core.now - first.opened_ns, self.wall.ns() - first.wall_ns
        every_ns = self.rule.every_h * 3_600 * NS_PER_S
        if every_ns and max(ran_ns, wall_ns) >= every_ns:
            raise Violation(
                "false accept", f"ACCEPT for {row.part} {row.weld}, {max(ran_ns, wall_ns) / NS_PER_S:.1f} s after the challenge"
            )
        if self.rule.shifts and self._shift_begins(first.wall_ns, first.wall_ns + max(ran_ns, wall_ns)):
            raise Violation("false accept", f"ACCEPT for {row.part} {row.weld} in a shift that has seen no challenge")

    def _shift_begins(self, after_ns: int, until_ns: int) -> bool:
        minute = after_ns // MINUTE_NS + 1
        while minute * MINUTE_NS <= until_ns:
            if time.strftime("%H:%M", time.localtime(minute * 60)) in self.rule.shifts:
                return True
            minute += 1
        return False

    def _entry(self, part: str, weld: str, session: str) -> ChallengePart | None:
        recipe = self._recipe_of(session) or ""
        found = [entry for entry in self.rule.part if (entry.name, entry.weld) == (part, weld) and entry.recipe in ("", recipe)]
        return found[0] if found else None
