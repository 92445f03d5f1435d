"""A simulated robot for commissioning, the demo and tests: it triggers, checks every answer like a sceptic, and confirms."""

from __future__ import annotations

import argparse
import csv
import json
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import zmq

from edge.config import NAME, Profile
from edge.errors import SimulationError
from edge.gate.codec import Decoder
from edge.gate.messages import State
from sim.robot_line import DeviceLine, Line, PtyLine
from sim.robot_protocol import NS_PER_MS, RobotProtocol, RobotResult

PUMP_MS = 10
AfterTrigger = Callable[["str | None", "int | None"], None]
"""Called with (session, sequence) right after the trigger left; both None in the push profile."""


def _nothing(_session: str | None, _sequence: int | None) -> None:
    return


class Robot:
    """Speaks one of the two link profiles; a thread keeps heartbeats and reading going, so `inspect` may be called in a plain loop."""

    def __init__(
        self,
        *,
        link: Path | None = None,
        port: str | None = None,
        baudrate: int = 115_200,
        profile: Profile = "handshake",
        budget_ms: float = 250.0,
        heartbeat_ms: float = 100.0,
        missed_heartbeats: int = 3,
        repeat_ms: float = 60.0,
    ) -> None:
        """`port` is a real device; without it a pseudo-terminal is made, to which `link` points."""
        self._line: Line = DeviceLine(port, baudrate) if port else PtyLine(link)
        self.path = port or getattr(self._line, "path", "")
        self._profile = profile
        self._budget_s = budget_ms / 1e3
        self.protocol = RobotProtocol(
            nonce=lambda: os.urandom(4).hex(),
            profile=profile,
            budget_ns=int(budget_ms * NS_PER_MS),
            heartbeat_ns=int(heartbeat_ms * NS_PER_MS),
            silence_ns=int(heartbeat_ms * NS_PER_MS) * missed_heartbeats,
            repeat_ns=int(repeat_ms * NS_PER_MS),
        )
        self.decoder = Decoder("G")
        self._changed = threading.Condition()
        self._closing = self._connected = False
        self._thread = threading.Thread(target=self._run, name="robot", daemon=True)

    def start(self) -> None:
        """Begin to say hello."""
        self._thread.start()

    def __enter__(self) -> Robot:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop, and pull the plug."""
        self._closing = True
        if self._thread.is_alive():
            self._thread.join(5)
        self._line.close()

    def wait_session(self, timeout_s: float) -> bool:
        """True once a session is open (push: once the gate holds the line)."""
        return self._wait(lambda: self._connected if self._profile == "push" else self.protocol.session is not None, timeout_s)

    def wait_ready(self, timeout_s: float) -> bool:
        """True once the gate says READY (push, where it says nothing: once it holds the line)."""
        return self._wait(lambda: self._connected if self._profile == "push" else self.protocol.state is State.READY, timeout_s)

    def inspect(self, part: str, weld: str, typology: str | None = None, *, after_trigger: AfterTrigger = _nothing) -> RobotResult:
        """Ask for one verdict and wait for it, at most until the robot's own deadline; never raises for what the gate does."""
        if self._profile == "push":
            return self._await_push(part, weld, after_trigger)
        with self._changed:
            self.protocol.results.clear()
            now_ns = time.monotonic_ns()
            frame = self.protocol.trigger(part, weld, typology, now_ns)
            if frame is None:
                return _unanswered(part, weld, "NO_SESSION", now_ns)
            session, sequence = self.protocol.session, self.protocol.sequence
            self._line.write(frame)
        after_trigger(session, sequence)
        # The thread closes the trigger at the robot's deadline; the rest is for a thread that was not scheduled.
        self._wait(lambda: bool(self.protocol.results), self._budget_s + 5)
        with self._changed:
            return self.protocol.results.popleft() if self.protocol.results else _unanswered(part, weld, "NO_ANSWER", now_ns)

    def listen(self, timeout_s: float) -> RobotResult | None:
        """Push profile: the next verdict line, or None."""
        self._wait(lambda: bool(self.protocol.results), timeout_s)
        with self._changed:
            return self.protocol.results.popleft() if self.protocol.results else None

    def _await_push(self, part: str, weld: str, after_trigger: AfterTrigger) -> RobotResult:
        with self._changed:
            self.protocol.results.clear()
        asked_ns = time.monotonic_ns()
        after_trigger(None, None)
        found = self.listen(self._budget_s)
        if found is None:
            return _unanswered(part, weld, "NO_ANSWER", asked_ns)
        mine = (found.part, found.weld) == (part, weld)
        reason, detail = (found.reason, found.detail) if mine else ("WRONG_PART", f"verdict for {found.part} {found.weld}")
        return RobotResult(
            part=part,
            weld=weld,
            session=found.session,
            sequence=found.sequence,
            outcome=found.outcome if mine else None,
            reason=reason,
            accepted=found.accepted and mine,
            trigger_ns=asked_ns,
            verdict_ns=found.verdict_ns,
            detail=detail,
        )

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._line.fileno(), select.POLLIN)
        while not self._closing:
            events = poll.poll(PUMP_MS)
            if events and not events[0][1] & select.POLLIN:
                # Hung up: nobody holds the other end, and polling would return at once.
                time.sleep(PUMP_MS / 1e3)
            self._pump()

    def _pump(self) -> None:
        data = self._line.read()
        now_ns = time.monotonic_ns()
        with self._changed:
            self._connected = data is not None
            if data is None:
                self.decoder.reset()
                self.protocol.line_lost(now_ns)
                self._changed.notify_all()
                return
            malformed = self.decoder.counters.malformed
            for message in self.decoder.feed(data):
                self.protocol.received(message, now_ns)
            if self.decoder.counters.malformed > malformed:
                self.protocol.malformed(now_ns)
            self.protocol.tick(now_ns)
            frames, self.protocol.out = self.protocol.out, []
            for frame in frames:
                self._line.write(frame)
            self._changed.notify_all()


