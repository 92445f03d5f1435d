"""The gate's state machine without any I/O: what happened and when goes in, what to send, record and tell comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from edge.config import GateConfig, Profile
from edge.contract import FrameEvent, InspectorState, Outcome, Reason, Report, ToGate, TriggerId
from edge.gate.case import Action, Case, Record, Send, Stage, Tell, Ticket
from edge.gate.events import EventBook
from edge.gate.messages import Message
from edge.gate.rows import Disposition, Row
from edge.gate.verdict import Asked, Decision, Facts, decide, refuse_early

HISTORY = 64
"""Closed triggers remembered for repeats."""
NS_PER_MS = 1_000_000


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration in nanoseconds."""

    profile: Profile
    budget_ns: int
    margin_ns: int
    heartbeat_ns: int
    silence_ns: int
    """This long without a sign of life, and the peer counts as gone."""
    ack_timeout_ns: int
    resend_ns: int
    pinned: str


def settings_from(config: GateConfig) -> Settings:
    """The part of the configuration this state machine needs."""

    def ns(milliseconds: float) -> int:
        return int(milliseconds * NS_PER_MS)

    return Settings(
        profile=config.profile,
        budget_ns=ns(config.budget_ms),
        margin_ns=ns(config.margin_ms),
        heartbeat_ns=ns(config.heartbeat_ms),
        silence_ns=ns(config.heartbeat_ms) * config.missed_heartbeats,
        ack_timeout_ns=ns(config.ack_timeout_ms),
        resend_ns=ns(config.resend_ms),
        pinned=config.bundle,
    )


def reply(message: Message, now_ns: int, settings: Settings) -> Send:
    """Anything but a verdict: worth sending for one heartbeat interval."""
    return Send(message, now_ns + settings.heartbeat_ns)


