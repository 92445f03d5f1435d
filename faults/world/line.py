"""The cable between gate and robot, one frame at a time, and everything that can happen to bytes on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from faults.world.core import MS, US, Core

Side = Literal["R", "G"]
"""Whose bytes: R from the robot, G from the gate."""
_JUNK = bytes(range(256)) + b"$$$***\r\r\n\n,,RTGVAB0123456789ABCDEF"
_FLOW = b"\x11\x13"
HISTORY = 24


class Line:
    """Takes whole frames or parts of them and hands them on, in order unless a fault says otherwise."""

    def __init__(self, core: Core, to_gate: Callable[[bytes], None], to_robot: Callable[[bytes], None]) -> None:
        self.core = core
        self.plugged = True
        self.past: list[tuple[Side, bytes]] = []
        """What went over it lately, for stale bytes."""
        self._deliver = {"R": to_gate, "G": to_robot}
        self._armed: dict[Side, list[list[object]]] = {"R": [], "G": []}
        self._last: dict[Side, int] = {"R": 0, "G": 0}
        self._held: dict[Side, bytes] = {"R": b"", "G": b""}
        self._life = 0
        self._echoing = False

    def arm(self, kind: str, side: Side, after: int) -> None:
        """Let `kind` happen to the frame of that side that follows `after` others."""
        self._armed[side].append([kind, after])

    def disarm(self) -> None:
        """Forget faults that found no frame."""
        self._armed["R"].clear()
        self._armed["G"].clear()

    def put(self, side: Side, data: bytes) -> None:
        """Bytes leave that side."""
        core = self.core
        if core.log is not None:
            core.say("robot >" if side == "R" else "gate >", repr(data)[2:-1])
        if not self.plugged:
            return
        self.past.append((side, data))
        if len(self.past) > HISTORY:
            del self.past[: HISTORY // 2]
        delay_ns = 200 * US + int(core.chance() * 1_500 * US)
        if self._armed[side]:
            for armed in list(self._armed[side]):
                if armed[1] == 0:
                    self._armed[side].remove(armed)
                    data, delay_ns = self._spoil(str(armed[0]), side, data, delay_ns)
                else:
                    armed[1] = int(armed[1]) - 1  # type: ignore[call-overload]
        if self._held[side]:
            held, self._held[side] = self._held[side], b""
            self._send(side, data, delay_ns)
            self._send(side, held, delay_ns)
        elif data:
            self._send(side, data, delay_ns)

    def insert(self, side: Side, data: bytes, delay_ns: int = 0) -> None:
        """Bytes that nobody sent, as coming from that side."""
        self._send(side, data, delay_ns)

    def unplug(self) -> None:
        """Pull the plug: what is on the way is lost."""
        self.plugged = False
        self._life += 1
        self._held["R"] = self._held["G"] = b""

    def drop_all(self) -> None:
        """Whatever is on the way is lost, the cable stays."""
        self._life += 1

    def _send(self, side: Side, data: bytes, delay_ns: int) -> None:
        when = max(self._last[side], self.core.now + delay_ns)
        self._last[side] = when
        self.core.at(when, self._arrive, (self._life, side, data))

    def _arrive(self, packet: tuple[int, Side, bytes]) -> None:
        life, side, data = packet
        if life == self._life:
            self._deliver[side](data)

    def _spoil(self, kind: str, side: Side, data: bytes, delay_ns: int) -> tuple[bytes, int]:
        """What becomes of one frame."""
        core = self.core
        core.injected(kind, f"on {side}")
        spoil = getattr(self, f"_{kind}")
        changed: tuple[bytes, int] = spoil(side, data, delay_ns)
        return changed

    def _flip(self, _side: Side, data: bytes, delay_ns: int) -> tuple[bytes, int]:
        spoilt = bytearray(data)
        for _ in range(self.core.between(1, 4) if spoilt else 0):
            spoilt[self.core.between(0, len(spoilt))] ^= 1 << self.core.between(0, 8)
        return bytes(spoilt), delay_ns

    def _cut(self, _side: Side, data: bytes, delay_ns: int) -> tuple[bytes, int]:
        at = self.core.between(0, max(1, len(data)))
        return (data[:at] if self.core.chance() < 0.7 else data[at:]), delay_ns

    def _noise(self, _side: Side, data: bytes, delay_ns: int) -> tuple[bytes, int]:
        junk = bytes(_JUNK[self.core.between(0, len(_JUNK))] for _ in range(self.core.between(1, 20)))
        at = self.core.between(0, len(data) + 1) if self.core.chance() < 0.5 else 0
        return data[:at] + junk + data[at:], delay_ns

    def _splice(self, side: Side, data: bytes, delay_ns: int) -> tuple[bytes, int]:
        """Bytes are lost in the middle: the beginning of this frame goes on as the end of an earlier one, field by field."""
        earlier = [old for of, old in self.past if of == side and old[:3] == data[:3] and old != data]
        if earlier:
            fields, tail = data.split(b","), self.core.pick(tuple(earlier)).split(b",")
            at = self.core.between(1, max(2, min(len(fields), len(tail))))
            data = b",".join([*fields[:at], *tail[at:]])
        return data, delay_ns

    def _control(self, _side: Side, data: bytes, delay_ns: int) -> tuple[bytes, int]:
        at = self.core.between(0, len(data) + 1)
        return data[:at] + _FLOW[self.core.between(0, 2) :] + data[at:], delay_ns

    def _garbage(self, _side: Side, data: bytes, delay_ns: int) -> tuple[bytes, int]:
        return b"$" + b"RT,0123456789abcdef," * self.core.between(6, 30) + (b"\r" if self.core.chance() < 0.5 else b"") + data, delay_ns

    def _echo(self, side: Side, data: bytes, delay_ns: int) -> tuple[bytes, int]:
        self._send("G" if side == "R" else "R", data, delay_ns)
        return data, delay_ns

    def _loss(self, _side: Side, _data: bytes, delay_ns: int) -> tuple[bytes, int]:
        return b"", delay_ns

    def _duplicate(self, side: Side, data: bytes, delay_ns: int) -> tuple[bytes, int]:
        for _ in range(self.core.between(1, 4)):
            self.core.at(self.core.now + delay_ns + self.core.between(0, 150 * MS), self._arrive, (self._life, side, data))
        return data, delay_ns

    def _delay(self, side: Side, data: bytes, delay_ns: int) -> tuple[bytes, int]:
        """Only the frame itself is late: later ones may overtake it."""
        self.core.at(self.core.now + delay_ns + self.core.between(2 * MS, 250 * MS), self._arrive, (self._life, side, data))
        return b"", delay_ns

    def _reorder(self, side: Side, data: bytes, delay_ns: int) -> tuple[bytes, int]:
        self._held[side] += data
        return b"", delay_ns
