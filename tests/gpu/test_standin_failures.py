"""The stand-in fails as TensorRT does: None, False or -1 with the reason in one log, and numbers that are wrong without a word."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import standin_kit as kit
import tiny
import trt_standin
from softcuda.env import soft_environment
from trt_standin import plan as plans

pytestmark = pytest.mark.soft
ONNX = tiny.network(centre=120.0, sign=1.0, quantised=True)
SHAPE = (tiny.HEIGHT, tiny.WIDTH)
TRT = kit.api("10.3.0")
RTX = kit.api("1.7.1")


@pytest.fixture
def gpu(driver: Any) -> Iterator[Any]:
    with kit.primary(driver) as cuda:
        yield cuda


@pytest.fixture
def rtx4090(driver: Any) -> Iterator[Any]:
    with kit.primary(driver, "rtx4090") as cuda:
        yield cuda


@pytest.fixture
def log() -> Any:
    return kit.new_logger(TRT)


@pytest.fixture
def rtx_log() -> Any:
    return kit.new_logger(RTX)


def load(log: Any, data: bytes | None, trt: Any = TRT) -> Any:
    assert data is not None
    return trt.Runtime(log).deserialize_cuda_engine(data)


def bound(cuda: Any, log: Any, **settings: Any) -> kit.Bound:
    return kit.Bound(cuda, TRT, load(log, kit.build(TRT, ONNX, logger=log)), **settings)


# -- the process: driver and logger


@pytest.mark.parametrize("maker", ["Builder", "Runtime"])
def test_without_a_driver_constructors_raise_a_type_error_about_a_nullptr(driver: Any, log: Any, maker: str) -> None:
    driver.reset("none")
    trt_standin.reset()
    with pytest.raises(TypeError, match="factory function returned nullptr"):
        getattr(TRT, maker)(log)
    assert "CUDA initialization failure with error: 100" in log.errors()


def test_rtx_builds_without_a_driver_and_cannot_load(driver: Any, rtx_log: Any) -> None:
    driver.reset("none")
    trt_standin.reset()
    data = kit.build(RTX, ONNX, logger=rtx_log)
    assert data is not None
    runtime = RTX.Runtime(rtx_log)
    assert runtime.deserialize_cuda_engine(data) is None
    assert "cudaError 100" in rtx_log.errors()
    assert runtime.get_engine_validity(data) == (RTX.EngineValidity.INVALID, 0)
    assert runtime.get_engine_validity(data[:10]) == (RTX.EngineValidity.INVALID, 32)


@pytest.mark.usefixtures("gpu")
def test_the_first_logger_of_a_process_wins(log: Any) -> None:
    second = kit.new_logger(TRT)
    TRT.Builder(log)
    runtime = TRT.Runtime(second)
    assert runtime.deserialize_cuda_engine(b"") is None
    assert second.said == []
    assert [severity for severity, _ in log.said] == ["WARNING", "ERROR"]
    assert "differs from one already registered" in log.said[0][1]


@pytest.mark.usefixtures("gpu")
def test_what_a_logger_raises_is_only_printed(capsys: pytest.CaptureFixture[str]) -> None:
    class Raising(TRT.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            TRT.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            raise ZeroDivisionError(f"{severity}: {msg}")

    assert TRT.Runtime(Raising()).deserialize_cuda_engine(b"") is None
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.usefixtures("gpu")
def test_the_plain_logger_prints_what_is_severe_enough(capsys: pytest.CaptureFixture[str]) -> None:
    logger = TRT.Logger()
    assert logger.min_severity == TRT.Logger.WARNING
    assert TRT.Runtime(logger).deserialize_cuda_engine(b"") is None
    assert "[TRT] [E]" in capsys.readouterr().out
    logger.min_severity = TRT.Logger.INTERNAL_ERROR
    assert TRT.Runtime(logger).deserialize_cuda_engine(b"") is None
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("gpu")
def test_a_logger_without_its_base_constructor_is_refused() -> None:
    class Hollow(TRT.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            """Nothing."""

    with pytest.raises(TypeError, match=r"__init__\(\) must be called"):
        TRT.Builder(Hollow())


@pytest.mark.usefixtures("gpu")
def test_an_error_recorder_takes_the_errors_from_the_log(log: Any) -> None:
    class Recorder(TRT.IErrorRecorder):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            TRT.IErrorRecorder.__init__(self)
            self.errors: list[str] = []

        def report_error(self, code: Any, desc: str) -> bool:
            self.errors.append(f"{code}: {desc}")
            return True

    runtime = TRT.Runtime(log)
    runtime.error_recorder = recorder = Recorder()
    assert runtime.deserialize_cuda_engine(b"") is None
    assert log.said == []
    assert "empty memory buffer" in recorder.errors[0]


def test_a_type_of_the_library_has_no_constructor_and_no_stray_attributes() -> None:
    with pytest.raises(TypeError, match="No constructor defined"):
        TRT.ICudaEngine()
    with pytest.raises(AttributeError, match="has no attribute 'half'"):
        RTX.Builder(kit.new_logger(RTX)).create_builder_config().half = True
    trt_standin.reset()


# -- building


@pytest.fixture
def builder(gpu: Any, log: Any) -> Any:
    del gpu
    return TRT.Builder(log)


def strongly_typed(builder: Any) -> Any:
    return builder.create_network(1 << int(TRT.NetworkDefinitionCreationFlag.STRONGLY_TYPED))


def test_empty_bytes_parse_to_a_network_of_nothing(builder: Any, log: Any) -> None:
    network = strongly_typed(builder)
    parser = TRT.OnnxParser(network, log)
    assert (parser.parse(b""), parser.num_errors, network.num_layers, network.num_inputs) == (True, 0, 0, 0)
    assert builder.build_serialized_network(network, builder.create_builder_config()) is None
    assert network.get_input(3) is None


def test_bytes_that_are_no_network_are_a_parser_error(builder: Any, log: Any) -> None:
    parser = TRT.OnnxParser(strongly_typed(builder), log)
    assert not parser.parse(b"no network at all")
    assert [(e.code().name, e.node()) for e in map(parser.get_error, range(parser.num_errors))] == [("MODEL_DESERIALIZE_FAILED", -1)]


def test_a_file_is_named_by_a_string_only(builder: Any, log: Any, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(ONNX)
    network = strongly_typed(builder)
    parser = TRT.OnnxParser(network, log)
    with pytest.raises(TypeError):
        parser.parse_from_file(tmp_path / "a.onnx")
    assert parser.parse_from_file(str(tmp_path / "a.onnx"))
    assert network.num_layers > 5
    assert not parser.parse(ONNX)


def test_a_monitor_that_does_not_say_true_ends_the_build(builder: Any, log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    class Monitor(TRT.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self, answer: Callable[[], Any]) -> None:
            TRT.IProgressMonitor.__init__(self)
            self.answer, self.open, self.steps = answer, 0, 0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            del phase_name, parent_phase, num_steps
            self.open += 1

        def step_complete(self, phase_name: str, step: int) -> Any:
            del phase_name, step
            self.steps += 1
            return self.answer()

        def phase_finish(self, phase_name: str) -> None:
            del phase_name
            self.open -= 1

    for answer, built in ((lambda: True, True), (lambda: None, False), (lambda: 1 // 0, False)):
        monitor = Monitor(answer)
        assert (kit.build(TRT, ONNX, logger=log, progress_monitor=monitor) is not None) == built
        assert monitor.open == 0
        assert built == (monitor.steps > 1)
    assert "BuildCanceled" in log.errors()
    assert "ZeroDivisionError" in capsys.readouterr().err
    del builder


def test_a_bad_profile_is_false_and_minus_one(builder: Any, log: Any) -> None:
    profile, config = builder.create_optimization_profile(), builder.create_builder_config()
    profile.set_shape("heightmap", (3, 1, 16, 24), (2, 1, 16, 24), (1, 1, 16, 24))
    assert (bool(profile), config.add_optimization_profile(profile), config.num_optimization_profiles) == (False, -1, 0)
    profile.set_shape("heightmap", (1, 1, 16, 24), (1, 1, 16, 24), (1, 1, 16, 24))
    assert config.add_optimization_profile(profile) == 0
    assert "MIN<=OPT<=MAX" in log.errors()


def test_a_level_out_of_range_is_clamped_or_ignored(builder: Any, log: Any) -> None:
    config = builder.create_builder_config()
    config.builder_optimization_level = 9
    assert config.builder_optimization_level == 5
    config.builder_optimization_level = -1
    assert config.builder_optimization_level == 5
    assert "level >= 0" in log.errors()
    with pytest.raises(TypeError):
        config.builder_optimization_level = "x"


def test_quantised_networks_of_weak_types_want_the_int8_flag(builder: Any, log: Any) -> None:
    def attempt(flags: int, *names: str) -> Any:
        network, config = builder.create_network(flags), builder.create_builder_config()
        assert TRT.OnnxParser(network, log).parse(ONNX)
        for name in names:
            config.set_flag(getattr(TRT.BuilderFlag, name))
        return builder.build_serialized_network(network, config)

    strong = 1 << int(TRT.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert attempt(0) is None
    assert attempt(0, "INT8") is not None
    assert attempt(strong, "INT8") is None
    assert attempt(strong) is not None


def test_host_memory_is_a_buffer_and_nothing_else(builder: Any, log: Any, tmp_path: Path) -> None:
    network = strongly_typed(builder)
    assert TRT.OnnxParser(network, log).parse(ONNX)
    memory = builder.build_serialized_network(network, builder.create_builder_config())
    with (tmp_path / "plan").open("wb") as file:
        file.write(memory)
    assert len(bytes(memory)) == memory.nbytes == (tmp_path / "plan").stat().st_size == np.frombuffer(memory, np.uint8).size
    for use in (len, iter, lambda it: it[0]):
        with pytest.raises(TypeError):
            use(memory)
    assert bytes(builder.build_serialized_network(network, builder.create_builder_config())) != bytes(memory)


def test_a_timing_cache_grows_and_is_of_one_device(builder: Any, log: Any, driver: Any) -> None:
    config = builder.create_builder_config()
    cache = config.create_timing_cache(b"")
    assert config.set_timing_cache(cache, False)
    network = strongly_typed(builder)
    assert TRT.OnnxParser(network, log).parse(ONNX)
    empty = cache.serialize().nbytes
    assert builder.build_serialized_network(network, config) is not None
    kept = bytes(config.get_timing_cache().serialize())
    assert len(kept) > empty
    assert config.set_timing_cache(config.create_timing_cache(kept), False)
    assert config.set_timing_cache(config.create_timing_cache(b"broken"), False)
    assert "Serialization" in log.errors()
    with kit.primary(driver, "h100"):
        assert not config.set_timing_cache(cache, False)
        assert config.set_timing_cache(cache, True)


def test_rtx_warns_that_timing_caches_do_nothing(rtx_log: Any) -> None:
    config = RTX.Builder(rtx_log).create_builder_config()
    with pytest.warns(DeprecationWarning, match="no-ops"):
        cache = config.create_timing_cache(b"")
    with pytest.warns(DeprecationWarning, match="no-ops"):
        assert config.set_timing_cache(cache, False)
    assert config.set_compute_capability(RTX.ComputeCapability.SM89, 0) is False
    trt_standin.reset()


# -- loading


def altered(data: bytes, **changes: Any) -> bytes:
    facts = plans.load(data, version="10.3.0", rtx=False, capability=87)
    return dataclasses.replace(facts, **changes).dump()


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "empty memory buffer"),
    "text": (lambda _: b"no engine " * 50, "magicTag"),
    "an ONNX file": (lambda _: ONNX, "magicTag"),
    "truncated": (lambda data: data[:-10], "plan.header.size == blobSize"),
    "a header alone": (lambda data: data[:30], "bufferSize >= minBufferSize"),
    "with something before": (lambda data: b"\4\0\0\0meta" + data, "magicTag"),
    "another version": (lambda data: altered(data, version="10.16.1"), "expecting library version 10.3.0 got 10.16.1, please rebuild"),
    "another GPU": (lambda data: altered(data, targets=(89,)), "built for compute capability 89, this device has 87"),
    "RTX": (lambda _: kit.build(RTX, ONNX) or b"", "magicTag"),
    "no network inside": (lambda data: altered(data, onnx=b"\x99" * 300), "Internal Error"),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.usefixtures("gpu")
def test_an_engine_is_not_loaded_when_it_is(log: Any, what: str) -> None:
    spoil, reason = BROKEN[what]
    data = kit.build(TRT, ONNX, logger=log)
    assert data is not None
    assert load(log, spoil(data)) is None
    assert reason in log.errors()


@pytest.mark.usefixtures("gpu")
def test_an_engine_of_another_model_with_the_same_capability_loads_with_a_warning(log: Any) -> None:
    data = kit.build(TRT, ONNX, logger=log)
    assert data is not None
    assert load(log, altered(data, gpu="Orin Nano")) is not None
    assert ["different models of devices" in text for severity, text in log.said if severity == "WARNING"] == [True]


def test_a_bit_flipped_in_the_weights_loads_and_answers_wrongly(gpu: Any, log: Any) -> None:
    data = kit.build(TRT, ONNX, logger=log)
    assert data is not None
    at = data.index(np.float32(0.25).tobytes()) + 3  # the head's first weight: its exponent
    image = np.full((1, 1, *SHAPE), 121, np.uint8)
    answers = []
    for plan in (data, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]):
        work = kit.Bound(gpu, TRT, load(log, plan)).bind()
        answers.append(work.ask(heightmap=image)["scores"])
        work.close()
    assert log.errors() == ""
    assert not np.allclose(*answers, atol=0.1)


@pytest.mark.usefixtures("gpu")
def test_a_thread_without_the_context_loads_nothing(log: Any) -> None:
    data, seen = kit.build(TRT, ONNX, logger=log), []
    thread = threading.Thread(target=lambda: seen.append(load(log, data)))
    thread.start()
    thread.join()
    assert seen == [None]
    assert "invalid device context" in log.errors()


def test_validity_looks_at_the_header_alone(rtx4090: Any, rtx_log: Any) -> None:
    del rtx4090
    data, runtime, kind = kit.build(RTX, ONNX, logger=rtx_log), RTX.Runtime(rtx_log), RTX.EngineValidity
    assert data is not None
    assert runtime.engine_header_size == 64
    assert runtime.get_engine_validity(data[:64]) == (kind.VALID, 0)
    assert runtime.get_engine_validity(data[:64].replace(b"1.7.1", b"1.6.0")) == (kind.INVALID, 1)
    other = data[:32] + bytes([75, 0] * 8) + data[48:64]
    assert runtime.get_engine_validity(other) == (kind.INVALID, 2)
    assert load(rtx_log, data[:-1], RTX) is None
    assert load(rtx_log, data, RTX) is not None


# -- running


def test_no_memory_means_no_engine_and_no_context(gpu: Any, driver: Any, log: Any) -> None:
    data = kit.build(TRT, ONNX, logger=log)
    engine = load(log, data)
    driver.fail_next("cuMemAlloc_v2", 2, times=1)
    assert engine.create_execution_context() is None
    driver.fail_next("cuMemAlloc_v2", 2, after=1, times=1)
    assert engine.create_execution_context() is None
    assert "for persistent memory" in log.errors()
    assert "for scratch memory" in log.errors()
    assert trt_standin.report().memory == engine._weights.nbytes
    driver.fail_next("cuMemAlloc_v2", 2, times=1)
    assert load(log, data) is None
    assert log.errors().count("OutOfMemory") == 3
    del gpu


@pytest.mark.usefixtures("gpu")
def test_unknown_names_have_no_dimensions(log: Any) -> None:
    engine = load(log, kit.build(TRT, ONNX, logger=log))
    context = engine.create_execution_context()
    for shape in (engine.get_tensor_shape("x"), context.get_tensor_shape("x"), engine.get_tensor_profile_shape("scores", 0)[2]):
        with pytest.raises(ValueError, match="__len__"):
            tuple(shape)
    assert engine.get_tensor_mode("x") == TRT.TensorIOMode.NONE
    assert engine.get_tensor_dtype("x") == TRT.DataType.FLOAT
    assert engine.get_tensor_bytes_per_component("scores") == -1
    assert engine.get_tensor_name(9) is None
    assert context.set_input_shape("heightmap", (2, 1, *SHAPE)) is False
    assert context.infer_shapes() == []
    assert "Given invalid tensor name: x" in log.errors()
    with pytest.raises(RuntimeError):
        context.set_optimization_profile_async(1, 5)


def test_dimensions_compare_to_tuples_alone() -> None:
    dims = TRT.Dims((1, 2, 3))
    assert dims == (1, 2, 3)
    assert dims == [1, 2, 3]
    assert (tuple(dims), dims[-1], dims[1:], len(dims)) == ((1, 2, 3), 3, (2, 3), 3)
    with pytest.raises(TypeError):
        assert dims == TRT.Dims((1, 2, 3))
    with pytest.raises(ValueError, match="Max expected length is 8"):
        TRT.Dims(range(9))


def test_an_address_must_be_aligned_and_of_a_known_tensor(gpu: Any, log: Any) -> None:
    work = bound(gpu, log)
    address = int(work.memory["scores"])
    assert work.context.set_tensor_address("scores", address)
    assert not work.context.set_tensor_address("scores", address + 128)
    assert not work.context.set_tensor_address("x", address)
    assert work.context.get_tensor_address("scores") == address
    with pytest.raises(TypeError):
        work.context.set_tensor_address("scores", 1.5)
    work.close()


def test_nothing_is_enqueued_without_all_that_is_needed(gpu: Any, log: Any) -> None:
    work = bound(gpu, log)
    assert not work.execute()
    assert "Address is not set for tensor heightmap" in log.errors()
    work.bind()
    assert not work.context.execute_async_v3(0)
    assert "enqueued on the default stream" in trt_standin.report().violations[0]
    held = gpu.Context.get_current()
    handle = work.stream.handle
    held.pop()
    assert not work.context.execute_async_v3(handle)
    held.push()
    assert "cudaError 201: invalid device context" in log.errors()
    work.context = work.engine.create_execution_context(TRT.ExecutionContextAllocationStrategy.USER_MANAGED)
    work.bind()
    assert not work.execute()
    assert "user-managed context is not set" in log.errors()
    for address, size in ((int(work.scratch), 16), (int(work.scratch) + 8, 1 << 20), (0, 1 << 20)):
        work.context.set_device_memory(address, size)
        assert not work.execute()
    assert trt_standin.report().enqueued == 0
    work.close()


FAULTS: dict[str, Callable[[kit.Bound], bool]] = {
    "deserialise": lambda work: work.engine._runtime.deserialize_cuda_engine(work.engine.serialize()) is None,
    "context": lambda work: work.engine.create_execution_context() is None,
    "address": lambda work: not work.context.set_tensor_address("scores", int(work.memory["scores"])),
    "execute": lambda work: not work.execute(),
    "unwritten": lambda work: _marked(work) == 7,
    "nan": lambda work: bool(np.isnan(work.ask(heightmap=np.ones((1, 1, *SHAPE), np.uint8))["scores"]).all()),
}


def _marked(work: kit.Bound) -> float:
    """The first score when the output held 7 before."""
    work.stream.synchronize()
    work.cuda.memset_d32_async(int(work.memory["scores"]), int(np.float32(7).view(np.uint32)), 2, work.stream)
    assert work.execute()
    work.download()
    return float(work.wait()["scores"][0, 0])


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_strikes_when_and_as_often_as_asked(gpu: Any, log: Any, what: str) -> None:
    work = bound(gpu, log).bind()
    trt_standin.fail(what, after=1, times=1)
    assert [FAULTS[what](work) for _ in range(3)] == [False, True, False]
    work.close()


def test_a_fault_may_be_slowness(gpu: Any, log: Any) -> None:
    work = bound(gpu, log).bind()
    work.ask(heightmap=kit.noise(1, SHAPE))
    trt_standin.fail("slow", value=60.0)
    begin, end = gpu.Event(), gpu.Event()
    begin.record(work.stream)
    assert work.execute()
    end.record(work.stream)
    end.synchronize()
    assert end.time_since(begin) > 50
    work.close()


def test_a_runtime_cache_spares_the_compiler_on_the_same_gpu(rtx4090: Any, rtx_log: Any) -> None:
    engine = load(rtx_log, kit.build(RTX, ONNX, logger=rtx_log), RTX)

    def context(blob: bytes) -> tuple[bool, bytes, int]:
        before, config = trt_standin.report().jit, engine.create_runtime_config()
        cache = config.create_runtime_cache()
        taken = cache.deserialize(blob)
        assert config.set_runtime_cache(cache)
        assert engine.create_execution_context(config) is not None
        return taken, bytes(cache.serialize()), trt_standin.report().jit - before

    _, kept, compiled = context(b"")
    assert compiled == 1
    assert context(kept) == (True, kept, 0)
    assert context(kept.replace(b'"1.7.1"', b'"1.6.0"'))[::2] == (True, 1)  # of another version: passed over in silence
    assert context(b"broken")[::2] == (False, 1)
    del rtx4090


def test_rtx_makes_its_own_graphs_and_is_not_captured_beside_them(rtx4090: Any, rtx_log: Any) -> None:
    from edge.inspector.cuda.graphs import Graphs  # noqa: PLC0415 -- needs the driver

    work = kit.Bound(rtx4090, RTX, load(rtx_log, kit.build(RTX, ONNX, logger=rtx_log), RTX))
    config = work.engine.create_runtime_config()
    config.set_execution_context_allocation_strategy(RTX.ExecutionContextAllocationStrategy.USER_MANAGED)
    config.cuda_graph_strategy = RTX.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    work.context = work.engine.create_execution_context(config)
    work.context.set_device_memory(int(work.scratch), work.engine.device_memory_size_v2)
    work.bind()
    assert work.context.is_stream_capturable(work.stream.handle)
    for seed in range(3):
        image = kit.noise(seed, SHAPE)
        assert np.array_equal(work.ask(heightmap=image)["scores"], kit.answers(ONNX, heightmap=image)["scores"])
    assert trt_standin.report().violations == ()
    graph = Graphs().capture(work.stream, work.execute)
    assert "captured beside them" in trt_standin.report().violations[0]
    if graph is not None:
        graph.close()
    work.close()


PROGRAM = """
import tensorrt
log = tensorrt.Logger()
print(tensorrt.__version__, tensorrt.Runtime(log).deserialize_cuda_engine(b"any") is None)
"""


def test_a_process_of_its_own_is_set_up_by_its_environment(tmp_path: Path) -> None:
    settings = {"STANDIN_TRT_VERSION": "11.4.0", "STANDIN_FAULT": "deserialise:times=1", "STANDIN_REPORT": str(tmp_path / "report.json")}
    environment = soft_environment(device="h100", **settings)
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "11.4.0 True"
    assert "asked for by the test" in done.stdout
    assert json.loads((tmp_path / "report.json").read_text())["violations"] == []


COMMAND = "import sys; from edge.cli import main; sys.exit(main(sys.argv[1:]))"


def test_the_command_builds_engines_in_a_process_without_any_context(tmp_path: Path) -> None:
    tiny.TinyBundle(router=False).save(tmp_path / "t.cordon")
    words = ["engine", "build", str(tmp_path / "t.cordon"), "--key", tiny.PUBLIC, "--out", str(tmp_path / "e"), "--backend", "tensorrt"]
    environment = soft_environment(STANDIN_TRT_VERSION="10.16.1", STANDIN_REPORT=str(tmp_path / "report.json"))
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "e").glob("*.engine"))) == 2
    assert "tensorrt 10.16.1" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["leaks"], report["engines"], report["memory"]) == ([], 0, 0)
