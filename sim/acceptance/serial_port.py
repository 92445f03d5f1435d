"""The serial port by itself: how long its adapter holds bytes back, whether it is ours alone, and a loop-back plug's round trip."""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path
from typing import Literal

from edge.errors import LinkError, PortBusyError
from edge.gate.port import SerialPort
from sim.acceptance.findings import Finding, failed, judged, passed, span, unanswered
from sim.acceptance.trial import Outcomes

Parity = Literal["none", "even", "odd"]
MOST_LATENCY_MS = 1
"""FTDI adapters come with 16 ms; the udev rule of the package sets 1 ms."""
MAJORS_OF_TERMINALS = range(136, 144)
"""Device numbers of pseudo-terminals."""
FRAME = b"$RB,0123456789abcdef,READY,65535,00000000*00000000\r"
ROUNDS = 20
ROUND_S = 1.0


def latency_timer_ms(port: str) -> int | None:
    """How long the adapter collects bytes before it passes them on; None where it has no such timer."""
    device = Path(port).stat().st_rdev
    base = Path(f"/sys/dev/char/{os.major(device)}:{os.minor(device)}")
    for place in (base / "device" / "latency_timer", base / "device" / ".." / "latency_timer"):
        if place.is_file():
            return int(place.read_text().strip())
    return None


def is_pseudo_terminal(port: str) -> bool:
    """One that a simulator made, without an adapter or a wire."""
    return os.major(Path(port).stat().st_rdev) in MAJORS_OF_TERMINALS


def is_device(port: str) -> Outcomes:
    """There is such a character device, under a name that stays when another adapter is plugged in."""
    try:
        mode = Path(port).stat().st_mode
    except OSError as exc:
        return failed(f"{port}: {exc.strerror}")
    if not stat.S_ISCHR(mode):
        return failed(f"{port} is no device")
    target = os.path.realpath(port)
    return passed(
        f"{port}{f' is {target}' if target != port else ', a name that another adapter may get: use /dev/serial/by-id or /dev/robot'}"
    )


def is_prompt(port: str) -> Outcomes:
    """The adapter passes bytes on at once."""
    if is_pseudo_terminal(port):
        return unanswered("a pseudo-terminal has no adapter")
    latency = latency_timer_ms(port)
    if latency is None:
        return passed("no latency timer: a port of the mainboard, or an adapter without one")
    return judged(latency <= MOST_LATENCY_MS, f"latency timer {latency} ms")


def is_exclusive(port: str, baudrate: int, parity: Parity) -> Outcomes:
    """Nobody else has it, and nobody else gets it while it is ours."""
    try:
        ours = SerialPort(port, baudrate=baudrate, parity=parity)
    except LinkError as exc:
        return failed(str(exc))
    try:
        SerialPort(port, baudrate=baudrate, parity=parity).close()
    except PortBusyError:
        return passed("a second opening is refused")
    except LinkError as exc:
        return failed(str(exc))
    finally:
        ours.close()
    return failed("it was opened twice")


def goes_round(port: str, baudrate: int, parity: Parity) -> Outcomes:
    """With TX and RX joined by a plug, a heartbeat comes back whole, in its time on the wire and 4 ms."""
    line = SerialPort(port, baudrate=baudrate, parity=parity)
    bits = 10 if parity == "none" else 11
    wire_ms = len(FRAME) * bits / baudrate * 1e3
    times: list[float] = []
    try:
        for _ in range(ROUNDS):
            begun_s = time.monotonic()
            line.send(FRAME, time.monotonic_ns() + 10**9, time.monotonic_ns())
            came = _read(line, len(FRAME), ROUND_S)
            if came != FRAME:
                return failed(f"{len(FRAME)} bytes sent, {came!r} came back: is the loop-back plug in, are baud rate and parity right?")
            times.append((time.monotonic() - begun_s) * 1e3)
    finally:
        line.close()
    return judged(
        sorted(times)[ROUNDS // 2] <= wire_ms + 2 * MOST_LATENCY_MS + 2, f"{span(times, 'ms')}; {wire_ms:.1f} ms of it on the wire"
    )


def _read(line: SerialPort, wanted: int, seconds: float) -> bytes:
    poll, data = select.poll(), b""
    poll.register(line.fileno(), select.POLLIN)
    until_s = time.monotonic() + seconds
    while len(data) < wanted and (left_s := until_s - time.monotonic()) > 0:
        poll.poll(left_s * 1e3)
        data += line.read()
    return data


def look_at_port(port: str, baudrate: int, parity: Parity, *, loopback: bool) -> list[Finding]:
    """Every rule of the port, in order; nothing else is looked at where there is no device."""
    found = [_finding("port", "gate.port is a device", is_device(port))]
    if found[0].result == "FAIL":
        return found
    found.append(_finding("latency timer", f"the adapter holds bytes back for {MOST_LATENCY_MS} ms at most", is_prompt(port)))
    found.append(_finding("exclusive", "one process has the port", is_exclusive(port, baudrate, parity)))
    if loopback:
        found.append(_finding("loop-back", "what is sent comes back whole", goes_round(port, baudrate, parity)))
    return found


def _finding(check: str, rule: str, outcome: Outcomes) -> Finding:
    result, seen = outcome
    return Finding(check=check, rule=rule, result=result, seen=seen)
