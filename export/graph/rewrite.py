"""A classifier's ONNX graph, however it was written, brought into Cordon's form: u8 heightmap in, probabilities out, any batch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from calib.fold import tidy
from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from export.graph.trace import OPSET
from export.sources.base import Output, brief

INPUT, OUTPUT, EMBEDDING = "heightmap", "scores", "embedding"
Ending = Literal["Softmax", "LogSoftmax", "Sigmoid", ""]
"""The activation a network's answer comes out of, as far as it matters here."""
_PASSING = frozenset({"Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Dropout"})
_BODY = "network/"


def free_batch(model: onnx.ModelProto, batch: int = 1) -> onnx.ModelProto:
    """A copy in which no Reshape names the batch: [batch, x] becomes Flatten, [batch, ...] becomes [0, ...] (as it comes).

    `batch` is the one the graph was made for. Reshapes that mix the batch with other axes stay as they are.
    """
    copy = tidy(model)
    shapes = _shapes(copy)
    constants = {tensor.name: tensor for tensor in copy.graph.initializer}
    for node in copy.graph.node:
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        target = numpy_helper.to_array(constants[node.input[1]]).tolist()
        given = shapes.get(node.input[0], [])
        if not given or not target or given[0] != batch or target[0] not in {batch, 0, -1} or -1 in given:
            continue
        if len(target) == 2 and _keeps_batch(target, given, batch):
            _become_flatten(node)
        elif target[0] == batch and target.count(-1) <= 1:
            name = f"{node.output[0]}_shape"
            copy.graph.initializer.append(numpy_helper.from_array(np.array([0, *target[1:]], np.int64), name))
            node.input[1] = name
    return tidy(copy)


def _keeps_batch(target: list[int], given: list[int], batch: int) -> bool:
    rest = int(np.prod(given[1:]))
    return target[0] in {batch, 0} or target[1] == rest


def _become_flatten(node: onnx.NodeProto) -> None:
    node.op_type = "Flatten"
    del node.input[1:]
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("axis", 1))


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    return {v.name: [d.dim_value or -1 for d in v.type.tensor_type.shape.dim] for v in values}


def static_batch_of_one(model: onnx.ModelProto, channels: int, size: tuple[int, int], batch: int) -> onnx.ModelProto:
    """A copy for the input [1, channels, *size], opset 19, constants folded, batch norms folded into the convolutions.

    `batch` is the static batch of `model`, or 1 for a dynamic one. Raises ExportError where the tools give up on the graph.
    """
    image = [channels, *size]
    try:
        if batch > 1:
            # Shapes that are computed must be constants before they can be freed of this batch.
            model = free_batch(_slim(_with_input(model, [batch, *image])), batch)
        slim = _slim(_with_input(model, [1, *image]))
        # Constants are folded first: the converter knows no way back from opset 20 for operators that only make shapes.
        return free_batch(_slim(onnx.version_converter.convert_version(slim, OPSET)) if _opset(slim) != OPSET else slim)
    except Exception as exc:  # neither onnxslim's nor the converter's errors have a common base
        raise ExportError(
            "the ONNX graph cannot be given a fixed shape and opset 19",
            seen=f"opset {_opset(model)}: {brief(exc)}",
            remedy="Export it from its framework with opset 17 to 19 and a static or named batch axis",
        ) from exc


def ending_of(model: onnx.ModelProto) -> Ending:
    """The activation the first output comes out of, looking through reshapes and casts."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in _PASSING:
        node = makers.get(node.input[0])
    if node is None or node.op_type not in {"Softmax", "LogSoftmax", "Sigmoid"}:
        return ""
    ending: Ending = node.op_type
    return ending


def probabilities(answer: NDArray[np.float32], ending: Ending, output: Output) -> NDArray[np.float32]:
    """What `inspection_graph` appends, in numpy: the network's own answer f32 [N, ...] → f32 [N, classes]."""
    flat = answer.reshape(len(answer), -1).astype(np.float32)
    if output == "sigmoid":
        second = flat if ending == "Sigmoid" else 1 / (1 + np.exp(-flat))
        return np.concatenate([1 - second, second], axis=1)
    if ending == "Softmax" or output == "probabilities":
        return flat
    powers: NDArray[np.float32] = np.exp(flat - flat.max(axis=1, keepdims=True))
    scores: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return scores


