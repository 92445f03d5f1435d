"""The kit that plays the gate, for robots that finish parts: the simulated robot passes, faulty ones are found."""

import pytest
from virtual_parts import rehearse_parts

from edge.contract import Outcome
from edge.gate.codec import encode_frame
from edge.gate.messages import Ack, ChangeOver, Done, Nak, PartQuery, PartVerdict, Trigger, Verdict
from sim.acceptance.robot_parts import WRONG_PARTS
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


class TakesEverythingForAccept(RobotProtocol):
    def _verdict(self, verdict: Verdict | PartVerdict, now_ns: int) -> None:
        if self.open is None or not isinstance(self.open.trigger, PartQuery):
            super()._verdict(verdict, now_ns)
            return
        self._let_pass(now_ns)

    def malformed(self, now_ns: int) -> None:
        if self.open is not None and isinstance(self.open.trigger, PartQuery):
            self._let_pass(now_ns)

    def _let_pass(self, now_ns: int) -> None:
        assert self.open is not None
        asked = self.open.trigger
        ack = Ack(session=asked.session, sequence=asked.sequence, outcome=Outcome.ACCEPT, done=Done.ACCEPTED)
        self.out.append(encode_frame(ack, "R"))
        self._finish(Outcome.ACCEPT, "OK", accepted=True, detail="", now_ns=now_ns)


class NamesAnotherRecipe(RobotProtocol):
    def change_over(self, recipe: str, now_ns: int) -> bytes | None:
        return super().change_over(f"{recipe}-2", now_ns)


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
        *((TakesEverythingForAccept, check) for check, _, _ in WRONG_PARTS),
        (NamesAnotherRecipe, "names its recipe"),
    ],
)
def test_a_faulty_robot_breaks_the_rule_of_parts_it_was_made_to_break(kind: type[RobotProtocol], check: str) -> None:
    assert check in {finding.check for finding in rehearse_parts(kind).failures}
