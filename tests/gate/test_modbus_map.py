import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract import Outcome, Reason
from edge.gate.messages import (
    CODES,
    Ack,
    ChangeOver,
    Done,
    Heartbeat,
    Hello,
    Message,
    Nak,
    PartQuery,
    PartVerdict,
    Refusal,
    State,
    Trigger,
    TriggerAck,
    Verdict,
)
from edge.gate.modbus_answer import AnswerImage, read_answer
from edge.gate.modbus_map import (
    ANSWER,
    ANSWER_BASE,
    COMMAND,
    COMMAND_BASE,
    DONE_WORDS,
    LIFE,
    LIFE_BASE,
    REASONS,
    REFUSALS,
    STATE_WORDS,
    command_registers,
    empty_answer,
    read_command,
    type_word,
)

SESSION = "0123456789abcdef"
FOREVER = 2**62
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}", fullmatch=True)
SEQUENCES = st.integers(1, 65535)
COMMANDS = st.one_of(
    st.builds(Hello, nonce=st.from_regex("[0-9a-f]{8}", fullmatch=True), must=st.integers(0, 65535), deadline_ms=st.integers(0, 65535)),
    st.builds(Trigger, session=st.just(SESSION), sequence=SEQUENCES, part=NAMES, weld=NAMES, typology=st.none() | NAMES),
    st.builds(Ack, session=st.just(SESSION), sequence=SEQUENCES, outcome=st.sampled_from(Outcome), done=st.sampled_from(Done)),
    st.builds(ChangeOver, session=st.just(SESSION), sequence=SEQUENCES, recipe=NAMES),
    st.builds(PartQuery, session=st.just(SESSION), sequence=SEQUENCES, part=NAMES, recipe=NAMES),
    st.builds(Heartbeat, session=st.just(SESSION), state=st.sampled_from(State), counter=st.integers(0, 65535)),
)


@given(COMMANDS)
def test_what_the_robot_writes_is_what_the_gate_reads(message: Message) -> None:
    block, words = command_registers(message)
    assert len(words) == block.size
    assert all(0 <= word <= 0xFFFF for word in words)
    assert read_command(block, words) == message


@pytest.mark.parametrize(
    "message",
    [
        Verdict(session=SESSION, sequence=3, part="P1", weld="W1", outcome=Outcome.ACCEPT, reason=Reason.OK),
        Verdict(session=SESSION, sequence=3, part="p" * 24, weld="w" * 24, outcome=Outcome.REJECT, reason=Reason.DEFECT),
        PartVerdict(session=SESSION, sequence=4, part="P1", missing=0, first=None, outcome=Outcome.ACCEPT, reason=Reason.OK),
        PartVerdict(session=SESSION, sequence=4, part="P1", missing=2, first="W7", outcome=Outcome.REJECT, reason=Reason.WELDS_MISSING),
        ChangeOver(session=SESSION, sequence=5, recipe="door-left"),
        TriggerAck(session=SESSION, sequence=6),
        Nak(session=SESSION, sequence=7, reason=Refusal.BUSY),
        Heartbeat(session=SESSION, state=State.READY, counter=9, bundle="9d41c07a"),
    ],
)
def test_what_the_gate_puts_into_the_image_is_what_the_robot_reads(message: Message) -> None:
    image = AnswerImage()
    image.put(Hello(nonce=SESSION[8:], peer=SESSION[:8], deadline_ms=200), FOREVER)
    image.put(message, FOREVER)
    read = read_answer(image.registers(0))
    assert read is not None
    assert message in read
    assert read[0] == Hello(nonce=SESSION[8:], peer=SESSION[:8], deadline_ms=200)


def test_an_accept_vanishes_from_the_image_at_its_deadline_and_a_reject_does_not() -> None:
    image = AnswerImage()
    image.put(Hello(nonce=SESSION[8:], peer=SESSION[:8]), FOREVER)
    image.put(Verdict(session=SESSION, sequence=3, part="P1", weld="W1", outcome=Outcome.ACCEPT, reason=Reason.OK), 1000)
    assert any(isinstance(message, Verdict) for message in read_answer(image.registers(999)) or [])
    assert image.not_after_ns(999) == 1000
    assert not any(isinstance(message, Verdict) for message in read_answer(image.registers(1000)) or [])
    image.put(Verdict(session=SESSION, sequence=4, part="P1", weld="W1", outcome=Outcome.REJECT, reason=Reason.DEFECT), 1000)
    assert any(isinstance(message, Verdict) for message in read_answer(image.registers(10**9)) or [])


