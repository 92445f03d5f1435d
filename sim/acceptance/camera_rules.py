"""Every rule of docs/frames.md that can be seen in what a camera sent; pure: messages in, findings out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import FrameError
from edge.inspector.frame import MAX_HEADER_BYTES, FrameHeader, check_header, check_payload, payload_image, read_header
from edge.inspector.sequence import FrameSequence
from sim.acceptance.camera_ear import Message, Source
from sim.acceptance.camera_images import is_swapped, torn_rows
from sim.acceptance.findings import Finding, failed, judged, passed, span, unanswered
from sim.acceptance.trial import Outcomes

LEAST_VALID = 0.05
"""Share of points that hold data: an exposure with less shows no weld."""
NS_PER_MS = 1e6
LEAST_S, RATE = 0.5, 10.0
"""Over so long a time the camera's clock may run so many times faster or slower: wrong units are a thousand times off."""
STALE_MS = 5.0
"""What clocks may drift and stamps be rounded by."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """One message that could be read."""

    header: FrameHeader
    payload: bytes
    message: Message

    @property
    def image(self) -> NDArray[Any]:
        """The payload as numbers; only where header and payload were checked."""
        return payload_image(self.header, self.payload)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A recording, sorted."""

    source: Source
    messages: Sequence[Message]
    frames: Sequence[Opened]
    alive: Sequence[Opened]
    unread: Sequence[str]
    """Why messages could not be read at all."""
    asked: Sequence[tuple[str, int, str, str]] = ()
    """(session, sequence, part, weld) of the exposures that the kit asked for."""
    asked_ns: Sequence[int] = ()
    """When, on the clock of the messages."""


def sort_messages(
    source: Source, messages: Sequence[Message], asked: Sequence[tuple[str, int, str, str]] = (), asked_ns: Sequence[int] = ()
) -> Heard:
    """Frames, alive messages, and the rest."""
    frames: list[Opened] = []
    alive: list[Opened] = []
    unread: list[str] = []
    for message in messages:
        try:
            header = read_header(message.parts[1]) if len(message.parts) > 1 else None
        except FrameError as exc:
            unread.append(f"{exc.reason.value}: {exc}")
            continue
        if header is None:
            unread.append(f"{len(message.parts)} part")
            continue
        opened = Opened(header=header, payload=message.parts[2] if len(message.parts) > 2 else b"", message=message)
        (alive if header.kind == "alive" else frames).append(opened)
    return Heard(source=source, messages=messages, frames=frames, alive=alive, unread=unread, asked=asked, asked_ns=asked_ns)


def three_parts(heard: Heard) -> Outcomes:
    """Topic, header, payload."""
    counts = Counter(len(message.parts) for message in heard.messages)
    return judged(set(counts) == {3}, f"{len(heard.messages)} messages, parts: {sorted(counts)}")


def headers(heard: Heard) -> Outcomes:
    """Every header fits the schema."""
    longest = max((len(message.parts[1]) for message in heard.messages if len(message.parts) > 1), default=0)
    if heard.unread:
        return failed(f"{len(heard.unread)} of {len(heard.messages)}: {heard.unread[0]}")
    return judged(bool(heard.messages), f"longest {longest} of {MAX_HEADER_BYTES} bytes")


def names(heard: Heard) -> Outcomes:
    """Topic and header carry the configured name."""
    seen = {(opened.message.parts[0].decode("ascii", "replace"), opened.header.camera) for opened in (*heard.frames, *heard.alive)}
    return judged(seen == {(heard.source.name, heard.source.name)}, f"topic and header: {sorted(seen)}")


def _every(heard: Heard, check: Callable[[Opened], None]) -> Outcomes:
    """The check holds for every frame; the first refusal is told."""
    refusals: list[str] = []
    for opened in heard.frames:
        try:
            check(opened)
        except FrameError as exc:
            refusals.append(f"frame {opened.header.counter}: {exc.reason.value}: {exc}")
    if refusals:
        return failed(f"{len(refusals)} of {len(heard.frames)}: {refusals[0]}")
    return passed(f"{len(heard.frames)} frames") if heard.frames else unanswered("no frame")


def limits(heard: Heard) -> Outcomes:
    """Kind, dtype, shape, units and size are such as the box takes."""
    return _every(heard, lambda opened: check_header(opened.header, max_frame_bytes=heard.source.max_frame_bytes))


