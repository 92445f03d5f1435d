"""What cables do: unplugged, bytes of before, noise, echo (C01 to C04)."""

from __future__ import annotations

import random
import termios
import time

from edge.gate.latch import Latch
from faults.cell.campaign import Share, counted, everything, require, side_by_side
from faults.cell.cell import QUICK_TIMES, Cell
from faults.cell.wire import Late, straight
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_cell_cable.py"


@injects("C01", test=TEST)
def unplugged(effort: Effort) -> Result:
    """The adapter is pulled at a random moment of a cycle and comes back under the same link, often with another device number."""
    return side_by_side(effort, 400, _unplugged)


def _unplugged(share: Share) -> Result:
    dice, worst_s = share.random(), 0.0
    with Cell(share.folder, QUICK_TIMES) as cell:
        for number in range(share.times):
            cell.cycle(bad=dice.random() < 0.5)
            cell.open(bad=dice.random() < 0.5, how=f"s{dice.randrange(4)}")
            cell.robot.pump_for(dice.uniform(0, 0.006))
            old = cell.robot.protocol.session
            cell.wire.unplug()
            cell.robot.pump_for(dice.uniform(0, 0.01))
            cell.wire.plug(renamed=number % 2 == 0)
            plugged_s = time.monotonic()
            cell.await_change(old, 5.0)
            worst_s = max(worst_s, time.monotonic() - plugged_s)
        found = cell.finish()
    require(found, found.events["link SESSION_LOST"] >= share.times, f"{found.events['link SESSION_LOST']} lost links recorded")
    require(found, worst_s < 5.0, "a port that came back was not used again")
    return found.result(
        share.times,
        counter=counted(everything(found), "event 'link SESSION_LOST'"),
        note="worst: from plugged in to a new session",
        worst_ms=worst_s * 1e3,
    )


@injects("C02", test=TEST)
def stale_bytes(effort: Effort) -> Result:
    """Frames of the session before wait in the reopened port, come after the new session began, and reach the robot beside a bad weld."""
    return side_by_side(effort, 300, _stale_bytes)


def _stale_bytes(share: Share) -> Result:
    dice = share.random()
    with Cell(share.folder, QUICK_TIMES) as cell:
        relay = cell.relay
        for _ in range(share.times):
            cell.cycle(bad=False)
            cell.cycle(bad=dice.random() < 0.5)
            asked, said = b"".join(list(relay.asked)[-8:]), b"".join(list(relay.said)[-8:])
            cell.wire.unplug()
            cell.wire.plug(renamed=True)
            cell.wire.write(asked)
            old = cell.robot.protocol.session
            cell.await_change(old, 5.0)
            cell.wire.write(asked)
            cell.open(bad=True, how="s3")
            relay.tell_robot(said, time.monotonic_ns())
            cell.robot.finish()
        found = cell.finish()
    seen = found.events["session SESSION_LOST"]
    require(found, seen >= share.times, f"only {seen} frames of another session were refused")
    return found.result(share.times, counter=counted(everything(found), "event 'session SESSION_LOST'"))


@injects("C03", test=TEST)
def noise(effort: Effort) -> Result:
    """Every third frame, in both directions, has random bytes before or in it, flipped bits, or an end missing."""
    return side_by_side(effort, 1_800, _noise)


def _noise(share: Share) -> Result:
    dice, damaged = share.random(), [0]

    def tamper(frame: bytes) -> list[Late]:
        if dice.random() > 0.33:
            return [(0.0, frame)]
        damaged[0] += 1
        return [(0.0, _damaged(frame, dice))]

    with Cell(share.folder, {"latch_noise": 0, **QUICK_TIMES}) as cell:
        cell.relay.to_gate = cell.relay.to_robot = tamper
        for _ in range(share.times):
            cell.cycle(bad=dice.random() < 0.5)
        found = cell.finish()
    require(found, found.events["noise"] > 0, "no noise was counted")
    return found.result(damaged[0], counter=counted(everything(found), "event 'noise'"))