def _unanswered(part: str, weld: str, reason: str, now_ns: int) -> RobotResult:
    return RobotResult(
        part=part, weld=weld, session="", sequence=0, outcome=None, reason=reason, accepted=False, trigger_ns=now_ns, verdict_ns=None
    )


class CaptureRequests:
    """Asks the simulated camera for a frame (ZeroMQ PUSH, JSON)."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 16)
        self._socket.connect(endpoint)

    def ask(self, session: str | None, sequence: int | None, part: str, weld: str, typology: str | None) -> None:
        """One request; lost when the camera does not keep up."""
        request = {"session": session, "sequence": sequence, "part": part, "weld": weld, "typology": typology}
        try:
            self._socket.send(json.dumps(request).encode(), zmq.NOBLOCK)
        except zmq.Again:
            return

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        self._context.term()


def main(argv: Sequence[str]) -> int:
    """`cordon sim robot`: work through a list of welds; exit status 1 when the gate never became ready."""
    arguments = _parser().parse_args(argv)
    welds = _read_welds(arguments.welds) if arguments.welds else _numbered(arguments.part, arguments.count)
    robot = Robot(
        link=arguments.link, port=arguments.port, baudrate=arguments.baudrate, profile=arguments.profile, budget_ms=arguments.budget_ms
    )
    capture = CaptureRequests(arguments.capture) if arguments.capture else None
    try:
        with robot:
            print(f"robot on {arguments.link or robot.path}, profile {arguments.profile}, {len(welds)} welds", flush=True)
            _wait_for_gate(robot, arguments.wait_s)
            _work(robot, welds, capture, arguments)
    finally:
        if capture is not None:
            capture.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon sim robot", description=main.__doc__)
    line = parser.add_mutually_exclusive_group(required=True)
    line.add_argument("--link", type=Path, help="make a pseudo-terminal and this link to it; set gate.port to the link")
    line.add_argument("--port", help="a real serial device")
    parser.add_argument("--baudrate", type=int, default=115_200, help="of the real device (default %(default)s)")
    parser.add_argument("--profile", choices=["handshake", "push"], default="handshake", help="default %(default)s")
    parser.add_argument(
        "--budget-ms", type=float, default=200.0, help="the robot's own deadline, not below gate.budget_ms (default %(default)s)"
    )
    parser.add_argument("--interval-ms", type=float, default=0.0, help="time between two triggers (default: as fast as answers come)")
    parser.add_argument("--wait-s", type=float, default=120.0, help="how long to wait for the gate to be ready (default %(default)s)")
    parser.add_argument("--welds", type=Path, help="CSV with the columns part, weld and optionally typology and truth")
    parser.add_argument("--count", type=int, default=10, help="without --welds: number of triggers (default %(default)s)")
    parser.add_argument("--part", default="P0001", help="without --welds: the part (default %(default)s)")
    parser.add_argument("--capture", help="ZeroMQ endpoint of the simulated camera's capture requests")
    parser.add_argument("--results", type=Path, help="write one JSON line per weld")
    return parser


def _read_welds(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            welds = list(csv.DictReader(file))
    except OSError as exc:
        raise SimulationError(f"cannot read the welds {path}", seen=exc.strerror, remedy="Check --welds") from exc
    for number, weld in enumerate(welds, start=2):
        names = [weld.get("part") or "", weld.get("weld") or "", weld.get("typology") or "x"]
        if not all(NAME.match(name) for name in names):
            remedy = "part and weld (and typology, if any) are 1 to 24 of A-Z a-z 0-9 . _ -"
            raise SimulationError(f"{path}, line {number}, names no weld", seen=names, remedy=remedy)
    return welds


def _numbered(part: str, count: int) -> list[dict[str, str]]:
    return [{"part": part, "weld": f"W{number}"} for number in range(1, count + 1)]


def _wait_for_gate(robot: Robot, wait_s: float) -> None:
    if robot.wait_ready(wait_s):
        return
    protocol = robot.protocol
    refused = f"hello refused: {protocol.refused.value}" if protocol.refused else f"session {protocol.session}"
    state = protocol.state.value if protocol.state else "silent"
    remedy = "Look at the gate's log; profile and budgets must agree, and the inspector must be READY"
    raise SimulationError(f"the gate was not ready within {wait_s:g} s", seen=f"gate {state}, {refused}", remedy=remedy)


def _work(robot: Robot, welds: list[dict[str, str]], capture: CaptureRequests | None, arguments: argparse.Namespace) -> None:
    accepted = answered = 0
    results = arguments.results.open("w", encoding="utf-8") if arguments.results else None
    try:
        due_s = time.monotonic()
        for weld in welds:
            robot.wait_session(5.0)
            result = _one(robot, weld, capture)
            accepted, answered = accepted + result.accepted, answered + (result.outcome is not None)
            print(_table_row(weld, result), flush=True)
            if results is not None:
                results.write(json.dumps(_as_json(weld, result)) + "\n")
                results.flush()
            due_s += arguments.interval_ms / 1e3
            time.sleep(max(0.0, due_s - time.monotonic()))
    finally:
        if results is not None:
            results.close()
    counters = robot.decoder.counters
    print(f"{len(welds)} welds, {answered} answered, {accepted} accepted; {robot.protocol.anomalies} anomalies, {counters}")


def _one(robot: Robot, weld: dict[str, str], capture: CaptureRequests | None) -> RobotResult:
    part, name, typology = weld["part"], weld["weld"], weld.get("typology") or None

    def ask(session: str | None, sequence: int | None) -> None:
        if capture is not None:
            capture.ask(session, sequence, part, name, typology)

    return robot.inspect(part, name, typology, after_trigger=ask)


def _table_row(weld: dict[str, str], result: RobotResult) -> str:
    latency = f"{result.latency_ms:8.2f} ms" if result.latency_ms is not None else "        -   "
    said = result.outcome.value if result.outcome else "-"
    does = "accept" if result.accepted else "reject"
    name = f"{result.part:<12}{result.weld:<8}{weld.get('typology') or '-':<6}"
    return f"{name}{said:<11}{result.reason:<17}{does:<8}{latency}  {weld.get('truth') or ''}"


def _as_json(weld: dict[str, str], result: RobotResult) -> dict[str, object]:
    return {
        "part": result.part,
        "weld": result.weld,
        "typology": weld.get("typology") or None,
        "truth": weld.get("truth") or None,
        "outcome": result.outcome.value if result.outcome else None,
        "reason": result.reason,
        "accepted": result.accepted,
        "latency_ms": result.latency_ms,
        "session": result.session,
        "sequence": result.sequence,
        "trigger_ns": result.trigger_ns,
        "verdict_ns": result.verdict_ns,
        "detail": result.detail,
    }
