"""What builder and runtime say, kept for the message of the error it leads to: one log per process, since TensorRT only knows one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

TAIL = 200
"""Messages kept per engine; the last ones tell why a build, or loading it, failed."""


class Message(msgspec.Struct, frozen=True):
    """One line of TensorRT; `severity` is error, warning or info."""

    severity: str
    text: str


class BuildLog:
    """Collects messages from any of TensorRT's threads for the one engine that is being built or loaded.

    `logger` is the object to give to TensorRT. It lives as long as the process: the first logger TensorRT sees stays in use.
    """

    def __init__(self, trt: Any) -> None:
        # Re-entrant: the collector may strike anywhere, and what it frees may have something to say.
        self._lock = threading.RLock()
        self._building = threading.Lock()
        self._messages: deque[Message] = deque(maxlen=TAIL)
        self.logger = _logger(trt, self._add)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """One engine at a time: what is said from here on is said of it."""
        with self._building:
            with self._lock:
                self._messages.clear()
            yield

    def of(self, severity: str) -> tuple[str, ...]:
        """The texts of one severity, oldest first, each once."""
        with self._lock:
            said = tuple(self._messages)
        return tuple(dict.fromkeys(m.text for m in said if m.severity == severity))

    def tail(self, count: int = 5) -> str:
        """The last errors, or the last warnings where there are none, joined for a message."""
        said = self.of("error") or self.of("warning")
        return " | ".join(said[-count:]) or "TensorRT said nothing"

    def _add(self, severity: str, text: str) -> None:
        with self._lock:
            self._messages.append(Message(severity, text.strip()))


def _logger(trt: Any, add: Any) -> Any:
    """An ILogger that hands errors, warnings and information on and drops the rest."""
    base: Any = trt.ILogger
    known = {base.INTERNAL_ERROR: "error", base.ERROR: "error", base.WARNING: "warning", base.INFO: "info"}

    class Logger(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            name = known.get(severity)
            if name is not None:
                add(name, msg)

    return Logger()
