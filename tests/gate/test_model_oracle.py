"""The simulation's oracle: what it must bear, and what it finds though session and model make the same mistake."""

from collections.abc import Callable
from typing import Any

import model_gate
import msgspec
import pytest
from model_gate import ModelGate
from model_oracle import MS
from model_parts import ModelParts
from model_steps import all_well, ask_change, ask_part, ask_weld, cable_pulled, part, robot_program_errs, weld
from model_world import World

from edge.gate import handshake
from edge.gate.handshake import HandshakeSession
from edge.gate.messages import Refusal
from edge.gate.parts import Parts
from edge.gate.rows import Disposition
from edge.gate.verdict import Decision

W1, W2, W2_UNHEARD, WHOLE = 18, 19, 7, 9
"""Numbers of the steps `weld` and `part` that go well up to their end, and one whose verdict stays on the line."""
NAMES_THE_OTHER = 59
TO_R1, TO_R2 = 4, 5
OTHER_PROGRAM_TO_R2 = 10


def a_world() -> World:
    world = World()
    all_well(world)
    return world


def change(world: World, n: int) -> None:
    """The change-over is asked for, heard and answered."""
    ask_change(world, n)
    heard = [world.gate_hears, world.robot_hears]
    for line, hears in zip((world.up, world.down), heard, strict=True):
        while line:
            hears(line.pop(0))
    world.wait(5)


def late_reject(world: World) -> None:
    """No frame comes, and a slow line takes the REJECT 180 ms after the trigger."""
    world.slow = True
    ask_weld(world, 0)
    world.gate_hears(world.up.pop())
    world.wait(180)
    world.port_moves()


def test_a_reject_that_the_line_takes_late_has_its_whole_time_for_the_confirmation() -> None:
    world = a_world()
    late_reject(world)
    world.wait(45)
    assert world.stage == "SENT"
    world.wait(5)
    assert world.stage == ""
    assert [row.done for row in world.oracle.dispositions.values()] == ["TIMEOUT"]


def test_a_part_under_the_recipe_that_was_agreed_on_is_whole_though_another_change_over_was_refused() -> None:
    world = a_world()
    change(world, TO_R2)
    weld(world, W1)
    change(world, TO_R1)
    assert world.seen["NAK PART"] == 1
    part(world, WHOLE)  # a robot that knows no recipe names the preset one
    assert world.seen["part REJECT sent"] == 1
    weld(world, W1)
    part(world, NAMES_THE_OTHER)
    assert world.seen["robot part passes"] == 1


def test_a_part_under_a_recipe_that_another_part_of_the_robots_program_asked_for_is_whole() -> None:
    world = a_world()
    robot_program_errs(world, OTHER_PROGRAM_TO_R2)
    weld(world, W1)  # its number was used for the change-over
    weld(world, W1)
    part(world, NAMES_THE_OTHER)
    assert world.seen["robot part passes"] == 1


# planted in session and model alike, so that only the oracle can find it


def changes_in_the_middle_of_a_part(patch: pytest.MonkeyPatch) -> None:
    def session(self: Parts, name: str) -> None:
        self.recipe = self._recipes[name]

    def model(self: ModelParts, recipe: str, *, idle: bool) -> str:
        assert idle
        self.recipe = recipe
        return ""

    patch.setattr(Parts, "change_over", session)
    patch.setattr(ModelParts, "change", model)


def changes_and_says_no(patch: pytest.MonkeyPatch) -> None:
    def session(self: Parts, name: str) -> Refusal:
        self.recipe = self._recipes[name]
        return Refusal.PART

    def model(self: ModelParts, recipe: str, *, idle: bool) -> str:
        assert idle
        self.recipe = recipe
        return "PART"

    patch.setattr(Parts, "change_over", session)
    patch.setattr(ModelParts, "change", model)


def keeps_the_recipe_beyond_its_session(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Parts, "forget", lambda self: self._open.clear())
    patch.setattr(ModelParts, "forget", lambda self: self.open.clear())


