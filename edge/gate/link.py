"""How messages reach the robot: one interface for the daemon, and the ASCII line behind it; Modbus stands beside in `modbus.py`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

from edge.config import GateConfig
from edge.contract import TriggerId
from edge.gate.codec import Counters, Decoder, encode_frame
from edge.gate.messages import Framing, Message
from edge.gate.port import SerialPort


class Link(Protocol):
    """An open link; methods never block. Raises PortGoneError when the device breaks."""

    @property
    def waiting(self) -> bool:
        """True while bytes wait for the line: poll for writing, and call `flush`."""

    def fileno(self) -> int:
        """For polling."""

    def due_ns(self) -> int | None:
        """When `flush` must be called at the latest (CLOCK_MONOTONIC)."""

    def receive(self, now_ns: int) -> list[Message]:
        """Whole messages of the robot that arrived."""

    def send(self, message: Message, not_after_ns: int, now_ns: int, key: TriggerId | None = None) -> None:
        """Hand a message over; what is left of it at `not_after_ns` is dropped. The fate of one with a key is reported."""

    def flush(self, now_ns: int) -> None:
        """Go on with what waits; drop what is too late."""

    def noise(self) -> dict[str, int]:
        """What was thrown away since the last call, by kind; empty when nothing was."""

    def withdraw(self, key: TriggerId) -> None:
        """Forget what was not sent of this trigger's verdict; nothing is reported of it any more."""

    def discard(self) -> None:
        """Forget everything that was not sent."""

    def close(self) -> None:
        """Give the device back."""


class LineLink:
    """The ASCII line: `codec` frames on a serial port."""

    def __init__(self, port: SerialPort, framing: Framing = "crc") -> None:
        self._port, self._framing = port, framing
        self._decoder, self._told = Decoder("R", framing), Counters()

    @property
    def waiting(self) -> bool:
        """True while bytes wait for the line."""
        return self._port.waiting

    def fileno(self) -> int:
        """For polling."""
        return self._port.fileno()

    def due_ns(self) -> int | None:
        """When the next waiting frame must be dropped."""
        return self._port.due_ns()

    def receive(self, now_ns: int) -> list[Message]:  # noqa: ARG002 - the line has no use for the time
        """Whole messages of the robot that arrived. Raises PortGoneError."""
        return self._decoder.feed(self._port.read())

    def send(self, message: Message, not_after_ns: int, now_ns: int, key: TriggerId | None = None) -> None:
        """Hand a frame to the line. Raises PortGoneError."""
        self._port.send(encode_frame(message, "G", self._framing), not_after_ns, now_ns, key)

    def flush(self, now_ns: int) -> None:
        """Go on with what waits. Raises PortGoneError."""
        self._port.flush(now_ns)

    def noise(self) -> dict[str, int]:
        """What the decoder threw away since the last call, by kind."""
        counters = self._decoder.counters
        if counters.total() == self._told.total():
            return {}
        names = Counters.__struct_fields__
        found = {name: getattr(counters, name) - getattr(self._told, name) for name in names}
        self._told = Counters(**{name: getattr(counters, name) for name in names})
        return {name: count for name, count in found.items() if count}

    def withdraw(self, key: TriggerId) -> None:
        """Forget what was not sent of this trigger's verdict."""
        self._port.withdraw(key)

    def discard(self) -> None:
        """Forget everything that was not sent."""
        self._port.discard()

    def close(self) -> None:
        """Give the port back."""
        self._port.close()


OnSent = Callable[[TriggerId], None]
OnDropped = Callable[[TriggerId, str], None]


def open_link(config: GateConfig, *, on_sent: OnSent, on_dropped: OnDropped) -> Link:
    """The link that the configuration asks for. Raises PortMissingError, PortBusyError or LinkError."""
    if config.link == "modbus":
        # Loaded here: pymodbus takes a tenth of a second that the other links' start need not spend.
        modbus = import_module("edge.gate.modbus")
        link: Link = modbus.ModbusLink(config, on_sent=on_sent, on_dropped=on_dropped)
        return link
    port = SerialPort(config.port, baudrate=config.baudrate, parity=config.parity, on_sent=on_sent, on_dropped=on_dropped)
    return LineLink(port, config.framing)
