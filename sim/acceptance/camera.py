"""The acceptance of a camera program: subscribe, listen, ask for exposures where that is possible, hang up and come back."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from sim.acceptance.camera_ear import Ear, Message, Source
from sim.acceptance.camera_rules import look_at, sort_messages
from sim.acceptance.findings import Finding, Report, failed, judged, line_of, span, unanswered
from sim.acceptance.trial import Observer, Outcomes

FIRST_MS = 1_000.0
"""From subscribing to the first alive message, connecting included."""
STRANGER_S = 0.7
"""Longer than the camera's next alive message takes, where it sends them as the examples do."""
SESSION = "0123456789abcdef"
PAUSES_S = (0.0, 0.13, 0.06)
"""Before requests, in turn: a camera that answers with its newest image cannot be in step with them."""
NS_PER_MS = 1e6
Tell = Callable[[str], None]
Weld = tuple[str, str, "str | None"]
"""Part, weld, typology."""


@dataclass(frozen=True, kw_only=True)
class Listening:
    """How long and for how much the kit listens."""

    frames: int = 10
    wait_s: float = 60.0
    """The longest time until that many frames have come."""
    frame_ms: float = 0.0
    """From the request to the frame, at most; 0: not judged."""


class Requests:
    """Asks for exposures as the simulated robot does (ZeroMQ PUSH, JSON): for camera programs that take them so."""

    def __init__(self, endpoint: str, welds: Sequence[Weld]) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._welds = welds
        self.asked: list[tuple[str, int, str, str]] = []
        self.asked_ns: list[int] = []

    def ask(self) -> None:
        """The next one."""
        sequence = len(self.asked) + 1
        part, weld, typology = self._welds[(sequence - 1) % len(self._welds)]
        self._socket.send(json.dumps({"session": SESSION, "sequence": sequence, "part": part, "weld": weld, "typology": typology}).encode())
        self.asked_ns.append(time.monotonic_ns())
        self.asked.append((SESSION, sequence, part, weld))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def accept_camera(
    source: Source,
    listening: Listening,
    report: Report,
    *,
    observer: Observer,
    requests: Requests | None = None,
    tell: Tell = lambda _: None,
) -> Report:
    """Every rule in turn. Raises SimulationError when the endpoint cannot be used."""

    def found(check: str, rule: str, outcome: Outcomes) -> bool:
        report.findings.append(Finding(check=check, rule=rule, result=outcome[0], seen=outcome[1]))
        tell(line_of(report.findings[-1]))
        return outcome[0] != "FAIL"

    with Ear(source) as ear:
        if not found("alive on subscribing", "an alive message as soon as somebody subscribes", _first(ear, listening.wait_s)):
            return report
        ear.hear(source.heartbeat_ms / 1e3 if source.heartbeat_ms else 1.0)
        times = _frames(ear, listening, requests)
        heard = sort_messages(source, ear.messages, *((requests.asked, requests.asked_ns) if requests else ()))
    found("frames", "frames come", judged(len(heard.frames) >= listening.frames, f"{len(heard.frames)} of {listening.frames}"))
    for finding in look_at(heard):
        report.findings.append(finding)
        tell(line_of(finding))
    found("request to frame", "an exposure reaches the box in its share of the budget", _in_time(times, listening.frame_ms))
    found("comes back", "after a lost connection, an alive message with the last counter", _again(source, ear.messages))
    if source.own is not None and not source.listen:
        found("keys", "without its key nobody hears anything", _stranger(source))
    found("new run", "a restarted camera program begins a new run", _restarted(source, observer, ear.messages))
    return report


def _first(ear: Ear, wait_s: float) -> Outcomes:
    if not ear.hear(wait_s, lambda: bool(ear.messages)):
        return failed(f"nothing within {wait_s:g} s: is it reachable (ping, firewall), is the port right, the name, are the keys?")
    took_ms = (ear.messages[0].at_ns - ear.opened_ns) / NS_PER_MS
    return judged(took_ms <= FIRST_MS, f"after {took_ms:.0f} ms")


def _frames(ear: Ear, listening: Listening, requests: Requests | None) -> list[float]:
    """Listen until enough frames came; with requests, one after the other, and how many milliseconds each took."""
    times: list[float] = []
    until_s = time.monotonic() + listening.wait_s

    def count() -> int:
        return sum(_is_frame(message) for message in ear.messages)

    while count() < listening.frames and time.monotonic() < until_s:
        if requests is not None:
            ear.hear(PAUSES_S[len(requests.asked) % len(PAUSES_S)])
        before = count()
        begun_ns = time.monotonic_ns()
        if requests is not None:
            requests.ask()
        if ear.hear(max(0.0, until_s - time.monotonic()), lambda: count() > before):  # noqa: B023 - called in this very round
            times.append((ear.messages[-1].at_ns - begun_ns) / NS_PER_MS)
    ear.hear(0.3)
    return times if requests is not None else []


def _is_frame(message: Message) -> bool:
    """Anything but an alive message, however broken."""
    return len(message.parts) != 3 or b'"alive"' not in message.parts[1]


def _in_time(times: Sequence[float], limit_ms: float) -> Outcomes:
    if not times:
        return unanswered("the kit asked for no exposure")
    text = span(times, "ms")
    return judged(max(times) <= limit_ms, f"{text}; {limit_ms:g} ms allowed") if limit_ms else unanswered(f"{text}; no limit given")


def _counters(messages: Sequence[Message], source: Source) -> list[int]:
    heard = sort_messages(source, messages)
    return [opened.header.counter for opened in sorted((*heard.frames, *heard.alive), key=lambda opened: opened.message.at_ns)]


def _again(source: Source, before: Sequence[Message]) -> Outcomes:
    with Ear(source) as ear:
        ear.hear(2 * FIRST_MS / 1e3, lambda: bool(ear.messages))
        took_ms = (ear.messages[0].at_ns - ear.opened_ns) / NS_PER_MS if ear.messages else math.inf
        counters, earlier = _counters(ear.messages, source), _counters(before, source)
    if not counters:
        return failed(f"nothing within {2 * FIRST_MS:.0f} ms")
    met = took_ms <= FIRST_MS and (not earlier or counters[0] >= earlier[-1])
    return judged(met, f"after {took_ms:.0f} ms, counter {counters[0]} after {earlier[-1] if earlier else 'none'}")


def _stranger(source: Source) -> Outcomes:
    with Ear(source, plain=True) as ear:
        ear.hear(STRANGER_S)
        return judged(not ear.messages, f"{len(ear.messages)} messages to somebody without a key")


def _restarted(source: Source, observer: Observer, before: Sequence[Message]) -> Outcomes:
    if not observer.do("Restart the camera program, and let it take one frame."):
        return unanswered("nobody at the cell")
    with Ear(source) as ear:
        ear.hear(FIRST_MS / 1e3)
        counters, earlier = _counters(ear.messages, source), _counters(before, source)
    met = bool(counters) and counters[-1] < max(earlier, default=0)
    return judged(met, f"counter {counters[-1] if counters else 'none'} after {max(earlier, default=0)}")
