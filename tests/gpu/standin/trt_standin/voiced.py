"""What the objects that say something have in common: where their errors go, and for the two that begin everything, logger and threads."""

from __future__ import annotations

from typing import Any

from trt_standin.binding import Bound, integer
from trt_standin.logger import Voice


class Voiced(Bound):
    """An object whose errors may go to a recorder of its own."""

    __slots__ = ("_voice",)
    _voice: Voice

    @property
    def error_recorder(self) -> Any:
        return self._voice.recorder

    @error_recorder.setter
    def error_recorder(self, recorder: Any) -> None:
        self._voice.recorder = recorder


class Root(Voiced):
    """Builder and Runtime: made from a logger, with a number of threads."""

    __slots__ = ("_logger", "_threads")

    @property
    def logger(self) -> Any:
        return self._logger

    @property
    def max_threads(self) -> int:
        return self._threads

    @max_threads.setter
    def max_threads(self, count: int) -> None:
        self._threads = integer(count, "")