def test_a_new_session_takes_the_old_answer_away() -> None:
    image = AnswerImage()
    image.put(Hello(nonce=SESSION[8:], peer=SESSION[:8]), FOREVER)
    image.put(Verdict(session=SESSION, sequence=3, part="P1", weld="W1", outcome=Outcome.ACCEPT, reason=Reason.OK), FOREVER)
    image.put(Hello(nonce="ffffffff", peer="eeeeeeee"), FOREVER)
    assert not any(isinstance(message, Verdict) for message in read_answer(image.registers(0)) or [])
    image.clear()
    assert read_answer(image.registers(0)) == []


def test_every_flip_of_one_two_or_three_bits_of_a_block_is_refused() -> None:
    """All 1- and 2-bit flips of the shortest block, all 1-bit and a sample of 2- and 3-bit flips of the others."""
    image = AnswerImage()
    image.put(Hello(nonce=SESSION[8:], peer=SESSION[:8]), FOREVER)
    image.put(Verdict(session=SESSION, sequence=3, part="P1", weld="W1", outcome=Outcome.ACCEPT, reason=Reason.OK), FOREVER)
    trigger = command_registers(Trigger(session=SESSION, sequence=1, part="P1", weld="W1", typology="T2"))[1]
    beat = command_registers(Heartbeat(session=SESSION, state=State.READY, counter=1))[1]
    generator = random.Random(5)
    for block, words in ((COMMAND, trigger), (LIFE, beat), (ANSWER, image.registers(0))):
        bits = range(16 * block.size)
        flips = [(bit,) for bit in bits] + [tuple(generator.sample(bits, n)) for n in (2, 3) for _ in range(2000)]
        if block is LIFE:
            flips += list(itertools.combinations(bits, 2))
        for flip in flips:
            broken = list(words)
            for bit in flip:
                broken[bit // 16] ^= 1 << (bit % 16)
            assert block.unpack(broken) is None


def test_a_block_of_another_kind_or_length_is_refused() -> None:
    _, words = command_registers(Trigger(session=SESSION, sequence=1, part="P1", weld="W1"))
    assert read_command(LIFE, words[: LIFE.size]) is None
    assert read_command(COMMAND, words[:-1]) is None
    assert len({COMMAND.seed, LIFE.seed, ANSWER.seed}) == 3


HEAD = {"session": SESSION, "sequence": 7}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (Hello(nonce="deadbeef"), {"session": "deadbeef00000000", "major": 1, "minor": 1, "lowest": 1}),
        (Trigger(**HEAD, part="P", weld="W"), {**HEAD, "part": "P", "weld": "W"}),
        (Trigger(**HEAD, part="P", weld="W", typology="T"), {**HEAD, "part": "P", "weld": "W", "typology": "T"}),
        (Ack(**HEAD, outcome=Outcome.REJECT, done=Done.REJECTED), {**HEAD, "outcome": 0xC5B0, "done": 0xFE24}),
        (ChangeOver(**HEAD, recipe="R"), {**HEAD, "part": "R"}),
        (PartQuery(**HEAD, part="P", recipe="R"), {**HEAD, "part": "P", "typology": "R"}),
        (Heartbeat(session=SESSION, state=State.READY, counter=9), {"session": SESSION, "state": 0xFE01, "counter": 9}),
    ],
)
def test_what_a_type_does_not_use_is_zero(message: Message, said: dict[str, object]) -> None:
    block, words = command_registers(message)
    values = block.unpack(words)
    assert values is not None
    letter = {"Hello": "H", "ChangeOver": "C", "PartQuery": "P", "Heartbeat": "B"}.get(type(message).__name__, type(message).__name__[0])
    assert {name: value for name, value in values.items() if value} == {"type": type_word(letter), **said}
    assert read_command(block, words) == message


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        (PartQuery(**HEAD, part="P", recipe="R"), {"typology": ""}),
        (PartQuery(**HEAD, part="P", recipe="R"), {"part": ""}),
        (ChangeOver(**HEAD, recipe="R"), {"part": ""}),
        (Ack(**HEAD, outcome=Outcome.REJECT, done=Done.REJECTED), {"outcome": 1}),
        (Ack(**HEAD, outcome=Outcome.REJECT, done=Done.REJECTED), {"done": 1}),
        (Ack(**HEAD, outcome=Outcome.REJECT, done=Done.REJECTED), {"part": "P"}),
        (Hello(nonce="deadbeef"), {"session": "deadbeef00000001"}),
        (Hello(nonce="deadbeef"), {"sequence": 1}),
        (Heartbeat(session=SESSION, state=State.READY, counter=9), {"state": 1}),
        (Heartbeat(session=SESSION, state=State.READY, counter=9), {"type": type_word("T")}),
    ],
)
def test_a_good_crc_does_not_make_a_message_of_a_wrong_word(message: Message, changes: dict[str, object]) -> None:
    block, words = command_registers(message)
    values = block.unpack(words)
    assert values is not None
    assert read_command(block, block.pack({**values, **changes})) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"type": type_word("V")},
        {"type": 0},
        {"sequence": 0},
        {"part": ""},
        {"weld": ""},
        {"outcome": CODES[Outcome.ACCEPT]},
        {"must": 1},
        {"done": DONE_WORDS[Done.ACCEPTED]},
    ],
)
def test_a_good_crc_does_not_make_a_trigger_of_a_block_that_breaks_the_map(changes: dict[str, object]) -> None:
    block, words = command_registers(Trigger(session=SESSION, sequence=1, part="P1", weld="W1"))
    values = block.unpack(words)
    assert values is not None
    assert read_command(block, block.pack(values)) is not None
    assert read_command(block, block.pack({**values, **changes})) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"code": CODES[Outcome.REJECT]},
        {"complement": 0},
        {"kind": type_word("-")},
        {"reason": 4711},
        {"kind": 0},
        {"state": 0},
        {"refusal": 99},
    ],
)
def test_an_answer_whose_words_contradict_each_other_is_not_used(changes: dict[str, int]) -> None:
    image = AnswerImage()
    image.put(Hello(nonce=SESSION[8:], peer=SESSION[:8]), FOREVER)
    image.put(Verdict(session=SESSION, sequence=3, part="P1", weld="W1", outcome=Outcome.ACCEPT, reason=Reason.OK), FOREVER)
    values = ANSWER.unpack(image.registers(0))
    assert values is not None
    assert read_answer(ANSWER.pack(values))
    assert read_answer(ANSWER.pack({**values, **changes})) is None


