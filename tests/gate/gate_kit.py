"""What the gate's tests share: plausible messages, a driven session, and a real inspector's end of the socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edge.config import ChallengeConfig, ChallengePart, Config, load_config
from edge.contract import CONTRACT_VERSION, Expect, InspectorState, Outcome, Reason, Report, Settled, TriggerId, decode_to_inspector, encode
from edge.gate.case import Action, Discard, Kept, Latch, Record, Send, Tell, Ticket, Withdraw
from edge.gate.challenge import Challenges, Passed
from edge.gate.codec import Decoder, encode_frame
from edge.gate.handshake import HandshakeSession
from edge.gate.messages import Ack, ChangeOver, Done, Hello, Message, PartQuery, PartVerdict, Trigger, Verdict
from edge.gate.push import PushSession
from edge.gate.recipe import Recipe, Weld
from edge.gate.rows import DispositionRow, EventRow, Row, TriggerRow, VerdictRow
from edge.gate.session import GateSession
from edge.gate.settings import Settings

BUNDLE = "b" * 64
CONFIG = "c" * 64
"""Hash of the configuration that the tests' gates are given."""
MS = 1_000_000
WALL = 1_795_000_000 * 10**9
"""In November 2026."""


def a_state(**changes: object) -> InspectorState:
    state = InspectorState(
        version=CONTRACT_VERSION,
        pid=1,
        ready=True,
        backend="openvino",
        bundle=BUNDLE,
        bundle_version=1,
        typologies=("T2", "T3"),
        known_answers=4,
        camera_alive=True,
        frames=0,
        gaps=0,
        refused=0,
        sent_ns=1,
        config=CONFIG,
    )
    return msgspec.structs.replace(state, **changes)


def a_report(trigger: TriggerId | None, **changes: object) -> Report:
    report = Report(
        camera="cam0",
        counter=1,
        trigger=trigger,
        part="P1",
        weld="W1",
        typology_named="T2",
        typology="T2",
        reason=Reason.OK,
        detail="",
        score=0.1,
        threshold=0.5,
        members=(0.1,),
        members_expected=1,
        router_confidence=None,
        bundle=BUNDLE,
        backend="openvino",
        payload_hash="0" * 32,
        captured_ns=1,
        received_ns=1,
        prepared_ns=1,
        scored_ns=1,
    )
    return msgspec.structs.replace(report, **changes)


def settings(**changes: object) -> Settings:
    base = Settings(
        profile="handshake",
        budget_ns=100 * MS,
        margin_ns=5 * MS,
        heartbeat_ns=100 * MS,
        silence_ns=300 * MS,
        ack_timeout_ns=50 * MS,
        resend_ns=40 * MS,
        pinned="",
    )
    return msgspec.structs.replace(base, **changes)


def a_challenge(*parts: ChallengePart, **changes: object) -> ChallengeConfig:
    """Weld W1 of BAD and of GOOD by default, due again by nothing but what happens."""
    both = (ChallengePart(name="GOOD", weld="W1", expect="good"), ChallengePart(name="BAD", weld="W1", expect="bad"))
    return ChallengeConfig(**{"part": parts or both, "every_h": 0.0, **changes})


def a_recipe(name: str = "R1", **welds: str) -> Recipe:
    """Weld names and their typologies; W1 and W2 of T2 by default."""
    return Recipe(name=name, weld=tuple(Weld(name=weld, typology=kind) for weld, kind in (welds or {"W1": "T2", "W2": "T2"}).items()))