class GateSession(ABC):
    """What both link profiles share. Times are CLOCK_MONOTONIC ns; after every call, `take()` gives the actions in order."""

    def __init__(self, settings: Settings, nonce: Callable[[], str]) -> None:
        self.settings = settings
        self.session: str | None = None
        self.store_healthy = True
        self.inspector: InspectorState | None = None
        self._nonce = nonce
        """Gives 8 fresh random hex digits."""
        self._link = False
        self._connected = False
        self._heard_ns = 0
        self._silent = False
        self._last_refused = ""
        self._cases: OrderedDict[int, Case] = OrderedDict()
        self._closed: OrderedDict[int, Case] = OrderedDict()
        self._events = EventBook()
        self._actions: list[Action] = []

    def take(self) -> list[Action]:
        """The actions asked for since the last call, to be done in this order."""
        actions, self._actions = self._actions, []
        return actions

    @property
    def idle(self) -> bool:
        """True while no trigger waits for its verdict."""
        return all(case.stage is Stage.SENT for case in self._cases.values())

    def next_ns(self, now_ns: int) -> int:
        """When `tick` is due at the latest."""
        due = [case.cutoff_ns for case in self._cases.values() if case.stage in (Stage.WAITING, Stage.COMMITTING)]
        if self._connected and not self._silent:
            due.append(self._heard_ns + self.settings.silence_ns)
        events_ns = self._events.next_ns()
        return min([*due, now_ns + 10**9] if events_ns is None else [*due, events_ns, now_ns + 10**9])

    # the link

    def link_up(self, now_ns: int) -> None:
        """The port is open."""
        self._link = True
        self.note("link", None, "port open", now_ns)

    def link_down(self, why: str, now_ns: int) -> None:
        """The port is gone: the session is void."""
        self._link = False
        self.note("link", Reason.SESSION_LOST, why, now_ns)
        self._void(Disposition.SESSION_LOST, why, now_ns)

    def noise(self, kind: str, count: int, now_ns: int) -> None:
        """The decoder threw something away."""
        self.note("noise", None, kind, now_ns, camera=kind, count=count)

    @abstractmethod
    def received(self, message: Message, now_ns: int) -> None:
        """A whole message of the robot."""

    def sent(self, key: TriggerId, now_ns: int) -> None:
        """The last byte of a verdict was handed to the port."""
        case = self._find(key)
        if case is None or case.sent_ns is not None:
            return
        case.sent_ns = now_ns
        if case.stage is Stage.SENDING:
            case.stage = Stage.SENT
            self._after_sending(case, now_ns)

    def dropped(self, key: TriggerId, why: str, now_ns: int) -> None:
        """A verdict could not be handed over whole; the robot, having read no whole frame, rejects by itself."""
        case = self._find(key)
        if case is None or case.stage is not Stage.SENDING:
            return
        case.stage = Stage.SENT
        case.note = "; ".join(text for text in (case.note, f"verdict not handed to the port: {why}") if text)
        self.note("link", Reason.DEADLINE, f"verdict of {case.key.sequence} dropped: {why}", now_ns)
        self._after_sending(case, now_ns)

    # the inspector

    def inspector_up(self, now_ns: int) -> None:
        """An inspector connected; it counts as ready only once it says so."""
        self._connected, self._silent, self.inspector, self._heard_ns = True, False, None, now_ns

    def inspector_down(self, why: str, now_ns: int) -> None:
        """The inspector's connection ended: whatever waits for it is rejected at once."""
        self._connected, self.inspector = False, None
        self.note("inspector", Reason.INSPECTOR_DOWN, why, now_ns)
        self._reject_hopeless(now_ns)

    def told(self, message: ToGate, now_ns: int) -> None:
        """A message of the inspector."""
        self._heard_ns, self._silent = now_ns, False
        if isinstance(message, Report):
            self._reported(message, now_ns)
        elif isinstance(message, InspectorState):
            self._state(message, now_ns)
        else:
            self._frame_event(message, now_ns)

    def _state(self, state: InspectorState, now_ns: int) -> None:
        known, self.inspector = self.inspector, state
        if known is None or (known.ready, known.fault_reason, known.bundle) != (state.ready, state.fault_reason, state.bundle):
            reason = None if state.ready else state.fault_reason or Reason.NOT_READY
            text = f"pid {state.pid} {'ready' if state.ready else 'not ready'}, {state.backend}, bundle {state.bundle[:12]} {state.fault}"
            self.note("inspector", reason, text, now_ns)
        self._reject_hopeless(now_ns)

    def _frame_event(self, event: FrameEvent, now_ns: int) -> None:
        if event.reason is not Reason.FRAME_GAP:
            self._last_refused = f"{event.reason.value} {event.detail}"
        self.note("frame", event.reason, event.detail, now_ns, camera=event.camera, count=max(1, event.count))

    @abstractmethod
    def _reported(self, report: Report, now_ns: int) -> None:
        """The inspector's finding for one frame."""

    # the records

    def recorded(self, ticket: Ticket, now_ns: int) -> None:
        """These rows are durable."""
        case = self._find(ticket.key)
        if case is None:
            return
        if ticket.what == "trigger":
            case.trigger_durable = True
            self._trigger_durable(case, now_ns)
        elif case.stage is Stage.COMMITTING and case.decided is not None:
            if now_ns >= case.cutoff_ns:
                self._withhold(case, Reason.RECORD_LATE, now_ns)
            elif not self.store_healthy:
                self._withhold(case, Reason.RECORD_FAULT, now_ns)
            else:
                self._actions.append(case.prepare(case.decided))

    def record_failed(self, ticket: Ticket | None, why: str, now_ns: int) -> None:
        """A write failed: no ACCEPT any more until `store_back`."""
        self.store_healthy = False
        self.note("records", Reason.RECORD_FAULT, why, now_ns)
        for case in list(self._cases.values()):
            if case.stage is Stage.COMMITTING and (ticket is None or ticket.key == case.key):
                self._withhold(case, Reason.RECORD_FAULT, now_ns)
        self._reject_hopeless(now_ns)

    def store_back(self, now_ns: int) -> None:
        """The store was opened again and checked; everything kept meanwhile is written."""
        self.store_healthy = True
        self.note("records", None, "store checked and writing again", now_ns)

    # time

    def tick(self, now_ns: int) -> None:
        """Do what is due."""
        if self._connected and not self._silent and now_ns >= self._heard_ns + self.settings.silence_ns:
            self._silent = True
            self.note("inspector", Reason.INSPECTOR_DOWN, "silent", now_ns)
            self._reject_hopeless(now_ns)
        for case in list(self._cases.values()):
            if now_ns < case.cutoff_ns:
                continue
            if case.stage is Stage.WAITING:
                self._no_frame(case, now_ns)
            elif case.stage is Stage.COMMITTING:
                self._withhold(case, Reason.RECORD_LATE, now_ns)
        self._write(*self._events.due(now_ns))

    def stop(self, now_ns: int) -> None:
        """The gate is asked to end: what is undecided is rejected."""
        for case in list(self._cases.values()):
            if case.stage is Stage.WAITING:
                self._conclude(case, Decision(Outcome.REJECT, Reason.GATE_RESTARTED, "the gate was stopped"), None, now_ns)
            elif case.stage is Stage.COMMITTING:
                self._withhold(case, Reason.GATE_RESTARTED, now_ns)

    def close(self, now_ns: int) -> None:
        """The gate ends: every trigger gets its disposition, every count its row."""
        self._void(Disposition.GATE_RESTARTED, "the gate was stopped", now_ns)
        self.note("gate", None, "stopped", now_ns)
        self._write(*self._events.due(now_ns, everything=True))

    # shared steps

    def note(self, kind: str, reason: Reason | None, detail: str, now_ns: int, *, camera: str = "", count: int = 1) -> None:
        """Record an event, at most one row a second for equal ones."""
        row = self._events.note(kind, reason, detail, now_ns, camera=camera, count=count)
        if row is not None:
            self._write(row)

    def _write(self, *rows: Row) -> None:
        if rows:
            self._actions.append(Record(rows))

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
            inspector_alive=self._connected and not self._silent,
            pinned=self.settings.pinned,
            store_healthy=self.store_healthy,
        )

    def _judge(self, case: Case, report: Report, now_ns: int, *, rows: tuple[Row, ...] = ()) -> None:
        self._conclude(case, decide(self._facts(case, report, now_ns)), report, now_ns, rows=rows)

    def _conclude(self, case: Case, decision: Decision, report: Report | None, now_ns: int, *, rows: tuple[Row, ...] = ()) -> None:
        """The one decision of a case; ACCEPT waits for its record, anything else leaves first."""
        if case.stage is not Stage.WAITING:
            return
        case.decided = decision
        rows = (*rows, case.verdict_row(decision, report, now_ns))
        if decision.outcome is Outcome.ACCEPT:
            case.stage = Stage.COMMITTING
            self._actions.append(Record(rows, Ticket("verdict", case.key)))
        else:
            self._actions.append(case.prepare(decision))
            self._actions.append(Record(rows))

    def _withhold(self, case: Case, reason: Reason, now_ns: int) -> None:
        why = {
            Reason.RECORD_LATE: "its record was not durable before the deadline",
            Reason.RECORD_FAULT: "its record could not be written",
        }.get(reason, "the gate was stopped")
        self._actions.append(case.prepare(case.withhold(reason, why)))
        self.note("records", reason, f"trigger {case.key.sequence}: {case.note}", now_ns)

    def _no_frame(self, case: Case, now_ns: int) -> None:
        decision = refuse_early(self._facts(case, None, now_ns)) or decide(self._facts(case, None, now_ns))
        if decision.reason is Reason.NO_FRAME and self._last_refused:
            decision = decision._replace(detail=f"{decision.detail}; last refused: {self._last_refused}")
        self._conclude(case, decision, None, now_ns)

    def _reject_hopeless(self, now_ns: int) -> None:
        for case in list(self._cases.values()):
            if case.stage is Stage.WAITING:
                decision = refuse_early(self._facts(case, None, now_ns))
                if decision is not None:
                    self._conclude(case, decision, None, now_ns)

    def _void(self, done: Disposition, why: str, now_ns: int) -> None:
        """End the session: every trigger still without a disposition gets one, and nothing more is sent in its name."""
        for case in list(self._cases.values()):
            if case.stage is Stage.WAITING:
                lost = Reason.SESSION_LOST if done is Disposition.SESSION_LOST else Reason.GATE_RESTARTED
                self._write(case.verdict_row(Decision(Outcome.NO_VERDICT, lost, why), None, now_ns))
            elif case.stage is Stage.COMMITTING:
                case.note = "ACCEPT withheld: the session ended first"
            self._close(case, done, why, now_ns)
        self.session = None
        self._closed.clear()

    def _close(self, case: Case, done: Disposition, detail: str, now_ns: int) -> None:
        if case.stage is Stage.CLOSED:
            return
        self._write(case.disposition_row(done, detail, now_ns))
        case.stage = Stage.CLOSED
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

    def _trigger_durable(self, case: Case, now_ns: int) -> None:  # noqa: B027 - the push profile has nobody to tell
        """The trigger's own row is durable."""