def payloads(heard: Heard) -> Outcomes:
    """The payload is as long as the header says, and its CRC-32 is the header's."""
    return _every(heard, lambda opened: check_payload(opened.header, opened.payload))


def counters(heard: Heard) -> Outcomes:
    """One more with each frame: none left out, none twice."""
    sequence = FrameSequence()
    steps = [(opened.header.counter, sequence.frame(opened.header.counter, opened.header.captured_ns)) for opened in heard.frames]
    wrong = [f"{step.kind} at {counter} after {step.before}" for counter, step in steps if step.kind != "next"]
    if len(steps) < 2:
        return unanswered(f"{len(steps)} frames")
    return judged(not wrong, "; ".join(wrong[:3]) or f"{steps[0][0]} to {steps[-1][0]}")


def format_stays(heard: Heard) -> Outcomes:
    """Kind, numbers and scales are those of the first frame."""
    seen = {(h.kind, h.dtype, h.pitch_mm, h.z_scale_mm, h.z_offset_mm, str(h.no_data)) for h in (opened.header for opened in heard.frames)}
    if not seen:
        return unanswered("no frame")
    first = heard.frames[0].header
    shapes = sorted({opened.header.shape for opened in heard.frames})
    pitch = f"{first.pitch_mm[0]:g} x {first.pitch_mm[1]:g}"
    text = f"{first.kind} {first.dtype}, pitch {pitch} mm, z {first.z_scale_mm:g} mm, shapes {shapes[:4]}"
    return judged(len(seen) == 1, text if len(seen) == 1 else f"{len(seen)} different ones: {text}")


def _sound(heard: Heard) -> list[Opened]:
    """Frames that could be looked into."""
    found = []
    for opened in heard.frames:
        try:
            check_header(opened.header, max_frame_bytes=heard.source.max_frame_bytes)
            check_payload(opened.header, opened.payload)
        except FrameError:
            continue
        found.append(opened)
    return found


def _heights(opened: Opened) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Height values and which of them hold data."""
    image = opened.image[..., 2] if opened.header.kind == "cloud" else opened.image
    missing = opened.header.no_data_value
    return image, ~np.isnan(image) if math.isnan(missing) else image != missing


def contents(heard: Heard) -> Outcomes:
    """Numbers only where points are, and not one and the same everywhere."""
    shares: list[float] = []
    for opened in _sound(heard):
        image, valid = _heights(opened)
        share = float(valid.mean())
        values = image[valid]
        if values.size and not np.isfinite(values).all():
            return failed(f"frame {opened.header.counter}: NaN or infinity where data should be")
        if share < LEAST_VALID or values.min() == values.max():
            return failed(f"frame {opened.header.counter}: {share:.0%} of its points hold data, or all are equal")
        if is_swapped(image, valid):
            return failed(f"frame {opened.header.counter}: with its bytes swapped it is a scan; the payload is little-endian")
        shares.append(100 * share)
    return passed(f"{span(shares, '%')} of the points hold data") if shares else unanswered("no frame")


def exposures_differ(heard: Heard) -> Outcomes:
    """No payload comes twice, not in part either."""
    sound = _sound(heard)
    if len(sound) < 2:
        return unanswered(f"{len(sound)} sound frames")
    different = len({opened.payload for opened in sound})
    for earlier, later in pairwise(sound):
        if rows := torn_rows(earlier.image, later.image):
            return failed(f"frame {later.header.counter}: {rows} rows are those of the frame before")
    return judged(different == len(sound), f"{different} different ones in {len(sound)}")


def alive_form(heard: Heard) -> Outcomes:
    """Alive messages are empty and repeat the counter of the last frame."""
    if not heard.alive:
        return failed("none came")
    last: int | None = None
    for opened in sorted((*heard.frames, *heard.alive), key=lambda opened: opened.message.at_ns):
        header = opened.header
        if header.kind != "alive":
            last = header.counter
            continue
        if opened.payload or header.shape != (0, 0) or header.crc32 or header.part or header.weld:
            return failed(f"shape {list(header.shape)}, {len(opened.payload)} bytes, part {header.part!r}, crc32 {header.crc32}")
        if last is not None and header.counter != last:
            return failed(f"counter {header.counter} after frame {last}")
    return passed(f"{len(heard.alive)} messages")


def alive_often(heard: Heard) -> Outcomes:
    """Never silent for longer than half of heartbeat_ms."""
    if not heard.source.heartbeat_ms:
        return unanswered("heartbeat_ms is 0: nobody checks")
    gaps = [(later.at_ns - earlier.at_ns) / NS_PER_MS for earlier, later in pairwise(heard.messages)]
    limit_ms = heard.source.heartbeat_ms / 2
    return judged(bool(gaps) and max(gaps) <= 1.2 * limit_ms, f"{span(gaps, 'ms')} between messages; {limit_ms:g} ms asked")


def captured(heard: Heard) -> Outcomes:
    """The camera's clock goes forward. Where it is set like the box's, the difference is the way from exposure to box."""
    stamps = [opened.header.captured_ns for opened in heard.frames]
    if not stamps:
        return unanswered("no frame")
    came_s = (heard.frames[-1].message.at_ns - heard.frames[0].message.at_ns) / 1e9
    rate = (stamps[-1] - stamps[0]) / 1e9 / came_s if came_s >= LEAST_S else 1.0
    if stamps[-1] > stamps[0] and not 1 / RATE <= rate <= RATE:
        return failed(f"{stamps[-1] - stamps[0]} within {came_s:.1f} s: these are no nanoseconds")
    ways = [(opened.message.wall_ns - opened.header.captured_ns) / NS_PER_MS for opened in heard.frames]
    text = (
        f"{span(ways, 'ms')} before it came"
        if abs(ways[0]) < 60_000
        else "another clock than the box's; only its differences mean something"
    )
    return judged(all(earlier < later for earlier, later in pairwise(stamps)), text)


def fresh(heard: Heard) -> Outcomes:
    """Every exposure was taken between its request and its arrival, by a camera's clock that may be any time off, but always as much."""
    pairs = list(zip(heard.frames, heard.asked_ns, strict=False))
    if len(pairs) < 2:
        return unanswered("the kit asked for no two exposures")
    least = max(opened.header.captured_ns - opened.message.at_ns for opened, _ in pairs)
    most = min(opened.header.captured_ns - asked_ns for opened, asked_ns in pairs)
    old_ms = (least - most) / NS_PER_MS
    return judged(
        old_ms <= STALE_MS, f"one was taken {old_ms:.0f} ms before it was asked for" if old_ms > STALE_MS else f"{len(pairs)} frames"
    )


