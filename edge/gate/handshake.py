"""The handshake profile: trigger, verdict and confirmation, change-over and part verdict; the robot is master."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from edge.contract import Expect, InspectorState, Outcome, Reason, Report
from edge.gate.case import Case, Record, Stage, Tell, Ticket
from edge.gate.casework import event_row
from edge.gate.messages import Ack, ChangeOver, Done, Message, Nak, PartQuery, Refusal, Trigger, TriggerAck
from edge.gate.parts import PartFacts, Parts, decide_part, notes_of
from edge.gate.recipe import Recipe
from edge.gate.robot_session import RobotSession
from edge.gate.rows import Disposition
from edge.gate.settings import Settings
from edge.gate.verdict import Asked, Decision, refuse_early

if TYPE_CHECKING:
    from edge.gate.challenge import Challenges  # loaded where the rule is configured


class HandshakeSession(RobotSession):
    """The gate answers, and never sends a verdict nobody asked for."""

    def __init__(
        self,
        settings: Settings,
        nonce: Callable[[], str],
        recipes: Mapping[str, Recipe] | None = None,
        challenges: Challenges | None = None,
    ) -> None:
        """`nonce` gives 8 fresh random hex digits.

        Without `recipes` welds are judged one by one and no part has a verdict; without `challenges` no challenge parts are asked for.
        """
        super().__init__(settings, nonce, recipes, challenges)
        self._early_word: tuple[object, ...]
        """What the inspector said of itself when the report came that is kept for its trigger."""
        self._changed: tuple[ChangeOver, ChangeOver | Nak] | None = None
        """The last change-over and its answer."""

    def next_ns(self, now_ns: int) -> int:
        """When `tick` is due at the latest."""
        due = [super().next_ns(now_ns)]
        for case in self._cases.values():
            if case.stage is Stage.SENT:
                due += [self._ack_due_ns(case), case.resend_ns] if self._may_resend(case) else [self._ack_due_ns(case)]
        return min(due)

    def tick(self, now_ns: int) -> None:
        """Do what is due."""
        super().tick(now_ns)
        for case in list(self._cases.values()):
            if case.stage is Stage.SENT:
                self._press(case, now_ns)

    def _asked(self, message: Message, now_ns: int) -> None:
        if isinstance(message, Trigger | PartQuery):
            known = self._cases.get(message.sequence) or self._closed.get(message.sequence)
            if known is not None and known.heard == message:
                self._repeat(known, now_ns)
            elif self._advance(message.sequence, now_ns):
                self._case_for(message, now_ns)
        elif isinstance(message, ChangeOver):
            self._change_over(message, now_ns)
        elif isinstance(message, Ack):
            self._confirmed(message, now_ns)

    def _advance(self, sequence: int, now_ns: int) -> bool:
        """A new sequence is above the last one; anything else was used before and is refused."""
        if sequence <= self._last:
            self.note("trigger", Reason.FRAME_UNBOUND, f"sequence {sequence} was used before, last is {self._last}", now_ns)
            self._nak(self.session or "", sequence, Refusal.SEQUENCE, now_ns)
            return False
        missing = sequence - self._last - 1
        if missing:
            self.note("trigger", Reason.NO_FRAME, f"{missing} triggers before {sequence} never arrived", now_ns, count=missing)
        self._last = sequence
        return True

    # triggers and part queries

    def _case_for(self, message: Trigger | PartQuery, now_ns: int) -> None:
        """A message that was not heard before opens a case, if there may be one for it."""
        if isinstance(message, Trigger):
            self._trigger(message, now_ns)
        elif self._parts is not None:
            self._part_query(message, self._parts, now_ns)
        else:
            self.note("part", Reason.RECIPE, f"a query for part {message.part}, but no recipes are configured", now_ns)
            self._nak(message.session, message.sequence, Refusal.RECIPE, now_ns)

    def _opened(self, message: Trigger | PartQuery, now_ns: int) -> tuple[Case, bool]:
        """Its case; True: another one waits for its verdict, so that this one is to be refused."""
        busy = not self.idle
        if not busy:
            for case in list(self._cases.values()):
                self._close(case, Disposition.SUPERSEDED, "the next trigger came before the confirmation", now_ns)
        case = self._open(self._asked_by(message), now_ns)
        case.heard = message
        if self._parts is not None:
            case.recipe = self._parts.active
        return case, busy

    def _asked_by(self, message: Trigger | PartQuery) -> Asked:
        part = isinstance(message, PartQuery)
        recipe = self._parts.recipe if self._parts is not None else None
        planned = recipe.typology(message.weld) if isinstance(message, Trigger) and recipe is not None else None
        return Asked(
            session=message.session,
            sequence=message.sequence,
            part=message.part,
            weld="" if isinstance(message, PartQuery) else message.weld,
            typology=None if isinstance(message, PartQuery) else message.typology or planned,
            by="part" if part else "trigger",
        )

    def _trigger(self, trigger: Trigger, now_ns: int) -> None:
        case, busy = self._opened(trigger, now_ns)
        self._show(case, now_ns, busy=busy)
        if self._parts is not None:
            case.plan = self._parts.plan(trigger, challenge=case.shown is not None)
            if case.shown is None:
                self._parts.show(trigger)
        if busy:
            self._refuse_busy(case, now_ns)
            return
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
            asked = case.asked
            self._actions.append(Tell(Expect(case.key, asked.part, asked.weld, asked.typology)))

    def _part_query(self, query: PartQuery, parts: Parts, now_ns: int) -> None:
        case, busy = self._opened(query, now_ns)
        facts = self._part_facts(case, query, parts, now_ns)
        parts.end(query)
        if busy:
            self._refuse_busy(case, now_ns)
        else:
            self._judge_part(case, query, facts, now_ns)

    def _part_facts(self, case: Case, query: PartQuery, parts: Parts, now_ns: int) -> PartFacts:
        return PartFacts(
            now_ns=now_ns,
            cutoff_ns=case.cutoff_ns,
            session=self.session if self._link else None,
            asked=case.asked,
            store_healthy=self.store_healthy,
            latched=self.latched,
            recipe=parts.active or None,
            named=query.recipe,
            welds=len(parts.welds),
            accepted=parts.accepted(query.part),
            missing=parts.missing(query.part),
            challenge=self._challenges.duty(case.asked, now_ns) if self._challenges is not None else None,
        )

    def _judge_part(self, case: Case, query: PartQuery, facts: PartFacts, now_ns: int) -> None:
        case.missing = tuple(weld for weld, _ in facts.missing)
        decision = decide_part(facts)
        notes = notes_of(facts.missing)[decision.reason is Reason.WELDS_MISSING :] if facts.missing else []
        rows = [event_row("part", Reason.WELDS_MISSING, f"part {query.part}, query {query.sequence}: {note}", now_ns) for note in notes]
        self._conclude(case, decision, None, now_ns, rows=(case.trigger_row(), *rows))

    def _refuse_busy(self, case: Case, now_ns: int) -> None:
        case.refused_busy, case.stage = True, Stage.SENT
        case.decided = Decision(Outcome.REJECT, Reason.BUSY, "another trigger is open")
        self._nak(case.key.session, case.key.sequence, Refusal.BUSY, now_ns)
        self._write(case.trigger_row(), case.verdict_row(case.decided, None, now_ns))
        self._close(case, Disposition.REFUSED, "answered with NAK BUSY", now_ns)

    def _repeat(self, case: Case, now_ns: int) -> None:
        """The robot sent the same trigger again: the same answer, but never an ACCEPT after its time or its disposition."""
        if case.refused_busy:
            self._nak(case.key.session, case.key.sequence, Refusal.BUSY, now_ns)
        elif case.sending is None:
            if case.trigger_durable:
                self._trigger_durable(case, now_ns)
        elif case.stage is not Stage.SENDING:
            self._answer_again(case, case.sending, now_ns)

    def _answer_again(self, case: Case, sent: Decision, now_ns: int) -> None:
        if sent.outcome is not Outcome.ACCEPT:
            self._actions.append(case.resend(now_ns + self.settings.heartbeat_ns))
        elif case.stage is Stage.SENT and now_ns < case.cutoff_ns and not self.latched:
            self._actions.append(case.resend(case.deadline_ns))
        else:
            self._nak(case.key.session, case.key.sequence, Refusal.DEADLINE, now_ns)

    def _trigger_durable(self, case: Case, now_ns: int) -> None:
        if case.stage in (Stage.WAITING, Stage.COMMITTING):
            self._reply(TriggerAck(session=case.key.session, sequence=case.key.sequence), now_ns)

    def _after_closing(self, case: Case, done: Disposition) -> None:
        if self._parts is not None and case.asked.by == "trigger":
            self._parts.settle(case.asked, case.decided, case.sending if case.sent_ns is not None else None, done)

    # change-over

    def _change_over(self, change: ChangeOver, now_ns: int) -> None:
        if self._changed is not None and self._changed[0] == change:
            self._reply(self._changed[1], now_ns)
            return
        if not self._advance(change.sequence, now_ns):
            return
        refusal = self._no_change_over(change)
        open_parts = self._parts.open if self._parts is not None else ()
        text = f"change-over to {change.recipe}" + (f" refused: {refusal.value}, open parts: {', '.join(open_parts)}" if refusal else "")
        self._event("recipe", Reason.RECIPE if refusal else None, text, now_ns)
        if refusal is None and self._challenges is not None:
            self._challenges.recipe_is(change.recipe, changed_over=True)
            self._tell_challenges(now_ns)
        answer = Nak(session=change.session, sequence=change.sequence, reason=refusal) if refusal else change
        self._changed = (change, answer)
        self._reply(answer, now_ns)

    def _no_change_over(self, change: ChangeOver) -> Refusal | None:
        if self._parts is None:
            return Refusal.RECIPE
        return self._parts.change_over(change.recipe) if self.idle else Refusal.PART

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
            self._early, self._early_word = report, _word(self.inspector)
        else:
            text = f"frame {report.counter} for trigger {named.sequence}, which is closed"
            self.note("frame", Reason.FRAME_LATE, text, now_ns, camera=report.camera)

    def _match_early(self, report: Report, case: Case, now_ns: int) -> None:
        """The camera may be quicker than the serial line: a report that names exactly this trigger was kept for it.

        What the inspector said of itself when it reported must still hold: it may since have become ready, or have another bundle.
        """
        fresh = now_ns - report.received_ns < self.settings.budget_ns and self._early_word == _word(self.inspector)
        if report.trigger == case.key and fresh:
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
        silenced = bool(self.latched) and case.sending is not None and case.sending.outcome is Outcome.ACCEPT
        return case.sent_ns is not None and case.resend_ns < case.cutoff_ns and not silenced

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
        if case is None or case.sending is None:
            self._confirmed_closed(ack, now_ns)
            return
        sent = case.sending.outcome
        case.done = ack.done
        let_pass = ack.done is Done.ACCEPTED and sent is not Outcome.ACCEPT
        if ack.outcome is sent and not let_pass:
            self._close(case, Disposition(ack.done.value), "", now_ns)
            return
        text = f"sent {sent.value}, the robot read {ack.outcome.value} and says {ack.done.value}"
        if let_pass:
            self._escaped(case, text, now_ns)
        self._close(case, Disposition.MISMATCH, text, now_ns)
        self._end_session(f"confirmation of trigger {ack.sequence} contradicts the verdict: {text}", now_ns)

    def _confirmed_closed(self, ack: Ack, now_ns: int) -> None:
        """A confirmation of nothing that waits for one: harmless as a repetition, alarming when the robot let a part pass unasked."""
        known = self._cases.get(ack.sequence) or self._closed.get(ack.sequence)
        sent = known.sending.outcome if known is not None and known.sending is not None else None
        if known is not None and sent is not None and (sent, known.done) == (ack.outcome, ack.done):
            return
        self.note("ack", Reason.DEADLINE, f"confirmation of trigger {ack.sequence} ({ack.done.value}) is late or unasked", now_ns)
        never_asked = known is None and ack.sequence > self._last
        if ack.done is Done.ACCEPTED and (never_asked or (known is not None and sent is not Outcome.ACCEPT)):
            self._escaped(known, f"sent {sent.value if sent else 'nothing'}, the robot says {ack.done.value}", now_ns)

    def _escaped(self, case: Case | None, text: str, now_ns: int) -> None:
        """The robot says that it let a part pass which the gate did not accept: a bad weld may be on its way."""
        what = f"{case.asked.part} {case.asked.weld}, trigger {case.key.sequence}" if case else "a trigger nobody heard of"
        self._latch(f"possible escape in session {self.session}: {what}: {text}", now_ns)


def _word(state: InspectorState | None) -> tuple[object, ...]:
    """What an inspector says of itself that a verdict rests on."""
    if state is None:
        return ()
    return state.pid, state.ready, state.fault_reason, state.known_answers, state.camera_alive, state.bundle, state.typologies, state.config
