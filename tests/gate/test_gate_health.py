"""What the gate says of itself in its health file, from a real gate, robot and inspector's end of the socket."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from gate_kit import MS, Driven, a_recipe, a_state
from test_daemon import Cell

from edge.contract import Outcome, Reason, TriggerId
from edge.gate.case import Record, Send
from edge.gate.messages import Ack, Done, Heartbeat, State
from edge.gate.rows import DispositionRow, TriggerRow, VerdictRow
from edge.gate.verdict import BEFORE_FRAME
from edge.health.gate import GateHealth
from edge.health.look import REMEDIES, Look, answer, look
from edge.health.objections import objections
from edge.health.reader import read
from edge.health.report import report
from edge.health.screen import page
from edge.health.status import status_main
from edge.health.words import GateState, InspectorSaid, Objection, Store
from edge.log import Log


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    made = Cell(tmp_path)
    yield made
    made.close()


def seen_when(folder: Path, holds: Callable[[Look], bool]) -> Look:
    until_s = time.monotonic() + 20
    while not holds(found := look(folder)):
        assert time.monotonic() < until_s, page(report(found, {}))
        time.sleep(0.02)
    return found


def first_line(found: Look) -> str:
    return page(report(found, {})).splitlines()[0]


def test_a_line_that_works_is_accepting_and_its_numbers_are_those_of_its_welds(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(1, 7):
        cell.inspect(f"P{number}", score=0.9 if number == 3 else 0.1, counter=number)
    found = seen_when(cell.folder, lambda one: answer(one)[0] == "accepting" and one.gate.times["confirmed"].count == 6)
    assert found.gate.counters["triggers"] == 6
    assert found.gate.tables["verdicts"] == {("ACCEPT", "OK", "T2"): 5, ("REJECT", "DEFECT", "T2"): 1}
    assert found.gate.tables["dispositions"] == {("ACCEPT", "ACCEPTED"): 5, ("REJECT", "REJECTED"): 1}
    counts = {name: times.count for name, times in found.gate.times.items()}
    assert counts == {"decided": 6, "durable": 5, "commit": 5, "sent": 6, "judged": 6, "confirmed": 6}
    assert 0 < found.gate.times["decided"].max_ns <= found.gate.times["sent"].max_ns < 10**9
    assert found.gate.counters["heartbeats"] > 0
    assert status_main(["--folder", str(cell.folder)]) == 0
    assert capsys.readouterr().out.startswith("ACCEPTING\n")


def test_a_latch_is_named_first_with_what_to_do(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    cell.daemon.recorder.latch("possible escape: P7 W1")
    found = seen_when(cell.folder, lambda one: [why.reason for why in answer(one)[1]] == ["LATCHED"])
    assert first_line(found) == "NOT ACCEPTING: latched: possible escape: P7 W1"
    assert status_main(["--folder", str(cell.folder)]) == 1
    assert "cordon records acknowledge" in capsys.readouterr().out
    assert status_main(["--folder", str(cell.folder), "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["answer"], shown["why"][0]["reason"], shown["gate"]["latched"]) == (
        "not_accepting",
        "LATCHED",
        ["possible escape: P7 W1"],
    )


def test_a_missing_inspector_and_a_missing_robot_are_both_said(tmp_path: Path) -> None:
    cell = Cell(tmp_path, ready=False)
    cell.inspector.close()
    cell.robot.close()
    found = seen_when(tmp_path, lambda one: [why.reason for why in answer(one)[1]] == ["INSPECTOR_DOWN", "SESSION_LOST"])
    assert first_line(found) == "NOT ACCEPTING: no inspector is connected (and 1 more)"
    cell.robot.close = lambda: None  # type: ignore[method-assign]
    cell.close()


def test_an_inspectors_own_fault_is_said_in_its_words(tmp_path: Path) -> None:
    cell = Cell(tmp_path, ready=False)
    fault = a_state(ready=False, fault_reason=Reason.BUNDLE_FAULT, fault="the bundle was altered", bundle="")
    cell.inspector.say(fault)
    found = seen_when(tmp_path, lambda one: "BUNDLE_FAULT" in [why.reason for why in answer(one)[1]])
    assert "the inspector's fault: the bundle was altered" in page(report(found, {}))
    cell.close()


def test_names_that_nobody_knows_share_one_row(cell: Cell) -> None:
    for number in range(1, 6):
        cell.robot.inspect(f"P{number}", "W1", f"EVIL{number}")
    found = seen_when(cell.folder, lambda one: sum(one.gate.tables.get("verdicts", {}).values()) == 5)
    assert {label[2] for label in found.gate.tables["verdicts"]} == {"other"}


def test_a_gate_that_ended_is_unknown_and_says_when(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    cell.close()
    assert answer(look(tmp_path))[0] == "unknown"
    assert "ended in order at" in first_line(look(tmp_path))
    assert status_main(["--folder", str(tmp_path)]) == 2


def case(sequence: int, reason: str = "OK", **done: object) -> Record:
    """The rows of one trigger, all of them times of its own: decided after 10 ms, sent after 20, confirmed after 5 more."""
    start_ns, name = 1_000_000 * MS, {"session": "s" * 16, "sequence": sequence}
    outcome = "ACCEPT" if reason == "OK" else "REJECT"
    trigger = TriggerRow(**name, part="P", weld="W", typology=None, opened_by="trigger", opened_ns=start_ns)
    about = {"part": "P", "weld": "W", "typology": None, "outcome": outcome, "reason": reason, "detail": ""}
    verdict = VerdictRow(**name, **about, opened_ns=start_ns, decided_ns=start_ns + 10 * MS)
    closing = {"sent": outcome, "sent_reason": reason, "done": "ACCEPTED", "detail": "", "sent_ns": start_ns + 20 * MS}
    disposition = DispositionRow(**name, **{**closing, "closed_ns": start_ns + 25 * MS, **done})
    return Record((trigger, verdict, disposition))


def test_each_end_of_a_trigger_is_counted_as_what_it_was(tmp_path: Path) -> None:
    cell = Cell(tmp_path, ready=False)
    cell.close()
    cell.daemon.recorder = None  # closed
    log = Log("test")
    health = GateHealth(cell.daemon.config, "c" * 64, cell.daemon.session, cell.daemon.recorder, log)
    late_ns = 1_000_000 * MS + int((cell.daemon.config.budget_ms + 1) * MS)
    ends = (
        case(1),
        case(2, "DEFECT", done="REJECTED"),
        case(3, "NO_FRAME", done="TIMEOUT"),
        case(4, sent="REJECT", sent_reason="RECORD_LATE", done="REJECTED"),
        case(5, sent="", sent_reason="", sent_ns=None, done="TIMEOUT"),
        case(6, sent="", sent_reason="", sent_ns=None, done="SESSION_LOST"),
        case(7, "DEADLINE", done="REJECTED", sent_ns=late_ns, closed_ns=late_ns),
        case(8, "BUSY", sent="", sent_reason="", sent_ns=None, done="REFUSED"),
    )
    for record in ends:
        health.did(record)
    found = read(tmp_path / "gate.health")
    assert health.problem == ""
    assert {label[0]: count for label, count in found.tables["misses"].items()} == {
        "NO_FRAME": 1, "RECORD_LATE": 1, "NOT_SENT": 1, "DEADLINE": 1, "SENT_LATE": 1,
    }  # fmt: skip
    counts = {name: times.count for name, times in found.times.items()}
    assert counts == {"decided": 8, "durable": 0, "commit": 0, "sent": 5, "judged": 2, "confirmed": 4}
    assert (found.times["judged"].max_ns, found.times["decided"].max_ns) == (20 * MS, 10 * MS)
    assert found.counters["triggers"] == 8
    health.close()
    log.close()


def test_a_verdict_sent_twice_is_a_resend_and_a_skipped_heartbeat_is_missed(tmp_path: Path) -> None:
    cell = Cell(tmp_path, ready=False)
    cell.close()
    session, log = "s" * 16, Log("test")
    health = GateHealth(cell.daemon.config, "c" * 64, cell.daemon.session, cell.daemon.recorder, log)
    health._known = session
    for _ in range(3):
        health.did(Send(Ack(session=session, sequence=1, outcome=Outcome.ACCEPT, done=Done.ACCEPTED), 1, TriggerId(session, 1)))
    for counter in (10, 11, 14, 14, 65_535, 1):
        health.heard(Heartbeat(session=session, state=State.READY, counter=counter), 1)
    found = look(tmp_path).gate
    assert (found.counters["resends"], found.counters["heartbeats"]) == (2, 6)
    assert found.counters["heartbeats_missed"] == 2 + 255 + 1, "a leap counts for 255 at most"
    health.close()
    log.close()


def test_numbers_that_fail_cost_no_verdict(cell: Cell) -> None:
    del cell.daemon.health._tables["verdicts"]
    result = cell.inspect("P1")
    assert result.accepted
    found = seen_when(cell.folder, lambda one: one.gate.broken)
    assert answer(found)[0] == "unknown"
    assert "keeps no numbers any more" in first_line(found)
    assert "KeyError" in cell.daemon.health.problem


def test_a_folder_without_room_for_the_numbers_costs_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "gate.health").mkdir()
    cell = Cell(tmp_path)
    assert cell.inspect("P1").accepted
    assert "no numbers can be read" in cell.daemon.health.problem
    cell.close()


def test_readers_know_every_word_the_gate_writes(cell: Cell) -> None:
    state = msgspec.json.decode(msgspec.json.encode(cell.daemon.health._state(time.monotonic_ns())))
    assert set(state) == set(GateState.__struct_fields__)
    assert set(state["store"]) == set(Store.__struct_fields__)
    assert set(InspectorSaid.__struct_fields__) <= set(state["inspector"])


def test_no_recipe_is_an_objection_of_its_own() -> None:
    driven = Driven(recipes=[a_recipe()]).ready()
    facts = driven.session.standing(driven.now)
    assert driven.session.recipe == ""
    assert [one["reason"] for one in objections(facts, without_recipe=True)] == ["RECIPE"]
    assert objections(facts, without_recipe=False) == []


def test_what_rests_on_a_missing_inspector_is_not_told_as_an_error_of_the_program() -> None:
    driven = Driven()
    found = objections(driven.session.standing(driven.now), without_recipe=False)
    assert [one["reason"] for one in found] == ["SESSION_LOST", "INSPECTOR_DOWN"]
    assert all(set(one) == set(Objection.__struct_fields__) for one in found)


def test_each_condition_has_its_objection_when_it_fails_alone() -> None:
    facts = Driven().ready().session.standing(0)
    assert objections(facts, without_recipe=False) == []
    broken = {"store_healthy": False, "latched": ("x",), "inspector_alive": False, "pinned": "a" * 64, "inspector": a_state(version=1)}
    for name, value in broken.items():
        (one,) = objections(msgspec.structs.replace(facts, **{name: value}), without_recipe=False)
        assert one["name"] in {condition.name for condition in BEFORE_FRAME}
        assert one["reason"] in REMEDIES
