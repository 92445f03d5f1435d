"""The standard library's logging, handed to a log that never waits."""

from __future__ import annotations

import logging

from edge.log import ERROR, INFO, WARNING, Log

FATAL = 2


class Forward(logging.Handler):
    """Each place in the code is a kind of its own; a line that is left out is not even put into words."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Queue it, or count it."""
        kind = self._log.admit((record.module, record.lineno), record.module)
        if kind is not None:
            self._log.put(kind, self._words(record), level=_level(record.levelno), trace=self._trace(record))

    def flush(self) -> None:
        """Wait a moment until everything is written: `logging.shutdown` asks for it at the end."""
        self._log.flush()

    def _words(self, record: logging.LogRecord) -> str:
        try:
            return record.getMessage()
        except Exception as exc:  # noqa: BLE001 - the arguments are anybody's, and a log line is worth no failure
            said = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
            return f"{said} ({type(exc).__name__} while its arguments were put in)"

    def _trace(self, record: logging.LogRecord) -> str:
        if not record.exc_info:
            return ""
        return logging.Formatter().formatException(record.exc_info)


def log_through(log: Log) -> Forward:
    """Everything that is logged from INFO on goes to `log`, unless somebody has taken it already."""
    handler = Forward(log)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    return handler


def _level(number: int) -> int:
    if number >= logging.CRITICAL:
        return FATAL
    return ERROR if number >= logging.ERROR else WARNING if number >= logging.WARNING else INFO
