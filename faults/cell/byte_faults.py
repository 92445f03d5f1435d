"""What adapters and bits do: wrong rate, garbage, delay, every byte value, flipped bits (C14 to C17, C19)."""

from __future__ import annotations

import time
from functools import partial

from faults.cell.cable_faults import TEST, flipped
from faults.cell.campaign import Share, counted, everything, require, side_by_side
from faults.cell.cell import QUICK_TIMES, Cell
from faults.cell.uart import Setting, misread
from faults.cell.wire import Late, changing
from faults.registry import Effort, Result, injects

RATES = (9_600, 19_200, 38_400, 57_600, 76_800, 230_400)


@injects("C14", test=TEST)
def wrong_rate(effort: Effort) -> Result:
    """Robot and gate differ in baud rate or parity; the bytes are what a UART reads from the other's bits."""
    return side_by_side(effort, 40, _wrong_rate)


def _wrong_rate(share: Share) -> Result:
    dice, ready = share.random(), 0
    gate = Setting()
    with Cell(share.folder, {"latch_noise": 0}) as cell:
        for number in range(share.times):
            robot = Setting(baudrate=dice.choice(RATES)) if number % 2 else Setting(parity="even" if number % 4 else "odd")
            cell.relay.to_gate = changing(partial(misread, sent=robot, read=gate))
            cell.relay.to_robot = changing(partial(misread, sent=gate, read=robot))
            cell.robot.reboot()
            ready += cell.robot.pump_until(lambda: cell.robot.protocol.session is not None, 0.3)
            cell.relay.heal()
            cell.make_ready()
            cell.cycle(bad=number % 2 == 0)
        found = cell.finish()
    require(found, ready == 0, f"{ready} sessions over a line with wrong settings")
    return found.result(share.times, counter=counted(everything(found), "event 'noise'"))


@injects("C15", test=TEST)
def garbage(effort: Effort) -> Result:
    """Random bytes, and lines of up to 200,000 bytes without an end, between good cycles."""
    return side_by_side(effort, 400, _garbage)


def _garbage(share: Share) -> Result:
    dice = share.random()
    with Cell(share.folder, {"latch_noise": 0}) as cell:
        for number in range(share.times):
            data = b"$" + b"A" * dice.randrange(100, 200_000) if number % 10 == 0 else dice.randbytes(dice.randrange(1, 3_000))
            _pour(cell, data + (b"" if number % 3 else b"\r"))
            # An unfinished line ends with the next frame's beginning.
            cell.cycle(bad=dice.random() < 0.5)
        found = cell.finish()
    require(found, found.events["noise"] >= share.times // 2, f"garbage counted {found.events['noise']} times")
    require(found, found.accepted > share.times // 4, f"only {found.accepted} good welds were accepted between garbage")
    return found.result(share.times, counter=counted(everything(found), "event 'noise'"))


def _pour(cell: Cell, data: bytes) -> None:
    until_s = time.monotonic() + 5.0
    while data and time.monotonic() < until_s:
        data = data[cell.wire.write(data) :]
        cell.robot.pump(0.001 if data else 0.0)


@injects("C16", test=TEST)
def latency_timer(effort: Effort) -> Result:
    """Both directions arrive in 16 ms ticks, as from an adapter whose latency timer was not set to 1 ms."""
    return side_by_side(effort, 600, _latency_timer)


TICK_S = 0.016


def _latency_timer(share: Share) -> Result:
    dice, worst_ms, late = share.random(), 0.0, 0

    def ticked(frame: bytes) -> list[Late]:
        now_s = time.monotonic()
        return [((int(now_s / TICK_S) + 1) * TICK_S - now_s, frame)]

    with Cell(share.folder) as cell:
        cell.relay.to_gate = cell.relay.to_robot = ticked
        for _ in range(share.times):
            result = cell.cycle(bad=dice.random() < 0.5)
            if result is not None and result.latency_ms is not None:
                worst_ms = max(worst_ms, result.latency_ms)
                late += result.latency_ms > cell.number("budget_ms")
        found = cell.finish()
    require(found, late == 0, f"{late} verdicts outside the budget")
    require(found, found.accepted > share.times // 4, f"only {found.accepted} good welds were accepted")
    note = "a pseudo-terminal has no latency timer: that the gate reads and reports an adapter's is not injected here"
    return found.result(share.times, worst_ms=worst_ms, note=note, counter=counted(everything(found), "verdict OK", "verdict DEFECT"))


@injects("C17", test=TEST)
def every_byte(effort: Effort) -> Result:
    """Each of the 256 byte values, and runs of XOFF and XON, before a frame of the robot: the gate's answers go on."""
    return side_by_side(effort, 1_024, _every_byte)


def _every_byte(share: Share) -> Result:
    dice, good, accepted = share.random(), 0, 0
    with Cell(share.folder, {"latch_noise": 0}) as cell:
        for number in range(share.times):
            value = bytes([(share.seed + number) % 256])
            cell.wire.write((b"\x13", b"\x13\x11\x13", value, value * dice.randrange(1, 9))[number % 4])
            bad = dice.random() < 0.5
            result = cell.cycle(bad=bad)
            good += not bad
            accepted += result is not None and result.accepted
        found = cell.finish()
    require(found, accepted >= good - 3, f"{good - accepted} of {good} good welds were not accepted after a foreign byte")
    return found.result(share.times, counter=counted(everything(found), "event 'noise'"))


@injects("C19", test=TEST)
def flipped_bits(effort: Effort) -> Result:
    """One, two or three bits of every verdict frame are flipped on the way, resends too; then a good copy comes."""
    return side_by_side(effort, 1_600, _flipped_bits)


def _flipped_bits(share: Share) -> Result:
    dice, flips = share.random(), [0, 0]
    single = share.seed

    def tamper(frame: bytes) -> list[Late]:
        if not frame.startswith(b"$GV") or flips[1] <= 0:
            return [(0.0, frame)]
        flips[0] += 1
        flips[1] -= 1
        bits = flips[0] % 3 + 1
        if bits > 1:
            return [(0.0, flipped(frame, dice, bits))]
        place = (single + flips[0]) % (8 * len(frame))
        return [(0.0, frame[: place // 8] + bytes([frame[place // 8] ^ 1 << place % 8]) + frame[place // 8 + 1 :])]

    with Cell(share.folder, QUICK_TIMES) as cell:
        cell.relay.to_robot = tamper
        while flips[0] < share.times:
            flips[1] = dice.choice((1, 2, 9))
            cell.cycle(bad=dice.random() < 0.5)
        refused = cell.robot.decoder.counters.total()
        found = cell.finish()
    require(found, refused > 0, "the robot's decoder refused nothing")
    return found.result(flips[0], note="the refusals are counted at the robot", counter=f"robot's refused frames {refused}")
