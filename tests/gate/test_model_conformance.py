import itertools

import pytest
from gate_kit import MS, Driven, a_recipe, a_state
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from model_gate import ModelGate

from edge.contract import TriggerId
from edge.gate.codec import Decoder
from edge.gate.handshake import HandshakeSession
from edge.gate.messages import Ack, Done, Heartbeat, Hello, Message, PartQuery, PartVerdict, State, Trigger, Verdict
from edge.gate.rows import DispositionRow, TriggerRow, VerdictRow
from sim.robot_protocol import RobotProtocol


class HeldToTheModel(RuleBasedStateMachine):
    """The real session and the real robot on a line that loses, repeats and reorders, beside the model's gate."""

    def __init__(self) -> None:
        super().__init__()
        self.driven = Driven(durable=False, recipes=[a_recipe()], recipe="R1")
        self.model = ModelGate()
        nonces = itertools.count(1)
        self.robot = RobotProtocol(
            nonce=lambda: f"{next(nonces) + 0xA0000000:08x}",
            budget_ns=150 * MS,
            heartbeat_ns=100 * MS,
            silence_ns=300 * MS,
            repeat_ns=60 * MS,
        )
        self.decoder = Decoder("R")
        self.up: list[Message] = []
        self.down: list[Message] = []
        self.seen = self.count = 0
        self.bad = {"W1": False, "W2": False}
        self.driven.do(self.driven.session.link_up)
        self.driven.do(self.driven.session.inspector_up)
        self.driven.tell(a_state())
        self.own_frame: set[tuple[str, int]] = set()
        self.all_goes_well(3, "confirmed")

    @property
    def gate(self) -> HandshakeSession:
        assert isinstance(self.driven.session, HandshakeSession)
        return self.driven.session

    # the world

    @rule(w1=st.booleans(), w2=st.booleans())
    def truth(self, w1: bool, w2: bool) -> None:
        if self.robot.open is None and not self.model.part_open:
            self.bad = {"W1": w1 and w2, "W2": w2}

    @rule(what=st.sampled_from(["W1", "W2", "part"]))
    def robot_asks(self, what: str) -> None:
        now = self.driven.now
        data = self.robot.finish_part("P1", now, "R1") if what == "part" else self.robot.trigger("P1", what, "T2", now)
        if data is not None:
            self.up += self.decoder.feed(data)

    @rule(wanted=st.lists(st.sampled_from(["W1", "W2", "part"]), min_size=1, max_size=4))
    def work(self, wanted: list[str]) -> None:
        for what in wanted:
            self.robot_asks(what)
            self.all_goes_well(2, "confirmed")

    @rule(rounds=st.integers(1, 4), until=st.sampled_from(["judged", "durable", "heard", "confirmed"]))
    def all_goes_well(self, rounds: int, until: str) -> None:
        for _ in range(rounds):
            self._pass(1)
            self._deliver_up()
            self.camera(0)
            if until != "judged":
                self.disk_commits()
            self._collect()
            while until in ("heard", "confirmed") and self.down:
                self.robot.received(self.down.pop(0), self.driven.now)
            self._collect()
            if until == "confirmed":
                self._deliver_up()

    def _deliver_up(self) -> None:
        while self.up:
            self._gate_takes(self.up.pop(0))
        self._collect()

    @rule(milliseconds=st.sampled_from([1, 20, 45, 95]))
    def wait(self, milliseconds: int) -> None:
        self._pass(milliseconds)

    def _pass(self, milliseconds: int) -> None:
        for _ in range(milliseconds):
            self.driven.now += MS
            self._signs_of_life()
            self.model.tick(self.driven.now)
            self.driven.do(self.gate.tick)
            self.robot.tick(self.driven.now)
            self._collect()

    @rule(often=st.integers(1, 5))
    def robot_reboots(self, often: int) -> None:
        if often == 1:
            self.robot._lose("reboot", self.driven.now)
            self.robot._last = None
        self.robot.tick(self.driven.now)

    @precondition(lambda self: self.up)
    @rule(data=st.data(), fate=st.sampled_from(["take", "take", "take", "keep", "lose"]))
    def gate_hears(self, data: st.DataObject, fate: str) -> None:
        message = self._pick(data, self.up, fate)
        if message is not None:
            self._gate_takes(message)

    def _gate_takes(self, message: Message) -> None:
        self._to_model(message)
        self.driven.hear(message)
        if isinstance(message, Hello) and self.gate.session != self.model.session:
            assert self.gate.session is not None
            self.model.begin(self.gate.session)

    @precondition(lambda self: self.down)
    @rule(data=st.data(), fate=st.sampled_from(["take", "take", "take", "keep", "lose"]))
    def robot_hears(self, data: st.DataObject, fate: str) -> None:
        message = self._pick(data, self.down, fate)
        if message is not None:
            self.robot.received(message, self.driven.now)

    @rule(back=st.integers(0, 2))
    def camera(self, back: int) -> None:
        session, sequence = self.gate.session, self.gate._last - back
        case = self.gate._cases.get(sequence)
        if session is None or case is None or not case.asked.weld:
            return
        good = not self.bad[case.asked.weld]
        self.own_frame.add((session, sequence))
        self.model.report(sequence, good=good, now=self.driven.now)
        self.driven.report(TriggerId(session, sequence), weld=case.asked.weld, score=0.1 if good else 0.9)

    @rule()
    def disk_commits(self) -> None:
        tickets, self.driven.tickets = self.driven.tickets, []
        for ticket in tickets:
            self.driven.log.append(("durable", ticket))
            if ticket.what == "verdict" and ticket.key.session == self.model.session:
                self.model.durable(ticket.key.sequence, self.driven.now)
            self.driven.do(self.gate.recorded, ticket)

    @rule(often=st.integers(1, 4))
    def disk_fails_and_recovers(self, often: int) -> None:
        if often == 1:
            self.driven.tickets = []
            self.model.failed(self.driven.now)
            self.driven.do(self.gate.record_failed, None, "disk full")
        else:
            self.model.heals = True
            self.driven.do(self.gate.store_back)

    # the line

    def _pick(self, data: st.DataObject, line: list[Message], fate: str) -> Message | None:
        index = data.draw(st.integers(0, len(line) - 1))
        message = line[index] if fate == "keep" else line.pop(index)
        return None if fate == "lose" else message

    def _collect(self) -> None:
        for frame in self.robot.out:
            self.up += [message for message in self.decoder.feed(frame) if not isinstance(message, Heartbeat)]
        self.robot.out.clear()
        fresh, self.seen = self.driven.frames[self.seen :], len(self.driven.frames)
        self.down += [message for message in fresh if not isinstance(message, Heartbeat)]
        said = [(message.sequence, message.outcome) for message in fresh if isinstance(message, Verdict | PartVerdict)]
        assert said == self.model.left
        self.model.left.clear()
        del self.up[:-6], self.down[:-6]

    def _signs_of_life(self) -> None:
        self.count += 1
        self.driven.tell(a_state())
        if self.gate.session is not None:
            self.driven.hear(Heartbeat(session=self.gate.session, state=State.READY, counter=self.count & 0xFFFF))
        if self.robot.session is not None:
            self.robot.received(Heartbeat(session=self.robot.session, state=State.READY, counter=self.count & 0xFFFF), self.driven.now)

    def _to_model(self, message: Message) -> None:
        if getattr(message, "session", None) != self.model.session or self.model.session is None:
            return
        if isinstance(message, Trigger):
            self.model.ask(message.sequence, message.weld, self.driven.now)
        elif isinstance(message, PartQuery):
            self.model.ask(message.sequence, "", self.driven.now)
        elif isinstance(message, Ack):
            self.model.ack(message.sequence, message.outcome, accepted=message.done is Done.ACCEPTED)

    # what must hold

    @invariant()
    def gate_and_model_agree(self) -> None:
        self._collect()
        assert self.gate.session == self.model.session
        stages = [(case.key.sequence, case.stage.name) for case in self.gate._cases.values()]
        case = self.model.case
        assert stages == ([(case.sequence, case.stage)] if case else [])
        tables = {"trigger": TriggerRow, "verdict": VerdictRow, "disposition": DispositionRow}
        assert {name: len(self.driven.table(kind)) for name, kind in tables.items()} == self.model.rows

    @invariant()
    def accepts_are_proved(self) -> None:
        self.driven.check_order()
        for result in self.robot.results:
            if result.accepted and result.weld:
                assert not self.bad.get(result.weld) or (result.session, result.sequence) in self.own_frame
                assert (result.session, result.sequence) in self.own_frame

    def teardown(self) -> None:
        self.driven.do(self.gate.stop)
        self.driven.do(self.gate.close)
        self.driven.check_books()


TestHeldToTheModel = HeldToTheModel.TestCase
TestHeldToTheModel.pytestmark = [pytest.mark.slow]
TestHeldToTheModel.settings = hypothesis_settings(max_examples=80, stateful_step_count=40, deadline=None)
