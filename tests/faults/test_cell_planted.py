import random
import sys
from pathlib import Path

import pytest

from edge.contract import Outcome
from edge.gate.messages import Verdict
from faults.cell import cable_faults, peer_faults
from faults.cell.books import Books, Findings, audit
from faults.cell.cell import QUICK_TIMES, Cell
from faults.cell.wire import Late
from sim.robot_protocol import RobotResult

PLANTED = str(Path(__file__).with_name("planted_gate.py"))


def a_cell(folder: Path, defect: str) -> Cell:
    return Cell(folder, {"latch_noise": 0, **QUICK_TIMES}, command=(sys.executable, PLANTED, defect))


def found_after_kill(cell: Cell) -> Findings:
    """The gate is killed as soon as the robot has read its verdict."""
    cell.cycle(bad=False)
    cell.restart_gate()
    cell.make_ready()
    return cell.finish()


def test_a_gate_that_sends_before_it_records_is_found_out(tmp_path: Path) -> None:
    with a_cell(tmp_path / "c", "record_after_send") as cell:
        found = found_after_kill(cell)
    assert any("the robot read ACCEPT, there is no row" in text for text in found.lost)


def test_the_same_faults_find_nothing_in_the_real_gate(tmp_path: Path) -> None:
    with Cell(tmp_path / "c", QUICK_TIMES) as cell:
        found = found_after_kill(cell)
    assert found.result(1).passed, found


def test_a_gate_that_takes_the_newest_frame_is_found_out(tmp_path: Path) -> None:
    with a_cell(tmp_path / "c", "newest_frame") as cell:
        cell.cycle(bad=False)
        result = cell.cycle(bad=True, how="o")
        found = cell.finish()
    assert result is not None
    assert result.accepted
    assert any("the robot let P1 B2.o pass" in text for text in found.false_accepts)


def test_a_gate_that_resends_for_ever_is_found_out(tmp_path: Path) -> None:
    with a_cell(tmp_path / "c", "resends_for_ever") as cell:
        cell.relay.to_gate = peer_faults._losing(1_000)
        opened_ns = cell.robot.protocol._beat_ns
        cell.cycle(bad=True)
        cell.robot.pump_for(0.4)
        copies = [(line, now_ns) for line, now_ns in cell.relay.said_ns if line.startswith(b"$GV")]
    latest_ns = opened_ns + 60_000_000 + peer_faults.RESEND_SLACK_NS
    assert any("after the budget" in text for text in peer_faults._judge_copies(copies, latest_ns))
    other = [*copies, (copies[0][0].replace(b"DEFECT", b"DEFEKT"), copies[0][1])]
    assert any("resends differ" in text for text in peer_faults._judge_copies(other, latest_ns))


def test_a_gate_that_ignores_the_checksum_is_found_out(tmp_path: Path) -> None:
    dice = random.Random(1)

    def another_weld(frame: bytes) -> list[Late]:
        return [(0.0, frame.replace(b",B", b",G") if frame.startswith(b"$RT,") else frame)]

    with a_cell(tmp_path / "c", "no_crc") as cell:
        cell.relay.to_gate = another_weld
        cell.cycle(bad=True)
        cell.relay.to_gate = lambda frame: [(0.0, cable_faults.flipped(frame, dice, 1))]
        cell.robot.pump_for(0.1)
        found = cell.finish()
    assert any("asked for P1 B1, the record has P1 G1" in text for text in found.failures)


SESSION = "0123456789abcdef"


def a_result(**changes: object) -> RobotResult:
    values = {"part": "P1", "weld": "G1", "session": SESSION, "sequence": 1, "outcome": Outcome.ACCEPT, "reason": "OK"}
    values |= {"accepted": True, "trigger_ns": 1, "verdict_ns": 2}
    return RobotResult(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Books]:
    """Records and books of a cell that accepted one good weld and rejected a bad one."""
    folder = tmp_path_factory.mktemp("q") / "c"
    with Cell(folder, QUICK_TIMES) as cell:
        cell.cycle(bad=False)
        cell.cycle(bad=True)
        assert cell.finish().result(1).passed
    return folder / "records.db", cell.books


def test_books_that_say_otherwise_are_not_believed(quiet: tuple[Path, Books]) -> None:
    records, honest = quiet
    session = honest.results[0].session
    bad = Books(asked=dict(honest.asked), results=[a_result(session=session, sequence=2, weld="B2")])
    assert audit(records, bad, 10**9).false_accepts
    twice = Books(asked=dict(honest.asked), results=honest.results[:1] * 2)
    assert audit(records, twice, 10**9).false_accepts
    lost = Books(asked=dict(honest.asked), durable={(session, 9)})
    assert audit(records, lost, 10**9).lost
    other = Books(asked=dict(honest.asked), read={(session, 1): Outcome.REJECT})
    assert audit(records, other, 10**9).lost
    assert audit(records, honest, 1).false_accepts, "an ACCEPT 1 ns after the trigger would be late"


def test_two_different_verdicts_for_one_trigger_are_a_false_accept(quiet: tuple[Path, Books]) -> None:
    records, honest = quiet
    books = Books(asked=dict(honest.asked))
    for outcome in (Outcome.REJECT, Outcome.ACCEPT):
        books.note(Verdict(session=SESSION, sequence=1, part="P1", weld="G1", outcome=outcome, reason="OK"))  # type: ignore[arg-type]
    assert any("two different verdicts" in text for text in audit(records, books, 10**9).false_accepts)
