"""The acceptance of a robot program on a line that takes time: the real robot at --serial, or the simulated one on a pseudo-terminal."""

import os
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from equipment_kit import Equipment

from sim.acceptance.person import Person
from sim.acceptance.played_gate import PlayedGate
from sim.acceptance.robot_command import main
from sim.robot import Robot
from sim.robot_line import DeviceLine

pytestmark = pytest.mark.slow
ON_A_PSEUDO_TERMINAL = (
    *(
        "its hello",
        "session",
        "heartbeats",
        "accepts ACCEPT",
        "rejects",
        "questions",
        "in LF",
        "noise",
        "another weld",
        "end of the budget",
    ),
    *("no verdict", "late", "repeated", "refused: BUSY", "falls silent", "says hello", "another version", "works again", "nonces", "whole"),
)
"""What hangs on real time, and a few of the wrong answers: tests/sim goes through every one of them."""
BUDGET_MS, DEADLINE_MS, PAUSE_S = 60.0, 90.0, 0.03


class Working:
    """A simulated robot that asks about weld after weld, on its own pseudo-terminal or on a real port."""

    def __init__(self, folder: Path, port: str, baudrate: int) -> None:
        self.link = folder / "robot"
        self._robot = Robot(link=None if port else self.link, port=port or None, baudrate=baudrate, budget_ms=DEADLINE_MS)
        self._closing = False
        self._thread = threading.Thread(target=self._run)
        self._robot.start()
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._closing:
            if self._robot.wait_session(0.1):
                number += 1
                self._robot.inspect(f"P{number // 4}", f"W{number % 4}", "T2")
                time.sleep(PAUSE_S)

    def close(self) -> None:
        self._closing = True
        self._thread.join(10)
        self._robot.close()


@pytest.fixture
def robot_at(tmp_path: Path, equipment: Equipment) -> Iterator[str]:
    """The port where a robot program is at work."""
    if equipment.serial and equipment.robot:
        yield equipment.serial
        return
    simulated = Working(tmp_path, equipment.robot_port if equipment.serial else "", equipment.baudrate)
    yield equipment.serial or str(simulated.link)
    simulated.close()


@pytest.mark.timeout(3_600)
def test_the_robot_program_keeps_every_rule(
    robot_at: str, tmp_path: Path, equipment: Equipment, capsys: pytest.CaptureFixture[str]
) -> None:
    real = bool(equipment.serial and equipment.robot)
    papers = equipment.papers or tmp_path
    options = ["--port", robot_at, "--baudrate", str(equipment.baudrate), "--parity", equipment.parity]
    options += ["--recipe", equipment.recipe] if equipment.recipe else []
    options += [] if real else ["--budget-ms", str(BUDGET_MS), "--wait-s", "5"]
    options += [] if real or equipment.serial else [f"--only={text}" for text in ON_A_PSEUDO_TERMINAL]
    options += ["--watch"] * (real and equipment.watch) + ["--by-hand"] * (real and equipment.by_hand)
    with capsys.disabled() if real else nullcontext():
        status = main([*options, "--report", str(papers / "robot.md"), "--report", str(papers / "robot.xml")])
    page = (papers / "robot.md").read_text()
    assert status == 0, page
    suite = ET.parse(papers / "robot.xml").getroot()  # noqa: S314 - our own file
    assert int(suite.get("tests", "0")) > (65 if real else 22)
    assert suite.get("failures") == "0"
    assert "| signature |" in page
    assert "$RH," in page


@pytest.fixture
def quiet_port() -> Iterator[str]:
    """A line at whose other end nobody speaks."""
    master, slave = os.openpty()
    tty.setraw(slave)
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_a_silent_robot_is_told_from_a_wrong_option(quiet_port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", quiet_port, "--wait-s", "0.2"]) == 1
    assert "check wiring" in capsys.readouterr().out
    assert main([]) == 2
    assert "neither --config nor --port" in capsys.readouterr().err
    assert main(["--port", "/dev/no-such-port"]) == 1
    assert "No such file" in capsys.readouterr().out


def test_a_person_is_asked_and_only_a_clear_answer_counts(quiet_port: str) -> None:
    answers = iter(["y\n", "n\n", "\n", "\n", "s\n"])
    line = DeviceLine(quiet_port, 115_200)
    person = Person(PlayedGate(line), answers.__next__)
    assert [person.let_pass("P1", weld) for weld in ("W1", "W2", "")] == [True, False, None]
    assert [person.do("Pull the cable."), person.do("Pull the cable.")] == [True, False]
    line.close()


@pytest.mark.parametrize("key", ['profile = "push"', 'link = "modbus"'])
def test_a_cell_that_the_kit_does_not_speak_is_told_so(tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "cordon.toml"
    gate = f'[gate]\nport = "/dev/null"\nrecords = "{tmp_path}/r.db"\nsocket = "{tmp_path}/s"\n{key}\n'
    inspector = (
        f'[inspector]\nbundle = "b"\ntrusted_keys = ["{"0a" * 32}"]\n[[inspector.camera]]\nname = "cam0"\nendpoint = "ipc:///none"\n'
    )
    config.write_text(gate + inspector)
    assert main(["--config", str(config)]) == 2
    assert "cannot be accepted by the kit" in capsys.readouterr().err
