"""What happened on the stand-in, for tests to assert: executions, memory, leaks and violations."""

from __future__ import annotations

import atexit
import dataclasses
import json
import os
import threading
from pathlib import Path

REPORT = "STANDIN_REPORT"
_LOCK = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Report:
    """Counts since the start or the last `reset`; sizes in bytes."""

    engines: int
    """Engines alive."""
    contexts: int
    """Execution contexts alive."""
    enqueued: int
    """execute_async_v3 that returned True."""
    executions: int
    """Executions that ran to their end on the device, those of graphs included."""
    jit: int
    """Compilations by TensorRT-RTX that no runtime cache spared."""
    memory: int
    peak_memory: int
    leaks: tuple[str, ...]
    """Device memory that could not be given back: its owner died without its CUDA context being current."""
    violations: tuple[str, ...]
    """Uses that TensorRT forbids and does not notice."""


@dataclasses.dataclass
class _Counts:
    engines: int = 0
    contexts: int = 0
    enqueued: int = 0
    executions: int = 0
    jit: int = 0
    memory: int = 0
    peak_memory: int = 0
    leaks: list[str] = dataclasses.field(default_factory=list)
    violations: list[str] = dataclasses.field(default_factory=list)


_counts = _Counts()
_age = 0


def age() -> int:
    """How often there was a reset: what was made before the last one is counted no more."""
    return _age


def count(name: str, by: int = 1, *, born: int | None = None) -> None:
    """Add `by` to one of the counts; for the end of something, `born` is the age it began in."""
    with _LOCK:
        if born is not None and born != _age:
            return
        setattr(_counts, name, getattr(_counts, name) + by)
        _counts.peak_memory = max(_counts.peak_memory, _counts.memory)


def leak(text: str) -> None:
    """Note device memory that is lost."""
    with _LOCK:
        _counts.leaks.append(text)


def violation(text: str) -> None:
    """Note a use that TensorRT forbids; the same one is noted once."""
    with _LOCK:
        if text not in _counts.violations:
            _counts.violations.append(text)


def report() -> Report:
    """The counts so far."""
    with _LOCK:
        values = {field.name: getattr(_counts, field.name) for field in dataclasses.fields(_counts)}
    return Report(**values | {name: tuple(values[name]) for name in ("leaks", "violations")})


def reset() -> None:
    """Forget counts, faults and the registered loggers, and what is still alive: the driver was reset before, and its memory with it."""
    from trt_standin import faults, logger  # noqa: PLC0415 -- both count here

    global _counts, _age
    with _LOCK:
        _counts, _age = _Counts(), _age + 1
    faults.clear()
    logger.forget()


def _write() -> None:
    path = os.environ.get(REPORT)
    if path:
        Path(path).write_text(json.dumps(dataclasses.asdict(report())), encoding="utf-8")


atexit.register(_write)
