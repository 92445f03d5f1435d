import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import engine_kit as kit
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.engines import BuildOptions, build_engine, parse_and_build
from edge.engines.backend import Backend, load_backend
from edge.engines.batch import with_batch
from edge.engines.parse import Interface
from edge.engines.prove import prove
from edge.engines.settings import new_builder, new_config
from edge.errors import EngineError


class Heard:
    """A Progress that notes everything, and may stop the build or be interrupted at a step."""

    def __init__(self, *, stop_at: int | None = None, interrupt_at: int | None = None, fail_at: int | None = None) -> None:
        self.events: list[tuple[object, ...]] = []
        self.steps = 0
        self.interrupted = False
        self.at = {stop_at: "stop", interrupt_at: "interrupt", fail_at: "fail"}

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        self.events.append(("start", phase, parent, steps))

    def step(self, phase: str, step: int) -> bool:
        self.events.append(("step", phase, step))
        self.steps += 1
        if self.interrupted:
            time.sleep(0.1)  # a loaded machine takes its time to wake the main thread
        match self.at.get(self.steps):
            case "stop":
                return False
            case "fail":
                raise BrokenPipeError("the terminal went away")
            case "interrupt":
                self.interrupted = True
                os.kill(os.getpid(), signal.SIGINT)
        return True

    def finish(self, phase: str) -> None:
        self.events.append(("finish", phase))


@pytest.mark.parametrize("batch", [1, 3])
def test_a_qdq_network_becomes_an_engine_without_a_gpu(rtx: Backend, batch: int) -> None:
    data = kit.network()
    engine = build_engine(data, member=kit.member(), shape=kit.SHAPE, batch=batch, backend="tensorrt_rtx")
    assert engine.data[:4] == b"vtrt"
    assert (engine.batch, engine.box.backend, engine.box.version) == (batch, "tensorrt_rtx", rtx.version)
    assert engine.layers > 8
    assert engine.engine_sha256 == hashlib.sha256(engine.data).hexdigest()
    assert engine.onnx_sha256 == hashlib.sha256(data).hexdigest()


def test_an_engine_may_give_an_embedding_beside_its_scores(rtx: Backend) -> None:
    engine = build_engine(kit.network(embedding=True), member=kit.member(embedding="features"), shape=kit.SHAPE, batch=2, backend=rtx.name)
    assert engine.data


def test_engines_are_built_for_named_gpus(rtx: Backend) -> None:
    one = parse_and_build(kit.network(), backend=rtx.name, options=BuildOptions(targets=("SM89",)))
    two = parse_and_build(kit.network(), backend=rtx.name, options=BuildOptions(targets=("SM86", "SM120")))
    assert one.data != two.data


def test_the_batch_is_one_byte_of_the_file() -> None:
    data = kit.network()
    more = with_batch(data, "heightmap", 5)
    assert sum(a != b for a, b in zip(data, more, strict=True)) == 1
    shape = onnx.load_from_string(bytes(more)).graph.input[0].type.tensor_type.shape
    assert [d.dim_value for d in shape.dim] == [5, 1, kit.HEIGHT, kit.WIDTH]


@pytest.mark.parametrize("data", [kit.network(input_shape=("n", 1, 16, 32)), kit.network(input_shape=(2, 1, 16, 32)), b"", b"\x3a\xff"])
def test_what_is_no_network_of_batch_1_is_left_to_the_parser(data: bytes) -> None:
    assert with_batch(data, "heightmap", 5) == data


@given(st.binary(max_size=200), st.integers(0, 199))
def test_no_bytes_confuse_the_search_for_the_batch(noise: bytes, cut: int) -> None:
    assert with_batch(noise, "heightmap", 4) == noise
    with_batch(kit.network()[:cut] + noise, "heightmap", 4)


def test_progress_tells_of_nested_phases_from_start_to_finish(rtx: Backend) -> None:
    heard = Heard()
    build_engine(kit.network(), member=kit.member(), shape=kit.SHAPE, backend=rtx.name, progress=heard)
    started = [event[1] for event in heard.events if event[0] == "start"]
    assert heard.events[0] == ("start", started[0], None, heard.events[0][3])
    assert sorted(started) == sorted(event[1] for event in heard.events if event[0] == "finish")
    assert {event[2] for event in heard.events if event[0] == "start"} - {None} <= set(started)
    assert heard.steps > 20


def test_a_progress_that_says_no_stops_the_build(rtx: Backend) -> None:
    heard = Heard(stop_at=5)
    with pytest.raises(EngineError, match="the build was stopped"):
        build_engine(kit.network(), member=kit.member(), shape=kit.SHAPE, backend=rtx.name, progress=heard)
    assert heard.steps < 20


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises here; a shell's background job, which this may be, starts with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_stops_the_build_and_is_passed_on(rtx: Backend) -> None:
    heard = Heard(interrupt_at=5)
    with pytest.raises(KeyboardInterrupt):
        build_engine(kit.network(), member=kit.member(), shape=kit.SHAPE, backend=rtx.name, progress=heard)
    assert heard.steps < 20
    assert not [t for t in threading.enumerate() if t.name == "engine-build"]


def test_an_error_of_the_progress_itself_reaches_the_caller(rtx: Backend) -> None:
    with pytest.raises(BrokenPipeError, match="terminal"):
        build_engine(kit.network(), member=kit.member(), shape=kit.SHAPE, backend=rtx.name, progress=Heard(fail_at=2))


def test_an_error_tells_of_its_own_engine_only(rtx: Backend) -> None:
    with pytest.raises(EngineError):
        parse_and_build(kit.network(zero_point=3), backend=rtx.name)
    with pytest.raises(EngineError) as caught:
        parse_and_build(b"no network", backend=rtx.name)
    assert "zero point" not in str(caught.value).lower()
    assert parse_and_build(kit.network(), backend=rtx.name).warnings == ()


def test_a_process_has_one_log(rtx: Backend) -> None:
    assert load_backend("tensorrt_rtx").log is rtx.log


def test_an_engine_that_cannot_be_loaded_does_not_count(rtx: Backend) -> None:
    wanted = Interface.of(kit.member(), kit.SHAPE, 1)
    with rtx.log.collecting(), pytest.raises(EngineError, match=r"cannot be loaded .*seen: .+"):
        prove(rtx, b"vtrt" + bytes(500), wanted, "network a")


def test_an_engine_of_tensorrt_rtx_takes_no_memory_while_it_runs(rtx: Backend) -> None:
    trt = rtx.api
    with rtx.log.collecting():
        config: Any = new_config(rtx, new_builder(rtx), BuildOptions())
    assert config.get_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
