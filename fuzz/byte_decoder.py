"""The decoder's rules once more, one byte at a time and without regard to speed: what the fast one is compared with."""

from __future__ import annotations

import re
import zlib

from edge.gate.codec import MAX_FRAME_BYTES, MAX_TWICE_BYTES, SEED, Counters
from edge.gate.fields import FORMS
from edge.gate.messages import Direction, Framing, Message

PRINTABLE = {"crc": set(range(0x20, 0x7F)) - set(b"$*"), "twice": set(range(0x20, 0x7F)) - set(b"$=")}


class ByteDecoder:
    """Takes and gives what `edge.gate.codec.Decoder` does."""

    def __init__(self, accepts: Direction, framing: Framing = "crc") -> None:
        self.counters = Counters()
        self.accepts, self.framing = accepts, framing
        self.limit = MAX_FRAME_BYTES if framing == "crc" else MAX_TWICE_BYTES
        self.frame = bytearray()
        self.skipping = False

    def feed(self, data: bytes) -> list[Message]:
        """Every message that `data` completes, in order."""
        return [message for byte in data if (message := self.take(byte)) is not None]

    def take(self, byte: int) -> Message | None:
        """The message that this byte completes."""
        if byte in b"\r\n":
            frame, self.frame, self.skipping = bytes(self.frame), bytearray(), False
            return self.read(frame) if frame else None
        if byte == ord("$"):
            self.counters.garbage += bool(self.frame)
            self.frame, self.skipping = bytearray(b"$"), False
        elif not self.skipping:
            self.frame.append(byte)
            noise, too_long = self.frame[0] != ord("$"), len(self.frame) >= self.limit
            if noise or too_long:
                self.counters.garbage += noise
                self.counters.too_long += not noise
                self.frame, self.skipping = bytearray(), True
        return None

    def read(self, frame: bytes) -> Message | None:
        """The message of one whole frame without its end; what is none is counted."""
        body, _, check = frame[1:].partition(b"*" if self.framing == "crc" else b"=")
        shaped = re.match(rb"[RG][A-Z],", body) is not None and set(body) <= PRINTABLE[self.framing]
        if self.framing == "crc":
            whole = check == b"%08X" % zlib.crc32(body, SEED)
            shaped = shaped and re.fullmatch(rb"[0-9A-F]{8}", check) is not None
        else:
            whole = check == body
            shaped = shaped and b"=" in frame and set(check) <= PRINTABLE["twice"]
        if not shaped:
            self.counters.garbage += 1
        elif not whole:
            self.counters.bad_crc += 1
        elif chr(body[0]) != self.accepts:
            self.counters.echoed += 1
        else:
            found = [message for form in FORMS[self.accepts] if (message := form.read(body)) is not None]
            self.counters.malformed += not found
            return found[0] if found else None
        return None
