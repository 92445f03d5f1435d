"""The serial line's frames as values: bytes in, messages out, and back; pure, bounded, trusting nothing but a whole frame."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from edge.gate.fields import FORMS
from edge.gate.messages import Direction, Framing, Message

MAX_FRAME_BYTES = 124
"""From `$` to the terminating CR, both counted."""
MAX_TWICE_BYTES = 229
"""The same in the degraded framing."""
SCHEMA = (
    "cordon-serial 1.1;H nonce peer major minor lowest must profile deadline_ms;T session sequence part weld typology;K session sequence;"
    "N session sequence reason;V session sequence part weld word code complement reason;A session sequence word disposition;"
    "B session state counter bundle;C session sequence recipe;P session sequence part recipe;"
    "W session sequence part missing first word code complement reason;ACCEPT=F85A REJECT=C5B0 VOID=1C87"
)
SEED = zlib.crc32(SCHEMA.encode("ascii"))
"""Start value of every frame's CRC-32: two releases that disagree on the fields cannot read each other."""

_DELIMITER = re.compile(rb"[$\r\n]")
_WRITERS = {(form.kind, direction): form.write for direction, forms in FORMS.items() for form in forms}


class _Framing(NamedTuple):
    """How a body is guarded: a line is `$`, the body, and `seal(body)`; `end(line)` is where the body of a good line ends."""

    limit: int
    shape: re.Pattern[bytes]
    end: Callable[[bytes], int]
    seal: Callable[[bytes], bytes]


def _crc(body: bytes) -> bytes:
    return b"*%08X" % zlib.crc32(body, SEED)


_FRAMINGS: dict[Framing, _Framing] = {
    "crc": _Framing(
        limit=MAX_FRAME_BYTES,
        shape=re.compile(rb"\$[RG][A-Z],[ -#%-)+-~]*\*[0-9A-F]{8}"),
        end=lambda line: len(line) - 9,
        seal=_crc,
    ),
    "twice": _Framing(
        limit=MAX_TWICE_BYTES,
        shape=re.compile(rb"\$[RG][A-Z],[ -#%-<>-~]*=[ -#%-<>-~]*"),
        end=lambda line: len(line) // 2,
        seal=lambda body: b"=" + body,
    ),
}


def encode_frame(message: Message, direction: Direction, framing: Framing = "crc") -> bytes:
    """One message as one frame including its CR. Raises ValueError when a field does not fit the protocol."""
    write = _WRITERS.get((type(message), direction))
    if write is None:
        raise ValueError(f"{type(message).__name__} is not sent in direction {direction}")
    body = write(message)
    return b"$%b%b\r" % (body, _FRAMINGS[framing].seal(body))


class Counters(msgspec.Struct, kw_only=True):
    """What was thrown away since the decoder was made; only ever counted up."""

    bad_crc: int = 0
    """Frames whose CRC is wrong, or (degraded framing) whose two copies differ."""
    too_long: int = 0
    garbage: int = 0
    """Runs of bytes that are no frame: noise, or a frame cut short."""
    echoed: int = 0
    """Whole frames that carry our own direction."""
    malformed: int = 0
    """Whole frames with a good CRC whose fields break the protocol: a wrong release or a wrong program."""

    def total(self) -> int:
        """Everything thrown away."""
        return self.bad_crc + self.too_long + self.garbage + self.echoed + self.malformed


class Decoder:
    """Takes bytes in any portions, gives whole messages of one direction and one framing; holds at most one frame.

    A frame begins at `$` and ends at CR or LF; only these delimiters resynchronise, never a matching CRC.
    """

    def __init__(self, accepts: Direction, framing: Framing = "crc") -> None:
        self.counters = Counters()
        self._accepts = accepts.encode("ascii")
        self._readers = {form.prefix.encode("ascii"): form.read for form in FORMS[accepts]}
        self._limit, self._shape, self._end, self._seal = _FRAMINGS[framing]
        self._buffer = b""
        self._skipping = False

    def reset(self) -> None:
        """Forget a half frame (after the port was opened again)."""
        self._buffer, self._skipping = b"", False

    def feed(self, data: bytes) -> list[Message]:
        """Every message that `data` completes, in order."""
        if self._skipping:
            found = _DELIMITER.search(data)
            if found is None:
                return []
            data, self._skipping = data[found.start() :], False
        *lines, rest = (self._buffer + data).replace(b"\n", b"\r").split(b"\r")
        messages = [message for line in lines if line and (message := self._line(line)) is not None]
        self._keep(rest)
        return messages

    def _line(self, line: bytes) -> Message | None:
        """The message of everything between two line ends; what is no frame for us is counted."""
        message = self._frame(line)
        if message is None:
            before, start, last = line.rpartition(b"$")
            if before:
                self._count_cut_short(before)
                message = self._frame(start + last)
            if message is None:
                self._count_refused(start + last)
        return message

    def _frame(self, line: bytes) -> Message | None:
        body = line[1 : self._end(line)]
        read = self._readers.get(body[:2])
        if read is None or line[:1] != b"$" or line[len(body) + 1 :] != self._seal(body):
            return None
        return read(body)

    def _keep(self, rest: bytes) -> None:
        """Remember a frame that has only begun; forget at once what can no longer become one."""
        before, start, last = rest.rpartition(b"$")
        if before:
            self._count_cut_short(before)
        self._buffer = start + last
        if not rest or (start and len(self._buffer) < self._limit):
            return
        self.counters.too_long += bool(start)
        self.counters.garbage += not start
        self._buffer, self._skipping = b"", True

    def _count_cut_short(self, data: bytes) -> None:
        """Noise, then frames of which the next `$` cut off the rest."""
        noise, *frames = data.split(b"$")
        too_long = sum(len(frame) + 1 >= self._limit for frame in frames)
        self.counters.too_long += too_long
        self.counters.garbage += bool(noise) + len(frames) - too_long

    def _count_refused(self, line: bytes) -> None:
        counters, body = self.counters, line[1 : self._end(line)]
        if line[:1] == b"$" and len(line) >= self._limit:
            counters.too_long += 1
        elif self._shape.fullmatch(line) is None:
            counters.garbage += 1
        elif line[len(body) + 1 :] != self._seal(body):
            counters.bad_crc += 1
        elif body[:1] != self._accepts:
            counters.echoed += 1
        else:
            counters.malformed += 1
