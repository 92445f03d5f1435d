"""Rows A02, A03, A06, A08 to A11: frames that are doubled, swapped, cut, empty, of another weld, frozen or of another time."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from faults.line.bundles import HEIGHT, WIDTH, WINDOW_MM
from faults.line.camera import Parts
from faults.line.cell import shared
from faults.line.trial import Asked, Trial, nothing
from faults.registry import Effort, Result, injects

DAY_NS = 86_400 * 10**9
TEST = "tests/faults/test_line_frames.py"
UNREAD = ("NO_FRAME",)
"""What a trigger says whose only messages had no readable header."""


@injects("A02", test=TEST)
def duplicates(effort: Effort) -> Result:
    """Every frame comes two to five times, and again for the next trigger."""
    trial = Trial(shared(), effort, "A02")
    rng = random.Random(effort.seed)  # noqa: S311 - seeded, not secret
    before: Parts | None = None
    for _ in range(effort.times(60)):
        copies = rng.randint(2, 5)
        good = rng.random() < 0.5

        keep: list[Parts] = [] if before is None else [before]

        def act(asked: Asked, copies: int = copies, good: bool = good, keep: list[Parts] = keep) -> None:
            own = trial.good(asked) if good else trial.bad(asked)
            for parts in [*keep, *[own] * copies]:
                trial.send(parts)
            keep.append(own)

        if good:
            trial.injections += copies
            trial.trigger(act)
        else:
            trial.refused(act, "DEFECT", "NO_FRAME", "FRAME_DUPLICATE", count=copies)
        before = keep[-1] if keep else None
        trial.refused(trial.sending(lambda _asked, parts: parts, before) if before else nothing, *UNREAD)
    return trial.finish()


@injects("A03", test=TEST)
def reordered(effort: Effort) -> Result:
    """A proxy holds good frames back and lets them out in another order, for other triggers; their numbers as they were, or renumbered."""
    trial = Trial(shared(), effort, "A03")
    rng = random.Random(effort.seed + 3)  # noqa: S311 - seeded, not secret
    held: deque[Parts] = deque(maxlen=8)
    for number in range(effort.times(120)):

        def act(asked: Asked, number: int = number) -> None:
            others = [_renumbered(trial, parts) if rng.random() < 0.7 else parts for parts in held]
            own: list[Parts] = [] if number % 3 == 0 else [trial.bad(asked)]
            mixed = [*others[: rng.randint(1, 4)], *own]
            rng.shuffle(mixed)
            for parts in mixed:
                trial.send(parts)
            held.append(trial.looks_good(asked))

        trial.refused(act, "NO_FRAME", "DEFECT", "FRAME_DUPLICATE", "FRAME_FROZEN", "FRAME_UNBOUND")
    return trial.finish()


def _renumbered(trial: Trial, parts: Parts) -> Parts:
    header = json.loads(parts[1])
    header["counter"] = trial.line.camera.count()
    return parts[0], json.dumps(header).encode(), parts[2]


@injects("A06", test=TEST)
def truncated(effort: Effort) -> Result:
    """A good frame's payload and header cut at every byte, parts missing and parts too many."""
    trial = Trial(shared(), effort, "A06")
    size = HEIGHT * WIDTH
    step = max(1, size // effort.times(size))
    for cut in range(0, size, step):
        trial.refused(trial.sending(_cut_payload, trial, cut), "FRAME_SIZE")
    for added in (1, 2, size, 7 * size):
        trial.refused(trial.sending(_longer, trial, added), "FRAME_SIZE")
    _cut_headers(trial, effort)
    for act, reasons, count in _wrong_parts(trial):
        trial.refused(act, *reasons, count=count)
    return trial.finish()


def _cut_payload(asked: Asked, trial: Trial, cut: int) -> Parts:
    topic, text, payload = trial.looks_good(asked)
    return topic, text, payload[:cut]


def _longer(asked: Asked, trial: Trial, added: int) -> Parts:
    topic, text, payload = trial.looks_good(asked)
    return topic, text, payload + payload[:1] * added


def _cut_headers(trial: Trial, effort: Effort) -> None:
    """Many per trigger: a message without a readable header belongs to no trigger, so the trigger goes on waiting."""
    at_once = 40
    cuts = list(range(330 if effort.name != "quick" else 60))
    for first in range(0, len(cuts), at_once):

        def act(asked: Asked, some: list[int] = cuts[first : first + at_once]) -> None:
            parts = trial.looks_good(asked)
            for cut in some:
                trial.send((parts[0], parts[1][: min(cut, len(parts[1]) - 1)], parts[2]))

        trial.refused(act, *UNREAD, count=at_once)


def _wrong_parts(trial: Trial) -> Iterator[tuple[Callable[[Asked], None], tuple[str, ...], int]]:
    send = trial.line.camera.send

    def some(*chosen: int) -> Callable[[Asked], None]:
        def act(asked: Asked) -> None:
            parts = trial.looks_good(asked)
            send(*(parts[index] for index in chosen))

        return act

    yield some(0), UNREAD, 1
    yield some(0, 1), ("FRAME_PARTS",), 1
    yield some(0, 2), UNREAD, 1
    yield some(0, 2, 1), UNREAD, 1
    yield some(1, 2), UNREAD, 1
    yield some(2), UNREAD, 1
    yield some(1, 0, 2), UNREAD, 1
    yield some(0, 1, 2, 2), ("FRAME_PARTS",), 1
    yield some(0, 1, 2, 0, 1, 2), ("FRAME_PARTS",), 1
    yield some(0, 1, *[2] * 500), ("FRAME_PARTS",), 1


@injects("A08", test=TEST)
def without_sense(effort: Effort) -> Result:
    """NaN, infinity, nothing and constants as payload; NaN, infinity and nonsense as every number of the header."""
    trial = Trial(shared(), effort, "A08")
    rng = np.random.default_rng(effort.seed)
    heights = (trial.image(good=True).astype(np.float32) - 1) * (WINDOW_MM / 254)
    for value in (np.nan, np.inf, -np.inf):
        for count in (1, 7, heights.size):
            for _ in range(effort.times(20)):
                image = heights + rng.normal(0, 0.01, heights.shape).astype(np.float32)
                image.reshape(-1)[rng.choice(image.size, count, replace=False)] = value
                trial.refused(trial.sending(trial.frame, image, kind="range"), "FRAME_NONFINITE", "FRAME_FROZEN")
    for level in (0, 1, 40, 80, 255):
        image = np.full((HEIGHT, WIDTH), level, np.uint8)
        trial.refused(trial.sending(trial.frame, image), "FRAME_EMPTY", "FRAME_FROZEN")
    for tiny in (np.float32(1e-45), np.float32(-1e-40), np.float32(3.4e38), np.float32(-3.4e38)):
        image = np.full((HEIGHT, WIDTH), tiny, np.float32)
        trial.refused(trial.sending(trial.frame, image, kind="range"))
    _header_numbers(trial, effort)
    return trial.finish()


NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", '"nan"', '"40"', "null", "true", "[]", "{}", "1e400", "0x10", "--1", "1.5.2")
FIELDS = ("counter", "z_scale_mm", "z_offset_mm", "captured_ns", "crc32", "version", "pitch_mm", "shape", "trigger")


def _header_numbers(trial: Trial, effort: Effort) -> None:
    cases = [(name, value) for name in FIELDS for value in NUMBERS if (name, value) != ("trigger", "null")]
    cases, at_once = cases[:: 1 if effort.name != "quick" else 12], 8
    for first in range(0, len(cases), at_once):

        def act(asked: Asked, some: list[tuple[str, str]] = cases[first : first + at_once]) -> None:
            for name, value in some:
                topic, text, payload = trial.looks_good(asked)
                fields = json.loads(text) | {name: "@"}
                trial.send((topic, json.dumps(fields).replace('"@"', value).encode(), payload))

        trial.refused(act, *UNREAD, count=at_once)


@injects("A09", test=TEST)
def of_another_weld(effort: Effort) -> Result:
    """Typologies crossed in every pair, other part or weld, metres for millimetres, mirrored."""
    trial = Trial(shared(), effort, "A09")
    for _ in range(effort.times(20)):
        for asked_for, named in (("T2", "T5"), ("T5", "T2"), ("T2", "T9"), ("T5", "T9")):
            image = trial.image("T5" if named == "T9" else named, good=True)
            wrong = ("TYPOLOGY_DIFFERS", "TYPOLOGY_UNKNOWN")
            trial.refused(trial.sending(trial.frame, image, typology=named), *wrong, typology=asked_for)
        for changes in ({"part": "Q1"}, {"weld": "W0"}, {"part": "Q1", "weld": "W0"}):
            trial.refused(trial.sending(trial.looks_good, **changes), "FRAME_PART")
        for other in _other_trigger():
            trial.refused(trial.sending(_bound_elsewhere, trial, other), *UNREAD, "FRAME_UNBOUND")
    units = sum(_wrong_units(trial, factor) for factor in (1000.0, 0.001) for _ in range(effort.times(10)))
    mirrored = sum(_mirrored(trial) for _ in range(effort.times(10)))
    note = (
        f"A bad weld of wrong scale or mirrored stayed REJECT {units + mirrored} times; a mirrored scan of a symmetric weld, or a wrong "
        "z_scale_mm inside its plausible range (0.0001 to 10), cannot be seen by the box: only the networks judge it."
    )
    return trial.finish(note=note)


def _other_trigger() -> tuple[dict[str, Any], ...]:
    return {"session": "0" * 16}, {"sequence": 1}, {"sequence": 1, "session": "f" * 16}


def _bound_elsewhere(asked: Asked, trial: Trial, changes: dict[str, Any]) -> Parts:
    other = msgspec.json.decode(trial.looks_good(asked)[1])
    trigger = other["trigger"] | changes
    if trigger == other["trigger"]:
        trigger = other["trigger"] | {"sequence": asked.sequence + 1}
    parts = trial.looks_good(asked)
    header = json.loads(parts[1])
    header["trigger"] = trigger
    return parts[0], json.dumps(header).encode(), parts[2]


def _wrong_units(trial: Trial, factor: float) -> int:
    """A bad weld in a range image of 0.01 mm steps whose pitch, scale and offset are `factor` times the truth."""
    image = ((trial.image("T2", good=False).astype(np.float32) - 1) * (WINDOW_MM / 254) * 100).astype(np.uint16)
    pitch = 0.2 * factor, 0.2 * factor
    for changes in ({"z_scale_mm": 0.01 * factor}, {"pitch_mm": pitch}, {"z_offset_mm": 200 * factor}):
        settings: dict[str, Any] = {"kind": "range", "z_scale_mm": 0.01, "no_data": 65_535.0} | changes
        trial.refused(trial.sending(trial.frame, image, **settings))
    return 3


def _mirrored(trial: Trial) -> int:
    image = np.ascontiguousarray(trial.image("T2", good=False)[:, ::-1])
    trial.refused(trial.sending(trial.frame, image), "DEFECT")
    return 1


@injects("A10", test=TEST)
def frozen(effort: Effort) -> Result:
    """The image of a good weld comes again under new numbers while bad welds lie there; also two old images in turn."""
    trial = Trial(shared(), effort, "A10")
    for number in range(effort.times(40)):
        depth = 1 + number % 4
        old: list[np.ndarray[Any, Any]] = []
        for _ in range(depth):
            image = trial.image(good=True)
            old.append(image)
            trial.trigger(trial.sending(_registered, trial, image))
        for image in old:
            trial.refused(trial.sending(trial.frame, image), "FRAME_FROZEN")
    return trial.finish()


def _registered(asked: Asked, trial: Trial, image: np.ndarray[Any, Any]) -> Parts:
    parts = trial.frame(asked, image)
    trial.acceptable.setdefault((asked.session, asked.sequence), set()).add(hashlib.blake2b(parts[2], digest_size=16).hexdigest())
    return parts


@injects("A11", test=TEST)
def clock_skew(effort: Effort) -> Result:
    """The camera's stamps lie days away, run backwards, stand still or are as large as they can be: good stays good and bad bad."""
    trial = Trial(shared(), effort, "A11")
    for number in range(effort.times(40)):
        now = time.time_ns()
        for stamp in (now - DAY_NS, now + DAY_NS, now - number * 10**9, 0, 1, 2**63 - 1):
            trial.injections += 1
            trial.trigger(trial.sending(trial.good, captured_ns=stamp))
            trial.refused(trial.sending(trial.bad, captured_ns=stamp), "DEFECT")
    trial.refused(nothing, *UNREAD)
    good = [r for r in trial.results[::2] if r.session]
    if sum(r.accepted for r in good) < 0.8 * len(good) - 1:
        trial.fail(f"only {sum(r.accepted for r in good)} of {len(good)} good welds were accepted under a wrong camera clock")
    return trial.finish()
