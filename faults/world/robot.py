"""The robot of the simulated cell: the product's distrustful robot, a weld in front of it, and robots that do wrong."""

from __future__ import annotations

from collections.abc import Callable

from edge.contract import Outcome
from edge.gate.codec import Decoder, encode_frame
from edge.gate.messages import Ack, Done, Framing, Hello, State, Trigger
from faults.world.core import FAR_NS, MS, US, Core
from faults.world.line import Line
from faults.world.oracle import Oracle, Shown, body_of
from sim.robot_protocol import RobotProtocol, RobotResult

TICK_NS = 10 * MS
"""The simulated robot of the product looks that often too."""
PATIENCE = 40
"""Ticks without READY after which the robot triggers all the same."""


class Robot:
    """Shows weld after weld: `next_weld` makes one, `triggered` is told that it is there."""

    def __init__(
        self, core: Core, *, line: Line, oracle: Oracle, protocol: Callable[[], RobotProtocol], framing: Framing, rate: float
    ) -> None:
        self.core, self.line, self.oracle, self.framing, self.rate = core, line, oracle, framing, rate
        self._make = protocol
        self.protocol = protocol()
        self.decoder = Decoder("G", framing)
        self.next_weld: Callable[[], Shown | None] = lambda: None
        self.triggered: Callable[[Shown], None] = lambda _shown: None
        self.finished: Callable[[Shown, bool], None] = lambda _shown, _accepted: None
        self.due_ns = FAR_NS
        self.shown: Shown | None = None
        self.armed: list[str] = []
        self._waited = 0
        self._push_until_ns = FAR_NS
        self._old_triggers: list[bytes] = []

    @property
    def push(self) -> bool:
        """Whether it only listens."""
        return self.protocol.profile == "push"

    def clock(self) -> int:
        """The robot's own clock, which may run fast or slow."""
        return int(self.core.now * self.rate)

    def reboot(self) -> None:
        """It starts anew: what it knew is lost, and the part in front of it is rejected."""
        self.core.injected("robot_reboot")
        self.protocol, self.decoder = self._make(), Decoder("G", self.framing)
        self._conclude(accepted=False)

    def line_lost(self) -> None:
        """It notices that the cable is gone."""
        self.decoder.reset()
        self.protocol.line_lost(self.clock())
        self._after()

    # the loop

    def heard(self, data: bytes) -> None:
        """Bytes arrive."""
        protocol, decoder, now = self.protocol, self.decoder, self.clock()
        malformed = decoder.counters.malformed
        for message in decoder.feed(data):
            if self.core.log is not None:
                self.core.say("robot <", repr(message))
            protocol.received(message, now)
        if decoder.counters.malformed > malformed:
            protocol.malformed(now)
        self._after()

    def step(self) -> None:
        """Its regular look at clock and line."""
        self.protocol.tick(self.clock())
        self._after()
        if self.shown is None:
            self._begin()
        elif self.core.now >= self._push_until_ns:
            self._conclude(accepted=False)
        self.due_ns = self.core.now + TICK_NS

    def _after(self) -> None:
        if self.protocol.out:
            frames, self.protocol.out = self.protocol.out, []
            for frame in frames:
                self._say(frame)
        while self.protocol.results:
            self._result(self.protocol.results.popleft())

    def _result(self, result: RobotResult) -> None:
        """What the product's robot does: in the push profile the first line that comes must be for the weld in front of it."""
        shown = self.shown
        if shown is None:
            if not self.push:
                self.oracle.passes_nothing(result)
            return
        mine = (result.part, result.weld) == (shown.part, shown.weld)
        in_time = not self.push or self.core.now < self._push_until_ns
        accepted = result.accepted and in_time and (mine or not self.push)
        if accepted:
            took_ns = self.clock() - (int(shown.begun_ns * self.rate) if self.push else result.trigger_ns)
            self.oracle.passes(shown, result, took_ns)
        self._conclude(accepted=accepted)

    def _conclude(self, *, accepted: bool) -> None:
        shown, self.shown = self.shown, None
        if shown is not None:
            self._push_until_ns = FAR_NS
            self.finished(shown, accepted)
            self.core.at(self.core.now + 100 * US + int(self.core.chance() * MS), self._again)

    def _again(self, _argument: object) -> None:
        if self.shown is None:
            self._begin()

    # welds

    def _begin(self) -> None:
        """Show the next weld, once the gate says READY or has kept the robot waiting for too long."""
        if not self.push:
            if self.protocol.session is None or self.protocol.change is not None:
                return
            self._waited += 1
            if self.protocol.state is not State.READY and self._waited < PATIENCE and self.core.chance() < 0.9:
                return
        self._waited = 0
        shown = self.next_weld()
        if shown is None:
            return
        self.shown = shown
        if self.push:
            self._push_until_ns = self.core.now + int(self.protocol.budget_ns / self.rate)
        elif not self._trigger(shown):
            self.shown = None
            return
        self.oracle.begins(shown)
        self.triggered(shown)

    def _trigger(self, shown: Shown) -> bool:
        typology = shown.typology
        if not shown.query and self._has("wrong_typology"):
            typology, shown.void = "T9", "its trigger names another typology"
        if shown.query:
            frame = self.protocol.finish_part(shown.part, self.clock(), shown.planned)
        else:
            frame = self.protocol.trigger(shown.part, shown.weld, typology, self.clock())
        if frame is None or self.protocol.session is None:
            self._after()
            return False
        shown.key = (self.protocol.session, self.protocol.sequence)
        self._say(frame)
        self._old_triggers.append(frame)
        del self._old_triggers[:-8]
        return True

    def change_over(self, recipe: str) -> None:
        """Name the recipe of the parts to come."""
        frame = self.protocol.change_over(recipe, self.clock())
        if frame is not None:
            self._say(frame)

    # what a robot can do wrong

    def _has(self, kind: str) -> bool:
        if kind in self.armed:
            self.armed.remove(kind)
            self.core.injected(kind)
            return True
        return False

    def _say(self, frame: bytes) -> None:
        if frame[2:3] == b"A":
            if self.armed:
                frame = self._wrong_ack(frame)
            self.oracle.robot_said(frame)
        self.line.put("R", frame)

    def _wrong_ack(self, frame: bytes) -> bytes:
        _, session, sequence, word, said = body_of(frame).split(b",")
        outcome = {b"ACCEPT": Outcome.ACCEPT, b"REJECT": Outcome.REJECT, b"VOID": Outcome.NO_VERDICT}[word]
        number, done = int(sequence), Done(said.decode())
        if self._has("lie_accepted"):
            done = Done.ACCEPTED
        elif self._has("ack_wrong_word"):
            outcome = Outcome.REJECT if outcome is Outcome.ACCEPT else Outcome.ACCEPT
        elif self._has("ack_wrong_sequence"):
            number = max(1, min(0xFFFF, number + self.core.pick((-2, -1, 1, 2, 1_000))))
        return encode_frame(Ack(session=session.decode(), sequence=number, outcome=outcome, done=done), "R", self.framing)

    def wrong_hello(self) -> None:
        """A hello of another release, with features nobody knows, for the other profile, or of a robot that waits too briefly."""
        self.core.injected("hello_version")
        changes = self.core.pick(({"major": 9, "lowest": 9}, {"must": 0x8000}, {"profile": "P"}, {"deadline_ms": 1}))
        self.line.put("R", encode_frame(Hello(nonce=f"{self.core.rng.getrandbits(32):08x}", **changes), "R", self.framing))

    def trigger_again(self, _argument: object = None) -> None:
        """An old trigger is sent once more, byte by byte."""
        if self._old_triggers:
            self.core.injected("trigger_again")
            self.line.put("R", self.core.pick(tuple(self._old_triggers)))

    def flood(self, count: int) -> None:
        """Triggers that nobody waits for, back to back; the numbers are used up."""
        session = self.protocol.session
        for _ in range(count if session is not None else 0):
            if self.protocol.sequence < 0xFF00 and session is not None:
                self.core.injected("flood")
                self.protocol.sequence += 1
                trigger = Trigger(session=session, sequence=self.protocol.sequence, part="FLOOD", weld="W1")
                self.line.put("R", encode_frame(trigger, "R", self.framing))
