"""The simulated robot's protocol as a program that finishes parts, in time that passes only when it is waited for."""

from itertools import count

from virtual_robot import VirtualClock, VirtualLine

from edge.gate.codec import Decoder
from edge.gate.messages import FEATURE_PARTS
from sim.acceptance.findings import Report
from sim.acceptance.played_gate import NS_PER_MS, PlayedGate
from sim.acceptance.robot import accept_robot, checks_for
from sim.acceptance.trial import Trial
from sim.robot_protocol import RobotProtocol

RECIPE, WELDS = "door-left", ("W1", "W2")


class PartsProgram:
    """Names its recipe, asks about two welds, then about the part; and again."""

    def __init__(self, line: VirtualLine, clock: VirtualClock, kind: type[RobotProtocol]) -> None:
        nonces, self._parts = count(1), count(1)
        self._line, self._clock, self._decoder = line, clock, Decoder("G")
        self.protocol = kind(
            nonce=lambda: f"{next(nonces):08x}",
            must=FEATURE_PARTS,
            budget_ns=300 * NS_PER_MS,
            heartbeat_ns=80 * NS_PER_MS,
            silence_ns=240 * NS_PER_MS,
            repeat_ns=60 * NS_PER_MS,
        )
        self._part, self._left = "", list(WELDS)
        self._due_ns = 0
        self.passed: set[tuple[str, str]] = set()

    def cycle(self) -> None:
        """One turn."""
        robot, now_ns = self.protocol, self._clock.now_ns()
        malformed = self._decoder.counters.malformed
        for message in self._decoder.feed(self._line.robot_reads()):
            robot.received(message, now_ns)
        if self._decoder.counters.malformed > malformed:
            robot.malformed(now_ns)
        robot.tick(now_ns)
        while robot.results:
            result = robot.results.popleft()
            self._due_ns = now_ns + 40 * NS_PER_MS
            if result.accepted:
                self.passed.add((result.part, result.weld))
        if robot.session is not None and robot.open is None and robot.change is None and now_ns >= self._due_ns:
            self._ask(now_ns)
        for frame in robot.out:
            self._line.robot_sends(frame)
        robot.out.clear()

    def _ask(self, now_ns: int) -> None:
        if not self.protocol.recipe:
            self._part, self._left = f"P{next(self._parts)}", list(WELDS)
            frame = self.protocol.change_over(RECIPE, now_ns)
        elif self._left:
            frame = self.protocol.trigger(self._part, self._left.pop(0), None, now_ns)
        else:
            frame = self.protocol.finish_part(self._part, now_ns)
            self._part, self._left = f"P{next(self._parts)}", list(WELDS)
        self._line.robot_sends(frame or b"")

    def let_pass(self, part: str, weld: str) -> bool | None:
        """What a person at the cell would see."""
        return (part, weld) in self.passed

    def do(self, _what: str) -> bool:
        """Nobody is at the cell."""
        return False


def rehearse_parts(kind: type[RobotProtocol] = RobotProtocol) -> Report:
    """The acceptance of such a program, sound or not."""
    line, clock = VirtualLine(), VirtualClock()
    program = PartsProgram(line, clock, kind)
    clock.cycle = program.cycle
    nonces = count(0xC0FFEE00)
    gate = PlayedGate(line, clock, recipes=True, nonce=lambda: f"{next(nonces):08x}")
    trial = Trial(gate=gate, observer=program, wait_s=3.0, recipe=RECIPE)
    return accept_robot(trial, checks_for(trial, by_hand=False), Report(subject="parts", facts={}))
