import numpy as np
import pytest
import torch
from export_workshop import SPEC
from torch import nn

from calib.quantise import read_model
from edge.errors import ExportError
from edge.inspector.engines.openvino import Compiler
from export.graph import InspectionModule, export_onnx, require_same_as_torch, run_torch
from export.network import member_of
from export.source import Source, source_from_module
from export.verify import run_network
from nets.architectures import build


def source(model: nn.Module | None = None, classes: tuple[str, ...] = ("bad", "good")) -> Source:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return source_from_module(model or build("small", 2), classes=classes, heightmap=SPEC, architecture="small")


def frames(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 32, 64), dtype=np.uint8)


def test_the_module_normalises_as_the_spec_says() -> None:
    seen: list[torch.Tensor] = []

    class Body(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            seen.append(image)
            return image.mean(dim=(2, 3))

    image = frames(1)
    InspectionModule(Body(), SPEC)(torch.from_numpy(image))
    wanted = (np.repeat(image, 3, axis=1) / 255 - np.reshape(SPEC.mean, (3, 1, 1))) / np.reshape(SPEC.std, (3, 1, 1))
    assert np.allclose(seen[0].numpy(), wanted, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["small", "resnet18"])
def test_the_graph_is_u8_in_probabilities_out_and_nothing_superfluous(architecture: str) -> None:
    exported = export_onnx(source(build(architecture, 2)))
    model = read_model(exported)
    assert [(v.name, [d.dim_value for d in v.type.tensor_type.shape.dim]) for v in (*model.graph.input, *model.graph.output)] == [
        ("heightmap", [1, 1, 32, 64]),
        ("scores", [1, 2]),
    ]
    ops = {node.op_type for node in model.graph.node}
    pools = {"GlobalAveragePool", "GlobalMaxPool", "MaxPool", "Concat"}
    assert ops <= {"Cast", "Mul", "Add", "Conv", "Relu", "Flatten", "Gemm", "Softmax"} | pools
    assert {o.domain: o.version for o in model.opset_import} == {"": 19}


def test_the_graph_answers_as_torch_does_and_twice_the_same_bytes() -> None:
    made = source()
    exported = export_onnx(made)
    answers = run_network(Compiler(threads=1), member_of(made, "T3", folder="T3"), exported, frames())
    assert require_same_as_torch(answers, run_torch(made, frames())) < 1e-5
    assert np.allclose(answers.sum(axis=1), 1)
    assert export_onnx(made) == exported


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


def test_a_network_that_gives_no_number_is_refused() -> None:
    broken = build("small", 2)
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(ExportError, match="one finite score per class"):
        export_onnx(source(broken))
