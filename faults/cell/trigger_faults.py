"""What the robot asks for: the same again, too much at once, and what another release would (C11, C12, C18)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import msgspec

from edge.gate.codec import encode_frame
from edge.gate.messages import Hello, Message, Trigger
from faults.cell.campaign import Share, counted, everything, require, side_by_side
from faults.cell.cell import QUICK_TIMES, Cell
from faults.cell.inspector import TYPOLOGY
from faults.cell.peer_faults import TEST, saying
from faults.cell.wire import Late
from faults.registry import Effort, Result, injects


@injects("C11", test=TEST)
def repeated_triggers(effort: Effort) -> Result:
    """Triggers come twice to five times, old ones again later, ones of the session before, and used part names in a new session."""
    return side_by_side(effort, 1_000, _repeated_triggers)


def _repeated_triggers(share: Share) -> Result:
    dice, wrong = share.random(), 0
    with Cell(share.folder, QUICK_TIMES) as cell:

        def repeat(frame: bytes) -> list[Late]:
            if not frame.startswith(b"$RT,"):
                return [(0.0, frame)]
            return [(0.0, frame), *((dice.uniform(0.0, 0.03), frame) for _ in range(dice.randrange(1, 5)))]

        for number in range(share.times):
            cell.make_session()
            cell.relay.to_gate = repeat
            cell.cycle(bad=dice.random() < 0.5, part=f"P{number % 3}", how=dice.choice(("", "s2", "s9")))
            if number % 4 == 0:
                old = [frame for frame in cell.relay.asked if frame.startswith(b"$RT,")]
                cell.wire.write(dice.choice(old))
                cell.robot.pump_for(0.002)
            if number % 50 == 25:
                cell.relay.heal()
                cell.robot.reboot()
                result = cell.cycle(bad=False, part=f"P{number % 3}", how="o")
                wrong += result is None or result.accepted
        found = cell.finish()
    require(found, wrong == 0, f"{wrong} welds of a new session were judged by a frame of the old one")
    return found.result(share.times, counter=counted(everything(found), "event 'trigger FRAME_UNBOUND'", "event 'frame FRAME_UNBOUND'"))


@injects("C12", test=TEST)
def flood(effort: Effort) -> Result:
    """2 to 100 triggers back to back while the first is being judged: each further one is refused, and recorded."""
    return side_by_side(effort, 120, _flood)


def _flood(share: Share) -> Result:
    dice, sent = share.random(), 0
    with Cell(share.folder, QUICK_TIMES) as cell:
        for _ in range(share.times):
            cell.make_session()
            many = dice.randrange(2, 101)
            cell.open(bad=dice.random() < 0.5, how="s20")
            cell.wire.write(b"".join(_more_triggers(cell, many - 1)))
            cell.robot.finish()
            cell.robot.pump_for(0.005)
            sent += many - 1
        found = cell.finish()
    require(found, found.cycles >= len(cell.books.asked), f"{len(cell.books.asked) - found.cycles} triggers of a flood left no row")
    require(found, found.done["REFUSED"] > 0, "no trigger was refused")
    return found.result(sent, counter=counted(everything(found), "disposition REFUSED", "verdict BUSY"))


def _more_triggers(cell: Cell, many: int) -> list[bytes]:
    protocol = cell.robot.protocol
    frames = []
    assert protocol.session is not None
    for _ in range(many):
        protocol.sequence += 1
        weld = cell.weld(bad=True)
        cell.books.asked[protocol.session, protocol.sequence] = ("P1", weld)
        trigger = Trigger(session=protocol.session, sequence=protocol.sequence, part="P1", weld=weld, typology=TYPOLOGY)
        frames.append(encode_frame(trigger, "R"))
    return frames


def _replaced(changes: Mapping[str, object], message: Message) -> list[Message]:
    return [msgspec.structs.replace(message, **changes)]


HELLOS: tuple[dict[str, object], ...] = (
    {"major": 2, "lowest": 2},
    {"major": 0, "lowest": 0},
    {"lowest": 9, "major": 9, "minor": 3},
    {"must": 0x8000},
    {"must": 0x0100},
    {"profile": "P"},
    {"deadline_ms": 1},
)


@injects("C18", test=TEST)
def other_release(effort: Effort) -> Result:
    """Hellos of another major version, with unknown must-understand bits, of the other profile, with too short a deadline."""
    return side_by_side(effort, 84, _other_release)


def _other_release(share: Share) -> Result:
    dice, opened = share.random(), 0
    with Cell(share.folder) as cell:
        for number in range(share.times):
            changes = HELLOS[number % len(HELLOS)]
            cell.relay.to_gate = saying(Hello, partial(_replaced, changes))
            cell.robot.reboot()
            opened += cell.robot.pump_until(lambda: cell.robot.protocol.session is not None, 0.1)
            cell.relay.heal()
            cell.make_session()
            cell.cycle(bad=dice.random() < 0.5)
        found = cell.finish()
    require(found, opened == 0, f"{opened} sessions with a robot of another release")
    require(found, "hello refused" in cell.gate.log_text(), "the refusal is not in the log")
    return found.result(share.times, counter=counted(everything(found), "event 'session SESSION_LOST'"))