def _damaged(frame: bytes, dice: random.Random) -> bytes:
    junk = dice.randbytes(dice.randrange(1, 20))
    at = dice.randrange(len(frame))
    how = dice.randrange(5)
    if how == 0:
        return junk + frame
    if how == 1:
        return frame[:at] + junk + frame[at:]
    if how == 2:
        return frame[:at] + frame[at + dice.randrange(1, 9) :]
    if how == 3:
        return flipped(frame, dice, dice.randrange(1, 9))
    return frame[:at]


def flipped(frame: bytes, dice: random.Random, bits: int) -> bytes:
    """That many different bits the other way round."""
    value = bytearray(frame)
    for place in dice.sample(range(8 * len(frame)), bits):
        value[place // 8] ^= 1 << place % 8
    return bytes(value)


@injects("C03", test=TEST)
def noise_without_end(effort: Effort) -> Result:
    """More broken frames than `gate.latch_noise`: nothing is accepted, across a restart too, until a person acknowledged."""
    return side_by_side(effort, 10, _noise_without_end)


def _noise_without_end(share: Share) -> Result:
    reasons = []
    with Cell(share.folder, {"latch_noise": 20, **QUICK_TIMES}) as cell:
        latch = Latch(cell.records)
        for number in range(share.times):
            for _ in range(40):
                cell.wire.write(b"$RB,0123456789abcdef,READY,1,00000000*00000000\r")
                cell.robot.pump(0.001)
            latched = cell.robot.pump_until(lambda: bool(latch.reasons()), 5.0)
            if number % 2:
                cell.restart_gate()
            result = cell.cycle(bad=False)
            reasons.append(f"{result.reason} {latched}" if result else "")
            latch.acknowledge("fault suite")
            # A fresh gate begins to count noise anew.
            cell.restart_gate()
            cell.make_ready()
            cell.cycle(bad=number % 2 == 0)
        found = cell.finish()
    require(found, reasons == ["LATCHED True"] * share.times, f"welds after endless noise: {reasons}")
    return found.result(len(reasons), counter=counted(everything(found), "verdict LATCHED"))


def _cook(terminal: int, *, echo: bool) -> None:
    attributes = termios.tcgetattr(terminal)
    attributes[3] = attributes[3] | termios.ECHO if echo else attributes[3] & ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)


@injects("C04", test=TEST)
def echo(effort: Effort) -> Result:
    """Every byte comes back: the gate's to the gate (RS-485), the robot's to the robot (a cooked terminal), and both."""
    return side_by_side(effort, 2_400, _echo)


def _echo(share: Share) -> Result:
    dice = share.random()
    with Cell(share.folder, {"latch_noise": 0, **QUICK_TIMES}) as cell:

        def loop(frame: bytes) -> list[Late]:
            cell.wire.write(frame)
            return straight(frame)

        def back(frame: bytes) -> list[Late]:
            cell.relay.tell_robot(frame, time.monotonic_ns())
            return straight(frame)

        for number in range(share.times):
            # A terminal that echoes and a line that loops at once would send one frame round for ever.
            _cook(cell.wire.slave, echo=number % 3 == 0)
            cell.relay.to_robot = loop if number % 3 else straight
            cell.relay.to_gate = back if number % 3 == 2 else straight
            cell.cycle(bad=dice.random() < 0.5, how="n" if number % 40 == 0 else "")
        echoed = cell.robot.decoder.counters.echoed
        found = cell.finish()
    require(found, found.events["noise"] >= share.times // 2, f"{found.events['noise']} echoes counted by the gate")
    require(found, echoed > 0 or share.times < 3, "the robot saw no echo")
    require(found, found.accepted > share.times // 4, f"only {found.accepted} good welds were accepted beside the echo")
    return found.result(share.times, counter=counted(everything(found), "event 'noise'"))
