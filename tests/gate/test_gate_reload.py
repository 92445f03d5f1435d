"""The configuration edited while a real gate runs: real files, a robot on a pseudo-terminal, an inspector on the real socket."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from gate_kit import FakeInspector, a_state, write_config

from edge.config import read_config
from edge.contract import Outcome
from edge.errors import ConfigError
from edge.gate import reload
from edge.gate.audit import read_part
from edge.gate.challenge import Passed, rule_of
from edge.gate.daemon import GateDaemon
from edge.gate.machine import boot_id
from edge.gate.messages import Hello, Refusal, Trigger
from edge.gate.parts import Parts
from edge.gate.recipe import Recipe, Weld, load_recipes
from edge.health.look import look
from sim.robot import Robot

RECIPES = '[[recipe]]\nname = "R1"\nweld = [{{ name = "W1", typology = "{typology}" }}]\n'


class Cell:
    def __init__(self, folder: Path, **gate: object) -> None:
        self.folder = folder
        self.robot = Robot(link=folder / "robot", budget_ms=3_000, missed_heartbeats=20)
        self.path = write_config(folder, budget_ms=1_000.0, missed_heartbeats=20, **gate)
        self.daemon = GateDaemon(*read_config(self.path), self.path)
        self.hash = self.daemon._reload.running.hash
        self.thread = threading.Thread(target=self.daemon.run, daemon=True)
        self.thread.start()
        self.robot.start()
        self.inspector = FakeInspector(folder / "gate.sock", self.hash)
        self.inspector.socket.settimeout(10)
        self.beating = self.plugged = True
        self.beats = threading.Thread(target=self._beat, daemon=True)
        self.beats.start()
        assert self.robot.wait_ready(20)

    def _beat(self) -> None:
        while self.beating:
            with contextlib.suppress(OSError):  # the gate has ended
                self.inspector.say(a_state())
            time.sleep(0.05)

    def edit(self, old: str, new: str) -> str:
        """Change the file and ask for it; returns its hash."""
        self.path.write_text(self.path.read_text().replace(old, new, 1))
        self.daemon.reload()
        return read_config(self.path)[1]

    def wait(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.005)

    def rules(self) -> str:
        return self.daemon._reload.running.hash

    def inspect(self, part: str = "P1") -> str:
        """One weld that the inspector finds good; the robot's verdict."""
        answering = threading.Thread(daemon=True, target=lambda: self.inspector.answer(self.inspector.expect()))
        answering.start()
        result = self.robot.inspect(part, "W1", "T2")
        if result.accepted:
            answering.join(10)
        return f"{result.outcome.value if result.outcome else None} {result.reason}"

    def told(self) -> list[str]:
        """What the records say of the configuration, oldest first."""
        with contextlib.closing(sqlite3.connect(self.folder / "records.db")) as records:
            return [detail for (detail,) in records.execute("SELECT detail FROM events WHERE kind = 'config' ORDER BY id")]

    def close(self) -> None:
        self.beating = False
        self.beats.join(10)
        if self.thread.is_alive():
            self.daemon.stop()
            self.thread.join(20)
        if self.plugged:
            self.robot.close()
        self.inspector.close()


def noted(folder: Path) -> str:
    """What `cordon status` says of a reload that did not come to anything."""
    state = look(folder).gate_state
    return "" if state is None else state.reload


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    made = Cell(tmp_path, latch_noise=100)
    yield made
    made.close()