def test_every_reason_and_refusal_has_its_own_number_and_the_words_are_far_apart() -> None:
    assert sorted(REASONS) == sorted(Reason)
    assert sorted(REFUSALS) == sorted(Refusal)
    words = [*DONE_WORDS.values(), *CODES.values(), *(code ^ 0xFFFF for code in CODES.values())]
    assert min((a ^ b).bit_count() for a, b in itertools.combinations(set(words), 2)) >= 6
    assert min((a ^ b).bit_count() for a, b in itertools.combinations(STATE_WORDS.values(), 2)) >= 2
    assert min((type_word(a) ^ type_word(b)).bit_count() for a, b in itertools.combinations("HTACPBVW-", 2)) >= 2


def test_only_a_gate_message_is_refused_as_a_command() -> None:
    with pytest.raises(TypeError, match="not written by a robot"):
        command_registers(TriggerAck(session=SESSION, sequence=1))


def test_the_blocks_do_not_overlap_and_fit_into_one_transaction() -> None:
    assert COMMAND_BASE + COMMAND.size <= LIFE_BASE
    assert LIFE_BASE + LIFE.size <= ANSWER_BASE
    assert max(COMMAND.size, LIFE.size) <= 121
    assert ANSWER.size <= 125


def test_a_verdict_of_another_session_never_gets_into_the_image() -> None:
    image = AnswerImage()
    image.put(Hello(nonce="ffffffff", peer="eeeeeeee"), FOREVER)
    image.put(Verdict(session=SESSION, sequence=3, part="P1", weld="W1", outcome=Outcome.ACCEPT, reason=Reason.OK), FOREVER)
    assert not any(isinstance(message, Verdict) for message in read_answer(image.registers(0)) or [])


