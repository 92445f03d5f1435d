"""CUDA graphs, which PyCUDA does not know: captured beside it by cuda-bindings on the same streams, or not at all and why not."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from edge.errors import CordonError, GpuError
from edge.inspector.cuda.errors import gpu_error, translated

_MODULES = ("cuda.bindings.driver", "cuda.cuda")
"""The second name is the older one, which JetPack 6 may bring."""


class Graph:
    """Captured work, ready to be launched on its stream as often as wanted."""

    def __init__(self, driver: Any, executable: Any, handle: Any) -> None:
        self._driver, self._executable, self._handle = driver, executable, handle

    def launch(self) -> None:
        """Queue the captured work once more, on the stream it was captured on. Raises GpuError."""
        _call(self._driver, "cuGraphLaunch", self._executable, self._handle)

    def close(self) -> None:
        """Give it back, once nothing of it runs any more. A second call does nothing. Raises GpuError."""
        executable, self._executable = self._executable, None
        if executable is not None:
            _call(self._driver, "cuGraphExecDestroy", executable)


class Graphs:
    """Captures graphs, where cuda-bindings is installed and the driver allows it; `reason` says why the last attempt gave none."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._driver: Any = self._load()

    def _load(self) -> Any:
        for name in _MODULES:
            try:
                return importlib.import_module(name)
            except (ImportError, OSError, RuntimeError) as exc:
                self.reason = f"cuda-bindings cannot be loaded: {exc}"
        return None

    def capture(self, stream: Any, work: Callable[[], bool]) -> Graph | None:
        """What `work` queues on PyCUDA's `stream`, as a graph; nothing of it runs yet.

        None when `work` returns False or raises a CUDA error, or when CUDA refuses: the stream is then as before. The context must be
        current, nothing may run on the stream, and `work` must have run there before.
        """
        if self._driver is None:
            return None
        try:
            graph, self.reason = self._record(self._driver.CUstream(stream.handle), work)
        except (GpuError, RuntimeError, ValueError, KeyError) as exc:
            # RuntimeError: a driver too old to have the function; the latter two: one too new, with an error that has no name yet.
            graph, self.reason = None, _words(exc)
        return graph

    def _record(self, handle: Any, work: Callable[[], bool]) -> tuple[Graph | None, str | None]:
        driver, captured, said = self._driver, None, None
        # Thread-local: other threads may go on using CUDA meanwhile.
        _call(driver, "cuStreamBeginCapture", handle, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        try:
            said = _refusal(work)
        finally:
            # Whatever happened, the stream must come out of capturing.
            try:
                captured = _call(driver, "cuStreamEndCapture", handle)
            except GpuError as exc:
                said = said or _words(exc)
        try:
            if said is not None:
                return None, said
            executable = _call(driver, "cuGraphInstantiate", captured, 0)
        finally:
            if captured is not None:
                _call(driver, "cuGraphDestroy", captured)
        with suppress(GpuError):  # it only saves the first launch some time
            _call(driver, "cuGraphUpload", executable, handle)
        return Graph(driver, executable, handle), None


def _refusal(work: Callable[[], bool]) -> str | None:
    try:
        with translated("the work cannot be captured"):
            return None if work() else "the work could not be queued while capturing"
    except GpuError as exc:
        return _words(exc)


def _words(exc: Exception) -> str:
    return str(exc.seen or exc.what) if isinstance(exc, CordonError) else str(exc)


def _call(driver: Any, function: str, *arguments: Any) -> Any:
    """What the function gives beside its result, which must be success."""
    result, *given = getattr(driver, function)(*arguments)
    if int(result) != 0:
        _, text = driver.cuGetErrorString(result)
        words = text.decode() if text else f"error {int(result)}"
        raise gpu_error("a CUDA graph cannot be used", f"{function} failed: {words}")
    return given[0] if given else None
