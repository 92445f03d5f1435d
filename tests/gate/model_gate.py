"""The gate of model/gate.pml in Python, called like a session: what it lets leave (`left`) and records (`rows`), on outcomes only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from model_parts import ModelParts, Open

from edge.contract import InspectorState, Outcome, Reason, Report, ToGate, TriggerId
from edge.gate.case import Ticket
from edge.gate.messages import Ack, ChangeOver, Done, Heartbeat, Hello, Message, PartQuery, Trigger

MS = 1_000_000
BUDGET, CUTOFF, ACK_TIMEOUT, RESEND, SILENCE, INSPECTOR_SILENCE = (ms * MS for ms in (100, 95, 50, 40, 300, 240))
FAILURES, FAILURE_WINDOW = 3, 60_000 * MS
HISTORY = 64
Word = tuple[object, ...]


class ModelGate:
    """Every method is a step of gate.pml's process; the words are those of `word_of`."""

    def __init__(self, nonce: Callable[[], str], recipes: Mapping[str, Sequence[str]]) -> None:
        self._nonce, self.parts = nonce, ModelParts(recipes)
        self.session: str | None = None
        self.last, self.robot_nonce, self.robot_ns = 0, "", 0
        self.counter: int | None = None
        self.case: Open | None = None
        self.closed: OrderedDict[int, Open] = OrderedDict()
        self.changed: tuple[ChangeOver, Word] | None = None
        self.early: tuple[Report, tuple[bool, str] | None] | None = None
        self.heals, self.latched = True, False
        self.failures: list[int] = []
        self.connected = False
        self.silent_ns: int | None = None
        self.state: tuple[bool, str] | None = None
        self.left: list[Word] = []
        self.rows: list[Word] = []

    # the link

    def link_up(self, _now: int) -> None:
        """The port is open: nothing begins before a hello."""

    def link_down(self, _why: str, _now: int) -> None:
        """The port is gone."""
        self._void("SESSION_LOST")

    def noise(self, _kind: str, _count: int, _now: int) -> None:
        """Always more of it than the limit."""
        self._latch()

    def received(self, message: Message, now: int) -> None:
        """hears_hello, hears_ask, hears_ack."""
        if isinstance(message, Hello):
            if self.session is None or message.nonce != self.robot_nonce:
                self._begin(message, now)
            return
        session = getattr(message, "session", "")
        if self.session is None or session != self.session:
            self.left.append(("N", session, getattr(message, "sequence", 0), "SESSION"))
        elif isinstance(message, Heartbeat):
            if message.counter != self.counter:
                self.robot_ns, self.counter = now, message.counter
        else:
            self.robot_ns = now
            self._asked(message, now)

    def _begin(self, hello: Hello, now: int) -> None:
        if self.session is not None:
            self._void("SESSION_LOST")
        self.robot_nonce, self.robot_ns, self.counter = hello.nonce, now, None
        self.session, self.last, self.early = hello.nonce + self._nonce(), 0, None

    def _void(self, done: str) -> None:
        """void_session: nothing asked for in this very step may leave in its name."""
        self.left = [word for word in self.left if word[0] != "V"]
        if self.case is not None:
            if self.case.stage == "WAITING":
                self.rows.append(("V", self.case.asked.sequence, "NO_VERDICT"))
            self._close(done)
        self.session = None
        self.closed.clear()
        self.parts.forget()

    def sent(self, key: TriggerId, now: int) -> None:
        """The line took the last byte."""
        case = self._find(key)
        if case is None or case.sent is not None:
            return
        case.sent = now
        if case.stage == "SENDING":
            case.stage, case.resend = "SENT", now + RESEND

    def dropped(self, key: TriggerId, _why: str, now: int) -> None:
        """The line did not take it in time."""
        case = self._find(key)
        if case is not None and case.stage == "SENDING":
            case.stage, case.resend = "SENT", now + RESEND

    def _find(self, key: TriggerId) -> Open | None:
        case = self.case
        return case if case is not None and (case.asked.session, case.asked.sequence) == tuple(_key(key)) else None

    # what the robot asks

    def _asked(self, message: Message, now: int) -> None:
        if isinstance(message, ChangeOver):
            self._change_over(message)
        elif isinstance(message, Ack):
            self._confirmed(message)
        elif isinstance(message, Trigger | PartQuery):
            known = self._known(message.sequence)
            if known is not None and known.asked == message:
                self._repeat(known, now)
            elif self._advance(message.session, message.sequence):
                self._new(message, now)

    def _known(self, sequence: int) -> Open | None:
        if self.case is not None and self.case.asked.sequence == sequence:
            return self.case
        return self.closed.get(sequence)

    def _advance(self, session: str, sequence: int) -> bool:
        if sequence <= self.last:
            self.left.append(("N", session, sequence, "SEQUENCE"))
            return False
        self.last = sequence
        return True

    def _repeat(self, case: Open, now: int) -> None:
        """repeat_of."""
        name = (case.asked.session, case.asked.sequence)
        if case.busy:
            self.left.append(("N", *name, "BUSY"))
        elif case.sending is None:
            if case.durable and case.stage in ("WAITING", "COMMITTING"):
                self.left.append(("K", *name))
        elif case.stage == "SENDING":
            pass
        elif case.sending is Outcome.REJECT or (case.stage == "SENT" and now < case.opened + CUTOFF and not self.latched):
            self.left.append(("V", *name, case.sending.value))
        else:
            self.left.append(("N", *name, "DEADLINE"))

    def _new(self, asked: Trigger | PartQuery, now: int) -> None:
        busy = self.case is not None and self.case.stage != "SENT"
        if self.case is not None and not busy:
            self._close("SUPERSEDED")
        case = Open(asked, now)
        self.rows.append(("T", asked.sequence))
        whole = isinstance(asked, PartQuery) and self.heals and not self.latched and self.parts.whole(asked)
        if isinstance(asked, PartQuery):
            self.parts.open.pop(asked.part, None)
        else:
            case.known, case.defect_before = self.parts.show(asked)
        if busy:
            self._refuse_busy(case)
            return
        self.case = case
        early, self.early = (None, self.early) if isinstance(asked, PartQuery) else (self.early, None)
        if isinstance(asked, PartQuery):
            self._conclude(Outcome.ACCEPT if whole else Outcome.REJECT)
        elif self._hopeless(case):
            self._conclude(Outcome.REJECT)
        elif early is not None and self._fits(early, asked, now):
            self._judge(case, early[0], now)

    def _fits(self, early: tuple[Report, tuple[bool, str] | None], asked: Trigger, now: int) -> bool:
        """_match_early."""
        report, word = early
        return report.trigger == TriggerId(asked.session, asked.sequence) and now - report.received_ns < BUDGET and word == self.state

    def _refuse_busy(self, case: Open) -> None:
        asked = case.asked
        case.busy, case.stage = True, "CLOSED"
        self.left.append(("N", asked.session, asked.sequence, "BUSY"))
        self.rows += [("V", asked.sequence, "REJECT"), ("D", asked.sequence, "", "REFUSED")]
        self._remember(case)

    def _change_over(self, change: ChangeOver) -> None:
        if self.changed is not None and self.changed[0] == change:
            self.left.append(self.changed[1])
            return
        if not self._advance(change.session, change.sequence):
            return
        refusal = self.parts.change(change.recipe, idle=self.case is None or self.case.stage == "SENT")
        name = (change.session, change.sequence)
        answer: Word = ("N", *name, refusal) if refusal else ("C", *name, change.recipe)
        self.changed = (change, answer)
        self.left.append(answer)

    # the case

    def _hopeless(self, case: Open) -> bool:
        """REFUSED_EARLY, IN_RECIPE, DEFECT."""
        able = self.state is not None and self.silent_ns is not None and self.state[0]
        return not (self.heals and not self.latched and case.known and not case.defect_before and able)

    def _conclude(self, outcome: Outcome) -> None:
        """conclude."""
        assert self.case is not None
        self.rows.append(("V", self.case.asked.sequence, outcome.value))
        if outcome is Outcome.ACCEPT:
            self.case.stage = "COMMITTING"
        else:
            self._prepare(outcome)

    def _prepare(self, outcome: Outcome) -> None:
        """prepare, and withhold with REJECT."""
        assert self.case is not None
        asked = self.case.asked
        self.case.sending, self.case.stage = outcome, "SENDING"
        self.left.append(("V", asked.session, asked.sequence, outcome.value))

    def _judge(self, case: Open, report: Report, now: int) -> None:
        asked = case.asked
        assert isinstance(asked, Trigger)
        fits = report.reason is Reason.OK and (report.part, report.weld) == (asked.part, asked.weld)
        usable = fits and self.state is not None and report.bundle == self.state[1]
        fair = usable and now < case.opened + CUTOFF and not self._hopeless(case)
        case.defect = fair and report.score > report.threshold
        self._conclude(Outcome.ACCEPT if fair and not case.defect else Outcome.REJECT)

    def _reject_hopeless(self) -> None:
        if self.case is not None and self.case.stage == "WAITING" and self._hopeless(self.case):
            self._conclude(Outcome.REJECT)

    def _withhold_commit(self) -> None:
        if self.case is not None and self.case.stage == "COMMITTING":
            self._prepare(Outcome.REJECT)

    def _close(self, done: str) -> None:
        """close_case, and what it means for the part."""
        assert self.case is not None
        case, self.case = self.case, None
        sent = case.sending.value if case.sent is not None and case.sending is not None else ""
        self.rows.append(("D", case.asked.sequence, sent, done))
        case.stage = "CLOSED"
        self.parts.settle(case.asked, defect=case.defect, counts=sent == "ACCEPT" and done == "ACCEPTED")
        self._remember(case)

    def _remember(self, case: Open) -> None:
        self.closed[case.asked.sequence] = case
        while len(self.closed) > HISTORY:
            self.closed.popitem(last=False)

    def _confirmed(self, ack: Ack) -> None:
        """confirmed; the latch is not in gate.pml."""
        case = self.case
        if case is None or case.asked.sequence != ack.sequence or case.sending is None:
            known = self._known(ack.sequence)
            sending = known.sending if known is not None else None
            again = known is not None and sending is not None and (sending, known.done) == (ack.outcome, ack.done)
            never = known is None and ack.sequence > self.last
            if not again and ack.done is Done.ACCEPTED and (never or (known is not None and sending is not Outcome.ACCEPT)):
                self._latch()
            return
        case.done = ack.done
        escaped = ack.done is Done.ACCEPTED and case.sending is not Outcome.ACCEPT
        if ack.outcome is case.sending and not escaped:
            self._close(ack.done.value)
            return
        if escaped:
            self._latch()
        self._close("MISMATCH")
        self._void("SESSION_LOST")

    # latches

    def _latch(self) -> None:
        self.latched = True
        self._withhold_commit()
        if self.case is not None and self.case.stage == "SENDING" and self.case.sending is Outcome.ACCEPT:
            self._prepare(Outcome.REJECT)
        self._reject_hopeless()

    def latched_for(self, _reasons: Sequence[str], _now: int) -> None:
        """The records say so."""
        self._latch()

    def acknowledged(self, _now: int) -> None:
        """A person has looked."""
        self.latched = False
        self.failures.clear()

    # the inspector

    def inspector_up(self, now: int) -> None:
        """Connected, and silent about itself so far."""
        self.connected, self.silent_ns, self.state = True, now + INSPECTOR_SILENCE, None

    def inspector_down(self, _why: str, _now: int) -> None:
        """inspector.killed."""
        self.connected, self.silent_ns, self.state = False, None, None
        self._reject_hopeless()

    def told(self, message: ToGate, now: int) -> None:
        """hears_report, hears_state."""
        if self.connected:
            self.silent_ns = now + INSPECTOR_SILENCE
        if isinstance(message, InspectorState):
            self.state = (message.ready, message.bundle)
            self._reject_hopeless()
        elif isinstance(message, Report):
            self._reported(message, now)
            if message.reason is Reason.ENGINE_FAILED:
                self._failed_engine(now)

    def _reported(self, report: Report, now: int) -> None:
        key, case = report.trigger, self.case
        if key is None or key.session != self.session:
            return
        if case is not None and case.stage == "WAITING" and key.sequence == case.asked.sequence:
            self._judge(case, report, now)
        elif key.sequence > self.last:
            self.early = (report, self.state)

    def _failed_engine(self, now: int) -> None:
        self.failures = [*(at for at in self.failures if now - at < FAILURE_WINDOW), now]
        if len(self.failures) >= FAILURES:
            self.failures.clear()
            self._latch()

    # the records

    def recorded(self, ticket: Ticket, now: int) -> None:
        """trigger_durable, verdict_durable."""
        case = self._find(ticket.key)
        if case is None:
            return
        if ticket.what == "trigger":
            case.durable = True
            if case.stage in ("WAITING", "COMMITTING"):
                self.left.append(("K", *_key(ticket.key)))
        elif case.stage == "COMMITTING":
            self._prepare(Outcome.ACCEPT if now < case.opened + CUTOFF and self.heals else Outcome.REJECT)

    def record_failed(self, ticket: Ticket | None, _why: str, _now: int) -> None:
        """disk_failed."""
        self.heals = False
        if ticket is None or self._find(ticket.key) is not None:
            self._withhold_commit()
        self._reject_hopeless()

    def store_back(self, _now: int) -> None:
        """disk_back."""
        self.heals = True

    # time

    def tick(self, now: int) -> None:
        """inspector_silent, no_frame, record_late, robot_silent, resends, ack_timeout."""
        if self.silent_ns is not None and now >= self.silent_ns:
            self.silent_ns = None
            self._reject_hopeless()
        if self.case is not None and now >= self.case.opened + CUTOFF:
            if self.case.stage == "WAITING":
                self._conclude(Outcome.REJECT)
            self._withhold_commit()
        if self.session is not None and now >= self.robot_ns + SILENCE:
            self._void("SESSION_LOST")
        if self.case is not None and self.case.stage == "SENT":
            self._press(self.case, now)

    def _press(self, case: Open, now: int) -> None:
        cutoff = case.opened + CUTOFF
        since = case.opened + BUDGET if case.sent is None else case.sent
        silenced = self.latched and case.sending is Outcome.ACCEPT
        if now >= since + ACK_TIMEOUT:
            self._close("TIMEOUT")
        elif case.sent is not None and case.resend < cutoff and not silenced and now >= case.resend:
            case.resend += RESEND
            if now < cutoff and case.sending is not None:
                self.left.append(("V", case.asked.session, case.asked.sequence, case.sending.value))

    def stop(self, _now: int) -> None:
        """gate.stopped."""
        if self.case is not None and self.case.stage == "WAITING":
            self._conclude(Outcome.REJECT)
        self._withhold_commit()

    def close(self, _now: int) -> None:
        """gate.stopped, the rest of it."""
        self._void("GATE_RESTARTED")


def _key(key: TriggerId) -> tuple[str, int]:
    return key.session, key.sequence