class Driven:
    """A session with a clock of its own; the 'port' takes everything at once and the 'disk' answers when told to."""

    def __init__(
        self,
        profile: str = "handshake",
        *,
        durable: bool = True,
        recipes: Sequence[Recipe] | None = None,
        challenge: ChallengeConfig | None = None,
        boot: str = "boot",
        **changes: object,
    ) -> None:
        numbers = iter(range(1, 1_000_000))
        base = settings(profile=profile, **changes)
        self.session: GateSession
        self.now = 1_000 * MS
        self.wall_ahead = WALL
        """The wall clock is this much ahead of the other one."""
        self.kept: list[bytes | None] = []
        rule, book = None, None if recipes is None else {recipe.name: recipe for recipe in recipes}
        if challenge is not None:
            rule = Challenges(challenge, boot=boot, wall=lambda: self.now + self.wall_ahead, recipe=base.recipe, recipes=book)
        if profile == "push":
            self.session = PushSession(base, lambda: f"{next(numbers):08x}", rule)
        else:
            self.session = HandshakeSession(base, lambda: f"{next(numbers):08x}", book, rule)
        self.session.configs = (CONFIG,)
        self.durable = durable
        self.port_takes = True
        self.stuck = False
        self.waiting: list[Send] = []
        """What a stuck line has taken and not sent."""
        self.rows: list[Row] = []
        self.frames: list[Message] = []
        self.raw: list[bytes] = []
        self.told: list[Expect] = []
        self.settled: list[Settled] = []
        self.latches: list[str] = []
        self.tickets: list[Ticket] = []
        self.log: list[tuple[str, object]] = []
        self.decoder = Decoder("G")
        self.robot_counter = 0

    def act(self) -> None:
        while actions := self.session.take():
            for action in actions:
                self._perform(action)

    def _perform(self, action: Action) -> None:
        if isinstance(action, Send):
            self._send(action)
        elif isinstance(action, Record):
            self.rows += action.rows
            self.log.append(("record", action))
            if action.ticket is not None:
                self.tickets.append(action.ticket)
                if self.durable:
                    self.settle()
        elif isinstance(action, Tell):
            (self.told if isinstance(action.message, Expect) else self.settled).append(action.message)
        elif isinstance(action, Latch):
            self.latches.append(action.why)
        elif isinstance(action, Kept):
            self.log.append(("kept", action.content))
            self.kept.append(action.content)
        else:
            assert isinstance(action, Discard | Withdraw)
            self.waiting = [send for send in self.waiting if isinstance(action, Withdraw) and send.key != action.key]

    def _send(self, action: Send) -> None:
        if self.stuck:
            self.waiting.append(action)
            return
        if not self.port_takes:
            if action.key is not None:
                self.session.dropped(action.key, "full", self.now)
            return
        assert self.now < action.not_after_ns
        outcome = getattr(action.message, "outcome", None)
        assert outcome is not Outcome.ACCEPT or not self.session.latched, "nothing is accepted while latched"
        data = encode_frame(action.message, "G")
        (message,) = self.decoder.feed(data)
        self.frames.append(message)
        self.raw.append(data)
        self.log.append(("send", message))
        if action.key is not None:
            self.session.sent(action.key, self.now)

    def settle(self) -> None:
        """Everything asked to be durable is durable now."""
        tickets, self.tickets = self.tickets, []
        for ticket in tickets:
            self.log.append(("durable", ticket))
            self.session.recorded(ticket, self.now)

    def do(self, call: Callable[..., None], *arguments: object) -> None:
        call(*arguments, self.now)
        self.act()

    def pass_ms(self, milliseconds: float, *, step_ms: float = 1.0) -> None:
        until = self.now + int(milliseconds * MS)
        while self.now < until:
            self.now = min(until, self.now + int(step_ms * MS))
            self.do(self.session.tick)

    def restore(self, kept: Passed | str | None) -> None:
        """The gate starts, and this is what the one before left of its challenge."""
        self.do(self.session.challenge_kept, kept)

    def red_rabbit(
        self, sequence: int, *, score: float = 0.9, done: Done = Done.REJECTED, part: str = "BAD", weld: str = "W1"
    ) -> TriggerId:
        """The known-bad part from trigger to confirmation."""
        key = self.trigger(sequence, part=part, weld=weld)
        self.report(key, part=part, weld=weld, score=score, members=(score,))
        self.confirm(key, self.verdicts[-1].outcome, done)
        return key

    def challenge(self, sequence: int) -> None:
        """Both parts of `a_challenge`, as they should be."""
        self.red_rabbit(sequence)
        self.weld(sequence + 1, part="GOOD")

    def ready(self) -> Driven:
        self.do(self.session.link_up)
        self.do(self.session.inspector_up)
        self.tell(a_state())
        if isinstance(self.session, HandshakeSession):
            self.hear(Hello(nonce="aaaaaaaa"))
        return self

    def tell(self, message: object) -> None:
        self.do(self.session.told, message)

    def hear(self, message: Message) -> None:
        self.do(self.session.received, message)

    def trigger(self, sequence: int, **changes: object) -> TriggerId:
        assert self.session.session is not None
        trigger = Trigger(session=self.session.session, sequence=sequence, part="P1", weld="W1", typology="T2")
        self.hear(msgspec.structs.replace(trigger, **changes))
        return TriggerId(self.session.session, sequence)

    def report(self, trigger: TriggerId | None, **changes: object) -> None:
        self.tell(a_report(trigger, **{"received_ns": self.now, **changes}))

    def confirm(self, key: TriggerId, outcome: Outcome, done: Done) -> None:
        """The robot says what it read and did."""
        self.hear(Ack(session=key.session, sequence=key.sequence, outcome=outcome, done=done))

    def weld(self, sequence: int, **changes: object) -> TriggerId:
        """A good weld from trigger to confirmation."""
        key = self.trigger(sequence, **changes)
        self.report(key, **{name: value for name, value in changes.items() if name in ("part", "weld")})
        self.confirm(key, Outcome.ACCEPT, Done.ACCEPTED)
        return key

    def change_over(self, sequence: int, recipe: str) -> Message:
        """The robot names a recipe; returns the gate's answer."""
        assert self.session.session is not None
        self.hear(ChangeOver(session=self.session.session, sequence=sequence, recipe=recipe))
        return self.frames[-1]

    def query(self, sequence: int, part: str = "P1", recipe: str = "") -> TriggerId:
        """The robot asks for the verdict on a whole part, under the recipe that is active (`recipe`: under another)."""
        assert self.session.session is not None
        assert isinstance(self.session, HandshakeSession)
        active = self.session._parts.active if self.session._parts is not None else ""
        self.hear(PartQuery(session=self.session.session, sequence=sequence, part=part, recipe=recipe or active or "NONE"))
        return TriggerId(self.session.session, sequence)

    @property
    def part_verdicts(self) -> list[PartVerdict]:
        return [frame for frame in self.frames if isinstance(frame, PartVerdict)]

    def of(self, kind: type[Message]) -> list[Message]:
        return [frame for frame in self.frames if isinstance(frame, kind)]

    @property
    def verdicts(self) -> list[Verdict]:
        return [frame for frame in self.frames if isinstance(frame, Verdict)]

    def table(self, kind: type[Row]) -> list[Row]:
        return [row for row in self.rows if isinstance(row, kind)]

    @property
    def verdict_rows(self) -> list[VerdictRow]:
        return [row for row in self.rows if isinstance(row, VerdictRow)]

    @property
    def dispositions(self) -> list[DispositionRow]:
        return [row for row in self.rows if isinstance(row, DispositionRow)]

    @property
    def events(self) -> list[EventRow]:
        return [row for row in self.rows if isinstance(row, EventRow)]

    def check_books(self) -> None:
        """I5: every trigger has exactly one verdict and one disposition."""
        names = [[(row.session, row.sequence) for row in self.table(kind)] for kind in (TriggerRow, VerdictRow, DispositionRow)]
        assert all(len(set(part)) == len(part) for part in names)
        assert set(names[0]) == set(names[1]) == set(names[2])

    def check_order(self) -> None:
        """I1, I2, I3: an ACCEPT was durable before it left, and one trigger never gets two different verdicts."""
        durable: set[TriggerId] = set()
        said: dict[tuple[str, int], Verdict | PartVerdict] = {}
        for what, value in self.log:
            if what == "durable" and isinstance(value, Ticket) and value.what == "verdict":
                durable.add(value.key)
            if what == "send" and isinstance(value, Verdict | PartVerdict):
                key = (value.session, value.sequence)
                assert said.setdefault(key, value) == value
                if value.outcome is Outcome.ACCEPT:
                    assert TriggerId(*key) in durable

    def check_parts(self, recipes: Sequence[Recipe]) -> None:
        """A part was accepted only if the rows before its query prove every weld of its recipe, judged without the product's own books."""
        welds = {recipe.name: recipe.welds for recipe in recipes}
        for verdict in self.part_verdicts:
            if verdict.outcome is Outcome.ACCEPT:
                at = next(
                    at
                    for at, row in enumerate(self.rows)
                    if isinstance(row, TriggerRow) and (row.session, row.sequence) == (verdict.session, verdict.sequence)
                )
                query = self.rows[at]
                assert isinstance(query, TriggerRow)
                for weld in welds[query.recipe]:
                    assert _proved(self.rows[:at], query, weld), f"{query} {weld}"


