"""The distrustful robot's half of the protocol, without I/O: anything wrong, late, doubled or unasked means reject."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edge.config import Profile
from edge.contract import Outcome
from edge.gate.codec import encode_frame
from edge.gate.messages import Ack, Done, Heartbeat, Hello, Message, Nak, Refusal, State, Trigger, TriggerAck, Verdict

NS_PER_MS = 1_000_000
MAX_SEQUENCE = 0xFFFF


@dataclass(frozen=True, kw_only=True)
class RobotResult:
    """What became of one weld. `outcome` is what the gate said (None: nothing valid); `accepted` is what the robot does."""

    part: str
    weld: str
    session: str
    sequence: int
    outcome: Outcome | None
    reason: str
    accepted: bool
    trigger_ns: int
    verdict_ns: int | None
    detail: str = ""

    @property
    def latency_ms(self) -> float | None:
        """From sending the trigger (push: asking for the frame) to reading the verdict."""
        return None if self.verdict_ns is None else (self.verdict_ns - self.trigger_ns) / NS_PER_MS


@dataclass(kw_only=True)
class Open:
    """The trigger the robot waits for."""

    trigger: Trigger
    data: bytes
    sent_ns: int
    repeat_ns: int
    acknowledged: bool = False


@dataclass(kw_only=True)
class RobotProtocol:
    """State of the robot's side; `out` collects frames to send, `results` what was decided. Times are CLOCK_MONOTONIC ns."""

    nonce: Callable[[], str]
    profile: Profile = "handshake"
    budget_ns: int
    heartbeat_ns: int
    silence_ns: int
    repeat_ns: int
    out: list[bytes] = field(default_factory=list)
    results: deque[RobotResult] = field(default_factory=lambda: deque(maxlen=1000))
    session: str | None = None
    state: State | None = None
    """The gate's last heartbeat."""
    bundle: str = ""
    refused: Refusal | None = None
    """Why the gate did not take the last hello."""
    anomalies: int = 0
    open: Open | None = None
    sequence: int = 0

    def __post_init__(self) -> None:
        self._own = self.nonce()
        self._heard_ns = 0
        self._gate_counter: int | None = None
        self._counter = 0
        self._beat_ns = 0
        self._last: tuple[Verdict, Done] | None = None
        self._push: tuple[str, int] = ("", 0)

    # what the owner asks for

    def trigger(self, part: str, weld: str, typology: str | None, now_ns: int) -> bytes | None:
        """Open a trigger; its frame must be sent at once. None while there is no session."""
        if self.sequence >= MAX_SEQUENCE:
            self._lose("sequence used up", now_ns)
        if self.session is None or self.open is not None:
            return None
        self.sequence += 1
        message = Trigger(session=self.session, sequence=self.sequence, part=part, weld=weld, typology=typology)
        data = encode_frame(message, "R")
        self.open = Open(trigger=message, data=data, sent_ns=now_ns, repeat_ns=now_ns + self.repeat_ns)
        return data

    def tick(self, now_ns: int) -> None:
        """Heartbeats, hellos, repeats and the deadline."""
        if self.profile == "push":
            return
        waiting = self.open
        if waiting is not None and now_ns - waiting.sent_ns > self.budget_ns:
            self._reject("NO_ANSWER", "no verdict before the robot's own deadline", now_ns)
        elif waiting is not None and not waiting.acknowledged and now_ns >= waiting.repeat_ns:
            waiting.repeat_ns = now_ns + self.repeat_ns
            self.out.append(waiting.data)
        if self.session is not None and now_ns - self._heard_ns > self.silence_ns:
            self._lose("the gate's heartbeat stopped", now_ns)
        if now_ns >= self._beat_ns:
            self._beat_ns = now_ns + self.heartbeat_ns
            self._counter = (self._counter + 1) & 0xFFFF
            self.out.append(encode_frame(self._sign_of_life(), "R"))

    def line_lost(self, now_ns: int) -> None:
        """Nobody holds the other end of the line."""
        if self.session is not None:
            self._lose("the line is down", now_ns)

    def _sign_of_life(self) -> Message:
        if self.session is None:
            return Hello(nonce=self._own, deadline_ms=min(0xFFFF, self.budget_ns // NS_PER_MS))
        return Heartbeat(session=self.session, state=State.BUSY if self.open else State.READY, counter=self._counter)

    # what the gate says

    def received(self, message: Message, now_ns: int) -> None:
        """One whole frame of the gate."""
        if isinstance(message, Verdict):
            (self._pushed if self.profile == "push" else self._verdict)(message, now_ns)
        elif isinstance(message, Hello):
            self._hello(message, now_ns)
        elif isinstance(message, Nak):
            self._nak(message, now_ns)
        elif isinstance(message, Heartbeat) and message.session == self.session:
            if message.counter != self._gate_counter:
                self._heard_ns, self._gate_counter = now_ns, message.counter
            self.state, self.bundle = message.state, message.bundle
        elif isinstance(message, TriggerAck) and self.open and (message.session, message.sequence) == self._key(self.open):
            self.open.acknowledged = True

    def malformed(self, now_ns: int) -> None:
        """A frame with a good CRC that breaks the protocol: the gate is not what it should be."""
        self.anomalies += 1
        self._reject("MALFORMED", "a whole frame breaks the protocol", now_ns)

    def _hello(self, hello: Hello, now_ns: int) -> None:
        session = self._own + hello.nonce
        if hello.peer != self._own or session == self.session:
            return
        if self.session is not None:
            self._lose("the gate opened another session", now_ns)
            return
        self.session, self.sequence, self.refused = session, 0, None
        self._heard_ns, self._gate_counter, self._beat_ns, self._last = now_ns, None, now_ns, None

    def _nak(self, nak: Nak, now_ns: int) -> None:
        if nak.sequence == 0 and nak.session.startswith(self._own) and self.session is None:
            self.refused = nak.reason
        elif nak.reason is Refusal.SESSION and nak.session == self.session:
            self._lose("the gate does not know the session", now_ns)
        elif self.open is not None and (nak.session, nak.sequence) == self._key(self.open):
            self._reject(f"NAK_{nak.reason.value}", "the gate refused the trigger", now_ns)

    def _verdict(self, verdict: Verdict, now_ns: int) -> None:
        if self.open is None:
            self._unasked(verdict, now_ns)
            return
        asked = self.open.trigger
        wrong = [n for n in ("session", "sequence", "part", "weld") if getattr(verdict, n) != getattr(asked, n)]
        if wrong and self._last is not None and verdict == self._last[0]:
            return
        if wrong:
            self.anomalies += 1
            self._reject(f"WRONG_{wrong[0].upper()}", f"verdict {verdict}", now_ns)
            return
        late = now_ns - self.open.sent_ns > self.budget_ns
        accepted = verdict.outcome is Outcome.ACCEPT and verdict.reason.value == "OK" and not late
        self._confirm(verdict, accepted=accepted)
        self._finish(verdict.outcome, "LATE" if late else verdict.reason.value, accepted, "", now_ns)

    def _unasked(self, verdict: Verdict, now_ns: int) -> None:
        """A resend of the last verdict is confirmed again; after a rejected deadline the part stays rejected; else it is an anomaly."""
        if self._last is not None and verdict == self._last[0]:
            self._confirm(verdict, accepted=self._last[1] is Done.ACCEPTED)
        elif (verdict.session, verdict.sequence) == (self.session, self.sequence) and self._last is None:
            self._confirm(verdict, accepted=False)
        else:
            self.anomalies += 1
            self._lose(f"a verdict nobody asked for: {verdict}", now_ns)

    def _confirm(self, verdict: Verdict, *, accepted: bool) -> None:
        done = Done.ACCEPTED if accepted else Done.REJECTED
        self._last = (verdict, done)
        ack = Ack(session=verdict.session, sequence=verdict.sequence, outcome=verdict.outcome, done=done)
        self.out.append(encode_frame(ack, "R"))

    def _pushed(self, verdict: Verdict, now_ns: int) -> None:
        session, last = self._push
        fresh = verdict.session != session or verdict.sequence > last
        if fresh:
            self._push = (verdict.session, verdict.sequence)
        accepted = verdict.outcome is Outcome.ACCEPT and verdict.reason.value == "OK" and fresh
        self.anomalies += not fresh
        result = RobotResult(
            part=verdict.part,
            weld=verdict.weld,
            session=verdict.session,
            sequence=verdict.sequence,
            outcome=verdict.outcome,
            reason=verdict.reason.value if fresh else "DUPLICATE",
            accepted=accepted,
            trigger_ns=now_ns,
            verdict_ns=now_ns,
        )
        self.results.append(result)

    # ends

    def _reject(self, reason: str, detail: str, now_ns: int) -> None:
        if self.open is not None:
            self._last = None
            self._finish(None, reason, accepted=False, detail=detail, now_ns=now_ns)

    def _finish(self, outcome: Outcome | None, reason: str, accepted: bool, detail: str, now_ns: int) -> None:
        assert self.open is not None
        asked = self.open.trigger
        result = RobotResult(
            part=asked.part,
            weld=asked.weld,
            session=asked.session,
            sequence=asked.sequence,
            outcome=outcome,
            reason=reason,
            accepted=accepted,
            trigger_ns=self.open.sent_ns,
            verdict_ns=None if outcome is None else now_ns,
            detail=detail,
        )
        self.open = None
        self.results.append(result)

    def _lose(self, why: str, now_ns: int) -> None:
        self._reject("SESSION_LOST", why, now_ns)
        self.session, self.state, self._own, self._beat_ns = None, None, self.nonce(), now_ns

    def _key(self, waiting: Open) -> tuple[str, int]:
        return waiting.trigger.session, waiting.trigger.sequence
