"""Rows A01, A05, A07, A12, A13: too many frames, none, too large ones, two cameras, and a box that falls behind."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import Any

import msgspec
import numpy as np

from faults.line.camera import Camera, Parts, make_header
from faults.line.cell import Setup, forget, shared
from faults.line.trial import Asked, Trial, nothing
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_line_network.py"
GROWTH_MIB = 48.0
"""What the inspector's memory may grow by; the receive queue holds 8 frames of at most 1 MiB."""
LATE_JOIN_S = 1.2
LIMITED = Setup(prefix=("prlimit", "--as=4294967296"))
"""An inspector whose memory is bounded, as the service manager's MemoryMax does."""


@injects("A01", test=TEST)
def flood(effort: Effort) -> Result:
    """Ten thousand frames a second and more, of no trigger or of triggers before, around each trigger's own frame."""
    trial = Trial(shared(), effort, "A01")
    line, rng = trial.line, random.Random(effort.seed)  # noqa: S311 - seeded, not secret
    before_mib, burst = line.memory_mib(), 400
    images = [trial.image(good=True) for _ in range(50)]
    sent = 0
    for number in range(effort.times(60)):

        def act(asked: Asked, number: int = number) -> None:
            for index in range(burst):
                if index == burst // 2 and number % 3:
                    trial.send(trial.bad(asked) if number % 3 == 1 else trial.good(asked))
                trial.send(_stray(trial, rng, images[index % len(images)]))

        sent += burst
        if number % 3 == 2:
            trial.injections += burst
            trial.trigger(act)
        else:
            trial.refused(act, count=burst)
    line.until(lambda: line.robot.wait_ready(0), 10)
    grown = line.memory_mib("VmHWM") - before_mib
    if grown > GROWTH_MIB:
        trial.fail(f"the inspector's memory grew by {grown:.0f} MiB")
    return trial.finish(note=f"{sent} stray frames; the inspector's memory grew by {max(0.0, grown):.1f} MiB at most")


def _stray(trial: Trial, rng: random.Random, image: np.ndarray[Any, Any]) -> Parts:
    """A good weld's frame of no trigger, or of one that is closed."""
    counter = trial.line.camera.count()
    session = trial.results[-1].session if trial.results and trial.results[-1].session else "0" * 16
    header = make_header(counter, session=session, sequence=max(1, counter % 60_000), part=trial.part, weld="W1", typology="T2")
    if rng.random() < 0.5:
        header = msgspec.structs.replace(header, trigger=None)
    return trial.line.camera.parts(header, image)


@injects("A05", test=TEST)
def missing_and_late_joiner(effort: Effort) -> Result:
    """Frames dropped from the stream, and a camera that goes away, comes back and speaks before anybody listens."""
    trial = Trial(shared(), effort, "A05")
    rng = random.Random(effort.seed)  # noqa: S311 - seeded, not secret
    for _ in range(effort.times(40)):
        lost = rng.randint(0, 5)
        for _ in range(lost):
            trial.line.camera.count()
        trial.refused(nothing, "NO_FRAME", count=max(1, lost))
    for _ in range(effort.times(4)):
        _rejoin(trial)
    return trial.finish()


def _rejoin(trial: Trial) -> None:
    line = trial.line
    counter, endpoint = line.camera.counter, line.camera.endpoint
    line.camera.close()
    end_s = time.monotonic() + LATE_JOIN_S
    while time.monotonic() < end_s:
        line.revive()
        time.sleep(0.01)
    line.camera = Camera(endpoint, counter)

    def unheard(asked: Asked) -> None:
        if not line.camera.heard():
            trial.send(trial.looks_good(asked))

    trial.injections += 1
    result = trial.trigger(unheard)
    if result.accepted:
        trial.fail(f"{result.weld}: accepted while nobody listened to the camera")
    line.settle()


@injects("A07", test=TEST)
def oversized(effort: Effort) -> Result:
    """A gigabyte declared, sides of billions, payloads over the limit, messages of very many parts; the inspector's memory is watched."""
    trial = Trial(shared(LIMITED), effort, "A07")
    line = trial.line
    before_mib = line.memory_mib()
    shapes = [(32_768, 32_768), (2**31, 2**31), (2**62, 1), (1, 2**62), (0, 0), (0, 5), (16_384, 16_384), (16_385, 1), (1, 2**24)]
    for _ in range(effort.times(4)):
        for shape in shapes:
            for kind, dtype in (("heightmap", "u1"), ("range", "f4"), ("cloud", "f4")):
                changes = {"shape": shape, "kind": kind, "dtype": dtype}
                wanted = ("FRAME_SHAPE", "FRAME_SIZE", "FRAME_HEADER", "NO_FRAME")
                trial.refused(trial.sending(trial.looks_good, **changes), *wanted)
    for _ in range(effort.times(3)):
        trial.refused(trial.sending(_of_size, trial, line.setup.max_frame_bytes + 1), "NO_FRAME", "NOT_READY")
        line.settle()
        trial.refused(lambda asked: line.camera.send(*trial.looks_good(asked), *[b""] * 20_000), "FRAME_PARTS", "NO_FRAME")
        line.settle()
    grown = line.memory_mib("VmHWM") - before_mib
    if grown > GROWTH_MIB:
        trial.fail(f"the inspector's memory grew by {grown:.0f} MiB")
    note = f"Memory grew by {max(0.0, grown):.1f} MiB at most.{_too_many_large_parts(trial, effort)}"
    result = trial.finish(note=note)
    forget(LIMITED)
    return result