def _proved(rows: Sequence[Row], query: TriggerRow, weld: str) -> bool:
    """The weld's last trigger of this part was accepted and confirmed, and none of them was a defect."""
    mine = [row for row in rows if not isinstance(row, EventRow) and row.session == query.session]
    triggers = [row for row in mine if isinstance(row, TriggerRow) and row.part == query.part]
    since = max((row.sequence for row in triggers if row.opened_by == "part"), default=0)
    shown = [row.sequence for row in triggers if row.weld == weld and row.sequence > since]
    verdicts = {row.sequence: row for row in mine if isinstance(row, VerdictRow)}
    dispositions = {row.sequence: row for row in mine if isinstance(row, DispositionRow)}
    if not shown or any(verdicts[sequence].reason == "DEFECT" for sequence in shown):
        return False
    last = dispositions[max(shown)]
    return (verdicts[max(shown)].outcome, last.sent, last.done) == ("ACCEPT", "ACCEPT", "ACCEPTED")


class FakeInspector:
    """The inspector's end of the real socket; `answers` makes a report from each Expect."""

    def __init__(self, path: Path, config: str = CONFIG) -> None:
        """`config`: hash of the configuration that it says to run on."""
        self.config = config
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(5)
        until = time.monotonic() + 5
        while True:
            try:
                self.socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                assert time.monotonic() < until
                time.sleep(0.01)

    def say(self, message: object) -> None:
        if isinstance(message, InspectorState) and message.config == CONFIG:
            message = msgspec.structs.replace(message, config=self.config)
        self.socket.send(encode(message))

    def expect(self) -> Expect:
        while True:
            message = decode_to_inspector(self.socket.recv(65_536))
            if isinstance(message, Expect):
                return message

    def answer(self, expect: Expect, **changes: object) -> None:
        now_ns = time.monotonic_ns()
        named = {"part": expect.part, "weld": expect.weld, "typology": expect.typology, "typology_named": expect.typology}
        self.say(a_report(expect.trigger, **{**named, "received_ns": now_ns, **changes}))

    def close(self) -> None:
        self.socket.close()


def write_config(folder: Path, **changes: object) -> Path:
    gate = {"port": folder / "robot", "records": folder / "records.db", "socket": folder / "gate.sock", **changes}
    lines = [f'{key} = "{value}"' if isinstance(value, (str, Path)) else f"{key} = {value}" for key, value in gate.items()]
    inspector = ["[inspector]", 'bundle = "x"', f'trusted_keys = ["{"0" * 64}"]', "[[inspector.camera]]", 'name = "cam0"']
    path = folder / "cordon.toml"
    path.write_text("\n".join(["[gate]", *lines, *inspector, 'endpoint = "ipc:///tmp/none"', ""]))
    return path


def a_config(folder: Path, **changes: object) -> Config:
    return load_config(write_config(folder, **changes))
