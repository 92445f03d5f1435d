"""What every session does with its cases: open, decide once, send, record, close; pure, as everything in a session."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import TYPE_CHECKING

from edge.contract import InspectorState, Outcome, Reason, Report, TriggerId
from edge.gate.case import Action, Case, Kept, Latch, Record, Send, Shown, Stage, Tell, Ticket, Withdraw
from edge.gate.events import EventBook
from edge.gate.latches import Latches
from edge.gate.maps import with_map
from edge.gate.messages import Message
from edge.gate.rows import Disposition, EventRow, Row
from edge.gate.settings import Settings
from edge.gate.verdict import Asked, Decision, Facts, decide, finding, refuse_early

if TYPE_CHECKING:
    from edge.gate.challenge import Challenges  # loaded where the rule is configured

HISTORY = 64
"""Closed triggers remembered for repeats."""


class CaseWork(ABC):
    """The state of one session and the steps that both link profiles share. Times are CLOCK_MONOTONIC ns."""

    def __init__(self, settings: Settings, challenges: Challenges | None = None) -> None:
        """Without `challenges` no challenge parts are asked for."""
        self.settings = settings
        self.session: str | None = None
        self.configs: tuple[str, ...] = ()
        """As `Facts.configs`: the gate's own first. As long as nobody sets it, nothing is accepted."""
        self.store_healthy = True
        self.inspector: InspectorState | None
        self._silent_ns: int | None
        """When the inspector counts as silent; None: it does already, or none is connected."""
        self._latches = Latches(settings.latch_noise)
        self._link = False
        self._last_refused: str
        """The last frame of no use since the trigger that waits was opened, which sets it."""
        self._cases: OrderedDict[int, Case] = OrderedDict()
        self._closed: OrderedDict[int, Case] = OrderedDict()
        self._challenges = challenges
        self._events = EventBook()
        self._actions: list[Action] = []

    @property
    def latched(self) -> tuple[str, ...]:
        """Why nothing is accepted until a person has acknowledged it; empty when nothing is latched."""
        return self._latches.reasons

    @property
    def idle(self) -> bool:
        """True while no trigger waits for its verdict."""
        return all(case.stage is Stage.SENT for case in self._cases.values())

    def note(self, kind: str, reason: Reason | None, detail: str, now_ns: int, *, camera: str = "", count: int = 1) -> None:
        """Record an event, at most one row a second for equal ones."""
        row = self._events.note(kind, reason, detail, now_ns, camera=camera, count=count)
        if row is not None:
            self._write(row)

    def _event(self, kind: str, reason: Reason | None, detail: str, now_ns: int) -> None:
        """Record an event in a row of its own, which no equal one may swallow."""
        self._write(event_row(kind, reason, detail, now_ns))

    def _write(self, *rows: Row) -> None:
        if rows:
            self._actions.append(Record(rows))

    def _reply(self, message: Message, now_ns: int) -> None:
        """Send anything but a verdict: worth it for one heartbeat interval."""
        self._actions.append(Send(message, now_ns + self.settings.heartbeat_ns))

    def _open(self, asked: Asked, opened_ns: int) -> Case:
        deadline_ns = opened_ns + self.settings.budget_ns
        case = Case(asked=asked, opened_ns=opened_ns, cutoff_ns=deadline_ns - self.settings.margin_ns, deadline_ns=deadline_ns)
        self._cases[asked.sequence] = case
        return case

    def _facts(self, case: Case, report: Report | None, now_ns: int) -> Facts:
        return Facts(
            now_ns=now_ns,
            cutoff_ns=case.cutoff_ns,
            session=self.session if self._link else None,
            asked=case.asked if case.stage is Stage.WAITING else None,
            report=report,
            inspector=self.inspector,
            inspector_alive=self._silent_ns is not None,
            configs=self.configs,
            pinned=self.settings.pinned,
            store_healthy=self.store_healthy,
            latched=self.latched,
            plan=case.plan,
            challenge=self._challenges.duty(case.asked, now_ns) if self._challenges is not None else None,
        )

    def _judge(self, case: Case, report: Report, now_ns: int, *, rows: tuple[Row, ...] = ()) -> None:
        facts = self._facts(case, report, now_ns)
        self._conclude(case, decide(facts), report, now_ns, rows=rows)
        if case.shown is not None:
            self._challenge_judged(case, facts, now_ns)

    def _conclude(self, case: Case, decision: Decision, report: Report | None, now_ns: int, *, rows: tuple[Row, ...] = ()) -> None:
        """The one decision of a case; ACCEPT waits for its record, anything else leaves first."""
        if case.stage is not Stage.WAITING:
            return
        case.decided = decision
        row, why = with_map(case.verdict_row(decision, report, now_ns), report)
        rows = (*rows, row)
        if decision.outcome is Outcome.ACCEPT:
            case.stage = Stage.COMMITTING
            self._actions.append(Record(rows, Ticket("verdict", case.key)))
        else:
            self._actions.append(case.prepare(decision))
            self._actions.append(Record(rows))
        if why:
            self.note("map", None, why, now_ns)

    def _withhold(self, case: Case, reason: Reason, now_ns: int) -> None:
        why = {
            Reason.RECORD_LATE: "its record was not durable before the deadline",
            Reason.RECORD_FAULT: "its record could not be written",
            Reason.LATCHED: "; ".join(self.latched),
        }.get(reason, "the gate was stopped")
        self._actions.append(case.prepare(case.withhold(reason, why)))
        self.note("records", reason, f"trigger {case.key.sequence}: {case.note}", now_ns)

    def _no_frame(self, case: Case, now_ns: int) -> None:
        decision = decide(self._facts(case, None, now_ns))
        if decision.reason is Reason.NO_FRAME and self._last_refused:
            decision = decision._replace(detail=f"{decision.detail}; last refused: {self._last_refused}")
        self._conclude(case, decision, None, now_ns)

    def _reject_hopeless(self, now_ns: int) -> None:
        for case in list(self._cases.values()):
            if case.stage is Stage.WAITING:
                decision = refuse_early(self._facts(case, None, now_ns))
                if decision is not None:
                    self._conclude(case, decision, None, now_ns)

    def _latch(self, why: str, now_ns: int) -> None:
        """Accept nothing more until a person has looked; what is under way is rejected."""
        if not self._latches.add(why):
            return
        self._actions.append(Latch(why))
        self.note("latch", Reason.LATCHED, why, now_ns)
        self._obey_latch(now_ns)

    def _obey_latch(self, now_ns: int) -> None:
        for case in list(self._cases.values()):
            accepting = case.sending is not None and case.sending.outcome is Outcome.ACCEPT
            if accepting:
                self._withdraw(case)
            if case.stage is Stage.COMMITTING or (accepting and case.stage is Stage.SENDING):
                self._withhold(case, Reason.LATCHED, now_ns)
        self._reject_hopeless(now_ns)

    def _withdraw(self, case: Case) -> None:
        """Nothing more of this verdict may leave: neither what waits for the line nor what was asked for in this very step."""
        self._actions = [action for action in self._actions if not (isinstance(action, Send) and action.key == case.key)]
        self._actions.append(Withdraw(case.key))

    def _void(self, done: Disposition, why: str, now_ns: int) -> None:
        """End the session: every trigger still without a disposition gets one, and nothing more is sent in its name."""
        # A verdict that was asked for in this very step has not left: with its session over, it must not.
        self._actions = [action for action in self._actions if not (isinstance(action, Send) and action.key is not None)]
        for case in list(self._cases.values()):
            if case.stage is Stage.WAITING:
                lost = Reason.SESSION_LOST if done is Disposition.SESSION_LOST else Reason.GATE_RESTARTED
                self._write(case.verdict_row(Decision(Outcome.NO_VERDICT, lost, why), None, now_ns))
            elif case.stage is Stage.COMMITTING:
                case.note = "ACCEPT withheld: the session ended first"
            self._close(case, done, why, now_ns)
        self.session = None
        self._closed.clear()
        if self._challenges is not None:
            self._challenges.session_ended()

    # challenge parts

    def _show(self, case: Case, now_ns: int, *, busy: bool = False) -> None:
        """A weld is in front of the robot: is it one of the challenge, which is no part of production?"""
        if self._challenges is None:
            return
        if busy:
            role = self._challenges.role(case.asked)
            case.shown = Shown(role=role, epoch=-1, wall_ns=0) if role else None
        else:
            case.shown = self._challenges.show(case.asked)
        self._tell_challenges(now_ns)

    def _challenge_judged(self, case: Case, facts: Facts, now_ns: int) -> None:
        assert self._challenges is not None
        case.judged_good = finding(facts)
        self._challenges.judged(case)
        self._tell_challenges(now_ns)

    def _tell_challenges(self, now_ns: int) -> None:
        """Record, keep and obey what the rule of the challenge parts has to say."""
        if self._challenges is None:
            return
        for said in self._challenges.take():
            if isinstance(said, Kept):
                self._actions.append(said)
                continue
            self._event("challenge", Reason.CHALLENGE if said.alarm else None, said.text, now_ns)
            if said.latch:
                self._distrust()
                self._latch(said.text, now_ns)

    def _distrust(self) -> None:  # noqa: B027 - the push profile knows no parts
        """A challenge failed: what was accepted before may be bad."""

    def _close(self, case: Case, done: Disposition, detail: str, now_ns: int) -> None:
        if case.stage is Stage.CLOSED:
            return
        self._write(case.disposition_row(done, detail, now_ns))
        case.stage = Stage.CLOSED
        self._after_closing(case, done)
        if case.shown is not None and self._challenges is not None:
            self._challenges.settle(case, done, now_ns)
            self._tell_challenges(now_ns)
        if case.frame is not None:
            self._actions.append(Tell(case.settled()))
        self._cases.pop(case.key.sequence, None)
        self._closed[case.key.sequence] = case
        while len(self._closed) > HISTORY:
            self._closed.popitem(last=False)

    def _find(self, key: TriggerId) -> Case | None:
        return next((case for case in self._cases.values() if case.key == key), None)

    @abstractmethod
    def _after_sending(self, case: Case, now_ns: int) -> None:
        """The verdict's last byte was handed over."""

    def _after_closing(self, case: Case, done: Disposition) -> None:  # noqa: B027 - the push profile knows no parts
        """The case has its disposition."""

    def _trigger_durable(self, case: Case, now_ns: int) -> None:  # noqa: B027 - the push profile has nobody to tell
        """The trigger's own row is durable."""


def event_row(kind: str, reason: Reason | None, detail: str, now_ns: int) -> EventRow:
    """A row of its own, which no other event may swallow."""
    return EventRow(kind=kind, reason=reason.value if reason else "", detail=detail, camera="", count=1, first_ns=now_ns, at_ns=now_ns)