def _of_size(asked: Asked, trial: Trial, size: int) -> Parts:
    topic, text, _ = trial.looks_good(asked)
    return topic, text, bytes(size)


def _too_many_large_parts(trial: Trial, effort: Effort) -> str:
    """Messages of 1 and 4 GB in parts that are each allowed: only the process's memory limit ends the second; the gate answers on."""
    line, block = trial.line, bytes(1 << 20)
    if effort.name == "quick":
        return ""
    told = ""
    for count in (1_000, 4_000):
        topic, text, _ = trial.looks_good(Asked(session="0" * 16, sequence=1, part="X", weld="W1", typology="T2"))
        line.camera.send(topic, text, *[block] * count, copy=False)
        highest_mib, end_s = line.memory_mib("VmHWM"), time.monotonic() + 4
        while time.monotonic() < end_s and line.inspector.running:
            highest_mib = max(highest_mib, line.memory_mib("VmHWM"))
            trial.refused(nothing)
            time.sleep(0.01)
        line.settle(40)
        told += f" One message of {count} parts of 1 MiB took the inspector to {highest_mib:.0f} MiB."
    return (
        f"{told} ZeroMQ bounds a part, not the sum of a message's parts: the limit on the process's memory (here 4096 MiB of addresses) is "
        "what ends it, and REJECT is the answer meanwhile. Keep MemoryMax on the inspector's unit."
    )


@injects("A12", test=TEST)
def two_publishers(effort: Effort) -> Result:
    """A second publisher of the same name: its counters, images and triggers are its own; and one that takes the endpoint over."""
    trial = Trial(shared(), effort, "A12")
    rng = random.Random(effort.seed)  # noqa: S311 - seeded, not secret
    foreign = rng.randint(1, 50)
    for number in range(effort.times(60)):
        foreign += 1

        def act(asked: Asked, number: int = number, foreign: int = foreign) -> None:
            ahead = trial.line.camera.counter + 1_000 + number
            first = _of_stranger(trial, asked, foreign if number % 2 else ahead)
            second = trial.bad(asked)
            for parts in (first, second):
                trial.send(parts)

        trial.refused(act, "DEFECT", "NO_FRAME", "FRAME_DUPLICATE", "FRAME_UNBOUND")
        trial.line.camera.counter += 2_000
        trial.trigger(trial.sending(trial.good))
    for _ in range(effort.times(4)):
        _taken_over(trial)
    note = (
        "A stranger who copies the open trigger's session and number is believed: only keys per camera (CURVE) would tell him apart, "
        "and they belong to a later issue. Injected here: strangers that do not know the trigger."
    )
    return trial.finish(note=note)


def _of_stranger(trial: Trial, asked: Asked, counter: int) -> Parts:
    """A good weld under the stranger's own count, for a session of his own."""
    header = make_header(counter, session="5" * 16, sequence=asked.sequence, part=asked.part, weld=asked.weld, typology="T2")
    return trial.line.camera.parts(header, trial.image(good=True))


def _taken_over(trial: Trial) -> None:
    """Another publisher binds the same Unix socket while the true one lives: the connection there is stays with the true one."""
    line = trial.line
    second = Camera(line.camera.endpoint, counter=10**6)
    try:
        trial.injections += 1
        trial.trigger(lambda asked: second.send(*_of_stranger(trial, asked, second.count())))
        trial.refused(trial.sending(trial.bad), "DEFECT", "NO_FRAME")
    finally:
        second.close()
    counter, endpoint = line.camera.counter, line.camera.endpoint
    line.camera.close()
    line.camera = Camera(endpoint, counter + 10)
    line.settle()


@injects("A13", test=TEST)
def slow_consumer(effort: Effort) -> Result:
    """The inspector stands still for 0.1 to 3 s (SIGSTOP) while good welds' frames pile up, then goes on."""
    trial = Trial(shared(), effort, "A13")
    rng, line = random.Random(effort.seed), trial.line  # noqa: S311 - seeded, not secret
    lengths = [0.1, 0.2, 0.35, 0.7, 1.5, 3.0] if effort.name != "quick" else [0.35]
    for length in lengths * effort.times(1):
        line.settle()
        pid = line.inspector.process.pid
        os.kill(pid, signal.SIGSTOP)
        end_s = time.monotonic() + length
        try:
            while time.monotonic() < end_s:
                trial.refused(trial.sending(trial.looks_good), "NO_FRAME", "INSPECTOR_DOWN", "NOT_READY")
                time.sleep(rng.random() * 0.02)
        finally:
            os.kill(pid, signal.SIGCONT)
        for _ in range(4):
            trial.refused(trial.sending(trial.bad), "DEFECT", "NO_FRAME", "INSPECTOR_DOWN", "NOT_READY")
    return trial.finish()