def test_a_safe_change_rules_without_a_restart_and_the_records_say_from_which_verdict_on(cell: Cell) -> None:
    assert cell.inspect("P1") == "ACCEPT OK"
    new = cell.edit("latch_noise = 100", "latch_noise = 50")
    cell.wait(lambda: cell.rules() == new)
    cell.inspector.config = new
    assert cell.inspect("P2") == "ACCEPT OK"
    assert (cell.daemon.session.settings.latch_noise, cell.daemon.session._latches.noise_limit) == (50, 50)
    cell.wait(lambda: len(cell.told()) == 1)
    assert [row["verdict.config"] for part in ("P1", "P2") for row in read_part(cell.folder / "records.db", part)] == [cell.hash, new]
    assert cell.told() == [f"{new} rules instead of {cell.hash}: gate.latch_noise 100 -> 50"]
    assert noted(cell.folder) == ""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("latch_noise = 100", "latch_noise = -1", "line 7: gate.latch_noise is not usable"),
        ("latch_noise = 100", "latch_noise =", "line 7: not valid TOML"),
        ("budget_ms = 1000.0", "budget_ms = 900.0", "gate.budget_ms 1000.0 -> 900.0"),
        ("[inspector]", "[inspector]\nthreads = 3", "inspector.threads 2 -> 3"),
    ],
)
def test_a_file_that_is_refused_changes_nothing_and_the_records_say_why(cell: Cell, old: str, new: str, told: str) -> None:
    cell.path.write_text(cell.path.read_text().replace(old, new, 1))
    cell.daemon.reload()
    cell.wait(lambda: len(cell.told()) == 1)
    assert told in cell.told()[0]
    assert cell.told()[0].startswith(f"refused, {cell.hash[:12]} rules on: ")
    cell.wait(lambda: noted(cell.folder) == cell.told()[0][:300])
    assert cell.rules() == cell.hash
    assert cell.inspect() == "ACCEPT OK"


def test_nothing_changes_while_a_trigger_is_open(cell: Cell) -> None:
    results: list[str] = []
    robot = threading.Thread(target=lambda: results.append(str(cell.robot.inspect("P1", "W1", "T2").reason)))
    robot.start()
    expect = cell.inspector.expect()
    new = cell.edit("latch_noise = 100", "latch_noise = 50")
    cell.wait(lambda: cell.daemon._reload._pending is not None)
    time.sleep(0.05)
    assert cell.rules() == cell.hash
    # The inspector may be quicker: by then the gate has read the file too, and the trigger is not lost.
    cell.inspector.config = new
    cell.inspector.say(a_state())
    cell.inspector.answer(expect)
    robot.join(20)
    assert results == ["OK"]
    cell.wait(lambda: cell.rules() == new)
    (row,) = read_part(cell.folder / "records.db", "P1")
    assert row["verdict.config"] == cell.hash


@contextlib.contextmanager
def silent(path: Path) -> Iterator[GateDaemon]:
    """A gate that takes its steps when the test says so, and a line on which nobody speaks."""
    line, robot = os.openpty()
    (path.parent / "robot").symlink_to(os.ttyname(robot))
    gate = GateDaemon(*read_config(path), path)
    try:
        yield gate
    finally:
        gate.close()
        os.close(line)
        os.close(robot)


def open_trigger(gate: GateDaemon) -> str:
    """A trigger waits for its frame; returns the hash of the configuration that rules."""
    session, now_ns, (digest,) = gate.session, time.monotonic_ns(), gate.session.configs
    session.inspector_up(now_ns)
    session.told(a_state(config=digest), now_ns)
    session.received(Hello(nonce="aaaaaaaa"), now_ns)
    session.received(Trigger(session=session.session, sequence=1, part="P1", weld="W1", typology="T2"), now_ns)
    gate._act()
    assert not session.idle
    return digest


