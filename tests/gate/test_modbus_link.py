"""The gate as Modbus server on a real pseudo-terminal, with pymodbus's own client as master."""

import os
import select
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient
from pymodbus.exceptions import ModbusIOException

from edge.config import GateConfig
from edge.contract import Outcome, Reason, TriggerId
from edge.errors import PortGoneError
from edge.gate.link import Link, open_link
from edge.gate.messages import Heartbeat, Hello, Message, State, Trigger, Verdict
from edge.gate.modbus_answer import read_answer
from edge.gate.modbus_map import ANSWER, COMMAND, LIFE, command_registers

SESSION = "0123456789abcdef"
KEY = TriggerId(SESSION, 3)
FOREVER = 2**62
HELLO = Hello(nonce=SESSION[8:], peer=SESSION[:8])
TRIGGER = Trigger(session=SESSION, sequence=3, part="P1", weld="W1", typology="T2")
ACCEPT = Verdict(session=SESSION, sequence=3, part="P1", weld="W1", outcome=Outcome.ACCEPT, reason=Reason.OK)
UNIT = 17


class Wire:
    """Two pseudo-terminals and a thread that carries bytes between them: the gate opens one, the master the other."""

    def __init__(self) -> None:
        self._ends = [os.openpty(), os.openpty()]
        for _, slave in self._ends:
            tty.setraw(slave)
        self.gate, self.master = (os.ttyname(slave) for _, slave in self._ends)
        self.echo = False
        self.to_gate: list[bytes] = []
        self._stop, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def _carry(self) -> None:
        (gate, _), (master, _) = self._ends
        while True:
            ready, _, _ = select.select([gate, master, self._stop], [], [])
            if self._stop in ready:
                return
            for source, target in ((gate, master), (master, gate)):
                if source in ready:
                    data = os.read(source, 4096)
                    os.write(target, data)
                    if source == gate and self.echo:
                        os.write(gate, data)
                    if source == master:
                        self.to_gate.append(data)

    def close(self) -> None:
        os.write(self._wake, b"x")
        self._thread.join()
        for fd in (*(fd for pair in self._ends for fd in pair), self._stop, self._wake):
            os.close(fd)


