"""The ASCII line behind the link: it speaks the framing it was opened with, and counts what it throws away."""

import os
import select
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import GateConfig
from edge.contract import TriggerId
from edge.gate.codec import Decoder, encode_frame
from edge.gate.link import Link, open_link
from edge.gate.messages import Framing, Hello, TriggerAck

FOREVER_NS = 2**62
SESSION = "0123456789abcdef"
KEY = TriggerId(SESSION, 7)
HELLO = Hello(nonce="deadbeef")


class Cable:
    def __init__(self, framing: Framing) -> None:
        self.robot, slave = os.openpty()
        tty.setraw(slave)
        self.sent: list[TriggerId] = []
        self.link: Link = open_link(
            GateConfig(port=os.ttyname(slave), records=Path("none"), socket=Path("none"), framing=framing),
            on_sent=self.sent.append,
            on_dropped=lambda key, why: pytest.fail(f"{key} dropped: {why}"),
        )
        os.close(slave)

    def arrives(self, data: bytes) -> list[object]:
        os.write(self.robot, data)
        select.select([self.link], [], [], 5)
        return list(self.link.receive(0))


@pytest.fixture(params=["crc", "twice"])
def framing(request: pytest.FixtureRequest) -> Framing:
    framing: Framing = request.param
    return framing


@pytest.fixture
def cable(framing: Framing) -> Iterator[Cable]:
    made = Cable(framing)
    yield made
    made.link.close()
    os.close(made.robot)


def test_both_directions_use_the_framing_of_the_configuration(cable: Cable, framing: Framing) -> None:
    cable.link.send(TriggerAck(session=SESSION, sequence=7), FOREVER_NS, 0, KEY)
    assert Decoder("G", framing).feed(os.read(cable.robot, 4096)) == [TriggerAck(session=SESSION, sequence=7)]
    assert cable.sent == [KEY]
    assert cable.arrives(encode_frame(HELLO, "R", framing)) == [HELLO]
    assert cable.link.noise() == {}


def test_the_other_framing_is_noise_and_is_told_once(cable: Cable, framing: Framing) -> None:
    other: Framing = "crc" if framing == "twice" else "twice"
    assert cable.arrives(encode_frame(HELLO, "R", other)) == []
    assert cable.link.noise() == {"garbage": 1}
    assert cable.link.noise() == {}


def test_noise_is_told_by_kind(cable: Cable, framing: Framing) -> None:
    whole = encode_frame(HELLO, "R", framing)
    damaged = whole.replace(b"deadbeef", b"deadbeee", 1)
    echoed = encode_frame(HELLO, "G", framing)
    assert cable.arrives(damaged + echoed + b"\xff\xfe" + whole) == [HELLO]
    assert cable.link.noise() == {"bad_crc": 1, "echoed": 1, "garbage": 1}
