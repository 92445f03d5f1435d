"""What the robot at the other end does: reads nothing, says nothing, lies, restarts (C05 to C09)."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import time
from collections.abc import Callable
from functools import partial

import msgspec

from edge.contract import Outcome
from edge.gate.codec import Decoder, encode_frame
from edge.gate.latch import Latch
from edge.gate.messages import Ack, Done, Message
from faults.cell.campaign import Share, counted, everything, require, side_by_side
from faults.cell.cell import QUICK_TIMES, START_S, Cell
from faults.cell.wire import Late, Tamper, delaying, straight, swallowing
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_cell_peer.py"
RESEND_SLACK_NS = 150_000_000
"""What the driver may add to the moment it reads a frame; a gate that repeats for ever exceeds it all the same."""


def message_of(frame: bytes) -> Message | None:
    """A whole frame of the robot."""
    return next(iter(Decoder("R").feed(frame)), None)


def saying(kind: type[Message], change: Callable[[Message], list[Message]]) -> Callable[[bytes], list[Late]]:
    """A cable that replaces the robot's frames of one kind, with a good CRC: a robot that says something else."""

    def tamper(frame: bytes) -> list[Late]:
        message = message_of(frame)
        if not isinstance(message, kind):
            return [(0.0, frame)]
        return [(0.0, encode_frame(changed, "R")) for changed in change(message)]

    return tamper


@injects("C05", "C06", test=TEST)
def reads_nothing(effort: Effort) -> Result:
    """The line is full but for a few bytes and nobody reads it while a weld is judged; after a random time everything is read at once."""
    return side_by_side(effort, 240, _reads_nothing)


def _reads_nothing(share: Share) -> Result:
    dice, kept = share.random(), 0
    with Cell(share.folder, QUICK_TIMES) as cell:
        for number in range(share.times):
            cell.make_ready()
            _fill(cell, room=dice.randrange(200) if number % 2 else 0)
            cell.relay.deaf = True
            cell.open(bad=dice.random() < 0.3)
            cell.robot.pump_for(dice.uniform(0.0, 0.15))
            cell.relay.said.clear()
            cell.relay.deaf = False
            cell.robot.finish()
            cell.robot.pump_for(0.02)
            kept = max(kept, len({line[line.rfind(b"$") :] for line in cell.relay.said if b"$GV" in line}))
        found = cell.finish()
    require(found, kept <= 1, f"{kept} verdicts came out of one stalled line")
    seen = counted(everything(found), "event 'link DEADLINE'", "disposition TIMEOUT")
    require(found, found.events["link DEADLINE"] > 0 or share.times < 20, "no verdict was ever dropped at its deadline")
    return found.result(share.times, counter=seen)


def _fill(cell: Cell, *, room: int) -> None:
    """Bytes that nobody reads, until the line takes no more; then `room` of them are read after all."""
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(cell.wire.slave, b"x" * 512)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(cell.wire.slave, b"x")
    if room:
        os.read(cell.wire.master, room)


@injects("C06", test=TEST)
def silent_robot(effort: Effort) -> Result:
    """The robot stops sending, heartbeats too, for longer than three of them, with and without a weld open; then it goes on."""
    return side_by_side(effort, 60, _silent_robot)


def _silent_robot(share: Share) -> Result:
    dice = share.random()
    silence_s = 0.0
    with Cell(share.folder, QUICK_TIMES) as cell:
        for number in range(share.times):
            cell.make_ready()
            if number % 2:
                cell.open(bad=dice.random() < 0.5, how=f"s{dice.randrange(50)}")
            old = cell.robot.protocol.session
            cell.relay.to_gate = swallowing()
            silence_s = cell.number("heartbeat_ms") * cell.number("missed_heartbeats") / 1e3 + dice.uniform(0.05, 0.15)
            cell.robot.pump_for(silence_s)
            cell.relay.heal()
            cell.await_session_after(old)
            cell.cycle(bad=dice.random() < 0.5)
        found = cell.finish()
    seen = found.events["session SESSION_LOST"]
    require(found, seen >= share.times, f"{seen} of {share.times} silences ended a session")
    return found.result(share.times, counter=counted(everything(found), "event 'session SESSION_LOST'"))