class Served:
    """A ModbusLink served by a thread, as the gate's daemon would; its clock stands where the test puts it."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.sent: list[TriggerId] = []
        self.dropped: list[tuple[TriggerId, str]] = []
        config = GateConfig(port=self.wire.gate, records=Path("none"), socket=Path("none"), link="modbus", unit=UNIT)
        self.link: Link = open_link(config, on_sent=self.sent.append, on_dropped=lambda key, why: self.dropped.append((key, why)))
        self.now_ns = 1
        self.messages: list[Message] = []
        self.noise: dict[str, int] = {}
        self.lock = threading.Lock()
        self.running = True
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        self.client = ModbusSerialClient(self.wire.master, baudrate=115_200, timeout=0.5, retries=0)
        assert self.client.connect()
        self.send(HELLO)

    def _serve(self) -> None:
        while self.running:
            if select.select([self.link], [], [], 0.02)[0]:
                with self.lock:
                    self.messages += self.link.receive(self.now_ns)
                    for kind, count in self.link.noise().items():
                        self.noise[kind] = self.noise.get(kind, 0) + count

    def send(self, message: Message, not_after_ns: int = FOREVER, key: TriggerId | None = None) -> None:
        with self.lock:
            self.link.send(message, not_after_ns, self.now_ns, key)

    def read(self) -> list[Message] | None:
        answer = self.client.read_input_registers(ANSWER.base, count=ANSWER.size, device_id=UNIT)
        assert not answer.isError()
        return read_answer(answer.registers)

    def close(self) -> None:
        self.client.close()
        self.running = False
        self.thread.join()
        self.link.close()
        self.wire.close()


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.close()


def test_what_the_master_writes_arrives_as_messages(served: Served) -> None:
    beat = Heartbeat(session=SESSION, state=State.READY, counter=1)
    for message in (Hello(nonce="deadbeef"), TRIGGER, beat):
        block, words = command_registers(message)
        assert not served.client.write_registers(block.base, words, device_id=UNIT).isError()
    assert served.messages == [Hello(nonce="deadbeef"), TRIGGER, beat]
    assert served.noise == {}


def test_a_verdict_counts_as_sent_when_it_was_read(served: Served) -> None:
    served.send(ACCEPT, key=KEY)
    assert served.sent == []
    assert ACCEPT in (served.read() or [])
    assert served.sent == [KEY]
    assert ACCEPT in (served.read() or []), "a master may read as often as it likes inside the deadline"
    assert served.sent == [KEY]


def test_an_accept_nobody_read_in_time_is_gone_and_reported(served: Served) -> None:
    served.send(ACCEPT, not_after_ns=1000, key=KEY)
    assert served.link.due_ns() == 1000
    with served.lock:
        served.now_ns = 1000
        served.link.flush(1000)
    assert [key for key, _ in served.dropped] == [KEY]
    assert ACCEPT not in (served.read() or [])
    assert served.sent == []


def test_an_accept_that_was_read_is_gone_after_its_deadline_too(served: Served) -> None:
    served.send(ACCEPT, not_after_ns=1000, key=KEY)
    assert ACCEPT in (served.read() or [])
    served.now_ns = 1000
    assert ACCEPT not in (served.read() or [])


def test_a_newer_verdict_takes_the_place_of_one_nobody_read(served: Served) -> None:
    served.send(ACCEPT, key=KEY)
    later = Verdict(session=SESSION, sequence=4, part="P1", weld="W2", outcome=Outcome.REJECT, reason=Reason.DEFECT)
    served.send(later, key=TriggerId(SESSION, 4))
    assert [key for key, _ in served.dropped] == [KEY]
    assert later in (served.read() or [])
    assert served.sent == [TriggerId(SESSION, 4)]


def test_reading_and_writing_in_one_transaction_works(served: Served) -> None:
    served.send(ACCEPT, key=KEY)
    block, words = command_registers(Heartbeat(session=SESSION, state=State.READY, counter=1))
    answer = served.client.readwrite_registers(
        read_address=ANSWER.base, read_count=ANSWER.size, write_address=block.base, values=words, device_id=UNIT
    )
    assert ACCEPT in (read_answer(answer.registers) or [])
    assert len(served.messages) == 1


@pytest.mark.parametrize(
    ("address", "count"), [(ANSWER.base, ANSWER.size - 1), (ANSWER.base + 1, 2), (COMMAND.base, COMMAND.size), (LIFE.base, LIFE.size)]
)
def test_the_answer_is_read_whole_or_not_at_all(served: Served, address: int, count: int) -> None:
    assert served.client.read_holding_registers(address, count=count, device_id=UNIT).exception_code == 2


def test_no_master_can_write_a_verdict(served: Served) -> None:
    served.send(ACCEPT, key=KEY)
    words = served.client.read_holding_registers(ANSWER.base, count=ANSWER.size, device_id=UNIT).registers
    assert served.client.write_registers(ANSWER.base, words, device_id=UNIT).exception_code == 2
    for address in range(ANSWER.base, ANSWER.base + ANSWER.size, 7):
        assert served.client.write_registers(address, [0xF85A], device_id=UNIT).exception_code == 2
        assert served.client.write_register(address, 0xF85A, device_id=UNIT).exception_code == 1
    assert served.client.mask_write_register(address=ANSWER.base, device_id=UNIT).exception_code == 1
    assert served.messages == []


def test_a_block_written_in_parts_or_with_a_wrong_crc_is_refused_and_counted(served: Served) -> None:
    block, words = command_registers(TRIGGER)
    assert served.client.write_registers(block.base, words[:20], device_id=UNIT).exception_code == 2
    assert served.client.write_registers(block.base, [*words[:-1], words[-1] ^ 1], device_id=UNIT).exception_code == 3
    assert served.messages == []
    assert served.noise == {"bad_block": 1}


def test_another_address_on_the_same_wires_gets_no_answer(served: Served) -> None:
    with pytest.raises(ModbusIOException):
        served.client.read_input_registers(ANSWER.base, count=ANSWER.size, device_id=UNIT + 1)
    assert HELLO in (served.read() or [])


def test_noise_between_requests_is_counted_and_the_next_request_is_answered(served: Served) -> None:
    os.write(served.wire._ends[0][0], b"\x00\xff\x11garbage\x04\x01" + bytes(range(64)))
    served.now_ns += 10**9
    block, words = command_registers(TRIGGER)
    for _ in range(3):
        try:
            served.client.write_registers(block.base, words, device_id=UNIT)
        except ModbusIOException:
            served.now_ns += 10**9
    assert served.messages[-1] == TRIGGER
    assert sum(served.noise.values()) > 0


def test_an_adapter_that_hears_itself_does_no_harm(served: Served) -> None:
    served.wire.echo = True
    served.send(ACCEPT, key=KEY)
    for _ in range(5):
        assert ACCEPT in (served.read() or [])
        block, words = command_registers(TRIGGER)
        assert not served.client.write_registers(block.base, words, device_id=UNIT).isError()
    assert served.messages == [TRIGGER] * 5
    assert set(served.noise) == {"echoed"}


def test_an_endless_request_is_forgotten() -> None:
    wire = Wire()
    config = GateConfig(port=wire.gate, records=Path("none"), socket=Path("none"), link="modbus", unit=UNIT)
    link: Link = open_link(config, on_sent=lambda _: None, on_dropped=lambda _key, _why: None)
    master, _ = wire._ends[0]
    for turn in range(20):
        os.write(master, bytes([UNIT, 16, 0, 0, 0, 120, 240]) + b"\0" * 100)
        select.select([link], [], [], 1)
        link.receive(turn)
    assert len(link._buffer) <= 1024  # type: ignore[attr-defined]
    os.write(master, bytes([UNIT, 4]))
    select.select([link], [], [], 1)
    link.receive(100)
    link.receive(100 + 10**9)
    assert link.noise().get("cut_short")
    link.close()
    wire.close()


def test_a_pulled_plug_is_an_error_of_the_port() -> None:
    master, slave = os.openpty()
    config = GateConfig(port=os.ttyname(slave), records=Path("none"), socket=Path("none"), link="modbus")
    link: Link = open_link(config, on_sent=lambda _: None, on_dropped=lambda _key, _why: None)
    os.close(slave)
    os.close(master)
    with pytest.raises(PortGoneError):
        link.receive(0)
    link.close()


def test_discarding_takes_everything_said_in_the_old_session_away(served: Served) -> None:
    served.send(ACCEPT, key=KEY)
    with served.lock:
        served.link.discard()
    assert served.read() == []
    assert served.sent == served.dropped == []


def test_a_withdrawn_verdict_is_neither_read_nor_reported(served: Served) -> None:
    served.send(ACCEPT, key=KEY)
    with served.lock:
        served.link.withdraw(KEY)
    assert ACCEPT not in (served.read() or [])
    assert served.link.due_ns() is None
    assert served.sent == served.dropped == []
