"""The serial port by itself: real when --serial names one, else a pseudo-terminal with a good or a bad plug at its other end."""

import os
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from equipment_kit import Equipment

from sim.acceptance import serial_port
from sim.acceptance.serial_port import goes_round, is_device, is_exclusive, latency_timer_ms, look_at_port

BAUDRATE = 115_200
Plug = Callable[[bytes], bytes]


@pytest.fixture
def plugged() -> Iterator[Callable[[Plug], str]]:
    """`plugged(plug)` gives a port whose other end sends back what `plug` makes of what it reads."""
    open_now: list[int] = []
    threads: list[threading.Thread] = []

    def plug_in(plug: Plug) -> str:
        master, slave = os.openpty()
        tty.setraw(slave)
        open_now.extend((master, slave))

        def echo() -> None:
            while data := os.read(master, 4096):
                if data == b"end":
                    return
                os.write(master, plug(data))

        threads.append(threading.Thread(target=echo))
        threads[-1].start()
        return os.ttyname(slave)

    yield plug_in
    for slave in open_now[1::2]:
        os.write(slave, b"end")
    for thread in threads:
        thread.join(10)
    for descriptor in open_now:
        os.close(descriptor)


def test_the_port_of_the_cell_is_prompt_and_ours_alone(equipment: Equipment, plugged: Callable[[Plug], str]) -> None:
    port = equipment.serial or plugged(lambda data: data)
    found = look_at_port(port, equipment.baudrate, equipment.parity, loopback=equipment.loopback or not equipment.serial)
    assert [finding.check for finding in found][:3] == ["port", "latency timer", "exclusive"]
    assert not [finding for finding in found if finding.result == "FAIL"]


def test_a_plug_that_loses_a_byte_or_answers_nothing_is_found(plugged: Callable[[Plug], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_port, "ROUND_S", 0.1)
    assert goes_round(plugged(lambda data: data[:-1]), BAUDRATE, "none")[0] == "FAIL"
    assert goes_round(plugged(lambda _: b""), BAUDRATE, "none")[0] == "FAIL"


def test_a_plug_that_holds_bytes_back_as_an_adapter_does_is_found(plugged: Callable[[Plug], str]) -> None:
    def slow(data: bytes) -> bytes:
        time.sleep(0.016)
        return data

    result, seen = goes_round(plugged(slow), BAUDRATE, "none")
    assert result == "FAIL"
    assert "on the wire" in seen


def test_an_adapter_with_its_timer_at_16_ms_is_found(plugged: Callable[[Plug], str], monkeypatch: pytest.MonkeyPatch) -> None:
    port = plugged(lambda data: data)
    assert latency_timer_ms(port) is None
    monkeypatch.setattr(serial_port, "is_pseudo_terminal", lambda _: False)
    monkeypatch.setattr(serial_port, "latency_timer_ms", lambda _: 16)
    assert serial_port.is_prompt(port) == ("FAIL", "latency timer 16 ms")


def test_a_port_that_another_process_holds_is_found(plugged: Callable[[Plug], str]) -> None:
    port = plugged(lambda data: data)
    ours = serial_port.SerialPort(port, baudrate=BAUDRATE)
    result, seen = is_exclusive(port, BAUDRATE, "none")
    ours.close()
    assert result == "FAIL"
    assert "another process holds" in seen
    assert is_exclusive(port, BAUDRATE, "none")[0] == "pass"


def test_what_is_no_device_ends_the_look_at_the_port(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("")
    assert is_device(str(tmp_path / "port"))[0] == "FAIL"
    assert [finding.result for finding in look_at_port(str(tmp_path / "none"), BAUDRATE, "none", loopback=True)] == ["FAIL"]
