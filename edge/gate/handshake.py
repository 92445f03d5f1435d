"""The handshake profile: hello with nonces, trigger, verdict, confirmation, and heartbeats both ways."""

from __future__ import annotations

from collections.abc import Callable

from edge.contract import Expect, Outcome, Reason, Report, TriggerId
from edge.gate import messages
from edge.gate.case import Case, Discard, Record, Stage, Tell, Ticket
from edge.gate.messages import Ack, Done, Heartbeat, Hello, Message, Nak, Refusal, State, Trigger, TriggerAck
from edge.gate.rows import Disposition
from edge.gate.session import NS_PER_MS, GateSession, Settings, reply
from edge.gate.verdict import Asked, Decision, refuse_early

NO_SESSION = "0" * 16


class HandshakeSession(GateSession):
    """The robot is master: the gate answers, and never sends a verdict nobody asked for."""

    def __init__(self, settings: Settings, nonce: Callable[[], str]) -> None:
        super().__init__(settings, nonce)
        self._robot_nonce = ""
        self._hello = Hello(nonce="00000000")
        self._last = 0
        """Highest sequence of this session."""
        self._robot_ns = 0
        self._robot_counter: int | None = None
        self._beat_ns = 0
        self._beats = 0
        self._early: Report | None = None

    def next_ns(self, now_ns: int) -> int:
        """When `tick` is due at the latest."""
        due = [super().next_ns(now_ns)]
        if self.session is not None:
            due += [self._beat_ns, self._robot_ns + self.settings.silence_ns]
        for case in self._cases.values():
            if case.stage is Stage.SENT:
                due += [self._ack_due_ns(case), case.resend_ns] if self._may_resend(case) else [self._ack_due_ns(case)]
        return min(due)

    def received(self, message: Message, now_ns: int) -> None:
        """A whole message of the robot."""
        if isinstance(message, Hello):
            self._hello_from(message, now_ns)
            return
        session = getattr(message, "session", NO_SESSION)
        sequence = getattr(message, "sequence", 0)
        if self.session is None or session != self.session:
            self.note("session", Reason.SESSION_LOST, f"{type(message).__name__} for session {session}, open is {self.session}", now_ns)
            self._nak(session, sequence, Refusal.SESSION, now_ns)
            return
        if not isinstance(message, Heartbeat) or message.counter != self._robot_counter:
            self._robot_ns = now_ns
        if isinstance(message, Heartbeat):
            self._robot_counter = message.counter
        elif isinstance(message, Trigger):
            self._triggered(message, now_ns)
        elif isinstance(message, Ack):
            self._confirmed(message, now_ns)

    def tick(self, now_ns: int) -> None:
        """Do what is due."""
        super().tick(now_ns)
        if self.session is None:
            return
        if now_ns >= self._robot_ns + self.settings.silence_ns:
            self._end_session("the robot's heartbeat stopped", now_ns)
            return
        for case in list(self._cases.values()):
            if case.stage is Stage.SENT:
                self._press(case, now_ns)
        if now_ns >= self._beat_ns:
            self._heartbeat(now_ns)

    # session

    def _hello_from(self, hello: Hello, now_ns: int) -> None:
        refusal = self._objection(hello)
        if refusal is not None:
            self.note("session", Reason.SESSION_LOST, f"hello refused ({refusal.value}): {hello}", now_ns)
            self._nak(hello.nonce + "0" * 8, 0, refusal, now_ns)
            return
        if self.session is None or hello.nonce != self._robot_nonce:
            self._begin(hello, now_ns)
        self._actions.append(reply(self._hello, now_ns, self.settings))
        self._heartbeat(now_ns)

    def _objection(self, hello: Hello) -> Refusal | None:
        if not (hello.major >= messages.LOWEST_MAJOR and hello.lowest <= messages.MAJOR) or hello.must & ~messages.KNOWN_FEATURES:
            return Refusal.VERSION
        if hello.profile != "H":
            return Refusal.PROFILE
        if 0 < hello.deadline_ms * NS_PER_MS < self.settings.budget_ns:
            return Refusal.DEADLINE
        return None

    def _begin(self, hello: Hello, now_ns: int) -> None:
        if self.session is not None:
            self._end_session("the robot opened a new session", now_ns)
        own = self._nonce()
        self._robot_nonce, self._robot_ns, self._robot_counter = hello.nonce, now_ns, None
        self.session, self._last, self._early = hello.nonce + own, 0, None
        budget_ms = min(0xFFFF, self.settings.budget_ns // NS_PER_MS)
        self._hello = Hello(nonce=own, peer=hello.nonce, deadline_ms=budget_ms)
        self.note("session", None, f"session {self.session}, robot protocol {hello.major}.{hello.minor}", now_ns)

    def _end_session(self, why: str, now_ns: int) -> None:
        self.note("session", Reason.SESSION_LOST, why, now_ns)
        self._void(Disposition.SESSION_LOST, why, now_ns)
        self._actions.append(Discard())

    def _heartbeat(self, now_ns: int) -> None:
        assert self.session is not None
        self._beats = (self._beats + 1) & 0xFFFF
        bundle = self.inspector.bundle[:8] if self.inspector and self.inspector.bundle else "0" * 8
        beat = Heartbeat(session=self.session, state=self._own_state(now_ns), counter=self._beats, bundle=bundle)
        self._actions.append(reply(beat, now_ns, self.settings))
        self._beat_ns = now_ns + self.settings.heartbeat_ns

    def _own_state(self, now_ns: int) -> State:
        if not self.idle:
            return State.BUSY
        assert self.session is not None
        probe = Asked(session=self.session, sequence=1, part="-", weld="-", typology=None, by="trigger")
        refused = refuse_early(self._facts(Case(asked=probe, opened_ns=now_ns, cutoff_ns=now_ns, deadline_ns=now_ns), None, now_ns))
        if refused is None:
            return State.READY
        return State.WAIT if refused.reason is Reason.NOT_READY else State.FAULT

    def _nak(self, session: str, sequence: int, reason: Refusal, now_ns: int) -> None:
        self._actions.append(reply(Nak(session=session, sequence=sequence, reason=reason), now_ns, self.settings))

    # triggers

    def _triggered(self, trigger: Trigger, now_ns: int) -> None:
        known = self._cases.get(trigger.sequence) or self._closed.get(trigger.sequence)
        asked = Asked(
            session=trigger.session,
            sequence=trigger.sequence,
            part=trigger.part,
            weld=trigger.weld,
            typology=trigger.typology,
            by="trigger",
        )
        if known is not None and known.asked == asked:
            self._repeat(known, now_ns)
        elif trigger.sequence <= self._last:
            self.note("trigger", Reason.FRAME_UNBOUND, f"sequence {trigger.sequence} was used before, last is {self._last}", now_ns)
            self._nak(trigger.session, trigger.sequence, Refusal.SEQUENCE, now_ns)
        else:
            self._new_trigger(asked, now_ns)

    def _new_trigger(self, asked: Asked, now_ns: int) -> None:
        if asked.sequence != self._last + 1:
            missing = asked.sequence - self._last - 1
            self.note("trigger", Reason.NO_FRAME, f"{missing} triggers before {asked.sequence} never arrived", now_ns, count=missing)
        self._last = asked.sequence
        if not self.idle:
            self._refuse_busy(asked, now_ns)
            return
        for case in list(self._cases.values()):
            self._close(case, Disposition.SUPERSEDED, "the next trigger came before the confirmation", now_ns)
        case = self._open(asked, now_ns)
        self._last_refused = ""
        early, self._early = self._early, None
        decision = refuse_early(self._facts(case, None, now_ns))
        if decision is not None:
            self._conclude(case, decision, None, now_ns, rows=(case.trigger_row(),))
            return
        self._actions.append(Record((case.trigger_row(),), Ticket("trigger", case.key)))
        if early is not None:
            self._match_early(early, case, now_ns)
        if case.stage is Stage.WAITING:
            expect = Expect(TriggerId(asked.session, asked.sequence), asked.part, asked.weld, asked.typology)
            self._actions.append(Tell(expect))

    def _refuse_busy(self, asked: Asked, now_ns: int) -> None:
        case = self._open(asked, now_ns)
        case.refused_busy, case.stage = True, Stage.SENT
        decision = Decision(Outcome.REJECT, Reason.BUSY, "another trigger is open")
        self._nak(asked.session, asked.sequence, Refusal.BUSY, now_ns)
        self._write(case.trigger_row(), case.verdict_row(decision, None, now_ns))
        self._close(case, Disposition.REFUSED, "answered with NAK BUSY", now_ns)

    def _repeat(self, case: Case, now_ns: int) -> None:
        """The robot sent the same trigger again: the same answer, but never an ACCEPT after its time or its disposition."""
        key = case.key
        if case.refused_busy:
            self._nak(key.session, key.sequence, Refusal.BUSY, now_ns)
        elif case.stage in (Stage.WAITING, Stage.COMMITTING):
            if case.trigger_durable:
                self._trigger_durable(case, now_ns)
        elif case.stage is Stage.SENDING or case.sending is None:
            return
        elif case.sending.outcome is not Outcome.ACCEPT:
            self._actions.append(case.resend(now_ns + self.settings.heartbeat_ns))
        elif case.stage is Stage.SENT and now_ns < case.cutoff_ns:
            self._actions.append(case.resend(case.deadline_ns))
        else:
            self._nak(key.session, key.sequence, Refusal.DEADLINE, now_ns)

    def _trigger_durable(self, case: Case, now_ns: int) -> None:
        if case.stage in (Stage.WAITING, Stage.COMMITTING):
            ack = TriggerAck(session=case.key.session, sequence=case.key.sequence)
            self._actions.append(reply(ack, now_ns, self.settings))

    # frames

    def _reported(self, report: Report, now_ns: int) -> None:
        named = report.trigger
        if named is None or named.session != self.session:
            self._unbound(report, now_ns)
            return
        case = self._cases.get(named.sequence)
        if case is not None and case.stage is Stage.WAITING:
            self._judge(case, report, now_ns)
        elif named.sequence > self._last:
            if self._early is not None:
                self._unbound(self._early, now_ns)
            self._early = report
        else:
            text = f"frame {report.counter} for trigger {named.sequence}, which is closed"
            self.note("frame", Reason.FRAME_LATE, text, now_ns, camera=report.camera)

    def _match_early(self, report: Report, case: Case, now_ns: int) -> None:
        """The camera may be quicker than the serial line: a report that names exactly this trigger was kept for it."""
        assert report.trigger is not None
        fresh = now_ns - report.received_ns < self.settings.budget_ns
        if report.trigger.sequence == case.key.sequence and fresh:
            self._judge(case, report, now_ns)
        else:
            self._unbound(report, now_ns)

    def _unbound(self, report: Report, now_ns: int) -> None:
        reason = Reason.FRAME_UNBOUND if report.reason is Reason.OK else report.reason
        self._last_refused = f"{reason.value} frame {report.counter} of {report.camera} {report.detail}"
        self.note("frame", reason, f"frame {report.counter} names {report.trigger}: {report.detail}", now_ns, camera=report.camera)

    # after the verdict

    def _after_sending(self, case: Case, now_ns: int) -> None:
        case.resend_ns = now_ns + self.settings.resend_ns

    def _ack_due_ns(self, case: Case) -> int:
        return (case.sent_ns or case.deadline_ns) + self.settings.ack_timeout_ns

    def _may_resend(self, case: Case) -> bool:
        return case.sent_ns is not None and case.resend_ns < case.cutoff_ns

    def _press(self, case: Case, now_ns: int) -> None:
        if now_ns >= self._ack_due_ns(case):
            self.note("ack", Reason.DEADLINE, f"trigger {case.key.sequence}: the robot did not confirm", now_ns)
            self._close(case, Disposition.TIMEOUT, "the robot did not confirm", now_ns)
        elif self._may_resend(case) and now_ns >= case.resend_ns:
            case.resend_ns += self.settings.resend_ns
            if now_ns < case.cutoff_ns:
                self._actions.append(case.resend(case.deadline_ns))

    def _confirmed(self, ack: Ack, now_ns: int) -> None:
        case = self._cases.get(ack.sequence)
        if case is None or case.stage not in (Stage.SENDING, Stage.SENT) or case.sending is None:
            self._confirmed_closed(ack, now_ns)
            return
        sent = case.sending.outcome
        case.done = ack.done
        if ack.outcome is not sent or (ack.done is Done.ACCEPTED and sent is not Outcome.ACCEPT):
            text = f"sent {sent.value}, the robot read {ack.outcome.value} and says {ack.done.value}"
            self._close(case, Disposition.MISMATCH, text, now_ns)
            self._end_session(f"confirmation of trigger {ack.sequence} contradicts the verdict: {text}", now_ns)
            return
        self._close(case, Disposition(ack.done.value), "", now_ns)

    def _confirmed_closed(self, ack: Ack, now_ns: int) -> None:
        known = self._closed.get(ack.sequence)
        if known is not None and known.sending is not None and (known.sending.outcome, known.done) == (ack.outcome, ack.done):
            return
        self.note("ack", Reason.DEADLINE, f"confirmation of trigger {ack.sequence} ({ack.done.value}) is late or unasked", now_ns)
