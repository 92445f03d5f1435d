"""A simulated robot behind Modbus RTU: pymodbus's own client as master, and the same distrustful protocol as on the ASCII line."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import Literal

from pymodbus.client import ModbusSerialClient
from pymodbus.exceptions import ModbusException

from edge.errors import SimulationError
from edge.gate.codec import Decoder
from edge.gate.messages import ChangeOver, Message, PartVerdict, State, Verdict
from edge.gate.modbus_answer import read_answer
from edge.gate.modbus_map import ANSWER, command_registers
from sim.robot_protocol import NS_PER_MS, RobotProtocol, RobotResult

_PARITY = {"none": "N", "even": "E", "odd": "O"}
AfterTrigger = Callable[["str | None", "int | None"], None]


def _nothing(_session: str | None, _sequence: int | None) -> None:
    return


class ModbusRobot:
    """The master of one gate. `step()` writes what the protocol wants to say and reads the answer block once; nothing runs beside it."""

    def __init__(
        self,
        port: str,
        *,
        baudrate: int = 115_200,
        parity: Literal["none", "even", "odd"] = "none",
        unit: int = 1,
        budget_ms: float = 400.0,
        heartbeat_ms: float = 80.0,
        timeout_s: float = 0.1,
    ) -> None:
        """`budget_ms` is the robot's own deadline, from its trigger; above `gate.budget_ms`, since the robot must also poll.

        Raises SimulationError when the device cannot be opened.
        """
        self._client = ModbusSerialClient(port, baudrate=baudrate, parity=_PARITY[parity], timeout=timeout_s, retries=0)
        if not self._client.connect():
            raise SimulationError(f"cannot open the serial device {port}", remedy="Check the path, and that nothing else holds it")
        self._unit = unit
        self.protocol = RobotProtocol(
            nonce=lambda: os.urandom(4).hex(),
            budget_ns=int(budget_ms * NS_PER_MS),
            heartbeat_ns=int(heartbeat_ms * NS_PER_MS),
            silence_ns=int(heartbeat_ms * NS_PER_MS) * 3,
            repeat_ns=int(budget_ms * NS_PER_MS) // 3,
        )
        self._written = Decoder("R")
        self._heard: Message | None = None
        self.refused = 0
        """Requests the gate answered with a Modbus exception."""
        self.unanswered = 0

    def __enter__(self) -> ModbusRobot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._client.close()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        """One turn of the robot's cycle: its clock, what it has to say, and one look at the gate's answer."""
        self.protocol.tick(time.monotonic_ns())
        frames, self.protocol.out = self.protocol.out, []
        for message in self._written.feed(b"".join(frames)):
            self.write(message)
        for heard in self.read():
            if isinstance(heard, (Verdict, PartVerdict, ChangeOver)):
                # The image keeps an answer for every read; on the line it would have come once.
                if heard == self._heard:
                    continue
                self._heard = heard
            self.protocol.received(heard, time.monotonic_ns())

    def write(self, message: Message) -> bool:
        """One block in one transaction; False when the gate refused it or did not answer."""
        block, registers = command_registers(message)
        try:
            answer = self._client.write_registers(block.base, registers, device_id=self._unit)
        except ModbusException:
            self.unanswered += 1
            return False
        self.refused += answer.isError()
        return not answer.isError()

    def read(self) -> list[Message]:
        """The gate's messages in the answer block, read in one transaction; empty when there is no answer or it must not be used."""
        try:
            answer = self._client.read_input_registers(ANSWER.base, count=ANSWER.size, device_id=self._unit)
        except ModbusException:
            self.unanswered += 1
            return []
        if answer.isError():
            self.refused += 1
            return []
        return read_answer(answer.registers) or []

    def wait_ready(self, timeout_s: float) -> bool:
        """True once a session is open and the gate says READY."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            self.step()
            if self.protocol.session is not None and self.protocol.state is State.READY:
                return True
        return False

    def inspect(self, part: str, weld: str, typology: str | None = None, *, after_trigger: AfterTrigger = _nothing) -> RobotResult:
        """Ask for one verdict and wait for it, at most until the robot's own deadline."""
        self.protocol.results.clear()
        frame = self.protocol.trigger(part, weld, typology, time.monotonic_ns())
        if frame is None:
            raise SimulationError("the robot has no session with the gate", remedy="Call wait_ready first")
        (trigger,) = self._written.feed(frame)
        self.write(trigger)
        after_trigger(self.protocol.session, self.protocol.sequence)
        while not self.protocol.results:
            self.step()
        result = self.protocol.results.popleft()
        self.step()  # the confirmation
        return result


def main(argv: Sequence[str]) -> int:
    """`cordon sim modbus-robot`: trigger a number of welds as a Modbus master; exit status 1 when one got no answer."""
    parser = argparse.ArgumentParser(prog="cordon sim modbus-robot", description=main.__doc__)
    parser.add_argument("--port", required=True, help="serial device on the robot's side")
    parser.add_argument("--baudrate", type=int, default=115_200, help="default %(default)s")
    parser.add_argument("--parity", choices=list(_PARITY), default="even", help="default %(default)s")
    parser.add_argument("--unit", type=int, default=1, help="the gate's Modbus address (default %(default)s)")
    parser.add_argument("--budget-ms", type=float, default=400.0, help="the robot's own deadline (default %(default)s)")
    parser.add_argument("--wait-s", type=float, default=120.0, help="how long to wait for the gate to be ready (default %(default)s)")
    parser.add_argument("--count", type=int, default=10, help="number of triggers (default %(default)s)")
    parser.add_argument("--part", default="P0001", help="default %(default)s")
    given = parser.parse_args(argv)
    answered = 0
    with ModbusRobot(given.port, baudrate=given.baudrate, parity=given.parity, unit=given.unit, budget_ms=given.budget_ms) as robot:
        if not robot.wait_ready(given.wait_s):
            state = robot.protocol.state
            seen = f"session {robot.protocol.session}, gate {state.value if state else 'silent'}, {robot.unanswered} requests unanswered"
            remedy = 'The gate needs gate.link = "modbus" and the same unit, baud rate and parity'
            raise SimulationError(f"the gate was not ready within {given.wait_s:g} s", seen=seen, remedy=remedy)
        for number in range(1, given.count + 1):
            result = robot.inspect(given.part, f"W{number}")
            answered += result.outcome is not None
            latency = "-" if result.latency_ms is None else f"{result.latency_ms:.1f} ms"
            said = result.outcome.value if result.outcome else "-"
            print(
                f"{result.part}  {result.weld}  {said}  {result.reason}  {'accept' if result.accepted else 'reject'}  {latency}", flush=True
            )
    print(f"{given.count} welds, {answered} answered; {robot.refused} requests refused, {robot.unanswered} unanswered")
    return 0 if answered == given.count else 1
