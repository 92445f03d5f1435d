"""Failures of the GPU in one process, at every place where they can happen: what is raised, what is freed, and what still works."""

from __future__ import annotations

import gc
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cell_kit
import failure_kit
import msgspec
import numpy as np
import pytest
import trt_standin
from box_kit import gpu_settings, open_tiny
from cell_kit import Cell, make_config, make_header, make_parts
from softcuda.control import Driver
from softcuda.env import soft_environment
from test_inspector_without_gpu import certified
from tiny import frame_image, probability

from edge.bundle import Bundle
from edge.config import GpuConfig
from edge.contract import Reason
from edge.engines.backend import _load
from edge.errors import EngineError, GpuError
from edge.inspector import rehearsal
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.errors import RESTART
from edge.inspector.cuda.leave import gave_up
from edge.inspector.engines import tensorrt
from edge.inspector.heightmap.cuda import Kernels
from edge.inspector.judging import inspect
from edge.inspector.machines import load
from edge.inspector.scan import Scan

pytestmark = pytest.mark.soft
built, start = failure_kit.built, cell_kit.start
SHORT_MS = 100.0
QUEUED_COPY = re.compile("cuMemFree_v2 of 0x[0-9a-f]+, which queued work still uses")
"""A workspace that gets no memory frees the tables that are still on their way up; CUDA itself waits for them there."""


@pytest.fixture(autouse=True)
def fresh(driver: Driver) -> Iterator[None]:  # noqa: ARG001 -- reset before
    """TensorRT 10.3 without faults on an Orin; afterwards no context is current, whatever the test gave up."""
    trt_standin.reset()
    trt_standin.configure("10.3.0")
    _load.cache_clear()
    yield
    leave_contexts()


def leave_contexts() -> None:
    """Off the stack with what a machine left there that may touch its GPU no more."""
    cuda = sys.modules.get("pycuda.driver")
    while cuda and cuda.Context.get_current():
        cuda.Context.pop()


@pytest.fixture
def engines(built: Path, tmp_path: Path) -> GpuConfig:
    shutil.copytree(built / "engines", tmp_path / "engines")
    return gpu_settings(tmp_path / "engines", timeout_ms=SHORT_MS)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_tiny(certified(), tmp_path)


@pytest.fixture
def ready(start: Callable[..., Cell], engines: GpuConfig) -> Cell:
    """A READY inspector on the GPU that has judged one frame."""
    cell = start(certified(), backend="tensorrt", gpu=engines)
    assert cell.judge(*make_parts(frame_image(40))).reason is Reason.OK
    return cell


def run_once(bundle: Bundle, engines: GpuConfig) -> None:
    """Start, prove every golden input, close."""
    config = make_config(engines.engines.parent, backend="tensorrt", gpu=engines)
    load(bundle, config.inspector, progress=lambda _: None).machine.close()


def find_out(cell: Cell) -> GpuError:
    """Tick until the inspector ends."""
    with pytest.raises(GpuError) as caught:
        cell.until(lambda: False, seconds=3)
    cell.gate.poll()
    return caught.value


# -- memory


@pytest.mark.parametrize(("function", "zero_copy"), [("cuMemAlloc_v2", "off"), ("cuMemHostAlloc", "off"), ("cuMemHostAlloc", "on")])
def test_whichever_allocation_fails_all_is_freed_and_the_next_start_works(
    driver: Driver, bundle: Bundle, engines: GpuConfig, function: str, zero_copy: str
) -> None:
    counter, times = {"cuMemAlloc_v2": ("allocations", 2), "cuMemHostAlloc": ("host_allocations", 1)}[function]  # PyCUDA asks twice for one
    settings = msgspec.structs.replace(engines, zero_copy=zero_copy)
    run_once(bundle, settings)
    count = getattr(driver.counters(), counter)
    assert count > 3
    for number in range(count):
        driver.reset()
        driver.fail_next(function, 2, after=number, times=times)
        with pytest.raises(EngineError, match=r"(?i)out of memory") as caught:
            run_once(bundle, settings)
        assert caught.value.remedy
        caught = None
        gc.collect()
        left = driver.counters()
        assert (left.live_allocations, left.live_host_allocations, left.live_contexts) == (0, 0, 0), number
        assert [found for found in driver.violations() if not QUEUED_COPY.fullmatch(found)] == [], number
        if number % 3 == 0:
            run_once(bundle, settings)
    driver.reset()


# -- frames


