"""The gate's process in the simulated cell: the product's session, link and port, stepped as the daemon steps them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import msgspec

from edge.contract import InspectorState, Report, ToGate, TriggerId
from edge.errors import PortGoneError
from edge.gate.case import Action, Discard, Kept, Latch, Record, Send, Ticket, Withdraw
from edge.gate.challenge import Challenges, Passed
from edge.gate.handshake import HandshakeSession
from edge.gate.link import LineLink
from edge.gate.messages import Framing
from edge.gate.push import PushSession
from edge.gate.recipe import Recipe
from edge.gate.session import GateSession
from edge.gate.settings import Settings
from faults.world.cell import CONFIG
from faults.world.core import FAR_NS, MS, US, Core, Violation
from faults.world.disk import Disk
from faults.world.line import Line
from faults.world.oracle import Oracle, Shown
from faults.world.port import SimulatedPort

REOPEN_NS = 60 * MS
CIRCLES = 500
"""Turns within one millisecond after which the gate counts as running in circles."""


class Crashed(Exception):  # noqa: N818 - the process ended, which is what was asked for
    """The gate's process ended inside a step; its memory is lost."""


class Gate:
    """One process after the other: `life` counts them. Everything it holds but the disk is lost between them."""

    def __init__(self, core: Core, *, line: Line, disk: Disk, oracle: Oracle, settings: Settings, framing: Framing) -> None:
        self.core, self.line, self.disk, self.oracle = core, line, disk, oracle
        self.settings, self.framing = settings, framing
        self.recipes: Mapping[str, Recipe] | None = None
        self.challenges: Callable[[], Challenges | None] = lambda: None
        self.born: Callable[[], None] = lambda: None
        """A new process listens: the inspector may connect."""
        self.died: Callable[[], None] = lambda: None
        """The process ended, and with it its connection to the inspector."""
        self.session: GateSession | None = None
        self.due_ns = FAR_NS
        self.life = 0
        self.paused_ns = 0
        self.crash_after = -1
        """Actions until the process ends inside a step; -1: it does not."""
        self.link: LineLink | None = None
        self.port: SimulatedPort | None = None
        self._reopen_ns = FAR_NS
        self._turns, self._counted_ns = 0, 0

    # life and death

    def start(self, _argument: object = None) -> None:
        """A process starts, closes what an earlier one left open, and opens the port."""
        self.life += 1
        self.oracle.life = self.life
        self.crash_after, self.paused_ns = -1, 0
        self.session = self._new_session()
        left = self.disk.mount(self._recorded)
        self.core.say("gate", f"starts (life {self.life}), closes {len(left)} rows left open")
        kept = self.disk.challenge
        self.session.challenge_kept(None if kept is None else msgspec.json.decode(kept, type=Passed), self.core.now)
        self._open_port()
        if self.disk.latched:
            self.session.latched_for(self.disk.latched, self.core.now)
        self.born()
        self.step()

    def _new_session(self) -> GateSession:
        session: GateSession
        if self.settings.profile == "push":
            session = PushSession(self.settings, self._nonce)
        else:
            session = HandshakeSession(self.settings, self._nonce, self.recipes, self.challenges())
        session.configs = (CONFIG,)
        return session

    def crash(self, down_ns: int) -> None:
        """The process ends now, and a new one starts later."""
        self.core.say("gate", f"dies, next life in {down_ns // MS} ms")
        self.disk.crash()
        self.oracle.gate_died()
        self.died()
        self.session, self.link, self.port, self.due_ns = None, None, None, FAR_NS
        self.core.at(self.core.now + down_ns, self.start)

    def stop(self, down_ns: int | None) -> None:
        """The process is asked to end and does so in order; a new one starts later, if ever."""
        self.core.say("gate", "is stopped")
        session, self.crash_after = self.session, -1
        if session is not None:
            session.stop(self.core.now)
            self._act()
            session.close(self.core.now)
            self._act()
        self.disk.finish()
        self.oracle.gate_stopped()
        self.died()
        self.session, self.link, self.port, self.due_ns = None, None, None, FAR_NS
        if down_ns is not None:
            self.core.at(self.core.now + down_ns, self.start)

    def _nonce(self) -> str:
        return f"{self.core.rng.getrandbits(32):08x}"

    # what happens to it; each of these is one turn of the daemon's loop

    def heard(self, data: bytes) -> None:
        """Bytes arrive at the port; while no process holds it, they are lost."""
        if self.port is not None and not self.port.gone:
            self.port.inbox.append(data)
            self.step()

    def told(self, message: ToGate, shown: Shown | None = None) -> None:
        """A message of the inspector; `shown` when it is a sound report of the weld's own frame."""
        if self.session is None:
            return
        if isinstance(message, Report):
            self.oracle.report_delivered(message, shown)
        elif isinstance(message, InspectorState):
            self.oracle.state_delivered(message)
        self.session.told(message, self.core.now)
        self.step()

    def connected(self) -> None:
        """An inspector connects."""
        if self.session is not None:
            self.oracle.state_delivered(None)
            self.session.inspector_up(self.core.now)
            self.step()

    def disconnected(self) -> None:
        """The inspector's connection ends."""
        if self.session is not None:
            self.oracle.state_delivered(None)
            self.session.inspector_down("connection closed", self.core.now)
            self.step()

    def pause(self, until_ns: int) -> None:
        """The process gets no processor time; bytes wait in the driver."""
        self.paused_ns = self.due_ns = until_ns

    @property
    def paused(self) -> bool:
        """Whether it has no processor time now."""
        return self.core.now < self.paused_ns

    def _recorded(self, what: str, ticket: Ticket | None) -> None:
        session = self.session
        if session is None:
            return
        if self.paused:
            self.core.at(self.paused_ns, self._recorded_later, (self.life, what, ticket))
            return
        if what == "durable" and ticket is not None:
            session.recorded(ticket, self.core.now)
        elif what == "failed":
            session.record_failed(ticket, "input/output error", self.core.now)
        else:
            session.store_back(self.core.now)
        self.step()

    def _recorded_later(self, result: tuple[int, str, Ticket | None]) -> None:
        life, what, ticket = result
        if life == self.life:
            self._recorded(what, ticket)

    # the loop

    def step(self) -> None:
        """One turn: read, act, push on with the port, do what is due, and say when the next turn is due."""
        if self.paused:
            return
        try:
            self._turn()
        except Crashed:
            self.crash(self.core.between(20 * MS, 200 * MS))

    def _turn(self) -> None:
        session, now = self.session, self.core.now
        if session is None:
            return
        self._guard(now)
        if self.link is not None:
            self._read(session, self.link, now)
        self._act()
        if self.link is not None:
            self._flush(self.link, now)
        elif now >= self._reopen_ns:
            self._open_port()
        session.tick(now)
        self._act()
        due = session.next_ns(now)
        line = self.link.due_ns() if self.link is not None else self._reopen_ns
        self.due_ns = max(now + US, due if line is None else min(due, line))

    def _guard(self, now: int) -> None:
        if now - self._counted_ns > MS:
            self._turns, self._counted_ns = 0, now
        self._turns += 1
        if self._turns > CIRCLES:
            raise Violation("broken rule", f"the gate runs in circles: {CIRCLES} turns within a millisecond")

    def _read(self, session: GateSession, link: LineLink, now: int) -> None:
        try:
            messages = link.receive(now)
        except PortGoneError as exc:
            self._lose(session, str(exc))
            return
        for message in messages:
            self.oracle.gate_received(message)
            session.received(message, now)
        for kind, count in link.noise().items():
            session.noise(kind, count, now)

    def _flush(self, link: LineLink, now: int) -> None:
        try:
            link.flush(now)
        except PortGoneError as exc:
            if self.session is not None:
                self._lose(self.session, str(exc))

    def _lose(self, session: GateSession, why: str) -> None:
        link, self.link, self.port = self.link, None, None
        if link is not None:
            link.close()
        self._reopen_ns = self.core.now + REOPEN_NS
        session.link_down(why, self.core.now)
        self._act()

    def _open_port(self) -> None:
        if not self.line.plugged:
            self._reopen_ns = self.core.now + REOPEN_NS
            return
        self.port = SimulatedPort(self.core, self.line, on_sent=self._sent, on_dropped=self._dropped, leaving=self.oracle.leaving)
        self.link = LineLink(self.port, self.framing)
        self._reopen_ns = FAR_NS
        assert self.session is not None
        self.session.link_up(self.core.now)

    def _act(self) -> None:
        session = self.session
        while session is not None and (actions := session.take()):
            for action in actions:
                self._count_down()
                self._perform(action)

    def _count_down(self) -> None:
        if self.crash_after >= 0:
            self.crash_after -= 1
            if self.crash_after < 0:
                self.core.injected("gate_crash_inside")
                raise Crashed

    def _perform(self, action: Action) -> None:
        if isinstance(action, Send):
            self._send(action)
        elif isinstance(action, Record):
            self.oracle.submitted(action.rows)
            self.disk.submit(action.rows, action.ticket)
        elif isinstance(action, Latch):
            self._latch(action.why)
        elif isinstance(action, Kept):
            self.disk.keep(action.content)
        elif isinstance(action, Withdraw) and self.link is not None:
            self.link.withdraw(action.key)
        elif isinstance(action, Discard) and self.link is not None:
            self.link.discard()

    def _latch(self, why: str) -> None:
        """The reason becomes durable; a person looks at it a little later."""
        core = self.core
        core.say("latch", why)
        self.oracle.latched = True
        if not self.disk.latched:
            core.at(core.now + core.between(30 * MS, 200 * MS), self._acknowledge)
        self.disk.latched.append(why)

    def _acknowledge(self, _argument: object) -> None:
        """The person removes the latch; a gate that does not run finds none when it starts."""
        self.core.say("person", "acknowledges")
        self.disk.latched = []
        self.oracle.latched = False
        if self.session is not None:
            self.session.acknowledged(self.core.now)
            self.step()

    def _send(self, action: Send) -> None:
        if self.link is None:
            if action.key is not None:
                self._dropped(action.key, "the port is down")
            return
        try:
            self.link.send(action.message, action.not_after_ns, self.core.now, action.key)
        except PortGoneError as exc:
            self._lose(cast("GateSession", self.session), str(exc))

    def _sent(self, key: TriggerId) -> None:
        cast("GateSession", self.session).sent(key, self.core.now)

    def _dropped(self, key: TriggerId, why: str) -> None:
        cast("GateSession", self.session).dropped(key, why, self.core.now)