def asks_for_no_name(patch: pytest.MonkeyPatch) -> None:
    decide_part, whole = handshake.decide_part, ModelParts.whole
    patch.setattr(handshake, "decide_part", lambda facts: decide_part(msgspec.structs.replace(facts, named=facts.recipe)))
    patch.setattr(ModelParts, "whole", lambda self, query: whole(self, msgspec.structs.replace(query, recipe=self.recipe)))


def counts_without_a_confirmation(patch: pytest.MonkeyPatch) -> None:
    def session(self: Parts, asked: Any, decided: Decision | None, _sent: object, _done: object) -> None:
        settle(self, asked, decided, decided, Disposition.ACCEPTED)

    def model(self: ModelParts, asked: Any, *, defect: bool, counts: bool) -> None:  # noqa: ARG001 - named as the model calls it
        settle_model(self, asked, defect=defect, counts=not defect)

    settle, settle_model = Parts.settle, ModelParts.settle
    patch.setattr(Parts, "settle", session)
    patch.setattr(ModelParts, "settle", model)


def waits_for_ever_for_what_left_late(patch: pytest.MonkeyPatch) -> None:
    def model(self: ModelGate, case: Any, now: int) -> None:
        if case.sent is None or case.sent <= case.opened + model_gate.BUDGET:
            press(self, case, now)

    due, press = HandshakeSession._ack_due_ns, ModelGate._press
    patch.setattr(HandshakeSession, "_ack_due_ns", lambda self, case: due(self, case) + 10**12 * ((case.sent_ns or 0) > case.deadline_ns))
    patch.setattr(ModelGate, "_press", model)


def waits_too_long_for_a_confirmation(patch: pytest.MonkeyPatch) -> None:
    due = HandshakeSession._ack_due_ns
    patch.setattr(HandshakeSession, "_ack_due_ns", lambda self, case: due(self, case) + 10 * MS)
    patch.setattr(model_gate, "ACK_TIMEOUT", model_gate.ACK_TIMEOUT + 10 * MS)


def in_the_middle(world: World) -> None:
    change(world, TO_R2)
    weld(world, W1)
    change(world, TO_R1)
    weld(world, W2)
    part(world, NAMES_THE_OTHER if world.believed == "R2" else WHOLE)


def a_new_session(world: World) -> None:
    change(world, TO_R2)
    cable_pulled(world, 1)
    all_well(world)
    weld(world, W1)


def another_name(world: World) -> None:
    change(world, TO_R2)
    weld(world, W1)
    part(world, NAMES_THE_OTHER)


def not_heard(world: World) -> None:
    weld(world, W1)
    weld(world, W2_UNHEARD)
    world.wait(200)
    ask_part(world, 0)
    world.gate_hears(world.up.pop())
    world.commit()


def answered_late(world: World) -> None:
    late_reject(world)
    world.wait(60)


@pytest.mark.parametrize(
    ("plant", "scenario", "claim"),
    [
        (changes_in_the_middle_of_a_part, in_the_middle, "I1_WHOLE_PART.* names R1, but agreed was {'R2'}"),
        (changes_and_says_no, in_the_middle, "I1_WHOLE_PART.*recipe='R2'.* but agreed is R1"),
        (keeps_the_recipe_beyond_its_session, a_new_session, "I1_WHOLE_PART.*recipe='R2'.* but agreed is R1"),
        (asks_for_no_name, another_name, "I1_WHOLE_PART.* names R1, but agreed was {'R2'}"),
        (counts_without_a_confirmation, not_heard, "I1_WHOLE_PART.* without W2"),
        (waits_for_ever_for_what_left_late, answered_late, "I5_NOTHING_LEFT_OPEN"),
        (waits_too_long_for_a_confirmation, answered_late, "I5_NOTHING_LEFT_OPEN"),
    ],
)
def test_what_session_and_model_do_wrong_alike_the_oracle_finds(
    plant: Callable[[pytest.MonkeyPatch], None], scenario: Callable[[World], None], claim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario(a_world())
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=claim):
        scenario(a_world())
