"""The codec: what goes in comes out, and nothing else does."""

import itertools
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from longest import longest_messages

from edge.contract import Outcome, Reason
from edge.gate.codec import MAX_FRAME_BYTES, MAX_TWICE_BYTES, SEED, Counters, Decoder, encode_frame
from edge.gate.fields import FORMS
from edge.gate.messages import (
    CODES,
    FEATURE_PARTS,
    FEATURE_TWICE,
    KNOWN_FEATURES,
    Ack,
    ChangeOver,
    Direction,
    Done,
    Framing,
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
from fuzz.byte_decoder import ByteDecoder

SESSION = "0123456789abcdef"
MESSAGES: list[tuple[Direction, Message]] = [
    ("R", Hello(nonce="deadbeef", deadline_ms=250)),
    ("G", Hello(nonce="cafe0001", peer="deadbeef", must=0xA5)),
    ("R", Trigger(session=SESSION, sequence=1, part="P-1", weld="W.7", typology="T5")),
    ("R", Trigger(session=SESSION, sequence=65535, part="P", weld="W")),
    ("G", TriggerAck(session=SESSION, sequence=9)),
    ("G", Nak(session=SESSION, sequence=0, reason=Refusal.VERSION)),
    ("G", Verdict(session=SESSION, sequence=9, part="P", weld="W", outcome=Outcome.ACCEPT, reason=Reason.OK)),
    ("G", Verdict(session=SESSION, sequence=9, part="P", weld="W", outcome=Outcome.NO_VERDICT, reason=Reason.SESSION_LOST)),
    ("R", Ack(session=SESSION, sequence=9, outcome=Outcome.REJECT, done=Done.REJECTED)),
    ("R", Heartbeat(session=SESSION, state=State.READY, counter=65535, bundle="0123abcd")),
    ("G", Heartbeat(session=SESSION, state=State.FAULT, counter=0)),
    ("R", ChangeOver(session=SESSION, sequence=3, recipe="door-left")),
    ("G", ChangeOver(session=SESSION, sequence=3, recipe="door-left")),
    ("R", PartQuery(session=SESSION, sequence=4, part="P-1", recipe="DOOR-L")),
    ("G", PartVerdict(session=SESSION, sequence=4, part="P", missing=0, first=None, outcome=Outcome.ACCEPT, reason=Reason.OK)),
    ("G", PartVerdict(session=SESSION, sequence=4, part="P", missing=999, first="W", outcome=Outcome.REJECT, reason=Reason.WELDS_MISSING)),
]
FRAMINGS: list[Framing] = ["crc", "twice"]
ACCEPT = MESSAGES[6][1]
FRAME = encode_frame(ACCEPT, "G")


@pytest.mark.parametrize(("direction", "message"), MESSAGES)
@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_frame_gives_its_message_back_whatever_the_line_end(direction: Direction, message: Message, end: bytes, framing: Framing) -> None:
    frame = encode_frame(message, direction, framing)
    assert Decoder(direction, framing).feed(frame[:-1] + end) == [message]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_longest_part_verdict_is_exactly_as_long_as_a_frame_may_be(framing: Framing) -> None:
    limit = {"crc": MAX_FRAME_BYTES, "twice": MAX_TWICE_BYTES}[framing]
    lengths = []
    for direction, message in longest_messages():
        frame = encode_frame(message, direction, framing)
        assert Decoder(direction, framing).feed(frame) == [message]
        lengths.append(len(frame))
    assert max(lengths) == limit


def test_a_form_knows_how_many_texts_follow_its_prefix() -> None:
    for direction, message in longest_messages():
        (form,) = (form for form in FORMS[direction] if form.kind is type(message))
        assert form.write(message).count(b",") == form.texts


def test_a_field_that_does_not_fit_is_named_alone() -> None:
    wrong = Trigger(session="x", sequence=1, part="P,1", weld="W")
    with pytest.raises(ValueError, match=r"^Trigger does not fit the serial line: {'session': 'x', 'part': 'P,1'}$"):
        encode_frame(wrong, "R")


def test_what_a_message_does_not_say_is_as_documented() -> None:
    assert encode_frame(Hello(nonce="deadbeef"), "R").startswith(b"$RH,deadbeef,00000000,1,1,1,0000,H,0*")
    assert encode_frame(Heartbeat(session=SESSION, state=State.WAIT, counter=0), "G").startswith(f"$GB,{SESSION},WAIT,0,00000000*".encode())
    assert (FEATURE_PARTS, FEATURE_TWICE, KNOWN_FEATURES) == (0x0001, 0x0002, 0x0003)


def test_the_codes_are_those_of_the_document() -> None:
    assert CODES == {Outcome.ACCEPT: 0xF85A, Outcome.REJECT: 0xC5B0, Outcome.NO_VERDICT: 0x1C87}


def test_the_total_counts_every_kind_once() -> None:
    assert Counters(bad_crc=1, too_long=20, garbage=300, echoed=4_000, malformed=50_000).total() == 54_321
    assert Counters().total() == 0


def test_a_decoder_takes_only_the_framing_it_was_made_for() -> None:
    for framing, other in (FRAMINGS, FRAMINGS[::-1]):
        decoder = Decoder("G", framing)
        assert decoder.feed(encode_frame(ACCEPT, "G", other)) == []
        assert decoder.counters.garbage == 1


def test_copies_that_differ_are_refused() -> None:
    frame = encode_frame(ACCEPT, "G", "twice")
    for old, new in (
        (b"ACCEPT,F85A,07A5,OK\r", b"REJECT,C5B0,3A4F,DEFECT\r"),
        (b",9,P,W,ACCEPT,F85A,07A5,OK=", b",8,P,W,ACCEPT,F85A,07A5,OK="),
    ):
        decoder = Decoder("G", "twice")
        assert old in frame
        assert decoder.feed(frame.replace(old, new, 1)) == []
        assert decoder.counters.bad_crc == 1


def test_every_reason_fits_the_line() -> None:
    for reason in Reason:
        verdict = Verdict(session=SESSION, sequence=1, part="P", weld="W", outcome=Outcome.REJECT, reason=reason)
        assert Decoder("G").feed(encode_frame(verdict, "G")) == [verdict]


def _flipped(frame: bytes, *bits: int) -> bytes:
    changed = bytearray(frame)
    for bit in bits:
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_every_single_flipped_bit_of_a_verdict_is_refused() -> None:
    for bit in range(len(FRAME) * 8):
        assert Decoder("G").feed(_flipped(FRAME, bit) + b"\r") == []


def test_every_two_flipped_bits_of_a_verdict_are_refused() -> None:
    for pair in itertools.combinations(range(len(FRAME) * 8), 2):
        decoder = Decoder("G")
        assert decoder.feed(_flipped(FRAME, *pair) + b"\r") == [], pair


def test_the_code_words_are_far_apart() -> None:
    for one, other in itertools.combinations(CODES.values(), 2):
        assert (one ^ other).bit_count() >= 10


def _with_body(body: bytes) -> bytes:
    return b"$%b*%08X\r" % (body, zlib.crc32(body, SEED))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"ACCEPT", b"REJECT"),
        (b"F85A", b"C5B0"),
        (b"07A5", b"07A4"),
        (b",9,", b",0,"),
        (b",9,", b",09,"),
        (b",9,", b",65536,"),
        (b",OK", b",FINE"),
        (b",OK", b",OK,"),
        (b"GV,", b"GX,"),
        (b"GV,", b"GT,"),
        (b"GV,", b"GP,"),
        (b"GV,", b"GW,"),
        (b"0123456789abcdef", b"0123456789ABCDEF"),
    ],
)
def test_a_field_that_breaks_the_protocol_is_refused_even_with_a_good_crc(old: bytes, new: bytes) -> None:
    body = FRAME[1:-10].replace(old, new, 1)
    decoder = Decoder("G")
    assert decoder.feed(_with_body(body)) == []
    assert decoder.counters.malformed == 1


