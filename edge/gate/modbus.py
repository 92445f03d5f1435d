"""The Modbus RTU link: the gate as server on the serial port, for cells whose PLC speaks nothing else; pymodbus does the frames."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
    ReadWriteMultipleRegistersRequest,
    ReadWriteMultipleRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
)

from edge.config import GateConfig
from edge.contract import TriggerId
from edge.gate.messages import Message, PartVerdict, Verdict
from edge.gate.modbus_answer import AnswerImage
from edge.gate.modbus_map import ANSWER, COMMAND, LIFE, Block, read_command
from edge.gate.port import SerialPort

GAP_NS = 50_000_000
"""A request that stops for this long is forgotten. Modbus asks for 3.5 characters, which adapters on USB cannot tell."""
MAX_BYTES = 512
"""More than the longest request; whatever is longer is noise."""
RESPONSE_NS = 1_000_000_000
"""A response that the line does not take within this is of no use to a master any more."""


class ModbusLink:
    """Holds the register image and answers the master; a verdict counts as sent when a response with it was handed over whole.

    Nothing a master can write is a verdict: the answer block is read-only, and what it writes are the robot's messages.
    Raises PortMissingError, PortBusyError or LinkError when the port cannot be opened; PortGoneError when it breaks later.
    """

    def __init__(self, config: GateConfig, *, on_sent: Callable[[TriggerId], None], on_dropped: Callable[[TriggerId, str], None]) -> None:
        # Its log lines say what the counters say too, at the speed of the noise.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)
        self._port = SerialPort(config.port, baudrate=config.baudrate, parity=config.parity, on_sent=self._left)
        self._unit, self._on_sent, self._on_dropped = config.unit, on_sent, on_dropped
        self._framer = FramerRTU(DecodePDU(is_server=True))
        self._image = AnswerImage()
        self._buffer = bytearray()
        self._echo = b""
        self._heard_ns = 0
        self._noise: dict[str, int] = {}
        self._pending: tuple[TriggerId, int] | None = None

    @property
    def waiting(self) -> bool:
        """True while bytes of a response wait for the line."""
        return self._port.waiting

    def fileno(self) -> int:
        """For polling."""
        return self._port.fileno()

    def due_ns(self) -> int | None:
        """When a response or an unread verdict must be dropped."""
        due = [moment for moment in (self._port.due_ns(), self._pending[1] if self._pending else None) if moment is not None]
        return min(due, default=None)

    def send(self, message: Message, not_after_ns: int, now_ns: int, key: TriggerId | None = None) -> None:
        """Put a message into the image; a verdict is on its way once the robot has read it."""
        self._image.put(message, not_after_ns)
        if key is not None and isinstance(message, (Verdict, PartVerdict)):
            self._give_up("a newer verdict took its place", unless=key)
            self._pending = (key, not_after_ns)
        self.flush(now_ns)

    def receive(self, now_ns: int) -> list[Message]:
        """Answer every request that is complete; the robot's messages among them. Raises PortGoneError."""
        if self._buffer and now_ns - self._heard_ns > GAP_NS:
            self._count("cut_short")
            self._buffer.clear()
        data = self._port.read()
        if data:
            self._heard_ns = now_ns
            self._buffer += data
        self._drop_echo()
        messages: list[Message] = []
        while self._buffer and (request := self._next_request()) is not None:
            message = self._serve(request, now_ns)
            if message is not None:
                messages.append(message)
        if len(self._buffer) > MAX_BYTES:
            self._count("too_long")
            self._buffer.clear()
        return messages

    def flush(self, now_ns: int) -> None:
        """Go on with a response; give up a verdict that nobody read in time. Raises PortGoneError."""
        self._port.flush(now_ns)
        if self._pending is not None and now_ns >= self._pending[1]:
            self._give_up("the robot did not read it before its deadline")

    def noise(self) -> dict[str, int]:
        """What was thrown away since the last call, by kind."""
        if not self._noise:
            return {}
        found, self._noise = self._noise, {}
        return found

    def withdraw(self, key: TriggerId) -> None:
        """Take this trigger's verdict out of the image, and the rest of a response that carries it off the line."""
        self._image.withdraw(key.sequence)
        if self._pending is not None and self._pending[0] == key:
            self._pending = None
        self._port.withdraw(key)

    def discard(self) -> None:
        """Forget everything that was said in the session that ended."""
        self._image.clear()
        self._pending = None
        self._port.discard()

    def close(self) -> None:
        """Give the port back."""
        self._port.close()

    # requests

    def _next_request(self) -> ModbusPDU | None:
        try:
            used, request = self._framer.handleFrame(bytes(self._buffer), self._unit, 0)
        except ModbusException:
            used, request = len(self._buffer), None
        if used and request is None:
            self._count("bad_request")
        del self._buffer[:used]
        return request

    def _serve(self, request: ModbusPDU, now_ns: int) -> Message | None:
        message: Message | None = None
        if isinstance(request, (ReadInputRegistersRequest, ReadHoldingRegistersRequest)):
            kind = ReadInputRegistersResponse if isinstance(request, ReadInputRegistersRequest) else ReadHoldingRegistersResponse
            self._respond_answer(request, kind, request.address, request.count, now_ns)
        elif isinstance(request, WriteMultipleRegistersRequest):
            message = self._written(request, request.address, request.count, list(request.registers), now_ns)
            if message is not None:
                self._respond(WriteMultipleRegistersResponse(address=request.address, count=request.count), now_ns)
        elif isinstance(request, ReadWriteMultipleRegistersRequest):
            words = list(request.write_registers)
            message = self._written(request, request.write_address, request.write_count, words, now_ns)
            if message is not None:
                self._respond_answer(request, ReadWriteMultipleRegistersResponse, request.read_address, request.read_count, now_ns)
        else:
            self._refuse(request, ExcCodes.ILLEGAL_FUNCTION, now_ns)
        return message

    def _written(self, request: ModbusPDU, address: int, count: int, words: list[int], now_ns: int) -> Message | None:
        block: Block | None = next((b for b in (COMMAND, LIFE) if (address, count) == (b.base, b.size)), None)
        if block is None:
            self._refuse(request, ExcCodes.ILLEGAL_ADDRESS, now_ns)
            return None
        message = read_command(block, words)
        if message is None:
            self._count("bad_block")
            self._refuse(request, ExcCodes.ILLEGAL_VALUE, now_ns)
        return message

    def _respond_answer(self, request: ModbusPDU, kind: type[ModbusPDU], address: int, count: int, now_ns: int) -> None:
        if (address, count) != (ANSWER.base, ANSWER.size):
            self._refuse(request, ExcCodes.ILLEGAL_ADDRESS, now_ns)
            return
        registers = self._image.registers(now_ns)
        not_after_ns = self._image.not_after_ns(now_ns)
        self._respond(kind(registers=registers), now_ns, not_after_ns, self._pending[0] if self._pending else None)

    def _refuse(self, request: ModbusPDU, code: ExcCodes, now_ns: int) -> None:
        self._respond(ExceptionResponse(request.function_code, code), now_ns)

    def _respond(self, response: ModbusPDU, now_ns: int, not_after_ns: int | None = None, key: TriggerId | None = None) -> None:
        response.dev_id = self._unit
        self._echo = self._framer.buildFrame(response)
        latest_ns = now_ns + RESPONSE_NS
        self._port.send(self._echo, latest_ns if not_after_ns is None else min(latest_ns, not_after_ns), now_ns, key)

    def _drop_echo(self) -> None:
        """On two wires an adapter may hear itself: our own response at the head of what arrived is no request."""
        if not self._echo or not self._buffer:
            return
        if self._buffer.startswith(self._echo):
            del self._buffer[: len(self._echo)]
            self._count("echoed")
            self._echo = b""
        elif not self._echo.startswith(self._buffer):
            self._echo = b""

    # verdicts

    def _left(self, key: TriggerId) -> None:
        if self._pending is not None and self._pending[0] == key:
            self._pending = None
            self._on_sent(key)

    def _give_up(self, why: str, *, unless: TriggerId | None = None) -> None:
        if self._pending is not None and self._pending[0] != unless:
            key, self._pending = self._pending[0], None
            self._on_dropped(key, why)

    def _count(self, kind: str) -> None:
        self._noise[kind] = self._noise.get(kind, 0) + 1
