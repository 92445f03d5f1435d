"""What the gate counts and shows: it looks at what the daemon does anyway (rows, results, messages), after it was done."""

from __future__ import annotations

import time

import msgspec

from edge import __version__
from edge.config import GateConfig
from edge.contract import InspectorState, ToGate
from edge.gate.case import Action, Record, Send, Ticket
from edge.gate.machine import boot_id
from edge.gate.messages import Heartbeat, Message
from edge.gate.records import Recorder
from edge.gate.reload import TAKEN
from edge.gate.rows import Disposition, DispositionRow, EventRow, TriggerRow, VerdictRow
from edge.gate.session import GateSession
from edge.health.harmless import harmless
from edge.health.layout import Layout
from edge.health.ledger import Ledger
from edge.health.objections import objections
from edge.log import Log

LAYOUT = Layout(
    "gate",
    counters=("triggers", "resends", "heartbeats", "heartbeats_missed", "sessions", "inspectors", "port_openings", "record_failures"),
    histograms=("decided", "durable", "commit", "sent", "judged", "confirmed"),
    tables={"verdicts": 512, "dispositions": 64, "events": 256, "misses": 8},
)
NS_PER_MS = 1_000_000
EVERY_NS = 250 * NS_PER_MS
"""The state is put together anew this often while no trigger is open,"""
LATEST_NS = 1_000 * NS_PER_MS
"""and this often while one is."""
REMEMBERED = 256
"""Triggers known at a time; a line has one open, the push profile 32."""
JUDGED = ("OK", "DEFECT")
"""Reasons of verdicts that rest on a frame's score."""
CONFIRMED = (Disposition.ACCEPTED.value, Disposition.REJECTED.value)
LATCHES, TEXT = 16, 300
"""Latched reasons that are shown, and the characters of a text: the state has 16 KiB."""
NOT_MISSED = (Disposition.REFUSED.value, Disposition.SESSION_LOST.value, Disposition.GATE_RESTARTED.value)
"""Ends of a trigger that had no claim to a verdict any more."""


class _Open:
    """A trigger between opening and disposition."""

    __slots__ = ("decided_ns", "durable_ns", "opened_ns", "reason")

    def __init__(self, opened_ns: int) -> None:
        self.opened_ns, self.decided_ns, self.durable_ns, self.reason = opened_ns, 0, 0, ""