def test_the_crc_of_another_schema_is_refused() -> None:
    body = FRAME[1:-10]
    decoder = Decoder("G")
    assert decoder.feed(b"$%b*%08X\r" % (body, zlib.crc32(body))) == []
    assert decoder.counters.bad_crc == 1


def test_our_own_echo_is_never_accepted() -> None:
    decoder = Decoder("R")
    for direction, message in MESSAGES:
        if direction == "G":
            assert decoder.feed(encode_frame(message, "G")) == []
    assert decoder.counters.total() == decoder.counters.echoed
    assert decoder.counters.echoed == sum(direction == "G" for direction, _ in MESSAGES)


def test_a_message_of_the_wrong_direction_cannot_be_written() -> None:
    for direction, message in MESSAGES:
        if not isinstance(message, (Hello, Heartbeat, ChangeOver)):
            with pytest.raises(ValueError, match="direction"):
                encode_frame(message, "G" if direction == "R" else "R")
    with pytest.raises(ValueError, match="part"):
        encode_frame(Trigger(session=SESSION, sequence=1, part="P,1", weld="W"), "R")
    with pytest.raises(ValueError, match="sequence"):
        encode_frame(Trigger(session=SESSION, sequence=65536, part="P", weld="W"), "R")
    with pytest.raises(ValueError, match="sequence"):
        encode_frame(TriggerAck(session=SESSION, sequence=0), "G")


