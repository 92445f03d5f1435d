"""Robot, line, disk, camera and inspector around the real session, with the model's gate beside it; every step is a number's worth."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter, deque

import msgspec
from gate_kit import CONFIG, a_recipe, a_report, a_state, settings
from model_gate import ModelGate
from model_oracle import MS, Oracle

from edge.contract import Reason, Report, TriggerId
from edge.gate.case import Action, Discard, Record, Send, Ticket, Withdraw
from edge.gate.codec import Decoder
from edge.gate.handshake import HandshakeSession
from edge.gate.leftovers import closing_rows
from edge.gate.messages import ChangeOver, Heartbeat, Hello, Message, Nak, PartQuery, PartVerdict, Trigger, TriggerAck, Verdict
from edge.gate.rows import DispositionRow, EventRow, Row, TriggerRow, VerdictRow, table_of
from sim.robot_protocol import RobotProtocol

RECIPES = {"R1": ("W1", "W2"), "R2": ("W1",)}
LINE = 8
"""Messages under way in each direction; one more and the oldest is lost."""
OLD, NEW = "b" * 64, "c" * 64
Word = tuple[object, ...]


def word_of(message: Message) -> Word | None:
    """What model and session must agree on; heartbeats and hellos are compared by the session they open."""
    if isinstance(message, Verdict | PartVerdict):
        return ("V", message.session, message.sequence, message.outcome.value)
    if isinstance(message, Nak):
        return ("N", message.session, message.sequence, message.reason.value)
    if isinstance(message, TriggerAck):
        return ("K", message.session, message.sequence)
    return ("C", message.session, message.sequence, message.recipe) if isinstance(message, ChangeOver) else None


def _words_of(row: Row) -> list[Word]:
    if isinstance(row, TriggerRow):
        return [("T", row.sequence)]
    if isinstance(row, VerdictRow):
        return [("V", row.sequence, row.outcome)]
    return [("D", row.sequence, row.sent, row.done)] if isinstance(row, DispositionRow) else []


class World:
    """Both gates and what is around them; after every call they must agree, and the oracle is asked about all that leaves."""

    def __init__(self, seen: Counter[str] | None = None) -> None:
        self.seen = Counter[str]() if seen is None else seen
        self.oracle = Oracle(recipes=RECIPES, seen=self.seen)
        self.now = 1_000 * MS
        self._nonces, self._model_nonces, self._robot_nonces, self._counters = (itertools.count(1) for _ in range(4))
        self.disk: list[Row] = []
        self.heard: deque[Message] = deque(maxlen=30)
        self.up: list[Message] = []
        self.down: list[Message] = []
        self.port: list[Send] = []
        self.frames: list[Report] = []
        self.slow = self.jammed = self.mute = self.deaf = self.mum = self.disk_broken = False
        self.bundle = OLD
        self.part = 0
        self.beat_ns = 0
        self.robot = self.new_robot()
        self.next_part(good=True)
        self.start_gate()

    # beginnings

    def new_robot(self) -> RobotProtocol:
        """As after power-on."""
        self.decoder = Decoder("R")
        times = {"budget_ns": 150 * MS, "heartbeat_ns": 100 * MS, "silence_ns": 300 * MS, "repeat_ns": 60 * MS}
        return RobotProtocol(nonce=lambda: f"{next(self._robot_nonces) + 0xA0000000:08x}", **times)

    def start_gate(self) -> None:
        """A new process: nothing is left of the old one but the disk."""
        recipes = {name: a_recipe(name, **dict.fromkeys(welds, "T2")) for name, welds in RECIPES.items()}
        self.session = HandshakeSession(settings(recipe="R1"), lambda: f"{next(self._nonces):08x}", recipes)
        self.session.configs = (CONFIG,)
        self.model = ModelGate(lambda: f"{next(self._model_nonces):08x}", RECIPES)
        self.queue: list[Record] = []
        self.failures: list[int] = []
        self.port.clear()
        self.disk_broken = self.oracle.store_failed = False
        self.oracle.announced = ""
        self.disk += _leftovers(self.disk, self.now)
        self.oracle.restarted(self.disk)
        self.call("link_up")
        if self.oracle.latched:
            self.call("latched_for", ("kept by the records",))
        self.connect()

    def connect(self) -> None:
        """The inspector is there and says so."""
        self.mum = False
        self.call("inspector_up")
        self.announce()

    def announce(self, **changes: object) -> None:
        """The inspector says what it is."""
        self.oracle.announced = self.bundle
        self.call("told", a_state(bundle=self.bundle, **changes))

    def next_part(self, *, good: bool, bad: str = "W2") -> None:
        """The next part on the line."""
        self.part += 1
        self.oracle.good |= {(self.name, weld): good or weld != bad for weld in ("W1", "W2")}

    @property
    def name(self) -> str:
        """Of the part in work."""
        return f"P{self.part}"

    @property
    def believed(self) -> str:
        """What the robot program takes for the active recipe."""
        return self.robot.recipe or "R1"

    # both gates

    def call(self, name: str, *arguments: object) -> None:
        """Let the same thing happen to session and model, do what the session asks for, and compare."""
        self.both(name, *arguments)
        self.act()

    def both(self, name: str, *arguments: object) -> None:
        """As `call`, within a step that is compared at its end."""
        getattr(self.model, name)(*arguments, self.now)
        getattr(self.session, name)(*arguments, self.now)

    def act(self) -> None:
        """Do what the session asks for; what it says, records and believes must be what the model does."""
        left: list[Word] = []
        rows: list[Word] = []
        while actions := self.session.take():
            for action in actions:
                if isinstance(action, Send) and (word := word_of(action.message)) is not None:
                    left.append(word)
                if isinstance(action, Record):
                    rows += [word for row in action.rows for word in _words_of(row)]
                self._perform(action)
        self._count(left)
        assert left == self.model.left, f"session said {left}, model {self.model.left}"
        assert rows == self.model.rows, f"session recorded {rows}, model {self.model.rows}"
        self.model.left.clear()
        self.model.rows.clear()
        self._compare()

    def _count(self, left: list[Word]) -> None:
        for word in left:
            if word[0] in ("N", "C"):
                self.seen[f"{'NAK' if word[0] == 'N' else 'change-over'} {word[-1]}"] += 1

    def _compare(self) -> None:
        session, model = self.session, self.model
        parts = session._parts
        assert parts is not None
        case = model.case
        stages = [(open_.key.sequence, open_.stage.name) for open_ in session._cases.values()]
        assert stages == ([(case.asked.sequence, case.stage)] if case else []), f"{stages}, model {case}"
        mine = (session.session, parts.active, parts.open, bool(session.latched), session.store_healthy)
        assert mine == (model.session, model.parts.recipe, tuple(model.parts.open), model.latched, model.heals)

    def _perform(self, action: Action) -> None:
        if isinstance(action, Send):
            self._send(action)
        elif isinstance(action, Record):
            for row in action.rows:
                self.oracle.recorded(row, self.now)
            self.queue.append(action)
        elif isinstance(action, Withdraw):
            self.port = [send for send in self.port if send.key != action.key]
        elif isinstance(action, Discard):
            self.port.clear()

    # the line

    def _send(self, send: Send) -> None:
        message = send.message
        self.oracle.wanted(message)
        if isinstance(message, Heartbeat):
            if not self.deaf:
                self.robot.received(message, self.now)
        elif self.jammed or (self.slow and len(self.port) >= LINE):
            self._drop(send)
        elif self.slow:
            self.port.append(send)
        else:
            self._hand_over(send)

    def _hand_over(self, send: Send) -> None:
        if self.now >= send.not_after_ns:
            self._drop(send)
            return
        self.oracle.leaves(send, self.now)
        self.down.append(send.message)
        del self.down[:-LINE]
        if send.key is not None:
            self.both("sent", send.key)

    def _drop(self, send: Send) -> None:
        if send.key is not None:
            self.seen["dropped by the port"] += 1
            self.both("dropped", send.key, "late")

    def port_moves(self) -> None:
        """A slow line takes what waits."""
        waiting, self.port = self.port, []
        for send in waiting:
            self._hand_over(send)
        self.act()

    def gate_hears(self, message: Message) -> None:
        """A message of the robot arrives."""
        self.heard.append(message)
        if isinstance(message, Hello):
            self.seen["hello"] += 1
        if isinstance(message, PartQuery):
            self.oracle.hears(message)
        self.call("received", message)

    def robot_hears(self, message: Message) -> None:
        """A message of the gate arrives."""
        self.robot.received(message, self.now)
        self.collect()

    def collect(self) -> None:
        """What the robot says is under way, what it did is known."""
        out, self.robot.out = self.robot.out, []
        for message in (message for frame in out for message in self.decoder.feed(frame)):
            if not isinstance(message, Heartbeat):
                self.up.append(message)
            elif not self.mute:
                self.call("received", message)
        del self.up[:-LINE]
        while self.robot.results:
            self.oracle.decided(self.robot.results.popleft())

    # the robot asks

    def ask(self, data: bytes | None) -> bool:
        """The robot's question is under way, and the camera takes its frame."""
        self.collect()
        if data is None:
            return False
        (message,) = self.decoder.feed(data)
        self.up.append(message)
        if isinstance(message, Trigger):
            self._expose(message)
        return True

    def _expose(self, trigger: Trigger) -> None:
        counter, key = next(self._counters), (trigger.session, trigger.sequence)
        self.oracle.judged_by[counter] = (key, self.bundle)
        good = self.oracle.good.get((trigger.part, trigger.weld), True)
        named = {"part": trigger.part, "weld": trigger.weld, "bundle": self.bundle}
        self.frames.append(a_report(TriggerId(*key), counter=counter, score=0.1 if good else 0.9, **named))
        del self.frames[:-LINE]

    # inspector, disk, time

    def report(self, frame: Report, reason: Reason = Reason.OK) -> None:
        """The gate hears what the inspector found."""
        if not self.model.connected:
            return
        report = msgspec.structs.replace(frame, received_ns=self.now, reason=reason)
        assert report.trigger is not None
        early = report.trigger.session == self.session.session and report.trigger.sequence > self.model.last
        self.seen["early frame"] += early
        self.oracle.reported.setdefault((report.trigger.session, report.trigger.sequence), []).append(report)
        self.call("told", report)
        if reason is Reason.ENGINE_FAILED:
            self._engine_failed()

    def _engine_failed(self) -> None:
        self.failures = [at for at in (*self.failures, self.now) if self.now - at < 60_000 * MS]
        if len(self.failures) >= 3:
            self.failures.clear()
            self.latched("three engine failures")

    def latched(self, why: str) -> None:
        """From now on nothing may be accepted."""
        self.seen[f"latched: {why}"] += 1
        self.oracle.latched = True

    def commit(self, often: int = 100) -> None:
        """The disk takes this many transactions."""
        for _ in range(min(often, len(self.queue))):
            record = self.queue[0]
            if self.disk_broken:
                return
            self.queue.pop(0)
            for row in record.rows:
                self.disk.append(row)
                self.oracle.committed(row)
            if record.ticket is not None:
                self.call("recorded", record.ticket)

    def disk_fails(self) -> None:
        """The disk refuses; nobody is told any more of what waits for it."""
        self.seen["disk failed with ACCEPT under way"] += self.stage == "COMMITTING"
        self.disk_broken = self.oracle.store_failed = True
        self.queue = [msgspec.structs.replace(record, ticket=None) for record in self.queue]
        self.call("record_failed", None, "disk full")

    def other_write_fails(self) -> None:
        """A write for somebody else failed; the one of the open case still becomes durable."""
        self.oracle.store_failed = True
        self.call("record_failed", Ticket("verdict", TriggerId("0" * 16, 1)), "input/output error")

    def disk_back(self) -> None:
        """All that waited is written."""
        if not self.session.store_healthy:
            self.disk_broken = False
            self.queue = [msgspec.structs.replace(record, ticket=None) for record in self.queue]
            self.commit()
            self.oracle.store_failed = False
            self.call("store_back")

    @property
    def stage(self) -> str:
        """Of the open case, or empty."""
        return self.model.case.stage if self.model.case is not None else ""

    def wait(self, milliseconds: int) -> None:
        """Time passes, with every sign of life that nobody holds back."""
        until = self.now + milliseconds * MS
        while self.now < until:
            self.now = min(until, self.now + 5 * MS)
            if self.model.connected and not self.mum and self.now >= self.beat_ns:
                self.beat_ns = self.now + 80 * MS
                self.announce()
            self._drop_late()
            self.call("tick")
            self.robot.tick(self.now)
            self.collect()
            self.oracle.time(self.now)

    def _drop_late(self) -> None:
        late = [send for send in self.port if self.now >= send.not_after_ns]
        self.port = [send for send in self.port if self.now < send.not_after_ns]
        for send in late:
            self._drop(send)

    # the gate ends

    def gate_killed(self) -> None:
        """SIGKILL or a power cut: what is not durable is lost."""
        self.seen[f"gate killed {self.stage}".strip()] += 1
        self.start_gate()

    def gate_stopped(self) -> None:
        """SIGTERM: everything is closed and written."""
        self.seen[f"gate stopped {self.stage}".strip()] += 1
        self.call("stop")
        if self.port:
            self.port_moves()
        self.call("close")
        self.disk_broken = False
        for record in self.queue:
            self.disk += record.rows
            for row in record.rows:
                self.oracle.committed(row)
        self.start_gate()

    def cable_pulled(self) -> None:
        """The port is gone and comes back; whatever was under way is lost."""
        waiting, self.port = self.port, []
        for send in waiting:
            self._drop(send)
        self.up.clear()
        self.down.clear()
        self.call("link_down", "unplugged")
        self.call("link_up")


def _leftovers(disk: list[Row], now: int) -> list[Row]:
    """The product's own rows for what is open on this disk."""
    with sqlite3.connect(":memory:") as connection:
        for name in ("triggers", "verdicts", "dispositions"):
            connection.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, session, sequence, part, weld, typology, opened_ns)")
        for row in disk:
            if not isinstance(row, EventRow):
                values = [getattr(row, column, None) for column in ("session", "sequence", "part", "weld", "typology", "opened_ns")]
                connection.execute(f"INSERT INTO {table_of(row)} VALUES (NULL, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608
        rows = closing_rows(connection, now)
    connection.close()
    return rows
