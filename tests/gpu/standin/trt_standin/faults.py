"""Faults that tests switch on: what fails, from which call on, and how often."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

FAULT = "STANDIN_FAULT"
FAULTS = {
    "deserialise": "deserialize_cuda_engine gives None",
    "context": "create_execution_context gives None",
    "address": "set_tensor_address gives False",
    "execute": "execute_async_v3 gives False",
    "capture": "execute_async_v3 gives False while its stream is being captured",
    "unwritten": "an execution ends without writing its outputs",
    "nan": "an execution writes NaN",
    "slow": "an execution takes `value` ms more",
}
_LOCK = threading.Lock()


@dataclass
class _Fault:
    after: int
    times: int | None
    value: float


_faults: dict[str, _Fault] | None = None


def fail(what: str, *, after: int = 0, times: int | None = None, value: float = 0.0) -> None:
    """Let `what` (one of FAULTS) happen from its call number `after` on, `times` times or for ever. Raises ValueError."""
    if what not in FAULTS:
        raise ValueError(f"no fault {what!r}; there are {', '.join(FAULTS)}")
    with _LOCK:
        _known()[what] = _Fault(after, times, value)


def clear() -> None:
    """No faults, those of the environment included."""
    global _faults  # noqa: PLW0603
    with _LOCK:
        _faults = {}


def strikes(what: str) -> float | None:
    """The fault's value where this call is to fail, else None; counts the call."""
    with _LOCK:
        fault = _known().get(what)
        if fault is None:
            return None
        if fault.after > 0:
            fault.after -= 1
            return None
        if fault.times is not None:
            if fault.times <= 0:
                return None
            fault.times -= 1
        return fault.value


def _known() -> dict[str, _Fault]:
    global _faults  # noqa: PLW0603
    if _faults is None:
        _faults = {}
        for entry in filter(None, os.environ.get(FAULT, "").split(",")):
            what, *settings = entry.split(":")
            if what not in FAULTS:
                raise ValueError(f"{FAULT}: no fault {what!r}; there are {', '.join(FAULTS)}")
            given = dict(setting.split("=") for setting in settings)
            times = int(given["times"]) if "times" in given else None
            _faults[what] = _Fault(int(given.get("after", 0)), times, float(given.get("value", 0)))
    return _faults
