"""Executions as work on the device, in two steps between which other streams may come: taken up first, finished later."""

from __future__ import annotations

import ctypes
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_standin import driver
from trt_standin.faults import strikes
from trt_standin.numerics import Request
from trt_standin.reporting import count, violation

_steps: dict[int, Callable[[], None]] = {}
_numbers = itertools.count(1)
_patterns = itertools.count(1)
_LOCK = threading.Lock()
_GARBAGE = 0xA5


def _run(number: int | None) -> None:
    step = _steps.get(number or 0)
    if step is None:
        violation("an execution was still queued, or in a graph that was launched, when its context was destroyed")
        return
    try:
        step()
    except Exception as exc:  # noqa: BLE001 -- there is nobody above to raise to; the GPU's own way to say it is an error that stays
        violation(f"an execution failed: {type(exc).__name__}: {' '.join(str(exc).split())[:300]}")
        driver.work_failed(driver.LAUNCH_FAILED)


RUN = driver.WORK(_run)
"""The one function that soft_launch gets; its data is a step's number."""


@dataclass(frozen=True)
class Place:
    """A tensor on the device."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def view(self) -> NDArray[Any]:
        """The memory itself; only while work runs on the device."""
        return _bytes(self.address, self.nbytes).view(self.dtype).reshape(self.shape)

    def spoil(self) -> None:
        """Fill it with what no network answers, but could be taken for an answer: as floats, nearly zero."""
        _bytes(self.address, self.nbytes)[...] = _GARBAGE


def _bytes(address: int, nbytes: int) -> NDArray[np.uint8]:
    return np.ctypeslib.as_array((ctypes.c_ubyte * nbytes).from_address(address))


@dataclass
class Turn:
    """What the executions of one context share: it must not run twice at once."""

    what: str
    request: Request
    running: bool = False


@dataclass
class Execution:
    """One context's work for one set of addresses, run by every enqueue and every launch of a graph that holds it."""

    turn: Turn
    inputs: dict[str, Place]
    outputs: dict[str, Place]
    scratch: tuple[int, int]
    """Address and bytes."""
    inputs_stay: bool = True
    """Must the inputs keep their values to the end? Not where an event tells when they were read."""
    _taken: dict[str, NDArray[Any]] = field(default_factory=dict)
    _answers: dict[str, NDArray[Any]] = field(default_factory=dict)
    _pattern: int = 0
    _silent: bool = False

    def __post_init__(self) -> None:
        with _LOCK:
            self.begin, self.finish = next(_numbers), next(_numbers)
            _steps[self.begin], _steps[self.finish] = self._begin, self._finish

    def forget(self) -> None:
        """The context is gone."""
        _steps.pop(self.begin, None)
        _steps.pop(self.finish, None)

    def _begin(self) -> None:
        if self.turn.running:
            violation(f"{self.turn.what} ran twice at the same time")
        self.turn.running = True
        self._answers = {}
        if not self._reachable():
            driver.work_failed(driver.ILLEGAL_ADDRESS)
            return
        self._taken = {name: place.view().copy() for name, place in self.inputs.items()}
        with _LOCK:
            self._pattern = next(_patterns)
        self._scratch_words()[...] = self._pattern
        self._silent = strikes("unwritten") is not None
        if not self._silent:
            # TensorRT promises nothing about outputs before the end.
            for place in self.outputs.values():
                place.spoil()
        self._answers = self.turn.request.run(self._taken, tuple(self.outputs))

    def _finish(self) -> None:
        self.turn.running = False
        if not self._answers:
            return
        slow = strikes("slow")
        if slow is not None:
            time.sleep(slow / 1000)
        sound = self._sound()
        nan = strikes("nan") is not None
        for name, place in self.outputs.items() if not self._silent else ():
            if not sound:
                place.spoil()
            else:
                place.view()[...] = np.nan if nan and place.dtype.kind == "f" else self._answers[name]
        count("executions")

    def _reachable(self) -> bool:
        """May the device use every address, also those set long ago?"""
        places = {name: (place.address, place.nbytes) for name, place in (self.inputs | self.outputs).items()}
        lost = [
            name for name, place in (places | {"scratch memory": self.scratch}).items() if place[1] and not driver.device_may_use(*place)
        ]
        if lost:
            violation(f"{self.turn.what}: {', '.join(lost)} does not lie in device memory")
        return not lost

    def _sound(self) -> bool:
        """Was nothing changed that must stay while an execution runs?"""
        if (self._scratch_words() != self._pattern).any():
            violation(f"{self.turn.what}: another execution used its scratch memory at the same time")
            return False
        for name, place in self.inputs.items() if self.inputs_stay else ():
            if not np.array_equal(place.view(), self._taken[name]):
                violation(f"{self.turn.what}: input {name} changed while it ran")
                return False
        return True

    def _scratch_words(self) -> NDArray[np.uint64]:
        address, nbytes = self.scratch
        return _bytes(address, nbytes // 8 * 8).view(np.uint64) if nbytes else np.empty(0, np.uint64)
