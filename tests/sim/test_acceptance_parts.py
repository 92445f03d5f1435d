"""The kit that plays the gate, for robots that finish parts: the simulated robot passes, faulty ones are found."""

import pytest
from virtual_parts import rehearse_parts

from edge.contract import Outcome
from edge.gate.messages import ChangeOver, Nak, PartQuery, PartVerdict, Trigger, Verdict
from sim.robot_protocol import RobotProtocol


class BelievesParts(RobotProtocol):
    def _doubt(self, _verdict: PartVerdict) -> str:
        return ""


class TakesAnyPart(RobotProtocol):
    def _differs(self, verdict: Verdict | PartVerdict, asked: Trigger | PartQuery) -> str:
        return "" if isinstance(asked, PartQuery) else super()._differs(verdict, asked)


class TakesAnyRecipe(RobotProtocol):
    def _changed(self, change: ChangeOver) -> None:
        self.change, self.recipe = None, change.recipe


class HearsNoRefusal(RobotProtocol):
    def _nak(self, _nak: Nak, _now_ns: int) -> None:
        if self.change is not None:
            self.change, self.recipe = None, "door-left"


class RejectsEveryPart(RobotProtocol):
    def _doubt(self, verdict: PartVerdict) -> str:
        return "NEVER" if verdict.outcome is Outcome.ACCEPT else ""


def test_the_simulated_robot_keeps_every_rule_of_parts() -> None:
    report = rehearse_parts()
    assert report.accepted, report.failures
    assert "part: ACCEPT" in {finding.check for finding in report.findings}


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (BelievesParts, "part: a weld is missing"),
        (BelievesParts, "part: a missing weld is named"),
        (TakesAnyPart, "part: another part"),
        (TakesAnyPart, "part: the next sequence"),
        (TakesAnyRecipe, "recipe refused"),
        (HearsNoRefusal, "recipe refused"),
        (RejectsEveryPart, "part: ACCEPT"),
    ],
)
def test_a_faulty_robot_breaks_the_rule_of_parts_it_was_made_to_break(kind: type[RobotProtocol], check: str) -> None:
    assert check in {finding.check for finding in rehearse_parts(kind).failures}