def inspection_graph(model: onnx.ModelProto, spec: HeightmapSpec, output: Output, *, embedding: bool = False) -> onnx.ModelProto:
    """A static classifier, f32 [1, C, H, W] normalised → answer, as u8 `heightmap` [1, 1, H, W] → f32 `scores` [1, classes]."""
    ending = ending_of(model)
    body = onnx.compose.add_prefix(model, _BODY)
    graph = body.graph
    image, answer = graph.input[0], graph.output[0].name
    channels = image.type.tensor_type.shape.dim[1].dim_value
    features = _features(body, answer) if embedding else ""
    classes = 2 if output == "sigmoid" else _size(body, answer)
    nodes = [*_normalising(graph, image.name, spec, channels), *graph.node, *_scoring(graph, answer, ending, output)]
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, classes])]
    if embedding:
        nodes.append(helper.make_node("Flatten", [features], [EMBEDDING], name="features", axis=1))
        outputs.append(helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, [1, _size(body, features)]))
    entry = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [1, 1, spec.height, spec.width])
    whole = helper.make_graph(nodes, "inspection", [entry], outputs, list(graph.initializer))
    return tidy(helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)]))


def _normalising(graph: onnx.GraphProto, image: str, spec: HeightmapSpec, channels: int) -> list[onnx.NodeProto]:
    mean, std = (np.array(values[:channels], np.float32).reshape(1, channels, 1, 1) for values in (spec.mean, spec.std))
    graph.initializer.append(numpy_helper.from_array((1 / (255 * std)).astype(np.float32), "scale"))
    graph.initializer.append(numpy_helper.from_array((-mean / std).astype(np.float32), "shift"))
    return [
        helper.make_node("Cast", [INPUT], ["gray"], name="gray", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["gray", "scale"], ["scaled"], name="scaled"),
        helper.make_node("Add", ["scaled", "shift"], [image], name="normalised"),
    ]


def _scoring(graph: onnx.GraphProto, answer: str, ending: Ending, output: Output) -> list[onnx.NodeProto]:
    nodes = [helper.make_node("Flatten", [answer], ["flat"], name="flat", axis=1)]
    if output == "sigmoid":
        nodes += [helper.make_node("Sigmoid", ["flat"], ["second"], name="second")] if ending != "Sigmoid" else []
        second = "flat" if ending == "Sigmoid" else "second"
        graph.initializer.append(numpy_helper.from_array(np.ones((1, 1), np.float32), "one"))
        nodes += [helper.make_node("Sub", ["one", second], ["first"], name="first")]
        return [*nodes, helper.make_node("Concat", ["first", second], [OUTPUT], name=OUTPUT, axis=1)]
    if ending == "Softmax" or output == "probabilities":
        nodes[0].output[0] = OUTPUT
        return nodes
    return [*nodes, helper.make_node("Softmax", ["flat"], [OUTPUT], name=OUTPUT, axis=1)]


def _features(model: onnx.ModelProto, answer: str) -> str:
    """What the last matrix product before `answer` reads; raises ExportError where there is none."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(answer)
    while node is not None and node.op_type not in {"Gemm", "MatMul"}:
        node = makers.get(node.input[0])
    if node is None:
        raise ExportError("the network gives no embedding", seen="no last linear layer", remedy="Export it without embedding")
    name: str = node.input[0]
    return name


def _size(model: onnx.ModelProto, name: str) -> int:
    return int(np.prod(_shapes(model)[name][1:]))


def _slim(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxslim  # noqa: PLC0415 - checks come first

    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            slim: onnx.ModelProto = onnxslim.slim(model)
    finally:
        logging.disable(disabled)
    return slim


def _with_input(model: onnx.ModelProto, shape: list[int]) -> onnx.ModelProto:
    """A copy with the input's shape set, and every other shape left to be inferred."""
    copy = tidy(model)
    image = copy.graph.input[0]
    image.CopyFrom(helper.make_tensor_value_info(image.name, image.type.tensor_type.elem_type, shape))
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    return copy


def _opset(model: onnx.ModelProto) -> int:
    return max((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
