"""What a receiver reads from bytes sent at another baud rate or parity: the line's levels bit by bit, sampled in its own time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Parity = Literal["none", "even", "odd"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Of one end of the line: 8 data bits, 1 stop bit."""

    baudrate: int = 115_200
    parity: Parity = "none"


def misread(data: bytes, sent: Setting, read: Setting) -> bytes:
    """The bytes that arrive; those with a wrong stop bit or parity are dropped, as a port does that ignores them."""
    levels = _levels(data, sent)
    step = sent.baudrate / read.baudrate
    arrived = bytearray()
    at = 0.0
    while (start := _falling(levels, at)) is not None:
        # Sampled in the middle of every bit, counted from the start bit's edge.
        bits = [_level(levels, start + (number + 0.5) * step) for number in range(1, 10 + (read.parity != "none"))]
        at = start + (len(bits) + 0.5) * step
        value = sum(bit << number for number, bit in enumerate(bits[:8]))
        if bits[-1] and (read.parity == "none" or bits[8] == _parity(value, read.parity)):
            arrived.append(value)
    return bytes(arrived)


def _parity(value: int, parity: Parity) -> int:
    return (value.bit_count() + (parity == "odd")) & 1


def _levels(data: bytes, setting: Setting) -> list[int]:
    """One level per bit time of the sender: idle, then start, data from the lowest bit, parity, stop."""
    levels = [1]
    for value in data:
        levels += [0, *(value >> number & 1 for number in range(8))]
        levels += [] if setting.parity == "none" else [_parity(value, setting.parity)]
        levels.append(1)
    return [*levels, 1]


def _level(levels: list[int], at: float) -> int:
    return levels[int(at)] if int(at) < len(levels) else 1


def _falling(levels: list[int], at: float) -> int | None:
    """Where the next start bit begins."""
    edges = (place for place in range(max(1, math.ceil(at)), len(levels)) if (levels[place - 1], levels[place]) == (1, 0))
    return next(edges, None)
