"""The robot's command against a real gate; the inspector's end answers the capture requests."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from gate_kit import FakeInspector, a_config, a_state

from edge.contract import Expect, TriggerId
from edge.errors import SimulationError
from edge.gate.audit import read_part, verify_chain
from edge.gate.daemon import GateDaemon
from sim.robot_command import main
from sim.robot_line import PtyLine


class Answering:
    """Camera and inspector in one: each capture request becomes a report; weld W2 is bad."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[dict[str, object]] = []
        self._closing = False
        self._context = zmq.Context()
        self._requests = self._context.socket(zmq.PULL)
        self._requests.bind(f"ipc://{folder}/capture")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        inspector = FakeInspector(self.folder / "gate.sock")
        # The gate may end first.
        with contextlib.suppress(OSError):
            self._answer(inspector)
        inspector.close()

    def _answer(self, inspector: FakeInspector) -> None:
        said_s = 0.0
        while not self._closing:
            if time.monotonic() - said_s > 0.05:
                inspector.say(a_state())
                said_s = time.monotonic()
            if self._requests.poll(20):
                request = json.loads(self._requests.recv())
                self.asked.append(request)
                trigger = TriggerId(request["session"], request["sequence"]) if request["session"] else None
                expect = Expect(trigger, request["part"], request["weld"], request["typology"] or "T2")  # type: ignore[arg-type]
                inspector.answer(expect, counter=len(self.asked), score=0.9 if request["weld"] == "W2" else 0.1)

    def close(self) -> None:
        self._closing = True
        self._thread.join(10)
        self._requests.close()
        self._context.term()


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Answering]:
    made = Answering(tmp_path)
    yield made
    made.close()


def _work(folder: Path, profile: str, *arguments: str, **gate_keys: object) -> int:
    """The robot opens its terminal, the gate follows a moment later, as in a line."""
    gate: list[GateDaemon] = []

    def start() -> None:
        while not (folder / "robot").exists():
            time.sleep(0.01)
        gate.append(GateDaemon(a_config(folder, profile=profile, budget_ms=1_000.0, missed_heartbeats=20, **gate_keys), "c" * 64))
        gate[0].run()

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    try:
        own = ("--link", str(folder / "robot"), "--capture", f"ipc://{folder}/capture", "--profile", profile, "--budget-ms", "3000")
        return main([*own, *arguments])
    finally:
        gate[0].stop()
        thread.join(10)


@pytest.mark.parametrize("profile", ["handshake", "push"])
def test_a_list_of_welds_is_worked_through_and_told(
    tmp_path: Path, answering: Answering, profile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "welds.csv").write_text("part,weld,typology,truth,file\nP1,W1,T2,good,a\nP1,W2,T2,bad,b\nP2,W3,T3,good,c\n")
    if profile == "push":
        time.sleep(0.2)
    files = ("--welds", str(tmp_path / "welds.csv"), "--results", str(tmp_path / "r.jsonl"))
    assert _work(tmp_path, profile, *files, "--interval-ms", "20" if profile == "handshake" else "300") == 0
    results = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    if profile == "push" and results[0]["outcome"] is None:
        results = results[1:]
    told = {(r["part"], r["weld"]): (r["outcome"], r["accepted"], r["truth"]) for r in results}
    assert told[("P1", "W2")] == ("REJECT", False, "bad")
    assert told[("P2", "W3")] == ("ACCEPT", True, "good")
    assert all(r["latency_ms"] < 3_000 for r in results)
    assert answering.asked[-1]["part"] == "P2"
    assert (answering.asked[-1]["session"] is None) == (profile == "push")
    assert "3 welds" in capsys.readouterr().out
    assert verify_chain(tmp_path / "records.db").rows > 6


RECIPES = """
[[recipe]]
name = "R1"
weld = [{ name = "W1", typology = "T2" }, { name = "W2", typology = "T2" }]
[[recipe]]
name = "R2"
weld = [{ name = "W1", typology = "T2" }]
"""


@pytest.mark.parametrize(("recipe", "parts"), [("R1", {"P1": False, "P2": False}), ("R2", {"P1": False, "P2": True})])
def test_parts_are_judged_as_their_recipe_says(
    tmp_path: Path, answering: Answering, recipe: str, parts: dict[str, bool], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPES)
    (tmp_path / "welds.csv").write_text("part,weld,typology\nP1,W1,\nP1,W2,\nP2,W1,\n" if recipe == "R1" else "part,weld\nP1,W2\nP2,W1\n")
    files = ("--welds", str(tmp_path / "welds.csv"), "--results", str(tmp_path / "r.jsonl"), "--recipe", recipe)
    assert _work(tmp_path, "handshake", *files, recipes=tmp_path / "recipe.toml") == 0
    results = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert {r["part"]: r["accepted"] for r in results if not r["weld"]} == parts
    assert answering.asked
    assert "2 parts, 2 answered" in capsys.readouterr().out
    assert verify_chain(tmp_path / "records.db").rows > 6
    rows = {row["weld"]: row for row in read_part(tmp_path / "records.db", "P2")}
    assert (rows[""]["opened_by"], rows[""]["recipe"], rows["W1"]["recipe"]) == ("part", recipe, recipe)
    assert rows[""]["verdict.reason"] == ("OK" if parts["P2"] else "WELDS_MISSING")
    assert rows[""]["disposition.done"] == ("ACCEPTED" if parts["P2"] else "REJECTED")


def test_a_robot_that_knows_no_parts_does_not_work_with_a_gate_that_has_recipes(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPES)
    with pytest.raises(SimulationError, match="hello refused: VERSION"):
        _work(tmp_path, "handshake", "--wait-s", "1", recipes=tmp_path / "recipe.toml")


def test_a_robot_without_a_crc_works_with_the_degraded_framing_and_every_record_says_so(tmp_path: Path, answering: Answering) -> None:
    files = ("--count", "2", "--results", str(tmp_path / "r.jsonl"), "--framing", "twice")
    assert _work(tmp_path, "handshake", *files, framing="twice") == 0
    results = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [(r["weld"], r["accepted"]) for r in results] == [("W1", True), ("W2", False)]
    assert answering.asked
    assert {row["verdict.link"] for row in read_part(tmp_path / "records.db", "P0001")} == {"handshake-degraded"}


def test_a_robot_with_a_shorter_deadline_than_the_gate_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="hello refused: DEADLINE"):
        _work(tmp_path, "handshake", "--budget-ms", "900", "--wait-s", "1")


def test_the_terminal_is_free_again_after_the_gate(tmp_path: Path) -> None:
    line = PtyLine(tmp_path / "robot")
    for _ in range(2):
        daemon = GateDaemon(a_config(tmp_path), "c" * 64)
        assert daemon.robot.link is not None
        daemon.close()
    line.close()
