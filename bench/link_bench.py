"""`cordon bench link`: how many frames one core reads and writes, per type and in the mix of a busy line."""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence

from edge.contract import Outcome, Reason
from edge.errors import CordonError
from edge.gate.codec import Decoder, encode_frame
from edge.gate.messages import (
    Ack,
    ChangeOver,
    Direction,
    Done,
    Framing,
    Heartbeat,
    Hello,
    Message,
    Nak,
    PartQuery,
    PartVerdict,
    Refusal,
    State,
    Trigger,
    TriggerAck,
    Verdict,
)

PORTION_BYTES = 4096
"""What one read of the port gives at most."""
BEATS_PER_WELD = 10
WELDS = 8
_SESSION, _BUNDLE, _PART = "5f0c91d27be4a03c", "9d41c07a", "P0417"


def robot_frames() -> list[Message]:
    """What a robot sends for one part: hello, change-over, then per weld (one a second) trigger, confirmation and heartbeats."""
    frames: list[Message] = [Hello(nonce="5f0c91d2", deadline_ms=250), ChangeOver(session=_SESSION, sequence=1, recipe="door-left")]
    for weld in range(WELDS):
        sequence = 2 + weld
        frames.append(Trigger(session=_SESSION, sequence=sequence, part=_PART, weld=f"W{weld:02}", typology="T5"))
        frames += _beats(weld, State.BUSY)
        frames.append(Ack(session=_SESSION, sequence=sequence, outcome=Outcome.ACCEPT, done=Done.ACCEPTED))
    return [*frames, PartQuery(session=_SESSION, sequence=2 + WELDS, part=_PART, recipe="DOOR-L")]


def gate_frames() -> list[Message]:
    """What the gate answers to them, one trigger refused, one weld in four rejected."""
    hello, change = Hello(nonce="7be4a03c", peer="5f0c91d2"), ChangeOver(session=_SESSION, sequence=1, recipe="door-left")
    frames: list[Message] = [hello, change, Nak(session=_SESSION, sequence=2 + WELDS, reason=Refusal.BUSY)]
    for weld in range(WELDS):
        sequence = 2 + weld
        outcome, reason = (Outcome.REJECT, Reason.DEFECT) if weld % 4 == 3 else (Outcome.ACCEPT, Reason.OK)
        frames += [TriggerAck(session=_SESSION, sequence=sequence), *_beats(weld, State.READY)]
        frames.append(Verdict(session=_SESSION, sequence=sequence, part=_PART, weld=f"W{weld:02}", outcome=outcome, reason=reason))
    outcome, reason = Outcome.REJECT, Reason.WELDS_MISSING
    last = PartVerdict(session=_SESSION, sequence=3 + WELDS, part=_PART, missing=2, first="W03", outcome=outcome, reason=reason)
    return [*frames, last]


def _beats(weld: int, state: State) -> list[Message]:
    numbers = range(BEATS_PER_WELD * weld, BEATS_PER_WELD * (weld + 1))
    return [Heartbeat(session=_SESSION, state=state, counter=number, bundle=_BUNDLE) for number in numbers]


def decode_rate(messages: Sequence[Message], direction: Direction, framing: Framing, *, count: int, runs: int) -> float:
    """Frames per second (median) out of a stream that arrives in portions of the port's size. Raises CordonError if a frame is lost."""
    stream = b"".join(encode_frame(message, direction, framing) for message in messages) * -(-count // len(messages))
    portions = [stream[at : at + PORTION_BYTES] for at in range(0, len(stream), PORTION_BYTES)]
    total = -(-count // len(messages)) * len(messages)

    def read() -> None:
        decoder = Decoder(direction, framing)
        found = sum(len(decoder.feed(portion)) for portion in portions)
        if found != total:
            raise CordonError("the decoder lost frames of a clean line", seen=f"{found} of {total}", remedy="Run tests/gate/test_codec.py")

    return total / _median_s(read, runs)


def encode_rate(messages: Sequence[Message], direction: Direction, framing: Framing, *, count: int, runs: int) -> float:
    """Frames per second (median) that are written."""
    rounds = -(-count // len(messages))

    def write() -> None:
        for _ in range(rounds):
            for message in messages:
                encode_frame(message, direction, framing)

    return rounds * len(messages) / _median_s(write, runs)


def _median_s(work: Callable[[], None], runs: int) -> float:
    """Median seconds of `runs` calls after one that warms up, without the garbage collector."""
    work()
    gc.disable()
    try:
        taken = []
        for _ in range(runs):
            start_ns = time.perf_counter_ns()
            work()
            taken.append((time.perf_counter_ns() - start_ns) / 1e9)
    finally:
        gc.enable()
    return statistics.median(taken)


def main(argv: Sequence[str]) -> int:
    """Frames per second that one core decodes and encodes: medians; the last line printed is JSON."""
    parser = argparse.ArgumentParser(prog="cordon bench link", description=main.__doc__)
    parser.add_argument("--runs", type=int, default=9, help="runs of which the median counts (default %(default)s)")
    parser.add_argument("--count", type=int, default=20_000, help="frames of one run (default %(default)s)")
    arguments = parser.parse_args(argv)
    effort = {"count": max(1, arguments.count), "runs": max(1, arguments.runs)}
    print(f"{platform.machine()}, Python {platform.python_version()}, one core; median of {effort['runs']} runs")
    print(f"{'frames':<22}{'framing':<9}{'decoded/s':>12}{'encoded/s':>12}")
    result: dict[str, float] = {}
    gc.collect()
    for framing in ("crc", "twice"):
        sides: list[tuple[Direction, list[Message]]] = [("R", robot_frames()), ("G", gate_frames())]
        for direction, messages in sides:
            for kind in sorted({type(message) for message in messages}, key=lambda each: each.__name__):
                only = [message for message in messages if type(message) is kind]
                _measure(f"{kind.__name__} ({direction})", only, direction, framing, effort)
            name = "robot" if direction == "R" else "gate"
            decoded, encoded = _measure(f"mix of the {name}", messages, direction, framing, effort)
            suffix = "" if framing == "crc" else "_twice"
            result[f"decode_{name}_mix{suffix}"], result[f"encode_{name}_mix{suffix}"] = decoded, encoded
    print(json.dumps(result))
    return 0


def _measure(name: str, messages: list[Message], direction: Direction, framing: Framing, effort: dict[str, int]) -> tuple[int, int]:
    decoded = round(decode_rate(messages, direction, framing, **effort))
    encoded = round(encode_rate(messages, direction, framing, **effort))
    print(f"{name:<22}{framing:<9}{decoded:>12,}{encoded:>12,}")
    return decoded, encoded