class GateHealth:
    """Counts into `gate.health` beside the gate's socket. No method raises: see `edge.health.harmless`."""

    def __init__(self, config: GateConfig, config_hash: str, session: GateSession, recorder: Recorder, log: Log) -> None:
        """Only once the socket is this gate's own: the file of one that runs must stay."""
        now_ns = time.monotonic_ns()
        self._session, self._recorder, self._log = session, recorder, log
        self._ledger = Ledger(config.socket.with_name("gate.health"), LAYOUT, release=__version__, now_ns=now_ns, wall_ns=time.time_ns())
        self.problem = self._ledger.problem
        self._times, self._tables = self._ledger.histograms, self._ledger.tables
        self.configured(config, config_hash)
        self._open: dict[tuple[str, int], _Open] = {}
        self._answered: dict[object, None] = {}
        self._robot_counter: int | None = None
        self._robot_ns = self._inspector_ns = self._session_ns = self._shown_ns = 0
        self._known: str | None = None
        """The session whose beginning was counted."""
        self._port = False
        self._said = self._ended = self._reload = ""
        """The last event about the session, the one that ended it, and what became of the last reload unless it was taken."""
        self._unjudged, self._unjudged_reason = 0, ""
        self._typologies: tuple[str, ...] = ()
        if self.problem:
            log.say(self.problem)

    def configured(self, config: GateConfig, config_hash: str) -> None:
        """From now on with this configuration."""
        self._budget_ns, self._heartbeat_ns = int(config.budget_ms * NS_PER_MS), int(config.heartbeat_ms * NS_PER_MS)
        self._fixed: dict[str, object] = {
            "port": config.port,
            "link": config.link_name,
            "budget_ms": config.budget_ms,
            "alarm_mb": config.storage.alarm_mb,
            "config": config_hash,
            "boot": boot_id(),
        }

    def stand_still(self) -> None:
        """Nothing is counted any more; readers and the log say so."""
        self._ledger.broken()
        self._log.say(self.problem)

    # what happens

    @harmless
    def did(self, action: Action) -> None:
        """An action of the session was performed."""
        if isinstance(action, Record):
            for row in action.rows:
                self._row(row)
        elif isinstance(action, Send) and action.key is not None:
            self._sends(action.key)

    @harmless
    def durable(self, ticket: Ticket, now_ns: int) -> None:
        """The rows of this ticket are on disk. An ACCEPT waits for this to return: its times are counted once it is closed."""
        case = self._open.get((ticket.key.session, ticket.key.sequence))
        if case is not None and ticket.what == "verdict":
            case.durable_ns = now_ns

    @harmless
    def record_failed(self) -> None:
        """Rows are not on disk."""
        self._ledger.add("record_failures")

    @harmless
    def heard(self, message: Message, now_ns: int) -> None:
        """A whole message of the robot; each heartbeat counts one on from the last (16 bits), or a program that stands still sent it."""
        if isinstance(message, Heartbeat):
            last, self._robot_counter = self._robot_counter, message.counter
            self._ledger.add("heartbeats")
            if message.counter == last:
                return
            if message.session == self._known and last is not None:
                self._ledger.add("heartbeats_missed", max(0, min((message.counter - last) % 0x1_0000 - 1, 0xFF)))
        self._robot_ns = now_ns

    @harmless
    def told(self, message: ToGate, now_ns: int) -> None:
        """A message of the inspector."""
        self._inspector_ns = now_ns
        if isinstance(message, InspectorState):
            self._typologies = message.typologies

    @harmless
    def connected(self) -> None:
        """An inspector connected."""
        self._ledger.add("inspectors")

    @harmless
    def step(self, now_ns: int, *, port_open: bool) -> None:
        """The loop got round; the state follows when it is due."""
        self._ledger.step(now_ns, time.time_ns())
        session = self._session.session
        if port_open is not self._port:
            self._port = port_open
            self._ledger.add("port_openings", int(port_open))
        if session != self._known:
            self._session_changed(session, now_ns)
        age_ns = now_ns - self._shown_ns
        if age_ns >= LATEST_NS or (age_ns >= EVERY_NS and self._session.idle):
            self._shown_ns = now_ns
            self._ledger.publish(msgspec.json.encode(self._state(now_ns)))

    def _session_changed(self, session: str | None, now_ns: int) -> None:
        if self._known is not None and self._robot_ns:
            # Heartbeats that did not come any more have no counter that could tell of them.
            self._ledger.add("heartbeats_missed", min((now_ns - self._robot_ns) // self._heartbeat_ns, 0xFF))
        self._known, self._session_ns, self._robot_counter, self._ended = session, now_ns, None, self._said
        self._ledger.add("sessions", int(session is not None))

    def close(self) -> None:
        """The gate ends in order."""
        self._ledger.close(time.time_ns())
        self.problem = self.problem or "closed"

    # what it means

    def _row(self, row: object) -> None:
        if isinstance(row, VerdictRow):
            self._verdict(row)
        elif isinstance(row, DispositionRow):
            self._disposition(row)
        elif isinstance(row, TriggerRow):
            self._ledger.add("triggers")
            if len(self._open) >= REMEMBERED:
                self._open.clear()
            self._open[row.session, row.sequence] = _Open(row.opened_ns)
        elif isinstance(row, EventRow):
            self._tables["events"].add(row.kind, row.reason or (row.camera if row.kind == "noise" else "") or "none", count=row.count)
            if row.kind in ("session", "link"):
                self._said = row.detail
            elif row.kind == "config":
                self._reload = "" if TAKEN in row.detail else row.detail

    def _verdict(self, row: VerdictRow) -> None:
        typology = row.typology or "none"
        known = typology == "none" or typology in self._typologies
        self._ledger.begin()
        self._tables["verdicts"].add(row.outcome, row.reason, typology if known else "other")
        self._times["decided"].record(row.decided_ns - row.opened_ns)
        if row.reason in ("NO_FRAME", "DEADLINE"):
            self._tables["misses"].add(row.reason)
        if row.weld:
            self._unjudged, self._unjudged_reason = 0 if row.reason in JUDGED else self._unjudged + 1, row.reason
        self._ledger.end()
        case = self._open.get((row.session, row.sequence))
        if case is not None:
            case.decided_ns, case.reason = row.decided_ns, row.reason

    def _disposition(self, row: DispositionRow) -> None:
        self._ledger.begin()
        self._tables["dispositions"].add(row.sent or "nothing", row.done)
        if row.sent_reason == "RECORD_LATE":
            self._tables["misses"].add(row.sent_reason)
        case = self._open.pop((row.session, row.sequence), None)
        if case is not None:
            self._closed(row, case)
        self._ledger.end()

    def _closed(self, row: DispositionRow, case: _Open) -> None:
        times, opened_ns, sent_ns = self._times, case.opened_ns, row.sent_ns
        if case.durable_ns:
            times["durable"].record(case.durable_ns - opened_ns)
            times["commit"].record(case.durable_ns - case.decided_ns)
        if sent_ns is None:
            if row.done not in NOT_MISSED:
                self._tables["misses"].add("NOT_SENT")
            return
        took_ns = sent_ns - opened_ns
        times["sent"].record(took_ns)
        if case.reason in JUDGED and row.sent_reason in JUDGED:
            times["judged"].record(took_ns)
        if took_ns > self._budget_ns:
            self._tables["misses"].add("SENT_LATE")
        if row.done in CONFIRMED:
            times["confirmed"].record(row.closed_ns - sent_ns)

    def _sends(self, key: object) -> None:
        if key in self._answered:
            self._ledger.add("resends")
            return
        if len(self._answered) >= REMEMBERED:
            del self._answered[next(iter(self._answered))]
        self._answered[key] = None

    def _state(self, now_ns: int) -> dict[str, object]:
        facts, recipe = self._session.standing(now_ns), self._session.recipe
        found = objections(facts, without_recipe=recipe == "")
        if found:
            self._unjudged = 0  # what stands against it says why
        waiting = [case.opened_ns for case in self._open.values() if not case.decided_ns]
        return {
            **self._fixed,
            "at_ns": now_ns,
            "accepting": not found,
            "objections": found,
            "latched": [why[:TEXT] for why in facts.latched[:LATCHES]],
            "challenge": self._session.challenge(now_ns),
            "store": self._recorder.standing()._asdict(),
            "store_healthy": facts.store_healthy,
            "port_open": self._port,
            "session": self._known,
            "session_ns": self._session_ns,
            "session_lost": self._lost(),
            "robot_ns": self._robot_ns,
            "inspector": facts.inspector,
            "inspector_alive": facts.inspector_alive,
            "inspector_ns": self._inspector_ns,
            "recipe": recipe,
            "parts_full": self._session.parts_full,
            "open": len(self._open),
            "waiting": len(waiting),
            "oldest_ns": min(waiting, default=0),
            "log_dropped": self._log.dropped,
            "unjudged": self._unjudged,
            "unjudged_reason": self._unjudged_reason,
            "reload": self._reload[:TEXT],
        }

    def _lost(self) -> str:
        if self._known is not None or not self._ended:
            return ""
        return self._ended[:TEXT] if self._said == self._ended else f"{self._ended[:TEXT]}; since then: {self._said[:TEXT]}"
