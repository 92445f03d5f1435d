"""Fuzzing the serial decoder: bytes in any portions never raise, and nothing but whole frames becomes a message.

An input is one byte of choices, one byte for the size of the portions, and the stream. Since chance finds no CRC, one choice seals
every line of the stream with the check its body asks for, so that the fields' patterns are reached.
"""

from __future__ import annotations

import zlib

from edge.gate.codec import MAX_FRAME_BYTES, MAX_TWICE_BYTES, SEED, Counters, Decoder, encode_frame
from edge.gate.messages import Direction, Framing, Message
from fuzz.byte_decoder import ByteDecoder
from fuzz.harness import timed

FROM_GATE, TWICE, SEALED = 1, 2, 4


def check(data: bytes) -> None:
    """Raises whatever the decoder raises, and AssertionError where it breaks its promises."""
    if len(data) < 2:
        return
    choices, step, stream = data[0], data[1] % 64 + 1, data[2:]
    direction: Direction = "G" if choices & FROM_GATE else "R"
    framing: Framing = "twice" if choices & TWICE else "crc"
    if choices & SEALED:
        stream = b"".join(_sealed(body, framing) for body in stream.split(b"\n"))
    whole = Decoder(direction, framing)
    messages = timed(lambda: _fed(whole, stream))
    _check_portions(stream, step, messages, whole, (direction, framing))
    _check_meaning(stream, messages, direction, framing)


def _sealed(body: bytes, framing: Framing) -> bytes:
    check = b"*%08X" % zlib.crc32(body, SEED) if framing == "crc" else b"=" + body
    return b"$%b%b\r" % (body, check)


def _check_portions(stream: bytes, step: int, messages: list[Message], whole: Decoder, kind: tuple[Direction, Framing]) -> None:
    """In portions, byte by byte in the plain decoder, and at once: the same messages, the same counters, never more than one frame held."""
    limit = MAX_FRAME_BYTES if kind[1] == "crc" else MAX_TWICE_BYTES
    portions, plain = Decoder(*kind), ByteDecoder(*kind)
    found: list[Message] = []
    for at in range(0, len(stream), step):
        portion = stream[at : at + step]
        new = portions.feed(portion)
        assert new == plain.feed(portion)
        assert portions.counters == plain.counters
        assert len(portions._buffer) < limit  # noqa: SLF001 - the bound on memory is not visible from outside
        found += new
    assert found == messages
    assert whole.counters == portions.counters


def _check_meaning(stream: bytes, messages: list[Message], direction: Direction, framing: Framing) -> None:
    """Every message stands in the stream, character by character as the encoder writes it, in this order."""
    at = 0
    for message in messages:
        frame = encode_frame(message, direction, framing)
        places = [stream.find(frame[:-1] + end, at) for end in (b"\r", b"\n")]
        assert max(places) >= 0, frame
        at = min(place for place in places if place >= 0) + len(frame)


def _fed(decoder: Decoder, stream: bytes) -> list[Message]:
    """As if nothing had come before, however often it is asked."""
    decoder.reset()
    decoder.counters = Counters()
    return decoder.feed(stream)
