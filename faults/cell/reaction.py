"""How long until the robot knows, and until the gate serves again: each fault at a random moment, measured at the robot."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from faults.cell.cell import Cell

NOTICE_MS = 300.0
"""Bar: from the fault to a robot that rejects."""
SERVING_MS = 300.0
"""Bar: from the gate's death to the next session, 99th percentile."""
NEVER_MS = 1e9
"""Stands for a verdict that did not come."""


@dataclass
class Fault:
    """How to begin and end one kind of fault."""

    begin: Callable[[Cell], None]
    end: Callable[[Cell], None]


def _gate_killed(cell: Cell) -> None:
    cell.note_kill()
    cell.gate.send(signal.SIGKILL)


def _cut(cell: Cell) -> None:
    cell.relay.cut = True


def _heal(cell: Cell) -> None:
    cell.relay.heal()


FAULTS: dict[str, Fault] = {
    "gate killed": Fault(_gate_killed, Cell.respawn),
    "gate stopped": Fault(lambda cell: cell.gate.send(signal.SIGSTOP), lambda cell: cell.gate.send(signal.SIGCONT)),
    "cable pulled": Fault(_cut, _heal),
    "inspector killed": Fault(lambda cell: cell.inspectors.send(signal.SIGKILL), Cell.new_inspector),
    "inspector stopped": Fault(lambda cell: cell.inspectors.send(signal.SIGSTOP), lambda cell: cell.inspectors.send(signal.SIGCONT)),
    "inspector hangs": Fault(lambda cell: cell.open(bad=False, how="h"), Cell.replace_inspector),
}


@dataclass
class Times:
    """Milliseconds, in the order measured."""

    ms: list[float] = field(default_factory=list)

    def at(self, share: float) -> float:
        """The value that this share of all does not exceed."""
        ordered = sorted(self.ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    @property
    def worst(self) -> float:
        """The longest."""
        return max(self.ms, default=0.0)


def notice(cell: Cell, kind: str, dice: random.Random) -> float:
    """Milliseconds from the fault until the robot knows that it must reject; the cell works again afterwards."""
    fault = FAULTS[kind]
    cell.make_ready()
    cell.cycle(bad=dice.random() < 0.5)
    cell.make_ready()
    cell.robot.pump_for(dice.uniform(0.0, cell.number("heartbeat_ms") / 1e3))
    cell.make_ready()
    begun_s = time.monotonic()
    fault.begin(cell)
    cell.robot.pump_until(lambda: cell.robot.rejecting, 5.0, idle_s=0.001)
    noticed_s = time.monotonic() - begun_s
    fault.end(cell)
    cell.robot.finish()
    cell.make_ready()
    return noticed_s * 1e3


def serving_again(cell: Cell, dice: random.Random) -> float:
    """Milliseconds from SIGKILL of the gate, started again at once, to the next session."""
    cell.make_ready()
    cell.robot.pump_for(dice.uniform(0.0, 0.1))
    return cell.restart_gate() * 1e3
