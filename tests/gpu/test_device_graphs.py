"""CUDA graphs beside PyCUDA: captured once, launched often, and refused without harm."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from edge.inspector.cuda.device import Device
from edge.inspector.cuda.graphs import Graphs
from edge.inspector.cuda.memory import SharedMemory


class Work:
    """Writes a number on a stream."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.stream, self._event = device.stream(), device.event()
        self.memory: SharedMemory = device.shared_memory(4, np.uint32)

    def write(self, value: int) -> None:
        self.device.driver.memset_d32_async(self.memory.address, value, 4, self.stream)

    def read(self) -> int:
        self.memory.download(self.stream)
        self._event.record(self.stream)
        self.device.wait(self._event, "the work")
        return int(self.memory.host[0])


@pytest.fixture
def work() -> Iterator[Work]:
    device = Device()
    with device.current():
        yield Work(device)
    device.close()


def seven(work: Work) -> bool:
    work.write(7)
    return True


def test_captured_work_runs_when_launched_and_not_before(work: Work) -> None:
    graphs = Graphs()
    work.write(1)
    assert work.read() == 1
    graph = graphs.capture(work.stream, lambda: seven(work))
    assert graph is not None, graphs.reason
    assert graphs.reason is None
    assert work.read() == 1
    for _ in range(3):
        graph.launch()
        assert work.read() == 7
        work.write(1)
        assert work.read() == 1
    graph.close()
    graph.close()


def test_work_that_says_no_gives_no_graph_and_a_stream_as_before(work: Work) -> None:
    graphs = Graphs()

    def refused() -> bool:
        work.write(7)
        return False

    assert graphs.capture(work.stream, refused) is None
    assert graphs.reason == "the work could not be queued while capturing"
    work.write(2)
    assert work.read() == 2
    assert graphs.capture(work.stream, lambda: seven(work)) is not None


def test_work_that_cuda_forbids_gives_no_graph_and_a_stream_as_before(work: Work) -> None:
    graphs = Graphs()

    def allocating() -> bool:
        work.device.device_memory(1 << 20)
        return True

    assert graphs.capture(work.stream, allocating) is None
    assert graphs.reason is not None
    work.write(2)
    assert work.read() == 2


def test_an_exception_in_the_work_ends_the_capture_too(work: Work) -> None:
    def broken() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Graphs().capture(work.stream, broken)
    work.write(2)
    assert work.read() == 2


def test_without_cuda_bindings_there_are_none_and_the_reason_is_kept(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cuda.bindings.driver", "cuda.cuda"):
        monkeypatch.setitem(sys.modules, name, None)
    graphs = Graphs()
    assert graphs.capture(work.stream, lambda: seven(work)) is None
    assert graphs.reason is not None
    assert "cuda-bindings cannot be loaded" in graphs.reason