def test_a_trigger_that_ended_in_the_very_step_of_the_change_is_recorded_under_what_ruled_until_then(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    with silent(path) as gate:
        digest = open_trigger(gate)
        gate._reload._result = reload.Running(gate._reload.running.config, "f" * 64, None)
        gate.session._robot_ns -= 10 * reload.BOTH_NS
        gate.step(0)
        assert gate.session.session is None
        assert gate._reload.running.hash == "f" * 64
    (row,) = read_part(tmp_path / "records.db", "P1")
    assert (row["verdict.outcome"], row["verdict.reason"]) == ("NO_VERDICT", "SESSION_LOST")
    assert row["verdict.config"] == digest


def test_a_file_that_is_refused_takes_back_the_one_that_waited(tmp_path: Path) -> None:
    path = write_config(tmp_path, budget_ms=20_000.0, missed_heartbeats=20)
    with silent(path) as gate:
        digest = open_trigger(gate)
        gate._reload._result = reload.Running(gate._reload.running.config, "f" * 64, None)
        gate.step(0)
        assert gate.session.configs == (digest, "f" * 64)
        gate._reload._result = "the disk is gone"
        gate.step(0)
        assert gate.session.configs == (digest,)
        gate.session._robot_ns -= 10 * reload.BOTH_NS
        gate.step(0)
        assert gate.session.idle
        gate.step(0)
        assert gate._reload.running.hash == digest


def with_challenge(folder: Path) -> tuple[Path, Path]:
    """The configuration and the file of recipes of a cell with challenge parts."""
    (book := folder / "recipe.toml").write_text(RECIPES.format(typology="T2"))
    path = write_config(folder, recipes=book, recipe="R1")
    parts = [f'[[gate.challenge.part]]\nname = "{name}"\nweld = "W1"\nexpect = "{name}"\n' for name in ("good", "bad")]
    path.write_text("\n".join([path.read_text(), *parts]))
    return path, book


def test_a_challenge_that_was_kept_counts_until_its_recipe_is_edited(tmp_path: Path) -> None:
    path, book = with_challenge(tmp_path)
    gate, recipe = read_config(path)[0].gate, load_recipes(book).recipes["R1"]
    assert gate.challenge is not None
    rule, now_ns = rule_of(gate.challenge, recipe), time.monotonic_ns()
    kept = Passed(boot=boot_id(), at_ns=now_ns, wall_ns=time.time_ns(), bundle="b" * 64, recipe="R1", rule=rule, welds=2)
    (tmp_path / "records.db.challenge").write_bytes(msgspec.json.encode(kept))
    with silent(path) as daemon:
        status = daemon.session.challenge(time.monotonic_ns())
        assert status is not None
        assert (status.accepting, status.bundle) == (True, "b" * 64)
        book.write_text(RECIPES.format(typology="T3"))
        daemon.reload()
        until = time.monotonic() + 20
        while daemon.session.challenge(time.monotonic_ns()).accepting:
            assert time.monotonic() < until
            daemon.step(0.01)
    assert not (tmp_path / "records.db.challenge").exists()


def test_recipes_that_no_challenge_fits_are_refused(tmp_path: Path) -> None:
    path, book = with_challenge(tmp_path)
    with silent(path) as gate:
        assert gate._reload._fresh() == gate._reload.running
        book.write_text(book.read_text().replace("W1", "W2"))
        with pytest.raises(ConfigError, match="recipe R1 has no weld W1"):
            gate._reload._fresh()


def test_an_inspector_on_another_file_is_not_accepted_from(cell: Cell) -> None:
    cell.inspector.config = "d" * 64
    cell.inspector.say(a_state())
    cell.wait(lambda: cell.robot.inspect("P1", "W1", "T2").outcome is not None)
    cell.wait(lambda: bool(read_part(cell.folder / "records.db", "P1")))
    row = read_part(cell.folder / "records.db", "P1")[0]
    assert (row["verdict.outcome"], row["verdict.reason"]) == ("REJECT", "NOT_READY")
    assert "the inspector's is dddddddddddd" in row["verdict.detail"]


def test_what_the_inspector_was_restarted_for_the_gate_takes_by_a_reload(cell: Cell) -> None:
    cell.path.write_text(cell.path.read_text().replace("[inspector]", "[inspector]\nthreads = 3"))
    cell.inspector.config = new = read_config(cell.path)[1]
    cell.inspector.say(a_state())
    cell.wait(lambda: (state := cell.daemon.session.inspector) is not None and state.config == new)
    cell.daemon.reload()
    cell.wait(lambda: cell.rules() == new)
    assert cell.robot.wait_ready(20)
    assert cell.inspect() == "ACCEPT OK"
    assert cell.told()[0].endswith("inspector.threads 2 -> 3")


def test_an_inspector_that_keeps_the_old_file_is_given_some_seconds(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "BOTH_NS", 300_000_000)
    new = cell.edit("latch_noise = 100", "latch_noise = 50")
    cell.wait(lambda: cell.rules() == new)
    assert cell.daemon.session.configs == (new, cell.hash)
    cell.wait(lambda: cell.daemon.session.configs == (new,))


def test_asked_many_times_the_last_file_rules(cell: Cell) -> None:
    for limit in range(20, 30):
        new = cell.edit("latch_noise = 1" if limit == 20 else f"latch_noise = {limit - 1}", f"latch_noise = {limit}")
        os.sched_yield()
    cell.wait(lambda: cell.rules() == new)
    assert cell.daemon.session.settings.latch_noise in (29, 2900)


def test_the_gate_ends_in_the_middle_of_it(cell: Cell) -> None:
    cell.edit("latch_noise = 100", "latch_noise = 50")
    cell.daemon.stop()
    cell.thread.join(20)
    assert not cell.thread.is_alive()


def test_it_works_while_the_port_is_gone(cell: Cell) -> None:
    cell.robot.close()
    cell.plugged = False
    cell.wait(lambda: cell.daemon.robot.link is None)
    new = cell.edit("latch_noise = 100", "latch_noise = 50")
    cell.wait(lambda: cell.rules() == new)


def test_other_recipes_wait_until_no_part_is_open_and_then_rule(tmp_path: Path) -> None:
    book = tmp_path / "recipe.toml"
    book.write_text(RECIPES.format(typology="T2"))
    cell = Cell(tmp_path, recipes=book, recipe="R1")
    try:
        assert cell.inspect("P1") == "ACCEPT OK"
        book.write_text(RECIPES.format(typology="T3"))
        cell.daemon.reload()
        cell.wait(lambda: len(cell.told()) == 1)
        assert "waits: the recipes change, and parts are open: P1" in cell.told()[0]
        assert cell.daemon.session._parts.recipe.typology("W1") == "T2"
        assert cell.robot.finish_part("P1", "R1").outcome is Outcome.ACCEPT
        cell.wait(lambda: cell.daemon.session._parts.recipe.typology("W1") == "T3")
        assert cell.robot.inspect("P2", "W1", "T2").reason == "TYPOLOGY_DIFFERS"
    finally:
        cell.close()


def test_a_recipe_that_is_gone_is_active_no_more_and_a_new_one_can_be_chosen() -> None:
    first, second = (Recipe(name=name, weld=(Weld(name="W1", typology="T2"),)) for name in ("R1", "R2"))
    parts = Parts({"R1": first}, "R1")
    parts.replace({"R1": first, "R2": second}, "R2")
    assert parts.active == "R1"
    parts.replace({"R2": second}, "R2")
    assert parts.active == ""
    assert parts.change_over("R1") is Refusal.RECIPE
    assert parts.change_over("R2") is None
    parts.replace({"R1": first, "R2": second}, "R1")
    parts.forget()
    assert parts.active == "R1"


def test_recipes_that_are_refused_leave_those_that_rule(tmp_path: Path) -> None:
    book = tmp_path / "recipe.toml"
    book.write_text(RECIPES.format(typology="T2"))
    cell = Cell(tmp_path, recipes=book, recipe="R1")
    try:
        book.write_text(RECIPES.format(typology="").replace("R1", "R2"))
        cell.daemon.reload()
        cell.wait(lambda: len(cell.told()) == 1)
        assert "line 3: recipe.weld.typology" in cell.told()[0]
        assert cell.inspect() == "ACCEPT OK"
    finally:
        cell.close()


def test_the_command_rereads_its_file_on_sighup(tmp_path: Path) -> None:
    with Robot(link=tmp_path / "robot", budget_ms=3_000, missed_heartbeats=20) as robot:
        path = write_config(tmp_path, missed_heartbeats=20, latch_noise=100)
        gate = subprocess.Popen([sys.executable, "-m", "edge", "run", "gate", "--config", str(path)], stderr=subprocess.PIPE, text=True)
        assert robot.wait_session(20)
        path.write_text(path.read_text().replace("latch_noise = 100", "latch_noise = 50"))
        gate.send_signal(signal.SIGHUP)
        assert gate.stderr is not None
        assert any("gate.latch_noise 100 -> 50" in line for line in gate.stderr)
        gate.terminate()
        _, log = gate.communicate(timeout=20)
    assert gate.returncode == 0
    assert "stopped, all records written" in log
