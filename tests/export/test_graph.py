"""What becomes of a PyTorch module as an ONNX graph, and what is refused on the way."""

import numpy as np
import onnx
import pytest
import source_kit as kit
import torch
from onnx import helper
from torch import Tensor, nn

from calib.quantise import read_model
from edge.bundle import Member
from edge.errors import ExportError
from edge.inspector.engines.openvino import Compiler
from export.graph.rewrite import free_batch
from export.graph.write import export_onnx, require_same_as_torch, run_torch
from export.sources.load import TorchSource, source_from_module


def source(model: nn.Module | None = None, classes: tuple[str, ...] = ("bad", "good")) -> TorchSource:
    return source_from_module(model or kit.network(), classes=classes, heightmap=kit.SPEC, architecture="small")


def module(forward: object) -> nn.Module:
    """A network whose `inner` submodule does `forward` to the features of a convolution."""

    class Inner(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return forward(features)  # type: ignore[operator]

    torch.manual_seed(0)
    inner = Inner()
    made = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1))
    made.add_module("inner", inner)
    return made.eval()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["small", "resnet18"])
def test_the_graph_is_u8_in_probabilities_out_and_nothing_superfluous(architecture: str) -> None:
    model = read_model(export_onnx(source(kit.network(architecture=architecture))))
    assert [(v.name, [d.dim_value for d in v.type.tensor_type.shape.dim]) for v in (*model.graph.input, *model.graph.output)] == [
        ("heightmap", [1, 1, 32, 64]),
        ("scores", [1, 2]),
    ]
    ops = {node.op_type for node in model.graph.node}
    pools = {"GlobalAveragePool", "GlobalMaxPool", "MaxPool", "Concat"}
    assert ops <= {"Cast", "Mul", "Add", "Conv", "Relu", "Flatten", "Gemm", "Softmax"} | pools
    assert {o.domain: o.version for o in model.opset_import} == {"": 19}


def test_the_graph_answers_as_torch_does_on_the_boxs_engine() -> None:
    made = source()
    data = np.zeros((32, 64), np.uint8)
    member = Member(name="T3", file="T3.onnx", architecture="small", input="heightmap", output="scores", classes=made.classes)
    engine = Compiler(threads=1).compile(member, export_onnx(made), data)
    answers = []
    for image in kit.images():
        data[...] = image[0]
        answers.append(np.array(engine.run(), np.float32))
    assert require_same_as_torch(np.stack(answers), run_torch(made, kit.images())) < 1e-5
    assert np.allclose(np.stack(answers).sum(axis=1), 1)


def test_a_graph_that_answers_otherwise_is_refused() -> None:
    with pytest.raises(ExportError, match=r"differently from PyTorch \(seen: 0.00200"):
        require_same_as_torch(np.array([[0.5, 0.5]], np.float32), np.array([[0.502, 0.498]], np.float32))
    with pytest.raises(ExportError, match="differently"):
        require_same_as_torch(np.array([[np.nan, 0.5]], np.float32), np.array([[0.5, 0.5]], np.float32))


def test_classes_that_do_not_fit_the_output_are_refused() -> None:
    with pytest.raises(ExportError, match=r"\(1, 2\) for 3 classes"):
        export_onnx(source(classes=("bad", "good", "ugly")))


def test_a_network_for_another_size_is_refused() -> None:
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(3 * 128 * 352, 2))
    with pytest.raises(ExportError, match=r"cannot take heightmaps of \(32, 64\)"):
        export_onnx(source(fixed))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named_and_counted(value: float) -> None:
    broken = kit.network()
    with torch.no_grad():
        broken.stem[0][0].weight[0, 0, 0, :2] = value
    with pytest.raises(ExportError, match=r"NaN or infinite \(seen: stem.0.0.weight: 2 of 432\)"):
        source(broken)


def test_answers_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ExportError, match="one finite score per class"):
        export_onnx(source(module(lambda x: x.mean((2, 3)) / 0)))


def test_a_network_of_several_answers_is_refused() -> None:
    with pytest.raises(ExportError, match=r"does not answer with one tensor \(seen: tuple"):
        source(module(lambda x: (x.mean((2, 3)), x)))


def test_an_operator_without_onnx_form_is_named_with_its_module() -> None:
    with pytest.raises(ExportError, match=r"operator adaptive_avg_pool2d in inner"):
        export_onnx(source(module(lambda x: nn.functional.adaptive_avg_pool2d(x, (5, 5)).mean((2, 3)))))
    with pytest.raises(ExportError, match=r"operator (_?linalg_)?svd\w* in inner"):
        export_onnx(source(module(lambda x: torch.linalg.svdvals(x)[..., 0])))


def test_an_operator_the_box_does_not_run_is_named_with_its_node() -> None:
    with pytest.raises(ExportError, match=r"do not all run \(seen: Det \(node /body/inner/Det"):
        export_onnx(source(module(lambda x: torch.linalg.det(x[..., :6, :6]))))


def test_shapes_that_depend_on_the_data_are_refused() -> None:
    with pytest.raises(ExportError, match=r"depend on the data \(seen: NonZero \(node /body/inner/"):
        export_onnx(source(module(lambda x: x.mean((2, 3)) * x[x > 0].mean())))


@pytest.mark.slow
def test_a_path_that_depends_on_the_data_is_refused_and_one_that_depends_on_shapes_is_not() -> None:
    with pytest.raises(ExportError, match="takes another path through its layers for other images"):
        export_onnx(source(module(lambda x: x.mean((2, 3)) if x.mean() > 0 else -x.mean((2, 3)))))
    export_onnx(source(module(lambda x: x.mean((2, 3)) if x.shape[2] * x.shape[3] > 10 else -x.mean((2, 3)))))


@pytest.mark.parametrize(
    ("given", "target", "becomes"),
    [
        ([1, 4, 2, 2], [1, -1], ("Flatten", None)),
        ([1, 4, 2, 2], [1, 16], ("Flatten", None)),
        ([1, 4, 2, 2], [-1, 16], ("Flatten", None)),
        ([1, 4, 2, 2], [1, 2, 2, -1], ("Reshape", [0, 2, 2, -1])),
        ([1, 4, 2, 2], [4, 4], ("Reshape", [4, 4])),  # mixes the batch with other axes
        ([2, 4, 2, 2], [1, 32], ("Reshape", [1, 32])),  # no batch of one
    ],
)
def test_reshapes_lose_the_batch(given: list[int], target: list[int], becomes: tuple[str, list[int] | None]) -> None:
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.array(target, np.int64), "shape")],
    )
    freed = free_batch(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])).graph
    (node,) = freed.node
    values = {tensor.name: onnx.numpy_helper.to_array(tensor).tolist() for tensor in freed.initializer}
    assert (node.op_type, values[node.input[1]] if len(node.input) > 1 else None) == becomes
