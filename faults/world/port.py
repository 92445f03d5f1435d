"""The gate's serial port without a device: the product's own queue, deadlines and dropping, on the simulated cable."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from edge.contract import TriggerId
from edge.gate.port import SerialPort
from faults.world.core import Core
from faults.world.line import Line

Leaving = Callable[[bytes, int], None]
"""Called before bytes of a frame leave, with the whole frame and the number of its first byte that leaves now."""


class SimulatedPort(SerialPort):
    """`SerialPort` with reading and writing replaced; `room` bytes are taken before the driver is full (None: any number)."""

    def __init__(
        self,
        core: Core,
        line: Line,
        *,
        on_sent: Callable[[TriggerId], None],
        on_dropped: Callable[[TriggerId, str], None],
        leaving: Leaving,
    ) -> None:
        self.path = "simulated"
        self.inbox: list[bytes] = []
        self.room: int | None = None
        self.gone = False
        self._waiting = deque()
        self._on_sent, self._on_dropped = on_sent, on_dropped
        self._core, self._line, self._leaving = core, line, leaving

    def fileno(self) -> int:
        """There is no device."""
        return -1

    def read(self) -> bytes:
        """What arrived. Raises PortGoneError when the plug was pulled."""
        if self.gone:
            raise self._gone("end of file")
        if not self.inbox:
            return b""
        data = b"".join(self.inbox)
        self.inbox.clear()
        return data

    def discard(self) -> None:
        """Forget everything that was not sent."""
        self._waiting.clear()

    def close(self) -> None:
        """Frames still waiting are dropped."""
        while self._waiting:
            self._drop(self._waiting.popleft(), "the port was closed")

    def _write(self, data: memoryview) -> int:
        if self.gone:
            raise self._gone("input/output error")
        count = len(data) if self.room is None else min(self.room, len(data))
        if count:
            if self.room is not None:
                self.room -= count
            whole = data.obj
            assert isinstance(whole, bytes)
            self._leaving(whole, len(whole) - len(data))
            self._line.put("G", whole if count == len(whole) else bytes(data[:count]))
        return count