@pytest.mark.parametrize("noise", [b"\x00\xff\xfe", b"$GV,half a fra", b"x" * 500, b"$" + b"y" * 500, b"$$$", b"*\r*\n", b"\x11\x13"])
def test_a_frame_after_noise_is_read(noise: bytes) -> None:
    decoder = Decoder("G")
    assert decoder.feed(noise + FRAME + FRAME) == [ACCEPT, ACCEPT]
    assert decoder.counters.total() > 0


def test_a_line_that_is_too_long_is_counted_once_and_takes_no_memory() -> None:
    decoder = Decoder("G")
    assert decoder.feed(b"$" + b"A" * 1_000_000) == []
    assert decoder.counters.too_long == 1
    assert len(decoder._buffer) <= MAX_FRAME_BYTES
    assert decoder.feed(b"\r" + FRAME) == [ACCEPT]


def test_a_frame_hidden_in_a_line_that_is_too_long_needs_its_own_start() -> None:
    assert Decoder("G").feed(b"$" + b"A" * 200 + FRAME[1:]) == []


@given(st.binary(max_size=400), st.integers(0, 400))
def test_random_bytes_never_raise_and_never_become_a_message(noise: bytes, cut: int) -> None:
    decoder = Decoder("G")
    assert decoder.feed(noise[:cut]) + decoder.feed(noise[cut:]) == []
    assert len(decoder._buffer) < MAX_FRAME_BYTES


PIECES = st.one_of(
    st.sampled_from([b"$", b"\r", b"\n", b"*", b"=", b"$GV,", b"$RT,", b"x" * 122, b"$" + b"y" * 122, b"$" + b"y" * 228, b"\x00\xff"]),
    st.sampled_from([encode_frame(m, d, f) for d, m in MESSAGES for f in FRAMINGS]),
    st.sampled_from([encode_frame(m, d, f)[:-1] for d, m in MESSAGES for f in FRAMINGS]),
    st.binary(max_size=8),
)


