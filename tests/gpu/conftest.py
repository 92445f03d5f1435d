"""GPU tests run in a process of their own, on the software driver (CORDON_GPU_TESTS=soft) or on a real GPU (real), and else not at all."""

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from softcuda.control import Driver

    from edge.inspector.cuda.device import Device

MODE = os.environ.get("CORDON_GPU_TESTS", "")
HERE = Path(__file__).parent
PYCUDA = HERE.parents[1] / "build" / "pycuda"
collect_ignore_glob = [] if MODE in {"soft", "real"} else ["*"]

DRIVER: "Driver | None" = None
if MODE == "soft":
    from softcuda.control import Driver

    DRIVER = Driver()  # before anything imports pycuda: it then links to this library
    sys.path.insert(0, str(HERE / "standin"))
if MODE:
    sys.path.append(str(PYCUDA))  # it names libcuda.so.1 only: the same build runs on the real driver


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soft: needs the software CUDA driver (faults, counters, late execution); skipped on a real GPU")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if MODE == "real" and item.get_closest_marker("soft") and Path(item.fspath).is_relative_to(HERE):
            item.add_marker(pytest.mark.skip(reason="needs the software driver"))


def left_contexts() -> int:
    """Takes what the test left on PyCUDA's stack of contexts, which would end the process at its exit."""
    cuda = sys.modules.get("pycuda.driver")
    count = 0
    while cuda and cuda.Context.get_current():
        with contextlib.suppress(cuda.Error):  # what lies below may be gone
            cuda.Context.pop()
        count += 1
    while DRIVER and not DRIVER.library.cuCtxPopCurrent_v2(None):
        pass  # a primary context that was released while it was current stays on CUDA's own stack
    return count


@pytest.fixture(autouse=True)
def driver() -> Iterator[Any]:
    """The software driver, fresh; afterwards nothing may be left over and nothing may have been done wrong. None on a real GPU."""
    if DRIVER is None:
        yield None
        return
    DRIVER.reset()
    gc.freeze()  # the collection at the end then looks at this test's objects only, not at all that was ever imported
    yield DRIVER
    gc.collect()
    counters, violations = DRIVER.counters(), DRIVER.violations()
    expected, broken, contexts = DRIVER.expected, DRIVER.broken, left_contexts()
    DRIVER.reset()
    assert expected or not violations, "the program misused CUDA:\n" + "\n".join(violations)
    assert not contexts, f"{contexts} contexts were left on the stack"
    left = counters.live_allocations, counters.live_host_allocations
    assert expected or broken or left == (0, 0), f"not freed: {left[0]} device and {left[1]} host allocations"


@pytest.fixture
def device(driver: Any) -> "Iterator[Device]":  # noqa: ARG001 -- a device needs the driver, and closes before its check
    from edge.inspector.cuda.device import Device  # noqa: PLC0415 -- the ordinary tests run without

    made = Device()
    yield made
    made.close()


@pytest.fixture
def cuda(driver: Any) -> Iterator[Any]:  # noqa: ARG001 -- the driver is reset before, and checked after the context has ended
    """pycuda.driver with the primary context current."""
    cuda = importlib.import_module("pycuda.driver")
    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    context.push()
    yield cuda
    gc.collect()
    context.pop()
    context.detach()