def test_an_answer_block_without_a_session_holds_zeros_and_says_wait() -> None:
    said = {name: value for name, value in empty_answer().items() if value not in (0, "")}
    nobody = {"session": "0" * 16, "refused_session": "0" * 16, "bundle": "0" * 8}
    assert said == {"state": STATE_WORDS[State.WAIT], "kind": type_word("-"), **nobody}


def test_a_fresh_image_says_nothing_and_bounds_nothing() -> None:
    image = AnswerImage()
    assert image.not_after_ns(0) is None
    assert read_answer(image.registers(0)) == []


def test_an_answer_with_a_wrong_crc_is_not_used() -> None:
    words = AnswerImage().registers(0)
    assert read_answer([*words[:-1], words[-1] ^ 1]) is None


def test_the_bound_of_an_accept_ends_with_it() -> None:
    accept = Verdict(session=SESSION, sequence=3, part="P1", weld="W1", outcome=Outcome.ACCEPT, reason=Reason.OK)
    reject = Verdict(session=SESSION, sequence=4, part="P1", weld="W1", outcome=Outcome.REJECT, reason=Reason.DEFECT)
    hello = Hello(nonce=SESSION[8:], peer=SESSION[:8])

    def image() -> AnswerImage:
        made = AnswerImage()
        made.put(hello, FOREVER)
        made.put(accept, 1000)
        return made

    expired, replaced, cleared, renewed = image(), image(), image(), image()
    assert expired.not_after_ns(1000) is None
    assert expired.not_after_ns(0) is None, "what has expired does not come back"
    assert expired.registers(0) == expired.registers(2000)
    replaced.put(reject, FOREVER)
    assert replaced.not_after_ns(0) is None
    assert reject in (read_answer(replaced.registers(1001)) or []), "a REJECT in its place stays"
    cleared.clear()
    assert cleared.not_after_ns(0) is None
    renewed.put(Hello(nonce="ffffffff", peer="eeeeeeee"), FOREVER)
    assert renewed.not_after_ns(0) is None


def test_a_new_session_begins_without_refusal_and_acknowledgement() -> None:
    image = AnswerImage()
    image.put(Hello(nonce=SESSION[8:], peer=SESSION[:8]), FOREVER)
    image.put(Nak(session=SESSION, sequence=7, reason=Refusal.BUSY), FOREVER)
    image.put(TriggerAck(session=SESSION, sequence=6), FOREVER)
    hello = Hello(nonce="ffffffff", peer="eeeeeeee")
    image.put(hello, FOREVER)
    values = ANSWER.unpack(image.registers(0))
    assert values is not None
    assert (values["acknowledged"], values["refusal"], values["refused_sequence"], values["refused_session"]) == (0, 0, 0, "0" * 16)
    image.put(hello, FOREVER)
    image.put(TriggerAck(session="eeeeeeeeffffffff", sequence=1), FOREVER)
    image.put(hello, FOREVER)
    values = ANSWER.unpack(image.registers(0))
    assert values is not None
    assert values["acknowledged"] == 1, "the same hello again changes nothing"


def test_a_withdrawn_answer_is_gone_and_another_one_stays() -> None:
    image = AnswerImage()
    image.put(Hello(nonce=SESSION[8:], peer=SESSION[:8]), FOREVER)
    image.put(Verdict(session=SESSION, sequence=3, part="P1", weld="W1", outcome=Outcome.ACCEPT, reason=Reason.OK), 1000)
    image.withdraw(4)
    assert any(isinstance(message, Verdict) for message in read_answer(image.registers(0)) or [])
    image.withdraw(3)
    assert not any(isinstance(message, Verdict) for message in read_answer(image.registers(0)) or [])
    assert image.not_after_ns(0) is None