@injects("C07", test=TEST)
def missing_acknowledgements(effort: Effort) -> Result:
    """The first k acknowledgements are lost, k from 1 to all: the same bytes come again, and none after the budget."""
    return side_by_side(effort, 240, _missing_acknowledgements)


def _missing_acknowledgements(share: Share) -> Result:
    dice, problems, resends = share.random(), [], 0
    with Cell(share.folder, QUICK_TIMES) as cell:
        latest_ns = int(cell.number("budget_ms") * 1e6) + RESEND_SLACK_NS
        for number in range(share.times):
            cell.make_session()
            cell.relay.said_ns.clear()
            cell.relay.to_gate = _losing(number % 7 + 1 if number % 7 < 6 else 1_000)
            opened_ns = time.monotonic_ns()
            cell.cycle(bad=dice.random() < 0.5)
            cell.robot.pump_for((cell.number("budget_ms") + cell.number("ack_timeout_ms")) / 1e3 + 0.01)
            copies = [(line, now_ns) for line, now_ns in cell.relay.said_ns if line.startswith(b"$GV")]
            problems += _judge_copies(copies, opened_ns + latest_ns)
            resends += len(copies) - 1
        found = cell.finish()
    found.failures += problems
    require(found, resends > 0, "no verdict was ever sent again")
    require(found, found.done["TIMEOUT"] > 0 or share.times < 7, "no disposition TIMEOUT")
    return found.result(share.times, counter=counted(everything(found), "disposition TIMEOUT"), note=f"{resends} resends")


def _losing(many: int) -> Tamper:
    """A cable that loses so many acknowledgements."""
    left = itertools.count(many, -1)
    return lambda frame: [] if frame.startswith(b"$RA,") and next(left) > 0 else straight(frame)


def _judge_copies(copies: list[tuple[bytes, int]], latest_ns: int) -> list[str]:
    problems = []
    if len({line for line, _ in copies}) > 1:
        problems.append(f"resends differ: {sorted({line for line, _ in copies})}")
    late = [now_ns - latest_ns for _, now_ns in copies if now_ns > latest_ns]
    if late:
        problems.append(f"a resend {max(late) / 1e6 + RESEND_SLACK_NS / 1e6:.0f} ms after the budget")
    return problems


@injects("C08", test=TEST)
def lying_robot(effort: Effort) -> Result:
    """The robot confirms what it was not told: ACCEPTED for a REJECT (latches), the wrong word, another sequence, twice, late."""
    return side_by_side(effort, 240, _lying_robot)


def _lies(dice: random.Random) -> Callable[[Message], list[Message]]:
    """One wrong confirmation by chance."""

    def change(message: Message) -> list[Message]:
        assert isinstance(message, Ack)
        other = Outcome.REJECT if message.outcome is Outcome.ACCEPT else Outcome.ACCEPT
        lies: tuple[list[Message], ...] = (
            [msgspec.structs.replace(message, outcome=other)],
            [msgspec.structs.replace(message, sequence=message.sequence % 0xFFFF + 1), message],
            [message, message, message],
            [msgspec.structs.replace(message, outcome=other, done=Done.ACCEPTED)],
            [message, msgspec.structs.replace(message, outcome=other)],
            [msgspec.structs.replace(message, session="0123456789abcdef"), message],
        )
        return dice.choice(lies)

    return change


def _claims_acceptance(message: Message) -> list[Message]:
    assert isinstance(message, Ack)
    return [msgspec.structs.replace(message, done=Done.ACCEPTED)]


def _mend(cell: Cell, latch: Latch) -> None:
    """A person looks and acknowledges, as often as the gate latches, until it says READY."""
    cell.robot.pump_for(0.01)
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        if latch.reasons():
            latch.acknowledge("fault suite")
        if cell.robot.pump_until(lambda: cell.robot.ready, 0.1) and not latch.reasons():
            return
    cell.make_ready()


