"""The rule of the challenge parts on its own: clocks that stand still until they are set, and welds from showing to confirmation."""

from __future__ import annotations

from gate_kit import BUNDLE, WALL, a_challenge, a_recipe

from edge.contract import Outcome, Reason
from edge.gate.case import Case, Kept
from edge.gate.challenge import Challenges, Said
from edge.gate.rows import Disposition
from edge.gate.verdict import Asked, Decision

RECIPES = {name: a_recipe(name) for name in ("R1", "R2")}
SESSION = "5e551010"


class Rule:
    """`Challenges` with clocks of its own; no bundle was announced yet, and nothing was restored."""

    def __init__(self, *, recipe: str = "", boot: str = "boot", **changes: object) -> None:
        self.now, self.wall = 1_000_000_000, WALL
        config = a_challenge(**changes)
        self.rule = Challenges(config, boot=boot, wall=lambda: self.wall, recipe=recipe, recipes=RECIPES)

    def pass_ns(self, ns: int, *, set_ns: int = 0) -> None:
        """Time passes; the wall clock is set by `set_ns` on top."""
        self.now += ns
        self.wall += ns + set_ns

    def open(self, part: str, sequence: int) -> Case:
        """The weld W1 of this part is in front of the robot."""
        asked = Asked(session=SESSION, sequence=sequence, part=part, weld="W1", typology="T2", by="trigger")
        case = Case(asked=asked, opened_ns=self.now, cutoff_ns=self.now + 1, deadline_ns=self.now + 1)
        case.shown = self.rule.show(asked)
        return case

    def close(self, case: Case) -> None:
        """Everything goes as it should for what the part is."""
        good = case.asked.part == "GOOD"
        case.judged_good, case.sent_ns = good, self.now
        case.sending = Decision(Outcome.ACCEPT, Reason.OK, "") if good else Decision(Outcome.REJECT, Reason.DEFECT, "")
        self.rule.settle(case, Disposition.ACCEPTED if good else Disposition.REJECTED, self.now)

    def weld(self, part: str, sequence: int) -> None:
        self.close(self.open(part, sequence))

    def pass_challenge(self, sequence: int = 1) -> None:
        """BAD and GOOD, judged by the bundle."""
        self.rule.announced(BUNDLE)
        self.weld("BAD", sequence)
        self.weld("GOOD", sequence + 1)

    def heard(self) -> list[Said]:
        """The events since the last call."""
        return [said for said in self.rule.take() if not isinstance(said, Kept)]

    def tick(self) -> list[Said]:
        self.heard()
        self.rule.tick(self.now)
        return self.heard()

    @property
    def accepting(self) -> bool:
        return self.rule.status(self.now).accepting

    @property
    def missing(self) -> tuple[str, ...]:
        return self.rule.status(self.now).missing
