import fcntl
import os
import termios
from pathlib import Path

import pytest

from edge.errors import SimulationError
from edge.gate.port import SerialPort
from sim.robot_command import main
from sim.robot_line import DeviceLine, PtyLine


def test_the_link_leads_to_the_side_the_gate_opens(tmp_path: Path) -> None:
    line = PtyLine(tmp_path / "robot")
    assert line.read() is None
    port = SerialPort(str(tmp_path / "robot"), baudrate=115_200)
    assert line.write(b"to the gate\r")
    assert port.read() == b"to the gate\r"
    port.send(b"to the robot\r", 2**62, 0)
    assert line.read() == b"to the robot\r"
    port.close()
    line.close()
    assert not (tmp_path / "robot").is_symlink()


def test_the_exclusive_flag_of_a_killed_gate_locks_no_other_out(tmp_path: Path) -> None:
    line = PtyLine(tmp_path / "robot")
    watched = line.fileno()
    killed = os.open(tmp_path / "robot", os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(killed, termios.TIOCEXCL)
    os.write(killed, b"hello")
    assert line.read() == b"hello"
    before = line.path
    os.close(killed)
    assert line.read() is None
    assert (line.fileno(), str((tmp_path / "robot").readlink())) == (watched, line.path)
    assert line.path != before
    port = SerialPort(str(tmp_path / "robot"), baudrate=115_200)
    assert line.write(b"to the gate\r")
    assert port.read() == b"to the gate\r"
    port.close()
    line.close()


def test_a_newer_robot_takes_over_the_link_and_keeps_it(tmp_path: Path) -> None:
    old, new = PtyLine(tmp_path / "robot"), PtyLine(tmp_path / "robot")
    old.close()
    assert (tmp_path / "robot").readlink() == Path(new.path)
    new.close()


def test_a_file_in_the_place_of_the_link_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "robot").write_text("precious")
    with pytest.raises(SimulationError, match="left alone"):
        PtyLine(tmp_path / "robot")
    assert (tmp_path / "robot").read_text() == "precious"


def test_a_real_device_is_read_and_written(tmp_path: Path) -> None:
    gate = PtyLine(tmp_path / "device")
    device = DeviceLine(str(tmp_path / "device"), 115_200)
    assert device.write(b"hello\r")
    assert gate.read() == b"hello\r"
    assert not device.write(b"x" * 200_000)
    os.close(gate._master)
    assert device.read() is None
    device.close()


def test_welds_that_cannot_be_read_or_sent_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="cannot read"):
        main(["--link", str(tmp_path / "robot"), "--welds", str(tmp_path / "none.csv")])
    (tmp_path / "welds.csv").write_text("part,weld\nP1,W1\nP 2,W1\n")
    with pytest.raises(SimulationError, match="line 3"):
        main(["--link", str(tmp_path / "robot"), "--welds", str(tmp_path / "welds.csv")])


def test_a_gate_that_never_comes_is_an_error_not_a_hang(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="not ready within"):
        main(["--link", str(tmp_path / "robot"), "--count", "1", "--wait-s", "0.1"])