def _lying_robot(share: Share) -> Result:
    dice, unlatched, escapes = share.random(), 0, 0
    with Cell(share.folder, QUICK_TIMES) as cell:
        latch = Latch(cell.records)
        for number in range(share.times):
            _mend(cell, latch)
            escape = number % 5 == 0
            cell.relay.to_gate = saying(Ack, _claims_acceptance if escape else _lies(dice))
            while (told := cell.cycle(bad=escape or dice.random() < 0.5)) is None or told.outcome is None:
                # The lie before ended the session, and the robot has learnt it only now.
                cell.make_session()
            cell.robot.pump_for(0.005)
            cell.relay.heal()
            if escape:
                escapes += 1
                unlatched += not cell.robot.pump_until(lambda: bool(latch.reasons()), 2.0)
                result = cell.cycle(bad=False)
                unlatched += result is None or result.accepted
        _mend(cell, latch)
        found = cell.finish()
    require(found, unlatched == 0, f"{unlatched} of {escapes} claims to have accepted a reject did not latch")
    require(found, found.done["MISMATCH"] >= escapes, f"{found.done['MISMATCH']} mismatches recorded")
    return found.result(share.times, counter=counted(everything(found), "disposition MISMATCH", "event 'ack DEADLINE'"))


@injects("C08", test=TEST)
def late_acknowledgements(effort: Effort) -> Result:
    """The confirmation comes after its time: recorded as late, and the disposition stays TIMEOUT."""
    return side_by_side(effort, 120, _late_acknowledgements)


def _late_acknowledgements(share: Share) -> Result:
    dice = share.random()
    with Cell(share.folder, QUICK_TIMES) as cell:
        late_s = (cell.number("budget_ms") + cell.number("ack_timeout_ms")) / 1e3 + 0.02
        for _ in range(share.times):
            cell.make_session()
            cell.relay.to_gate = delaying(b"$RA,", late_s)
            cell.cycle(bad=dice.random() < 0.5)
            cell.robot.pump_for(late_s + 0.01)
            cell.relay.to_gate = straight
        found = cell.finish()
    require(found, found.events["ack DEADLINE"] >= share.times, f"{found.events['ack DEADLINE']} late confirmations recorded")
    return found.result(share.times, counter=counted(everything(found), "disposition TIMEOUT", "event 'ack DEADLINE'"))


@injects("C09", test=TEST)
def robot_restarts(effort: Effort) -> Result:
    """The robot forgets everything at each step of a cycle, is dark for a while, and begins with a fresh nonce."""
    return side_by_side(effort, 800, _robot_restarts)


def _said(cell: Cell, start: bytes) -> bool:
    """The gate has sent such a frame since the lines were last cleared."""
    return any(line.startswith(start) for line in cell.relay.said)


STEPS = ("sent", "$GK", "$GV", "confirmed")


def _robot_restarts(share: Share) -> Result:
    dice = share.random()
    with Cell(share.folder, QUICK_TIMES) as cell:
        for number in range(share.times):
            cell.make_session()
            step = STEPS[number % len(STEPS)]
            cell.relay.said.clear()
            if step == "$GV":
                cell.relay.to_gate = swallowing(b"$RA,")
            cell.open(bad=dice.random() < 0.5, how=f"s{dice.randrange(3)}")
            if step == "confirmed":
                cell.robot.finish()
            elif step != "sent":
                cell.robot.pump_until(partial(_said, cell, step.encode()), 0.2, idle_s=0.001)
            cell.relay.heal()
            cell.robot.reboot()
            cell.robot.relay.cut = number % 3 == 0
            cell.robot.pump_for(dice.uniform(0.0, 0.005))
            cell.robot.relay.cut = False
        cell.make_ready()
        found = cell.finish()
    require(found, found.done["SESSION_LOST"] > 0, "no trigger was closed because its session was lost")
    return found.result(share.times, counter=counted(everything(found), "disposition SESSION_LOST"))
