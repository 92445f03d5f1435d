"""The gate's state machine without any I/O: what happened and when goes in, what to send, record and tell comes out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from edge.contract import FrameEvent, InspectorState, Outcome, Reason, Report, ToGate, TriggerId
from edge.gate.case import Action, Case, Kept, Stage, Ticket
from edge.gate.casework import CaseWork
from edge.gate.latches import FAILURE_REASONS
from edge.gate.messages import Message
from edge.gate.recipe import Recipe
from edge.gate.rows import Disposition
from edge.gate.settings import Settings
from edge.gate.verdict import Asked, Decision, Facts

if TYPE_CHECKING:
    from edge.gate.challenge import Challenges, ChallengeStatus, Passed  # loaded where the rule is configured

LONGEST_NS = 10**9
"""Longest time between two ticks."""


class GateSession(CaseWork):
    """What both link profiles share. Times are CLOCK_MONOTONIC ns; after every call, `take()` gives the actions in order."""

    def __init__(self, settings: Settings, nonce: Callable[[], str], challenges: Challenges | None = None) -> None:
        """`nonce` gives 8 fresh random hex digits. Without `challenges` no challenge parts are asked for."""
        super().__init__(settings, challenges)
        self._nonce = nonce
        self._no_inspector()

    def take(self) -> list[Action]:
        """The actions asked for since the last call, to be done in this order."""
        actions, self._actions = self._actions, []
        return actions

    def next_ns(self, now_ns: int) -> int:
        """When `tick` is due at the latest."""
        cases = [case.cutoff_ns for case in self._cases.values() if case.stage in (Stage.WAITING, Stage.COMMITTING)]
        others = [due_ns for due_ns in (self._silent_ns, self._events.next_ns()) if due_ns is not None]
        return min([now_ns + LONGEST_NS, *cases, *others])

    # for whoever shows how things stand

    @property
    def recipe(self) -> str | None:
        """The active recipe; empty: none is, although there are some. None: there are none."""
        return None

    @property
    def parts_full(self) -> bool:
        """So many parts wait for their verdict that no further one may be opened."""
        return False

    def standing(self, now_ns: int) -> Facts:
        """What a trigger that opened now would be judged by, before any frame."""
        by: Literal["frame", "trigger"] = "frame" if self.settings.profile == "push" else "trigger"
        probe = Asked(session=self.session or "", sequence=0, part="-", weld="-", typology=None, by=by)
        return self._facts(Case(asked=probe, opened_ns=now_ns, cutoff_ns=now_ns, deadline_ns=now_ns), None, now_ns)

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
        why = None if kind == "echoed" else self._latches.noise(count, now_ns)
        if why is not None:
            self._latch(why, now_ns)

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
        self._no_inspector()
        self._connected, self._silent_ns = True, now_ns + self.settings.inspector_silence_ns

    def _no_inspector(self) -> None:
        self._connected, self._silent_ns, self.inspector = False, None, None
        self._counted = False
        """A failure of the engine was counted since the inspector connected."""

    def inspector_down(self, why: str, now_ns: int) -> None:
        """The inspector's connection ended: whatever waits for it is rejected at once."""
        self._no_inspector()
        self.note("inspector", Reason.INSPECTOR_DOWN, why, now_ns)
        self._reject_hopeless(now_ns)

    def told(self, message: ToGate, now_ns: int) -> None:
        """A message of the inspector."""
        if self._connected:
            self._silent_ns = now_ns + self.settings.inspector_silence_ns
        if isinstance(message, Report):
            self._reported(message, now_ns)
            self._count_failure(message.reason, message.detail, now_ns)
        elif isinstance(message, InspectorState):
            self._state(message, now_ns)
        else:
            self._frame_event(message, now_ns)

    def _state(self, state: InspectorState, now_ns: int) -> None:
        known, self.inspector = self.inspector, state
        if known is None or _announced(known) != _announced(state):
            reason = None if state.ready else state.fault_reason or Reason.NOT_READY
            text = f"pid {state.pid} {'ready' if state.ready else 'not ready'}, {state.backend}, bundle {state.bundle[:12]} {state.fault}"
            if state.config not in self.configs:
                text += f" (configuration {state.config[:12]}, the gate's is {' or '.join(known[:12] for known in self.configs)})"
            self.note("inspector", reason, text, now_ns)
        if self._challenges is not None and state.ready and state.bundle:
            self._challenges.announced(state.bundle)
            self._tell_challenges(now_ns)
        self._reject_hopeless(now_ns)
        if not self._counted:
            self._count_failure(state.fault_reason, state.fault, now_ns)

    def _count_failure(self, reason: Reason | None, detail: str, now_ns: int) -> None:
        """Each failed frame counts; an inspector's state only where none of its frames did, so that one failure counts once."""
        if reason not in FAILURE_REASONS:
            return
        self._counted = True
        why = self._latches.failure(reason, detail, now_ns)
        if why is not None:
            self._latch(why, now_ns)

    def _frame_event(self, event: FrameEvent, now_ns: int) -> None:
        if event.reason is Reason.BUNDLE_FAULT:
            self.note("bundle", event.reason, event.detail, now_ns)
            return
        if event.reason is not Reason.FRAME_GAP:
            self._last_refused = f"{event.reason.value} {event.detail}"
        self.note("frame", event.reason, event.detail, now_ns, camera=event.camera, count=max(1, event.count))

    @abstractmethod
    def _reported(self, report: Report, now_ns: int) -> None:
        """The inspector's finding for one frame."""

    # the configuration

    def hindrance(self, *, new_recipes: bool) -> str:  # noqa: ARG002 - the push profile knows no recipes
        """Why another configuration may not rule now; empty: it may."""
        return "" if self.idle else "a trigger is open"

    def configured(self, settings: Settings, recipes: Mapping[str, Recipe] | None, now_ns: int) -> None:  # noqa: ARG002 - as above
        """These rule from now on; only while there is no `hindrance`."""
        self.settings = settings
        self._latches.noise_limit = settings.latch_noise

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

    def latched_for(self, reasons: Sequence[str], now_ns: int) -> None:
        """The records say so: nothing may be accepted until a person acknowledged these reasons."""
        for why in reasons:
            if self._latches.add(why):
                self.note("latch", Reason.LATCHED, why, now_ns)
        self._obey_latch(now_ns)

    def challenge_kept(self, kept: Passed | str | None, now_ns: int) -> None:
        """What an earlier process left of the last challenge (a text: why it cannot be read)."""
        if self._challenges is None:
            self._actions.append(Kept(None))
            return
        self._challenges.restore(kept, now_ns)
        self._tell_challenges(now_ns)

    def challenge(self, now_ns: int) -> ChallengeStatus | None:
        """How the challenge parts stand, for people; None where none are configured."""
        return self._challenges.status(now_ns) if self._challenges is not None else None

    def acknowledged(self, now_ns: int) -> None:
        """A person has looked at every reason, and the records say who."""
        self._latches.clear()
        self.note("latch", None, "acknowledged, accepting again", now_ns)

    # time

    def tick(self, now_ns: int) -> None:
        """Do what is due."""
        if self._challenges is not None:
            self._challenges.tick(now_ns)
            self._tell_challenges(now_ns)
        if self._silent_ns is not None and now_ns >= self._silent_ns:
            self._silent_ns = None
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


def _announced(state: InspectorState) -> tuple[object, ...]:
    """What an event tells when it changes."""
    return state.ready, state.fault_reason, state.bundle, state.config
