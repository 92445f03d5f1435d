"""The start-up contract: READY only where the slowest frame fits into what budget, wire, record and camera leave of the robot's time."""

from __future__ import annotations

from dataclasses import dataclass

from edge.bundle import Bundle
from edge.config import Config, GateConfig
from edge.errors import BudgetError
from edge.inspector.loader import Loaded
from edge.inspector.startup_runs import Between, WorstCase, worst_cases

RECORD_MS = 5.0
"""For the record's durable commit. All that lies between engine and robot took 1.1 ms (median) to 1.8 ms (p99) with a record that was
flushed to the disk, docs/measurements.md; a slower disk shows as RECORD_LATE."""
HOPS_MS = 2.0
"""For camera socket, gate's socket and their wake-ups, and a rehearsal that a frame may find going on (1 ms, edge.inspector.rehearsal)."""
VERDICT_BYTES = {"crc": 124, "twice": 229}
"""The longest verdict of a weld or part in each framing."""
MODBUS_BYTES = 8 + 109
"""The request that reads the answer's registers, and the answer."""
MS_PER_S = 1_000.0


@dataclass(frozen=True, kw_only=True)
class Room:
    """Where the time from trigger to verdict goes, in ms."""

    budget_ms: float
    wire_ms: float
    """Kept free at the end: `gate.margin_ms`, or the longest verdict's time on the line where that is more."""
    record_ms: float = RECORD_MS
    hops_ms: float = HOPS_MS
    capture_ms: float
    """The camera's part of it."""

    @classmethod
    def of(cls, config: Config) -> Room:
        """With push, the time counts from the frame's arrival: the camera has no part in it."""
        gate = config.gate
        capture_ms = 0.0 if gate.profile == "push" else config.inspector.capture_ms
        return cls(budget_ms=gate.budget_ms, wire_ms=max(gate.margin_ms, line_ms(gate)), capture_ms=capture_ms)

    @property
    def left_ms(self) -> float:
        """For the inspector, from a frame's arrival to its report; 0 or less: nothing is."""
        return self.budget_ms - self.wire_ms - self.record_ms - self.hops_ms - self.capture_ms

    def __str__(self) -> str:
        parts = f"wire {self.wire_ms:.1f}, record {self.record_ms:g}, hops {self.hops_ms:g}, camera {self.capture_ms:g}"
        return f"budget {self.budget_ms:g} ms - {parts} = {self.left_ms:.1f} ms"


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What was measured at start, and what it was held against."""

    room: Room
    cases: tuple[WorstCase, ...]

    @property
    def slowest(self) -> WorstCase:
        """The case that needs most."""
        return max(self.cases, key=lambda case: case.needed_ms)

    @property
    def fits(self) -> bool:
        """Does every case?"""
        return self.slowest.needed_ms <= self.room.left_ms

    @property
    def worst_ms(self) -> dict[str, float]:
        """What a frame needs at worst, by case."""
        return {case.name: case.needed_ms for case in self.cases}

    def lines(self) -> tuple[str, ...]:
        """For the log: the room, then one line per case."""
        table = (f"{case.name}: {case.needed_ms:.2f} ms at worst of {case.runs} runs{_tries(case)}" for case in self.cases)
        return f"start-up contract: {self.room}", *table


def _tries(case: WorstCase) -> str:
    return f", attempt {case.attempts}" if case.attempts > 1 else ""


def line_ms(gate: GateConfig) -> float:
    """Time of the longest verdict on the serial line: a start and a stop bit to every byte, and a parity bit where there is one."""
    size = MODBUS_BYTES if gate.link == "modbus" else VERDICT_BYTES[gate.framing]
    return size * (10 if gate.parity == "none" else 11) * MS_PER_S / gate.baudrate


def measure(loaded: Loaded, bundle: Bundle, config: Config, *, between: Between = lambda: None) -> Contract:
    """The worst case of every way a frame can take under `config`; refuses nothing. Raises EngineError or KnownAnswerError."""
    room = Room.of(config)
    warmed_ms = room.capture_ms if config.inspector.prewarm and config.gate.profile == "handshake" else None
    cases = worst_cases(loaded, bundle, config.inspector, limit_ms=room.left_ms, warmed_ms=warmed_ms, between=between)
    return Contract(room=room, cases=cases)


def require_fit(loaded: Loaded, bundle: Bundle, config: Config, *, between: Between = lambda: None) -> Contract:
    """`measure`, and raises BudgetError unless every case fits: a bundle that cannot keep the budget would reject weld after weld."""
    contract = measure(loaded, bundle, config, between=between)
    if contract.fits:
        return contract
    slowest = contract.slowest
    raise BudgetError(
        f"{slowest.name} cannot be judged within the budget on this machine",
        seen=f"{slowest.needed_ms:.1f} ms at worst of {slowest.runs} runs, {contract.room}",
        remedy=_remedy(config),
    )


def _remedy(config: Config) -> str:
    gate = config.gate
    ways = ["Raise gate.budget_ms where the cell's cycle allows it", "take a smaller or INT8 network"]
    if config.inspector.backend == "openvino":
        ways.append("give inspector.threads the cores that there are, or a GPU")
    if config.inspector.engines == "all":
        ways.append('set inspector.engines = "named"')
    if line_ms(gate) > gate.margin_ms:
        ways.append("raise gate.baudrate")
    return ", ".join(ways)
