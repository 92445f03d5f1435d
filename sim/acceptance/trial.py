"""One question of the robot and what the kit answers: the two trials that nearly every check consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge.contract import Outcome, Reason
from edge.gate.fields import outcome_fields
from edge.gate.messages import Ack, Done, Hello, Trigger
from sim.acceptance.findings import Result, failed, judged, passed
from sim.acceptance.played_gate import NS_PER_S, PlayedGate

SLACK_MS = 60.0
"""Wire, adapter and the robot's polling, on top of what the robot says of its own deadline."""
AFTER_S = 0.06
"""How long a second, different confirmation is waited for."""
GOOD = (*outcome_fields(Outcome.ACCEPT).split(","), Reason.OK.value)
"""Word, code, complement and reason of the one verdict that lets a weld pass."""
Outcomes = tuple[Result, str]
Answer = Callable[[Trigger], bytes]
"""What the kit says to a trigger: the bytes on the wire."""


class Observer(Protocol):
    """Whoever sees what the robot does with the part: a person at the cell, or a test."""

    def let_pass(self, part: str, weld: str) -> bool | None:
        """Did the robot treat this weld as accepted? None: nobody looked."""

    def do(self, what: str) -> bool:
        """Have this done at the cell; False when there is nobody to do it."""


class Nobody:
    """Nobody looks: only what the robot says counts."""

    def let_pass(self, _part: str, _weld: str) -> bool | None:
        """Unknown."""
        return None

    def do(self, _what: str) -> bool:
        """Not done."""
        return False


@dataclass(kw_only=True)
class Trial:
    """What a check has to work with."""

    gate: PlayedGate
    observer: Observer
    wait_s: float = 30.0
    """How long the robot may take until its next question."""
    deadline_ms: float = 0.0
    """How long the robot waits for a verdict, where its hello does not say it."""
    byte_ms: float = 0.0
    """How long one byte is on the wire; 0: not known, as on a pseudo-terminal."""
    recipe: str = ""
    """The recipe that the robot names; empty: it finishes no parts."""

    @property
    def robot_deadline_ms(self) -> float:
        """What the robot's hello says, else what the person who runs the kit says."""
        said = self.gate.hello.deadline_ms if self.gate.hello else 0
        return float(said) or self.deadline_ms

    def trigger(self) -> tuple[Trigger, int] | None:
        """The robot's next trigger and when it came."""
        return self.gate.next(Trigger, self.wait_s)

    def accepts(self, *answers: Answer) -> Outcomes:
        """The robot has to accept, say so in time, and do it."""
        asked = self.trigger()
        if asked is None:
            return no_trigger(self)
        trigger, at_ns = asked
        mark = len(self.gate.heard)
        for answer in answers:
            self.gate.say_bytes(answer(trigger))
        acks = self._acks(trigger, mark, self.robot_deadline_ms / 1e3 + 0.2)
        if not acks:
            return failed(f"weld {trigger.weld} of {trigger.part}: no confirmation")
        ack, ack_ns = acks[0]
        if (ack.outcome, ack.done) != (Outcome.ACCEPT, Done.ACCEPTED):
            return failed(f"the robot read {ack.outcome.value} and says {ack.done.value}")
        if self.observer.let_pass(trigger.part, trigger.weld) is False:
            return failed("the robot says ACCEPTED, and rejected the weld")
        return passed(f"confirmed {(ack_ns - at_ns) / 1e6:.0f} ms after its trigger")

    def rejects(self, *answers: Answer, confirms: Outcome | None = None) -> Outcomes:
        """The robot must not accept, whatever else it does; `confirms`: it has to confirm this outcome as REJECTED."""
        asked = self.trigger()
        if asked is None:
            return no_trigger(self)
        trigger, at_ns = asked
        mark = len(self.gate.heard)
        for answer in answers:
            self.gate.say_bytes(answer(trigger))
        return self.rejected(trigger, at_ns, mark, confirms)

    def rejected(self, trigger: Trigger, at_ns: int, mark: int, confirms: Outcome | None = None) -> Outcomes:
        """Watch until the robot has confirmed, begun anew, asked again or passed its deadline; then judge what it did."""
        self._acks(trigger, mark, self.left_s(at_ns), until_hello=True)
        acks = [(heard.message.outcome, heard.message.done) for heard in self.gate.since(mark, Ack) if _of(heard.message, trigger)]  # type: ignore[union-attr]
        if any(done is Done.ACCEPTED for _, done in acks):
            return failed(f"weld {trigger.weld} of {trigger.part}: the robot says ACCEPTED")
        seen = self.observer.let_pass(trigger.part, trigger.weld)
        if seen:
            return failed(f"weld {trigger.weld} of {trigger.part}: the robot let it pass")
        said = "; ".join(f"{outcome.value} {done.value}" for outcome, done in acks) or "no confirmation"
        how = f"{said}{'' if seen is None else ', seen to reject'}"
        return judged(confirms is None or (confirms, Done.REJECTED) in acks, how)

    def left_s(self, at_ns: int) -> float:
        """Until the robot's own deadline is surely over."""
        return max(0.0, (self.robot_deadline_ms + SLACK_MS) / 1e3 - (self.gate.clock.now_ns() - at_ns) / NS_PER_S)

    def _acks(self, trigger: Trigger, mark: int, seconds: float, *, until_hello: bool = False) -> list[tuple[Ack, int]]:
        """What the robot confirmed of this trigger, and when."""

        def found() -> list[tuple[Ack, int]]:
            acks = self.gate.since(mark, Ack)
            return [(heard.message, heard.at_ns) for heard in acks if isinstance(heard.message, Ack) and _of(heard.message, trigger)]

        def over() -> bool:
            return bool(found()) or (until_hello and bool(self.gate.since(mark, Hello)))

        if self.gate.pump(seconds, over):
            self.gate.pump(AFTER_S)
        return found()


def no_trigger(trial: Trial) -> Outcomes:
    """The robot asked nothing."""
    state = "in a session" if trial.gate.in_session else "without a session"
    return failed(f"no question within {trial.wait_s:g} s; the robot is {state}. Let it run its cycle")


def _of(ack: object, trigger: Trigger) -> bool:
    return isinstance(ack, Ack) and (ack.session, ack.sequence) == (trigger.session, trigger.sequence)
