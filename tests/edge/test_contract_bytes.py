"""No packet, whatever its bytes, raises anything but ContractError."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.contract import Expect, FrameEvent, Reason, TriggerId, decode_to_gate, decode_to_inspector, encode
from edge.errors import ContractError

EVENT = encode(FrameEvent(camera="cam", counter=1, reason=Reason.FRAME_GAP, detail="lost"))
EXPECT = encode(Expect(TriggerId("0123456789abcdef", 7), "P1", "W1", None))


@given(st.binary(max_size=60))
@example(b"\x82\xa4type\xa3\x00\x00\x80")
@example(EVENT.replace(b"cam", b"\xff\xfe\xfd"))
@example(EXPECT.replace(b"P1", b"\xff1"))
def test_bytes_that_are_no_message_are_a_contract_error(packet: bytes) -> None:
    for decode in (decode_to_gate, decode_to_inspector):
        with pytest.raises(ContractError, match="does not fit the contract"):
            decode(packet)


def test_a_message_passes_unchanged() -> None:
    assert encode(decode_to_gate(EVENT)) == EVENT
    assert encode(decode_to_inspector(EXPECT)) == EXPECT
