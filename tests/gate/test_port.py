import fcntl
import os
import select
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.contract import TriggerId
from edge.errors import LinkError, PortBusyError, PortGoneError, PortMissingError
from edge.gate.port import SerialPort

FOREVER_NS = 2**62
KEY = TriggerId("0" * 16, 1)


class Pty:
    def __init__(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        os.close(slave)
        self.sent: list[TriggerId] = []
        self.dropped: list[tuple[TriggerId, str]] = []

    def open(self) -> SerialPort:
        return SerialPort(
            self.path, baudrate=115_200, on_sent=self.sent.append, on_dropped=lambda key, why: self.dropped.append((key, why))
        )

    def read(self) -> bytes:
        data = b""
        while select.select([self.master], [], [], 0.05)[0]:
            data += os.read(self.master, 65_536)
        return data


@pytest.fixture
def pty() -> Iterator[Pty]:
    made = Pty()
    yield made
    try:
        os.close(made.master)
    except OSError:
        return


def test_bytes_go_both_ways_unchanged(pty: Pty) -> None:
    port = pty.open()
    every = bytes(range(256))
    port.send(every, FOREVER_NS, 0, KEY)
    assert pty.read() == every
    assert pty.sent == [KEY]
    os.write(pty.master, every)
    select.select([port], [], [], 1)
    assert port.read() == every
    assert port.read() == b""
    port.close()


def test_nothing_is_echoed(pty: Pty) -> None:
    port = pty.open()
    os.write(pty.master, b"$RB\r")
    assert pty.read() == b""
    port.close()


def test_bytes_from_before_opening_are_flushed(pty: Pty) -> None:
    os.write(pty.master, b"stale\r")
    port = pty.open()
    assert port.read() == b""
    port.close()


def test_the_port_is_exclusive_and_does_not_hang_up(pty: Pty) -> None:
    port = pty.open()
    with pytest.raises(PortBusyError, match="another process holds"):
        pty.open()
    assert not termios.tcgetattr(port.fileno())[2] & termios.HUPCL
    port.close()
    pty.open().close()


def test_a_foreign_lock_is_port_busy(pty: Pty) -> None:
    holder = os.open(pty.path, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(PortBusyError):
        pty.open()
    os.close(holder)


@pytest.mark.parametrize(("path", "error"), [("/dev/no-such-port", PortMissingError), ("/dev/null", LinkError), ("/", LinkError)])
def test_what_is_no_port_is_refused_with_a_remedy(path: str, error: type[LinkError]) -> None:
    with pytest.raises(error, match=path):
        SerialPort(path, baudrate=115_200)


def test_a_dangling_link_is_port_missing(tmp_path: Path) -> None:
    (tmp_path / "robot").symlink_to(tmp_path / "gone")
    with pytest.raises(PortMissingError):
        SerialPort(str(tmp_path / "robot"), baudrate=115_200)


def test_an_unplugged_port_says_so(pty: Pty) -> None:
    port = pty.open()
    os.close(pty.master)
    with pytest.raises(PortGoneError):
        port.read()
    with pytest.raises(PortGoneError):
        port.send(b"x", FOREVER_NS, 0)
    port.close()


def test_a_rest_left_at_the_deadline_is_dropped_and_never_finished(pty: Pty) -> None:
    port = pty.open()
    now_ns = time.monotonic_ns()
    port.send(b"x" * 200_000, now_ns + 1_000, now_ns, KEY)
    assert port.waiting
    assert port.due_ns() == now_ns + 1_000
    port.flush(now_ns + 1_000)
    assert not port.waiting
    assert [key for key, _ in pty.dropped] == [KEY]
    first = len(pty.read())
    port.send(b"next", FOREVER_NS, now_ns)
    assert 0 < first < 200_000
    assert pty.read() == b"next"
    port.close()


def test_only_the_frame_that_waits_first_sets_the_time(pty: Pty) -> None:
    port = pty.open()
    port.send(b"x" * 200_000, FOREVER_NS, 0)
    port.send(b"behind it", 5, 0)
    port.flush(10)
    assert port.waiting
    assert port.due_ns() == FOREVER_NS  # else a daemon would look again and again, and could do nothing
    port.close()


def test_a_rest_is_finished_when_the_line_takes_it_in_time(pty: Pty) -> None:
    port = pty.open()
    port.send(b"y" * 50_000, FOREVER_NS, 0, KEY)
    data = b""
    while port.waiting:
        data += pty.read()
        port.flush(0)
    assert len(data + pty.read()) == 50_000
    assert pty.sent == [KEY]
    port.close()


def test_only_a_few_frames_wait_for_a_stuck_line(pty: Pty) -> None:
    port = pty.open()
    port.send(b"x" * 200_000, FOREVER_NS, 0)
    for number in range(20):
        port.send(b"frame", FOREVER_NS, 0, TriggerId("0" * 16, number + 1))
    assert len(pty.dropped) == 13
    port.discard()
    assert not port.waiting
    port.close()


def test_a_withdrawn_frame_is_cut_where_it_is_and_the_next_one_goes_out_whole(pty: Pty) -> None:
    port = pty.open()
    port.send(b"x" * 200_000, FOREVER_NS, 0, KEY)
    port.send(b"$next", FOREVER_NS, 0, TriggerId("0" * 16, 99))
    port.withdraw(KEY)
    data = b""
    while port.waiting:
        data += pty.read()
        port.flush(0)
    assert (data + pty.read()).lstrip(b"x") == b"$next"
    assert pty.sent == [TriggerId("0" * 16, 99)]
    assert pty.dropped == []
    port.close()


def test_a_port_held_by_another_process_is_busy_until_it_is_killed(pty: Pty) -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from edge.gate.port import SerialPort
port = SerialPort({pty.path!r}, baudrate=115200)
print("open", flush=True)
sys.stdin.read()
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "open\n"
    with pytest.raises(PortBusyError):
        pty.open()
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    pty.open().close()
