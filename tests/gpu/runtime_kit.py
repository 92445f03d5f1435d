"""Tiny networks as engines of the TensorRT at hand, their answers computed apart; test modules take the fixtures over by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from conftest import MODE
from numpy.typing import NDArray
from tiny import HEIGHT, WIDTH, frame_image, network

from edge.bundle import MapOutput, Member
from edge.engines import build_engine
from edge.engines.backend import Backend, _load, load_backend
from edge.errors import EngineError
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.errors import translated
from edge.inspector.cuda.memory import DeviceMemory, SharedMemory
from edge.inspector.engines.tensorrt import TensorRTEngine, TensorRTRuntime

SHAPE = (HEIGHT, WIDTH)
SOFT = {"10.3 orin": "10.3.0", "10.16 orin": "10.16.1", "11.4 h100": "11.4.0", "rtx rtx4090": "1.7.1"}
"""Versions of the stand-in, each with a GPU that it runs on."""


@pytest.fixture(params=SOFT if MODE == "soft" else ["real"])
def machine(request: pytest.FixtureRequest, driver: Any) -> Iterator[str]:
    """Which TensorRT, on which GPU."""
    if driver is None:
        yield "real"
        return
    import trt_standin  # noqa: PLC0415 -- only there with the software driver

    driver.reset(device=request.param.split()[1])
    trt_standin.reset()
    trt_standin.configure(SOFT[request.param])
    _load.cache_clear()
    yield request.param
    # Other tests start processes, which find the version that is usual.
    trt_standin.reset()
    trt_standin.configure(SOFT["10.3 orin"])
    _load.cache_clear()


@pytest.fixture
def preset(machine: str) -> str:
    """The name of the software driver's GPU."""
    return machine.rpartition(" ")[2]


@pytest.fixture
def backend(machine: str) -> Backend:
    try:
        return load_backend("tensorrt_rtx" if machine.startswith("rtx") else "auto")
    except EngineError as exc:
        pytest.skip(f"no TensorRT here: {exc.what}")


@pytest.fixture
def device(machine: str) -> Iterator[Device]:  # noqa: ARG001 -- the GPU is chosen first
    """The GPU, with its context current for the whole test."""
    made = Device(timeout_ms=5000.0)
    with made.current():
        yield made
        made.close()


def member(name: str, *, embedding: bool = False, maps: bool = False) -> Member:
    return Member(
        name=name,
        file=f"{name}.onnx",
        architecture="tiny",
        input="heightmap",
        output="scores",
        classes=("bad", "good"),
        embedding="embedding" if embedding else None,
        map=MapOutput(name="map", shape=(4, 6)) if maps else None,
    )


def build(backend: Backend, name: str, *, centre: float = 60.0, embedding: bool = False, maps: bool = False) -> tuple[Member, bytes]:
    """The engine of a network that calls a gray above `centre` bad."""
    promised = member(name, embedding=embedding, maps=maps)
    onnx = network(centre=centre, sign=1.0, embedding=embedding, maps=1.0 if maps else None)
    return promised, build_engine(onnx, member=promised, shape=SHAPE, backend=backend.name).data


def expected(image: NDArray[np.uint8], centre: float) -> NDArray[np.float32]:
    """What such a network answers, computed here and not by it."""
    bad = 1 / (1 + np.exp(-(float(image.mean()) - centre) / 4))
    return np.array([bad, 1 - bad], np.float32)


@dataclass
class Line:
    """A runtime with one heightmap that all its engines read."""

    device: Device
    backend: Backend
    runtime: TensorRTRuntime
    stream: Any
    frame: SharedMemory
    heightmap: DeviceMemory
    engines: list[TensorRTEngine] = field(default_factory=list)

    @staticmethod
    def on(device: Device, backend: Backend, **settings: Any) -> Line:
        return Line(
            device,
            backend,
            TensorRTRuntime(device, backend, **settings),
            device.stream(),
            device.shared_memory(SHAPE, np.uint8),
            device.device_memory(HEIGHT * WIDTH),
        )

    def add(self, built: tuple[Member, bytes], group: str = "T2", **changes: Any) -> TensorRTEngine:
        promised, data = built
        settings = {"shape": SHAPE, "input_address": self.heightmap.address, "group": group} | changes
        self.engines.append(self.runtime.add(promised, data, **settings))
        return self.engines[-1]

    def judge(self, gray: int, engines: Sequence[TensorRTEngine] | None = None) -> NDArray[np.uint8]:
        """A frame of this gray on its way through `engines` (default: all), waited for; returns it."""
        image = frame_image(gray, seed=gray)
        self.frame.host[...] = image
        self.frame.upload(self.stream)
        # As a kernel would make it: on the stream, and so late.
        with translated("the heightmap cannot be made"):
            self.device.driver.memcpy_dtod_async(self.heightmap.address, self.frame.address, self.frame.nbytes, self.stream)
        finished = self.runtime.run(self.engines if engines is None else engines, self.stream)
        self.device.wait(finished, "a frame")
        return image
