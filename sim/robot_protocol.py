"""The distrustful robot's half of the protocol, without I/O: anything wrong, late, doubled or unasked means reject."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edge.config import Profile
from edge.contract import Outcome
from edge.gate.codec import encode_frame
from edge.gate.messages import (
    FEATURE_PARTS,
    KNOWN_FEATURES,
    MAJOR,
    Ack,
    ChangeOver,
    Done,
    Framing,
    Heartbeat,
    Hello,
    Message,
    Nak,
    PartQuery,
    PartVerdict,
    Refusal,
    State,
    Trigger,
    TriggerAck,
    Verdict,
)

NS_PER_MS = 1_000_000
MAX_SEQUENCE = 0xFFFF
MAX_PARTS = 1_000
"""Parts whose rejected welds are remembered; the oldest is forgotten, which the gate does not."""


@dataclass(frozen=True, kw_only=True)
class RobotResult:
    """What became of one weld, or of a whole part (`weld` is empty).

    `outcome` is what the gate said (None: nothing valid); `accepted` is what the robot does.
    """

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
    """The trigger, part query or change-over whose answer the robot waits for."""

    trigger: Trigger | PartQuery
    data: bytes
    sent_ns: int
    repeat_ns: int
    acknowledged: bool = False


@dataclass(kw_only=True)
class Change:
    """The change-over the robot waits for."""

    message: ChangeOver
    data: bytes
    sent_ns: int
    repeat_ns: int


@dataclass(kw_only=True)
class RobotProtocol:
    """State of the robot's side; `out` collects frames to send, `results` what was decided. Times are CLOCK_MONOTONIC ns."""

    nonce: Callable[[], str]
    profile: Profile = "handshake"
    framing: Framing = "crc"
    knows: int = KNOWN_FEATURES
    """Features of the gate this robot understands; it does not go on with a gate that demands another one."""
    must: int = 0
    """Features this robot demands of the gate."""
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
    """Why the gate did not take the last hello, or this robot not the gate's."""
    recipe: str = ""
    """What the gate has confirmed as active in this session."""
    no_change: str = ""
    """Why the last change-over did not come about."""
    anomalies: int = 0
    open: Open | None = None
    change: Change | None = None
    sequence: int = 0

    def __post_init__(self) -> None:
        self._own = self.nonce()
        self._heard_ns = 0
        self._gate_counter: int | None = None
        self._counter = 0
        self._beat_ns = 0
        self._last: tuple[Verdict | PartVerdict, Done] | None = None
        self._bad: dict[str, set[str]] = {}
        """Welds of parts in work whose last result was not accepted."""
        self._push: tuple[str, int] = ("", 0)

    # what the owner asks for

    def trigger(self, part: str, weld: str, typology: str | None, now_ns: int) -> bytes | None:
        """Open a trigger; its frame must be sent at once. None while there is no session, or another question is open."""
        if not self._may_ask(now_ns):
            return None
        assert self.session is not None
        return self._ask(Trigger(session=self.session, sequence=self.sequence, part=part, weld=weld, typology=typology), now_ns)

    def finish_part(self, part: str, now_ns: int, recipe: str = "") -> bytes | None:
        """Ask for the verdict on a whole part; its frame must be sent at once. None as with `trigger`, or when no recipe is known.

        `recipe` is what the robot program believes to be active; without it, what the gate confirmed in this session.
        """
        believed = recipe or self.recipe
        if not believed or not self._may_ask(now_ns):
            return None
        assert self.session is not None
        return self._ask(PartQuery(session=self.session, sequence=self.sequence, part=part, recipe=believed), now_ns)

    def change_over(self, recipe: str, now_ns: int) -> bytes | None:
        """Name the recipe of the parts to come; its frame must be sent at once. None as with `trigger`."""
        if not self._may_ask(now_ns):
            return None
        assert self.session is not None
        message = ChangeOver(session=self.session, sequence=self.sequence, recipe=recipe)
        self.no_change = ""
        data = encode_frame(message, "R", self.framing)
        self.change = Change(message=message, data=data, sent_ns=now_ns, repeat_ns=now_ns + self.repeat_ns)
        return data

    def _may_ask(self, now_ns: int) -> bool:
        """Take the next sequence, when there is a session and no other question is open."""
        if self.sequence >= MAX_SEQUENCE:
            self._lose("sequence used up", now_ns)
        if self.session is None or self.open is not None or self.change is not None:
            return False
        self.sequence += 1
        return True

    def _ask(self, message: Trigger | PartQuery, now_ns: int) -> bytes:
        data = encode_frame(message, "R", self.framing)
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
        self._mind_change(now_ns)
        if self.session is not None and now_ns - self._heard_ns > self.silence_ns:
            self._lose("the gate's heartbeat stopped", now_ns)
        if now_ns >= self._beat_ns:
            self._beat_ns = now_ns + self.heartbeat_ns
            self._counter = (self._counter + 1) & 0xFFFF
            self.out.append(encode_frame(self._sign_of_life(), "R", self.framing))

    def _mind_change(self, now_ns: int) -> None:
        if self.change is None:
            return
        if now_ns - self.change.sent_ns > self.budget_ns:
            # The gate may have changed over or not: only a new session brings both to the same recipe again.
            self._lose("the change-over was not answered", now_ns)
            self.no_change = "NO_ANSWER"
        elif now_ns >= self.change.repeat_ns:
            self.change.repeat_ns = now_ns + self.repeat_ns
            self.out.append(self.change.data)

    def _no_change(self, why: str) -> None:
        """The robot does not know which recipe is active: it has to ask again."""
        self.change, self.recipe, self.no_change = None, "", why

    def line_lost(self, now_ns: int) -> None:
        """Nobody holds the other end of the line."""
        if self.session is not None:
            self._lose("the line is down", now_ns)

    def _sign_of_life(self) -> Message:
        if self.session is None:
            return Hello(nonce=self._own, must=self.must, deadline_ms=min(0xFFFF, self.budget_ns // NS_PER_MS))
        return Heartbeat(session=self.session, state=State.BUSY if self.open else State.READY, counter=self._counter)

    # what the gate says

    def received(self, message: Message, now_ns: int) -> None:
        """One whole frame of the gate."""
        if isinstance(message, Verdict) and self.profile == "push":
            self._pushed(message, now_ns)
        elif isinstance(message, Verdict | PartVerdict):
            self._verdict(message, now_ns)
        elif isinstance(message, ChangeOver):
            self._changed(message)
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
        self.refused = self._refusal(hello)
        if self.refused is not None:
            return
        self.session, self.sequence = session, 0
        self._heard_ns, self._gate_counter, self._beat_ns, self._last = now_ns, None, now_ns, None

    def _refusal(self, hello: Hello) -> Refusal | None:
        """Why this robot does not work with this gate, if there is a reason."""
        if hello.major != MAJOR or hello.must & ~self.knows or self.must & FEATURE_PARTS & ~hello.must:
            return Refusal.VERSION
        if hello.profile != "H":
            return Refusal.PROFILE
        return Refusal.DEADLINE if hello.deadline_ms * NS_PER_MS > self.budget_ns else None

    def _nak(self, nak: Nak, now_ns: int) -> None:
        if nak.sequence == 0 and nak.session.startswith(self._own) and self.session is None:
            self.refused = nak.reason
        elif nak.reason is Refusal.SESSION and nak.session == self.session:
            self._lose("the gate does not know the session", now_ns)
        elif self.change is not None and (nak.session, nak.sequence) == (self.change.message.session, self.change.message.sequence):
            self._no_change(f"NAK_{nak.reason.value}")
        elif self.open is not None and (nak.session, nak.sequence) == self._key(self.open):
            self._reject(f"NAK_{nak.reason.value}", "the gate refused the trigger", now_ns)

    def _changed(self, change: ChangeOver) -> None:
        if self.change is not None and change == self.change.message:
            self.change, self.recipe = None, change.recipe

    def _verdict(self, verdict: Verdict | PartVerdict, now_ns: int) -> None:
        if self.open is None:
            self._unasked(verdict, now_ns)
            return
        wrong = self._differs(verdict, self.open.trigger)
        if wrong and self._last is not None and verdict == self._last[0]:
            return
        if wrong:
            self.anomalies += 1
            self._reject(f"WRONG_{wrong.upper()}", f"verdict {verdict}", now_ns)
            return
        late = now_ns - self.open.sent_ns > self.budget_ns
        doubt = self._doubt(verdict) if isinstance(verdict, PartVerdict) else ""
        self.anomalies += bool(doubt)
        accepted = verdict.outcome is Outcome.ACCEPT and verdict.reason.value == "OK" and not late and not doubt
        self._confirm(verdict, accepted=accepted)
        detail = f"{verdict.missing} missing, first {verdict.first}" if isinstance(verdict, PartVerdict) else ""
        self._finish(verdict.outcome, "LATE" if late else doubt or verdict.reason.value, accepted, detail, now_ns)

    def _differs(self, verdict: Verdict | PartVerdict, asked: Trigger | PartQuery) -> str:
        """The first field in which an answer is not one to what was asked, or an empty text."""
        if isinstance(verdict, PartVerdict) is not isinstance(asked, PartQuery):
            return "type"
        fields = ("session", "sequence", "part", "weld") if isinstance(asked, Trigger) else ("session", "sequence", "part")
        return next((name for name in fields if getattr(verdict, name) != getattr(asked, name)), "")

    def _doubt(self, verdict: PartVerdict) -> str:
        """Why an ACCEPT of a part is not believed: it names missing welds, or this robot knows a weld that was not accepted."""
        if verdict.outcome is not Outcome.ACCEPT:
            return ""
        if verdict.missing or verdict.first is not None:
            return "STILL_MISSING"
        return "WELD_REJECTED" if self._bad.get(verdict.part) else ""

    def _unasked(self, verdict: Verdict | PartVerdict, now_ns: int) -> None:
        """A resend of the last verdict is confirmed again; after a rejected deadline the part stays rejected; else it is an anomaly."""
        if self._last is not None and verdict == self._last[0]:
            self._confirm(verdict, accepted=self._last[1] is Done.ACCEPTED)
        elif (verdict.session, verdict.sequence) == (self.session, self.sequence) and self._last is None:
            self._confirm(verdict, accepted=False)
        else:
            self.anomalies += 1
            self._lose(f"a verdict nobody asked for: {verdict}", now_ns)

    def _confirm(self, verdict: Verdict | PartVerdict, *, accepted: bool) -> None:
        done = Done.ACCEPTED if accepted else Done.REJECTED
        self._last = (verdict, done)
        ack = Ack(session=verdict.session, sequence=verdict.sequence, outcome=verdict.outcome, done=done)
        self.out.append(encode_frame(ack, "R", self.framing))

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
        weld = asked.weld if isinstance(asked, Trigger) else ""
        self._remember(asked.part, weld, accepted=accepted)
        result = RobotResult(
            part=asked.part,
            weld=weld,
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

    def _remember(self, part: str, weld: str, *, accepted: bool) -> None:
        if not weld:
            self._bad.pop(part, None)
        elif accepted:
            self._bad.get(part, set()).discard(weld)
        else:
            self._bad.setdefault(part, set()).add(weld)
            if len(self._bad) > MAX_PARTS:
                del self._bad[next(iter(self._bad))]

    def _lose(self, why: str, now_ns: int) -> None:
        self._reject("SESSION_LOST", why, now_ns)
        self._no_change("SESSION_LOST")
        self._bad.clear()
        self.session, self.state, self._own, self._beat_ns = None, None, self.nonce(), now_ns

    def _key(self, waiting: Open) -> tuple[str, int]:
        return waiting.trigger.session, waiting.trigger.sequence
