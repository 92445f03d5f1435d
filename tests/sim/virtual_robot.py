"""A robot program in the kit's own process, where time passes only when it is waited for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import count, cycle
from pathlib import Path
from typing import Any

from sim.acceptance.findings import Report
from sim.acceptance.played_gate import NS_PER_MS, PlayedGate
from sim.acceptance.robot import accept_robot, checks_for
from sim.acceptance.trial import Trial
from sim.robot_line import Line

STEP_NS = 4 * NS_PER_MS
"""How often the robot's program looks at its port."""


class VirtualLine:
    """Two buffers in place of a cable."""

    def __init__(self) -> None:
        self._to_robot = self._to_gate = b""

    def fileno(self) -> int:
        """There is none."""
        return -1

    def read(self) -> bytes:
        """What the robot sent."""
        data, self._to_gate = self._to_gate, b""
        return data

    def write(self, data: bytes) -> bool:
        """To the robot."""
        self._to_robot += data
        return True

    def close(self) -> None:
        """Nothing is held."""

    def robot_reads(self) -> bytes:
        """What the kit sent."""
        data, self._to_robot = self._to_robot, b""
        return data

    def robot_sends(self, data: bytes) -> None:
        """To the kit."""
        self._to_gate += data


class VirtualClock:
    """Waiting runs the robot's program, 4 ms after 4 ms."""

    def __init__(self, cycle: Callable[[], None] = lambda: None) -> None:
        self.cycle = cycle
        self._now_ns = 1_000 * NS_PER_MS

    def now_ns(self) -> int:
        """Nanoseconds that were waited for, and the first second."""
        return self._now_ns

    def wait(self, _line: Line, seconds: float) -> None:
        """Let the robot's program run for so long, one look at least."""
        for _ in range(max(1, round(seconds * 1e9 / STEP_NS))):
            self._now_ns += STEP_NS
            self.cycle()


DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "robot-programs" / "pseudo-code.md"
CODE = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL).group(1)  # type: ignore[union-attr]
PAUSE_MS = 40
WELDS_PER_PART = 3


class Program:
    """The pseudo-code, changed or not, in the cycle of a robot: weld after weld, with a pause between; it sees what it does itself."""

    def __init__(self, line: VirtualLine, clock: VirtualClock, *changes: tuple[str, str], recipe: str = "") -> None:
        code = CODE
        for old, new in changes:
            assert old in code, old
            code = code.replace(old, new)
        nonces = count(1)
        self.names: dict[str, Any] = {
            "clock_ms": lambda: clock.now_ns() // NS_PER_MS,
            "send": lambda text: line.robot_sends(text.encode("ascii")),
            "receive": lambda: line.robot_reads().decode("latin-1"),
            "fresh_nonce": lambda: f"{next(nonces):08x}",
        }
        exec(compile(code, "pseudo-code.md", "exec"), self.names)  # noqa: S102 - the document's own text
        self.passed: set[tuple[str, str]] = set()
        self._clock, self._idle_ns, self._recipe = clock, 0, recipe
        self._welds = cycle([(f"P{part}", f"W{weld}") for part in range(1, 4) for weld in range(1, WELDS_PER_PART + 1)])
        self._asked: tuple[str, str] | None = None

    def cycle(self) -> None:
        """One turn of the background task, and one of the program that moves the robot."""
        self.names["cycle"]()
        if self._asked is not None and self.names["result"]:
            if self.names["result"] == "ACCEPT":
                self.passed.add(self._asked)
            self._asked, self._idle_ns = None, self._clock.now_ns()
        due = self._clock.now_ns() - self._idle_ns >= PAUSE_MS * NS_PER_MS
        if self._asked is None and due and self.names["state"] == "IDLE":
            weld = next(self._welds)
            if self.names["ask_weld"](*weld, "T2"):
                self._asked = weld
                self.passed.discard(weld)

    def let_pass(self, part: str, weld: str) -> bool | None:
        """What a person at the cell would see."""
        return (part, weld) in self.passed

    def do(self, _what: str) -> bool:
        """Nobody is at the cell."""
        return False


def rehearse(*changes: tuple[str, str], only: str = "", byte_ms: float = 10 / 38.4, **gate: Any) -> Report:
    """The acceptance of the pseudo-code with these changes, on a line of 38,400 baud."""
    line, clock = VirtualLine(), VirtualClock()
    program = Program(line, clock, *changes)
    clock.cycle = program.cycle
    trial = Trial(gate=PlayedGate(line, clock, nonce=_nonces().__next__, **gate), observer=program, wait_s=3.0, byte_ms=byte_ms)
    checks = [check for check in checks_for(trial, by_hand=False) if only in check.check]
    return accept_robot(trial, checks, Report(subject="pseudo-code", facts={}))


def _nonces() -> Iterator[str]:
    return (f"{number:08x}" for number in count(0xC0FFEE00))