@pytest.mark.parametrize("fault", ["sticky:700", "vanish", "hang"])
def test_at_whatever_piece_of_work_the_gpu_fails_no_answer_counts(driver: Driver, bundle: Bundle, engines: GpuConfig, fault: str) -> None:
    scan, remedies = Scan.of(make_header(), frame_image(40)), set()
    for after in range(1, 100):
        loaded = load(bundle, make_config(engines.engines.parent, backend="tensorrt", gpu=engines).inspector, progress=lambda _: None)
        driver.fault(f"{fault}:after={after}")
        try:
            finding = inspect(loaded, scan, "T2", every_engine=False)
            break
        except GpuError as exc:
            remedies.add(exc.remedy[: len(RESTART)])
        loaded.machine.close()
        assert gave_up()
        leave_contexts()
        driver.reset()
    assert remedies == {RESTART}
    assert finding.score == pytest.approx(probability(frame_image(40), centre=60, sign=1), abs=2e-3)
    assert after > 5
    driver.hang(False)
    loaded.machine.close()


def test_a_heightmap_whose_last_kernel_did_not_run_is_never_judged(ready: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernels, "launch", lambda *_: None)
    ready.send(*make_parts(frame_image(40, seed=2), counter=2))
    error = find_out(ready)
    assert "another frame's heightmap" in str(error)
    assert [report.reason for report in ready.gate.reports] == [Reason.OK, Reason.GPU_FAULT]


def test_a_kernel_that_hangs_at_start_ends_the_start(
    driver: Driver, bundle: Bundle, engines: GpuConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt, "FIRST_RUN_MS", SHORT_MS)
    driver.hang()
    began = time.monotonic()
    with pytest.raises(GpuError, match=r"the first run of network T2-0 .* does not finish"):
        run_once(bundle, engines)
    assert time.monotonic() - began < 3.0


# -- triggers


@pytest.mark.parametrize("fault", ["sticky:700", "vanish", "hang"])
def test_a_gpu_that_fails_while_a_frame_is_rehearsed_is_told_to_the_gate(
    driver: Driver, ready: Cell, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    rehearse(ready, monkeypatch)
    driver.fault(fault)
    find_out(ready)
    assert ready.gate.states[-1].fault_reason is Reason.GPU_FAULT
    assert len(ready.gate.reports) == 2


def test_an_inspector_that_stops_while_it_rehearses_leaves_in_order(driver: Driver, ready: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    rehearse(ready, monkeypatch)
    ready.daemon.close()
    assert driver.violations() == []
    assert driver.counters().live_allocations == 0


def rehearse(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger is open, its frame not here yet, and the one before was walked through again: its work is still queued."""
    monkeypatch.setattr(rehearsal, "COSTLIEST_NS", 10**10)
    cell.judge(*make_parts(frame_image(41), counter=2))
    walks: list[Any] = []
    walk = rehearsal.Rehearsal.walk
    monkeypatch.setattr(rehearsal.Rehearsal, "walk", lambda self, loaded: (walks.append(1), walk(self, loaded)))
    cell.expect("T2", sequence=8)
    cell.until(lambda: len(walks) > 1)


# -- threads


def test_two_threads_use_the_gpu_at_once(device: Device) -> None:
    counts = []

    def work() -> None:
        for _ in range(20):
            with device.current():
                stream, event = device.stream(), device.event()
                memory = device.shared_memory(64, np.uint8)
                memory.host[...] = 7
                memory.upload(stream)
                event.record(stream)
                device.wait(event, "an upload")
                memory.free()
                device.drop(stream, event)
                del stream, event
        counts.append(1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert counts == [1, 1]
    cuda = sys.modules["pycuda.driver"]
    assert cuda.Context.get_current() is None


def test_a_thread_that_raises_with_the_context_current_leaves_none(device: Device) -> None:
    seen: list[Any] = []

    def work() -> None:
        cuda = sys.modules["pycuda.driver"]
        try:
            with device.current(), device.current():
                seen.append(cuda.Context.get_current())
                [].pop()
        except IndexError:
            seen.append(cuda.Context.get_current())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert seen[0] is not None
    assert seen[1] is None


# -- processes

PUSHED = """
import sys
from edge.inspector.cuda.device import Device
device = Device()
context, kept = device.current(), HELD
context.__enter__()
memory = device.device_memory(256)
if isinstance(kept, list):
    kept += [kept, context]
elif kept is sys.modules:
    kept["context"] = context
else:
    kept.push(context)
sys.exit(3)
"""


def run(script: str, *arguments: str, **settings: Any) -> tuple[int, str, float]:
    """Exit status, what was written to stderr, seconds."""
    began = time.monotonic()
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=soft_environment(**settings), capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stderr, time.monotonic() - began


@pytest.mark.parametrize("held", ["[]", "__import__('contextlib').ExitStack()", "sys.modules"], ids=["cycle", "stack", "module"])
def test_a_process_that_ends_with_a_context_pushed_does_not_abort(held: str) -> None:
    status, said, seconds = run(PUSHED.replace("HELD", held))
    assert status == 3
    assert not {"PyCUDA ERROR", "Traceback", "terminate"} & set(re.findall("PyCUDA ERROR|Traceback|terminate", said)), said
    assert seconds < 5
