"""The one logger of a process: the first wins, later ones are ignored with a warning; recorders take errors away from it."""

from __future__ import annotations

import sys
import time
from typing import Any

from trt_standin.binding import Overridable, pure, require

_first: dict[str, tuple[Any, Any]] = {}
"""By module: the logger in use and its Severity."""


class ILogger(Overridable):
    """What the user derives a logger from."""

    __slots__ = ()
    Severity: Any
    INTERNAL_ERROR: Any
    ERROR: Any
    WARNING: Any
    INFO: Any
    VERBOSE: Any

    def __init__(self) -> None:
        super().__init__()

    def log(self, severity: Any, msg: str) -> None:
        raise pure("ILogger::log", severity, msg)


class Logger(ILogger):
    """Prints to stdout what is at least as severe as `min_severity`."""

    __slots__ = ("_least",)

    def __init__(self, min_severity: Any = None) -> None:
        super().__init__()
        kind = self._api.enums["Severity"]
        self._least = require(kind.WARNING if min_severity is None else min_severity, kind, "__init__")

    @property
    def min_severity(self) -> Any:
        return self._least

    @min_severity.setter
    def min_severity(self, severity: Any) -> None:
        self._least = require(severity, self._api.enums["Severity"], "")

    def log(self, severity: Any, msg: str) -> None:
        if severity <= self._least:
            print(f"[{time.strftime('%m/%d/%Y-%H:%M:%S')}] [TRT] [{severity.name[0]}] {msg}", flush=True)


class IErrorRecorder(Overridable):
    """What the user derives a recorder from: attached, it takes the errors that the log would have had."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()


class Voice:
    """Where an object's messages go: errors to its recorder if it has one, all else to the process's logger."""

    __slots__ = ("api", "recorder")

    def __init__(self, api: Any, recorder: Any = None) -> None:
        self.api, self.recorder = api, recorder

    def say(self, severity: str, text: str) -> None:
        """A message of this severity's name."""
        if severity == "ERROR" and self.recorder is not None:
            self.recorder.report_error(self.api.enums["ErrorCodeTRT"].INTERNAL_ERROR, text)
            return
        say(self.api.module, severity, text)

    def error(self, text: str) -> None:
        """An error, which nobody raises."""
        self.say("ERROR", text)


def register(logger: Any, api: Any, maker: str) -> None:
    """Use `logger` from now on if it is the process's first. Raises TypeError for what is no logger."""
    require(logger, api.classes["ILogger"], "__init__")
    used, _ = _first.setdefault(api.module, (logger, api.enums["Severity"]))
    if used is not logger:
        say(
            api.module,
            "WARNING",
            f"The logger passed into {maker} differs from one already registered for an existing builder, runtime, or refitter. "
            "So the current new logger is ignored, and TensorRT will use the existing one which is returned by "
            "nvinfer1::getLogger() instead.",
        )


def say(module: str, severity: str, text: str) -> None:
    """Log `text`; what the logger raises is only printed."""
    if module not in _first:
        return
    logger, kind = _first[module]
    try:
        logger.log(kind[severity], text)
    except Exception as exc:  # noqa: BLE001 -- the bindings swallow it too
        print(f"[ERROR] Exception caught in log(): {type(exc).__name__}: {exc}", file=sys.stderr)


def forget() -> None:
    """As in a new process: the next logger is the first."""
    _first.clear()
