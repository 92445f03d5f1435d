"""The whole line as it runs in a cell: gate, inspector, camera and robot as processes, on real sockets and a real pseudo-terminal."""

import signal
from collections.abc import Iterator

import pytest
from line_kit import BUDGET_MS, Cell, make_cell

pytestmark = pytest.mark.slow


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Iterator[Cell]:
    options = getattr(request, "param", {})
    with make_cell(options.get("count", 24), named=options.get("named", True), inspector=options.get("inspector", "")) as made:
        yield made


def _as_expected(cell: Cell) -> list[bool]:
    return [result["accepted"] == (number % 2 == 0) for number, result in enumerate(cell.results)]


def test_every_weld_gets_its_verdict_in_time_and_its_record(cell: Cell) -> None:
    cell.start()
    results = cell.run()
    assert len(results) == cell.count
    assert all(_as_expected(cell))
    assert max(float(str(result["latency_ms"])) for result in results) <= BUDGET_MS
    cell.check_accounting()
    assert cell.records("SELECT count(*) FROM verdicts WHERE outcome = 'ACCEPT'") == [(cell.count // 2,)]


@pytest.mark.parametrize("cell", [{"named": False}, {"inspector": 'engines = "all"'}], indirect=True, ids=["unnamed", "all engines"])
def test_the_router_names_the_typology_or_agrees_with_the_name(cell: Cell) -> None:
    cell.start()
    cell.run()
    assert all(_as_expected(cell))
    assert cell.records("SELECT DISTINCT typology FROM verdicts ORDER BY 1") == [("T2",), ("T5",)]


@pytest.mark.parametrize("cell", [{"count": 240}], indirect=True)
def test_a_killed_inspector_costs_rejects_inside_the_budget_and_comes_back(cell: Cell) -> None:
    cell.start(robot=("--interval-ms", "20"))
    kills = [20, 60]

    def kill(done: int) -> None:
        if kills and done >= kills[0]:
            kills.pop(0)
            cell.line.children["inspector"].process.send_signal(signal.SIGKILL)

    results = cell.run(kill)
    assert cell.line.children["inspector"].restarts == 2
    assert not cell.escapes()
    lost = [result for number, result in enumerate(results) if number % 2 == 0 and not result["accepted"]]
    assert lost
    assert {result["reason"] for result in lost} <= {"INSPECTOR_DOWN", "NOT_READY"}
    assert max(float(str(result["latency_ms"])) for result in results) <= BUDGET_MS
    assert results[-2]["accepted"]
    cell.check_accounting()


@pytest.mark.parametrize("cell", [{"count": 100}], indirect=True)
def test_a_killed_gate_makes_the_robot_reject_and_leaves_no_trigger_without_record(cell: Cell) -> None:
    cell.start(robot=("--interval-ms", "20"))
    killed = False

    def kill(done: int) -> None:
        nonlocal killed
        if done >= 20 and not killed:
            killed = True
            cell.line.children["gate"].process.send_signal(signal.SIGKILL)

    results = cell.run(kill)
    assert cell.line.children["gate"].restarts >= 1
    assert not cell.escapes()
    assert len(results) == cell.count
    assert results[-2]["accepted"]
    cell.check_accounting()


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        ("nan", {"FRAME_NONFINITE"}),
        ("truncate", {"FRAME_SIZE"}),
        ("crc", {"FRAME_CRC"}),
        ("duplicate", {"OK", "DEFECT", "FRAME_DUPLICATE"}),
        ("frozen", {"FRAME_FROZEN"}),
        ("skip", {"NO_FRAME"}),
        ("late", {"NO_FRAME"}),
        ("wrong-typology", {"TYPOLOGY_UNKNOWN", "TYPOLOGY_DIFFERS"}),
    ],
)
@pytest.mark.parametrize("cell", [{"count": 12}], indirect=True)
def test_a_faulty_camera_gets_a_named_reason_and_never_an_escape(cell: Cell, fault: str, reasons: set[str]) -> None:
    cell.start("--fault", fault, "--every", "3")
    results = cell.run()
    assert len(results) == cell.count
    assert not cell.escapes()
    assert {str(result["reason"]) for result in results} & reasons, results
    cell.check_accounting()


def test_an_altered_bundle_means_reject_with_that_reason(cell: Cell) -> None:
    data = bytearray(cell.line.spec.bundle.read_bytes())
    data[-1] ^= 1
    cell.line.spec.bundle.write_bytes(data)
    cell.start(robot=("--wait-s", "3"))
    robot, inspector = cell.line.children["robot"], cell.line.children["inspector"]
    cell.line.wait(lambda: not robot.running or inspector.restarts > 1, inspector, seconds=30, what="the inspector's refusals")
    assert "was altered" in inspector.tail()
    assert cell.records("SELECT count(*) FROM events WHERE kind = 'inspector' AND reason = 'BUNDLE_FAULT'")[0] > (0,)
