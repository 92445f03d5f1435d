"""One tiny seeded network in every kind of file, and an independent look at the graphs made of it."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow
from nets.architectures import build
from nets.checkpoint import Checkpoint, save_checkpoint

SPEC = HeightmapSpec(window=MillimetreWindow(low_mm=0.0, high_mm=5.0), height=32, width=64)
GRAY = HeightmapSpec(window=SPEC.window, height=32, width=64, mean=(0.5,) * 3, std=(0.25,) * 3)
CLASSES = ("bad", "good")


def network(classes: int = 2, architecture: str = "small") -> nn.Module:
    """Seeded, with batch statistics of its own and answers that differ from image to image."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build(architecture, classes, size=(32, 64))
    model.train()(torch.randn(8, 3, 32, 64))
    return model.eval()


def tiny(*head: nn.Module, channels: int = 3, outputs: int = 2) -> nn.Sequential:
    """Convolution, batch norm, pooling, linear layer, then `head`."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    body = (nn.Conv2d(channels, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 4)), nn.Flatten())
    model = nn.Sequential(*body, nn.Linear(32, outputs), *head)
    model.train()(torch.randn(8, channels, 32, 64))
    return model.eval()


def images(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 32, 64), dtype=np.uint8)


def normalised(spec: HeightmapSpec, channels: int = 3) -> torch.Tensor:
    mean, std = (np.reshape(values[:channels], (1, channels, 1, 1)) for values in (spec.mean, spec.std))
    return torch.from_numpy(((images() / 255 - mean) / std).astype(np.float32))


def wanted(model: nn.Module, spec: HeightmapSpec = SPEC) -> np.ndarray:
    """Probabilities by PyTorch alone, none of the project's code in between."""
    with torch.no_grad():
        return model(normalised(spec)).softmax(dim=1).numpy()


def scores(exported: bytes, batch: int = 1) -> np.ndarray:
    """What the graph says of the images, built for `batch` of them at once; the rest of the batch is filled with zeros."""
    model = onnx.load_model_from_string(exported)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answers = []
    for start in range(0, len(images()), batch):
        part = images()[start : start + batch]
        padded = np.concatenate([part, np.zeros((batch - len(part), 1, 32, 64), np.uint8)])
        answers.append(session.run(None, {"heightmap": padded})[0][: len(part)])
    return np.concatenate(answers)


def reshapes(exported: bytes) -> list[list[int]]:
    """The constant targets of all Reshapes."""
    graph = onnx.load_model_from_string(exported).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor).tolist() for tensor in graph.initializer}
    return [values[node.input[1]] for node in graph.node if node.op_type == "Reshape"]


def operators(exported: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_model_from_string(exported).graph.node]


def checkpoint(model: nn.Module, path: Path) -> Path:
    save_checkpoint(Checkpoint(architecture="small", classes=CLASSES, heightmap=SPEC, model=model), path)
    return path


def state_dict(model: nn.Module, path: Path) -> Path:
    torch.save(model.state_dict(), path)
    return path


def program(model: nn.Module, path: Path, batch: int | None = 1, *, channels: int = 3, core: bool = False) -> Path:
    """A .pt2 for `batch` images, or any number of them."""
    dynamic = ({0: torch.export.Dim("batch")},) if batch is None else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.export.export(model, (torch.zeros(batch or 4, channels, 32, 64),), dynamic_shapes=dynamic)
        torch.export.save(made.run_decompositions() if core else made, path)
    return path


def onnx_file(model: nn.Module, path: Path, batch: int | None = 1, *, opset: int = 17, channels: int = 3, **options: Any) -> Path:
    """An .onnx file as most people write it."""
    named = {"input_names": ["image"], "output_names": ["answer"], "opset_version": opset, "dynamo": False}
    axes: dict[str, Any] = {"dynamic_axes": {"image": {0: "batch"}, "answer": {0: "batch"}}} if batch is None else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(batch or 4, channels, 32, 64),), path, **named, **axes, **options)
    return path


def onnx_of(
    nodes: Sequence[onnx.NodeProto],
    path: Path,
    *,
    shape: Sequence[int | str] = (1, 3, 32, 64),
    kind: int = onnx.TensorProto.FLOAT,
    weights: dict[str, np.ndarray] | None = None,
    outputs: Sequence[str] = ("answer",),
    opset: int = 17,
    domains: Sequence[str] = (),
    check: Callable[[onnx.ModelProto], None] | None = None,
) -> Path:
    """A graph written by hand, from `image` to `answer`."""
    graph = onnx.helper.make_graph(
        list(nodes),
        "made",
        [onnx.helper.make_tensor_value_info("image", kind, list(shape))],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    imports = [onnx.helper.make_opsetid("", opset), *(onnx.helper.make_opsetid(name, 1) for name in domains)]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)
    if check is not None:
        check(model)
    path.write_bytes(model.SerializeToString())
    return path