def triggers(heard: Heard) -> Outcomes:
    """A frame names the trigger, part and weld it was taken for."""
    if not heard.asked:
        named = sum(opened.header.trigger is not None for opened in heard.frames)
        return unanswered(f"the kit asked for no exposure; {named} of {len(heard.frames)} frames name a trigger")
    got = [
        (h.trigger.session if h.trigger else "", h.trigger.sequence if h.trigger else 0, h.part, h.weld)
        for h in (opened.header for opened in heard.frames)
    ]
    wrong = next(((wanted, came) for wanted, came in zip(heard.asked, got, strict=False) if wanted != came), None)
    if wrong is not None:
        return failed(f"asked for {wrong[0]}, got {wrong[1]}")
    return judged(len(got) == len(heard.asked), f"{len(got)} frames for {len(heard.asked)} requests")


RULES: tuple[tuple[str, str, Callable[[Heard], Outcomes]], ...] = (
    ("three parts", "a message is topic, header, payload", three_parts),
    ("header", "the header is JSON of docs/frame-header.schema.json", headers),
    ("names", "topic, header and inspector.camera.name are equal", names),
    ("limits", "kind, dtype, shape, pitch, scale and size are such as the box takes", limits),
    ("payload", "size and CRC-32 are those of the header", payloads),
    ("counter", "the counter rises by one with each frame", counters),
    ("format", "kind, dtype, pitch and scale do not change", format_stays),
    ("contents", "NaN only where announced; an image, not a constant", contents),
    ("exposures differ", "two exposures are never equal in every bit", exposures_differ),
    ("alive messages", "empty, with the counter of the last frame", alive_form),
    ("alive in time", "a message at least twice per heartbeat_ms", alive_often),
    ("capture time", "captured_ns goes forward", captured),
    ("fresh", "an exposure begins after its request", fresh),
    ("trigger", "a frame names the trigger it was taken for", triggers),
)


def look_at(heard: Heard) -> Iterable[Finding]:
    """Every rule, in order."""
    for check, rule, judge in RULES:
        result, seen = judge(heard)
        yield Finding(check=check, rule=rule, result=result, seen=seen)
