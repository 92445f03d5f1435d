"""What `cordon status` says of a line is what its next weld would find out, from a real gate, robot and inspector's end of the socket."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gate_kit import Driven, a_recipe
from test_daemon import Cell
from test_gate_health import case, first_line, seen_when

from edge.gate.messages import Heartbeat, State
from edge.gate.parts import MAX_OPEN
from edge.health.gate import TEXT, GateHealth
from edge.health.look import answer, look
from edge.health.report import report
from edge.health.screen import page
from edge.log import Log


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    made = Cell(tmp_path)
    yield made
    made.close()


def test_heartbeats_that_stop_are_missed_and_the_reason_is_the_sessions_own(cell: Cell) -> None:
    before = look(cell.folder).gate.counters["heartbeats_missed"]
    cell.robot._pump = lambda: time.sleep(0.01)  # type: ignore[method-assign]
    found = seen_when(cell.folder, lambda one: [why.reason for why in answer(one)[1]] == ["SESSION_LOST"])
    assert first_line(found) == "NOT ACCEPTING: no session with the robot: the robot's heartbeat stopped"
    assert found.gate.counters["heartbeats_missed"] >= before + 8, "ten silent intervals end the session here"


def test_a_heartbeat_that_repeats_the_one_before_is_not_heard(tmp_path: Path) -> None:
    cell = Cell(tmp_path, ready=False)
    cell.close()
    log = Log("test")
    health = GateHealth(cell.daemon.config, "c" * 64, cell.daemon.session, cell.daemon.recorder, log)
    for counter, at_ns in ((7, 10), (8, 20), (8, 30), (8, 40)):
        health.heard(Heartbeat(session="s" * 16, state=State.READY, counter=counter), at_ns)
    assert health._robot_ns == 20
    health.close()
    log.close()


def test_what_the_robot_sends_without_a_session_is_told_beside_the_reason(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    health = cell.daemon.health
    health._known, health._ended, health._said = None, "the robot's heartbeat stopped", "Heartbeat for session x, open is None"
    assert health._lost() == "the robot's heartbeat stopped; since then: Heartbeat for session x, open is None"
    cell.close()


def test_welds_rejected_unjudged_by_a_line_that_accepts_are_in_the_first_line(cell: Cell) -> None:
    for number in range(3):
        assert cell.robot.inspect(f"P{number}", "W1", "EVIL").reason == "TYPOLOGY_UNKNOWN"
    found = seen_when(cell.folder, lambda one: one.gate_state is not None and one.gate_state.unjudged == 3)
    text = "ACCEPTING, but the last 3 welds were rejected without being judged, at last for TYPOLOGY_UNKNOWN"
    assert page(report(found, {})).splitlines()[:2] == [text, "  do:   The bundle lacks this typology: cordon bundle show"]
    assert cell.inspect("P9").accepted
    found = seen_when(cell.folder, lambda one: one.gate_state is not None and one.gate_state.unjudged == 0)
    assert first_line(found) == "ACCEPTING"


def test_parts_that_leave_no_room_for_another_are_said_before_one_is_refused() -> None:
    driven = Driven(recipe="R1", recipes=[a_recipe("R1", W1="T2", W2="T2")]).ready()
    for sequence in range(1, MAX_OPEN):
        driven.weld(sequence, part=f"P{sequence}")
    assert not driven.session.parts_full
    driven.weld(MAX_OPEN, part="LAST")
    assert driven.session.parts_full
    assert not Driven().ready().session.parts_full


def test_what_stands_against_it_takes_the_place_of_welds_that_it_explains(cell: Cell) -> None:
    for number in range(1, 4):
        cell.daemon.health.did(case(number, "LATCHED"))
    cell.daemon.recorder.latch("look at this")
    found = seen_when(cell.folder, lambda one: answer(one)[0] == "not_accepting")
    assert found.gate_state is not None
    assert found.gate_state.unjudged == 0


def test_many_long_reasons_do_not_end_the_numbers(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    for number in range(32):
        cell.daemon.recorder.latch(f"{number} " + '"ä' * 1_000)
    found = seen_when(tmp_path, lambda one: one.gate_state is not None and len(one.gate_state.latched) == 16)
    assert cell.daemon.health.problem == ""
    assert answer(found)[0] == "not_accepting"
    assert max(map(len, found.gate_state.latched if found.gate_state else ())) <= TEXT
    cell.close()


def test_a_gate_that_stands_still_is_said_to_before_two_seconds_are_over(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    cell.close()
    log = Log("test")
    health = GateHealth(cell.daemon.config, "c" * 64, cell.daemon.session, cell.daemon.recorder, log)
    health._ledger.step(time.monotonic_ns() - 1_600_000_000, 1)
    said, whys = answer(look(tmp_path))
    assert (said, whys[0].reason, whys[0].text) == ("not_accepting", "GATE_STILL", "the gate's loop has stood still for 1.6 s")
    health.close()
    log.close()
