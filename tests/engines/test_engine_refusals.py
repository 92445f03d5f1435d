from importlib.util import find_spec
from typing import Any

import engine_kit as kit
import pytest
from onnx import TensorProto

from edge.engines import BuildOptions, build_engine, parse_and_build
from edge.engines.backend import Backend, load_backend
from edge.engines.settings import check_targets
from edge.errors import EngineError

SPOILED = {
    "an unknown operator": ({"unknown_operator": True}, r"'activation' \(Wobble\)"),
    "a bias in INT32": ({"int32_bias": True}, r"'bias_dq' \(DequantizeLinear\).*Int32"),
    "a zero-point": ({"zero_point": 3}, r"\(QuantizeLinear\).*[Zz]ero"),
    "another input name": ({"input_name": "image"}, r"inputs do not agree .* says heightmap .*image"),
    "an input of floats": ({"input_type": TensorProto.FLOAT}, r"type of input heightmap .* UINT8 .*FLOAT"),
    "a dynamic batch": ({"input_shape": ("n", 1, 16, 32)}, r"shape of input heightmap .*\(1, 1, 16, 32\), static .*-1"),
    "a dynamic width": ({"input_shape": (1, 1, 16, "w")}, r"shape of input heightmap .*static .*-1"),
    "another size": ({"input_shape": (1, 1, 16, 24)}, r"shape of input heightmap .*\(1, 1, 16, 24\)"),
    "a batch of its own": ({"input_shape": (2, 1, 16, 32)}, r"shape of input heightmap .*\(2, 1, 16, 32\)"),
    "scores in half precision": ({"output_type": TensorProto.FLOAT16}, r"type of output scores .* FLOAT .*HALF"),
    "an output too many": ({"embedding": True}, r"outputs do not agree .*features"),
}


@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_network_is_refused_for(rtx: Backend, spoiled: str) -> None:
    knobs, message = SPOILED[spoiled]
    with pytest.raises(EngineError, match=rf"(?s)network a \(a\.onnx\).*{message}"):
        build_engine(kit.network(**knobs), member=kit.member(), shape=kit.SHAPE, backend=rtx.name)


@pytest.mark.parametrize(
    ("promised", "message"),
    [
        ({"classes": ("a", "b", "c")}, r"shape of output scores .*\(1, 3\).*\(1, 2\)"),
        ({"output": "logits"}, "outputs do not agree"),
        ({"embedding": "features"}, "outputs do not agree"),
    ],
)
def test_a_manifest_that_promises_something_else_is_refused(rtx: Backend, promised: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        build_engine(kit.network(), member=kit.member(**promised), shape=kit.SHAPE, backend=rtx.name)


def test_a_network_with_a_fixed_batch_is_refused_for_more(rtx: Backend) -> None:
    data = kit.network(fixed_batch=True)
    assert build_engine(data, member=kit.member(), shape=kit.SHAPE, backend=rtx.name).data
    with pytest.raises(EngineError, match=r"'row' \(Reshape\).*volume"):
        build_engine(data, member=kit.member(), shape=kit.SHAPE, batch=2, backend=rtx.name)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "holds no network .*0 layers"), (b"no network at all", "MODEL_DESERIALIZE_FAILED"), (kit.network()[:500], "cannot be parsed")],
)
def test_bytes_that_are_no_network_are_refused(rtx: Backend, data: bytes, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        parse_and_build(data, backend=rtx.name)


def test_a_builder_that_gives_no_engine_is_an_error_with_its_reason(rtx: Backend) -> None:
    with pytest.raises(EngineError, match=r"cannot be built .*optimization profile.*static shapes"):
        parse_and_build(kit.network(input_shape=("n", 1, 16, 32)), backend=rtx.name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"device": "dla"}, "for the GPU only .*dla"),
        ({"workspace_mib": 0}, "workspace is out of range"),
        ({"optimization_level": 6}, "optimization level is out of range"),
    ],
)
def test_options_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        BuildOptions(**values)


@pytest.mark.parametrize("batch", [0, 65])
def test_a_batch_out_of_range_is_refused(batch: int) -> None:
    with pytest.raises(EngineError, match="batch is out of range"):
        build_engine(kit.network(), member=kit.member(), shape=kit.SHAPE, batch=batch, backend="tensorrt_rtx")


def test_targets_are_those_the_builder_knows(rtx: Backend) -> None:
    with pytest.raises(EngineError, match=r"unknown device target \(seen: SM90\).*SM89"):
        check_targets(rtx, BuildOptions(targets=("SM89", "SM90")))
    plain = Backend("tensorrt", "11.4", rtx.trt, rtx.log, ())
    with pytest.raises(EngineError, match="takes no device targets"):
        check_targets(plain, BuildOptions(targets=("SM89",)))


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed here")
def test_a_backend_that_is_not_installed_is_named_with_its_remedy() -> None:
    with pytest.raises(EngineError, match=r"no tensorrt in this Python.*cordon\[gpu\]"):
        load_backend("tensorrt")