@given(st.lists(PIECES, max_size=12).map(b"".join), st.lists(st.integers(1, 90)), st.sampled_from("RG"), st.sampled_from(FRAMINGS))
@example(b"$" + b"y" * 123, [123, 1], "G", "crc")
@example(b"noise$" + b"y" * 122 + b"\r", [3], "G", "crc")
def test_any_portions_give_the_messages_and_counters_of_single_bytes(
    stream: bytes, sizes: list[int], accepts: Direction, framing: Framing
) -> None:
    decoder, plain, whole = Decoder(accepts, framing), ByteDecoder(accepts, framing), Decoder(accepts, framing)
    at, found = 0, []
    for size in [*sizes, len(stream)]:
        portion, at = stream[at : at + size], at + size
        found.append(decoder.feed(portion))
        assert found[-1] == plain.feed(portion)
        assert decoder.counters == plain.counters
        assert len(decoder._buffer) < plain.limit
    assert whole.feed(stream) == [message for messages in found for message in messages]
    assert whole.counters == decoder.counters


@given(st.lists(st.sampled_from(MESSAGES[4:8]), max_size=5), st.lists(st.integers(1, 30), max_size=40))
def test_the_portions_in_which_bytes_arrive_do_not_matter(messages: list[tuple[Direction, Message]], sizes: list[int]) -> None:
    stream = b"".join(encode_frame(message, "G") for _, message in messages)
    decoder, found = Decoder("G"), []
    for size in [*sizes, len(stream)]:
        found += decoder.feed(stream[:size])
        stream = stream[size:]
    assert found == [message for _, message in messages]


@pytest.mark.parametrize(("framing", "limit"), [("crc", MAX_FRAME_BYTES), ("twice", MAX_TWICE_BYTES)])
def test_a_line_is_too_long_from_exactly_the_limit_on(framing: Framing, limit: int) -> None:
    for rest, too_long in ((b"y" * (limit - 1), 1), (b"y" * (limit - 2), 0)):
        for stream in (b"$" + rest + b"\r", b"$" + rest + b"$"):
            whole, portions = Decoder("G", framing), Decoder("G", framing)
            whole.feed(stream)
            portions.feed(stream[:-1])
            portions.feed(stream[-1:])
            assert whole.counters == portions.counters
            assert (whole.counters.too_long, whole.counters.garbage) == (too_long, 1 - too_long)


def test_after_a_reset_nothing_of_before_matters() -> None:
    decoder = Decoder("G")
    for start in (FRAME[:20], b"noise", b"$" + b"y" * 200):
        decoder.feed(start)
        decoder.reset()
        assert decoder.feed(FRAME) == [ACCEPT]
        decoder.feed(start)
        decoder.reset()
        before = decoder.counters.garbage
        decoder.feed(b"x")
        assert decoder.counters.garbage == before + 1
        decoder.reset()


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (f"RC,{SESSION},1,{'n' * 24}", True),
        (f"RC,{SESSION},1,{'n' * 25}", False),
        (f"RC,{SESSION},1,", False),
        (f"RT,{SESSION},1,P,W,{'n' * 25}", False),
        (f"GW,{SESSION},1,P,999,W,REJECT,C5B0,3A4F,WELDS_MISSING", True),
        (f"GW,{SESSION},1,P,1000,W,REJECT,C5B0,3A4F,WELDS_MISSING", False),
        (f"GW,{SESSION},1,P,00,W,REJECT,C5B0,3A4F,WELDS_MISSING", False),
        (f"GH,cafe0001,deadbeef,1,1,1,000a,H,{200}", False),
        (f"GH,cafe0001,deadbeef,1,1,1,000A,H,{200}", True),
        (f"GN,{SESSION},0,BUSY", True),
        (f"GK,{SESSION},0", False),
    ],
)
def test_fields_are_held_to_their_limits_in_both_directions(body: str, good: bool) -> None:
    direction: Direction = "G" if body[0] == "G" else "R"
    for framing, stream in (("crc", _with_body(body.encode("ascii"))), ("twice", f"${body}={body}\r".encode("ascii"))):
        decoder = Decoder(direction, framing)
        found = decoder.feed(stream)
        assert len(found) == good
        assert decoder.counters.malformed == (not good)
        assert [encode_frame(message, direction, framing) for message in found] == [stream] * good
