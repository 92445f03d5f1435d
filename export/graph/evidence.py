"""A second output that says where a classifier saw what it calls bad: the class activation map, computed forward from its last features.

Where a network ends in global pooling and a linear layer, the log-odds of "bad" are a sum over the cells of its last feature maps
(B. Zhou et al., "Learning deep features for discriminative localization", CVPR 2016). Let w be the head's weights of "bad" less the
mean of the other classes' weights, A a feature map of H x W cells, and n the number of cells in which channel k reaches its maximum:

    average pooling    M(y, x) = sum over k of  w_k A_k(y, x) / (H W)
    maximum pooling    M(y, x) = sum over k of  w_k A_k(y, x) / n_k   where A_k(y, x) is the maximum of A_k, else 0

Parts of several resolutions are added on the finest grid, each coarse cell's part spread over the area it covers. So the map's sum and
the head's biases are the log-odds. The branch is put behind the finished graph, quantised or not, and reads the very tensors that the
pooling reads: nothing that leads to the scores is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from calib.fold import tidy, to_bytes
from calib.graph import Graph, attribute, read_graph
from calib.quantise import read_model
from edge.errors import ExportError
from export.graph.rewrite import OUTPUT

MAP = "map"
_PASSING = frozenset({"Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Dropout", "QuantizeLinear", "DequantizeLinear"})
_REMEDY = "Leave out explain, or use a network that ends in global pooling and one linear layer; docs/explaining.md names them"
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """One global pooling before the head: of `features` [1, C, H, W], with what the log-odds gain per unit of each channel."""

    features: str
    pooled: str
    """[1, C, 1, 1], or empty where it has another shape."""
    maximum: bool
    weights: Floats


def with_map(network: bytes, bad: int) -> tuple[bytes, tuple[int, int]]:
    """`network` with a last output `map` f32 [1, H, W] for class number `bad`, and (H, W). Raises ExportError where it has no such map."""
    model = tidy(read_model(network))
    graph = read_graph(model)
    shapes = _shapes(model)
    parts = tuple(_pooled(graph, *_logits(graph, shapes, bad), shapes))
    grids = {part.features: shapes[part.features][2:] for part in parts}
    rows, columns = max(grids.values())
    if any(grid[0] > rows or grid[1] > columns or min(grid) < 1 for grid in grids.values()):
        raise _refused("poolings of several sizes, none of them the finest", sorted(grids.values()))
    made = _Branch()
    cells = {name: made.cells(name, [part for part in parts if part.features == name], grid) for name, grid in grids.items()}
    made.finish([made.on_grid(cells[name], grid, (rows, columns)) for name, grid in grids.items()])
    model.graph.node.extend(made.nodes)
    model.graph.initializer.extend(made.constants)
    model.graph.output.append(helper.make_tensor_value_info(MAP, TensorProto.FLOAT, [1, rows, columns]))
    return to_bytes(tidy(model)), (rows, columns)


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    return {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}


def _logits(graph: Graph, shapes: dict[str, tuple[int, ...]], bad: int) -> tuple[str, Floats]:
    """The tensor that the softmax reads, and what the log-odds of `bad` gain per unit of each of its values."""
    name = OUTPUT
    while (maker := graph.maker.get(name)) is not None and maker.op_type in _PASSING:
        name = maker.input[0]
    if maker is None or maker.op_type != "Softmax":
        raise _refused("its answer is no softmax of logits", "nothing" if maker is None else maker.op_type)
    classes = shapes[OUTPUT][1]
    weights = np.full(classes, -1.0 / (classes - 1), np.float32)
    weights[bad] = 1.0
    return str(maker.input[0]), weights


def _pooled(graph: Graph, name: str, weights: Floats, shapes: dict[str, tuple[int, ...]]) -> Iterator[Pooled]:
    """The poolings whose values, times weights, add up to `weights` times the tensor `name`."""
    maker = graph.maker.get(name)
    operator = "the input" if maker is None else maker.op_type
    if maker is None:
        raise _refused("it has no global pooling", name)
    if operator in _PASSING:
        yield from _pooled(graph, maker.input[0], weights, shapes)
    elif operator in {"Gemm", "MatMul"}:
        yield from _pooled(graph, maker.input[0], _through(graph, maker, weights), shapes)
    elif operator == "Add" and (constant := [i for i in maker.input if i in graph.values]):
        yield from _pooled(graph, next(i for i in maker.input if i not in constant), weights, shapes)
    elif operator == "Concat":
        ends = np.cumsum([int(np.prod(shapes[i][1:])) for i in maker.input])
        for source, part in zip(maker.input, np.split(weights, ends[:-1]), strict=True):
            yield from _pooled(graph, source, part, shapes)
    elif _is_global(maker, graph, shapes):
        pooled = name if len(shapes[name]) == 4 else ""
        yield Pooled(features=str(maker.input[0]), pooled=pooled, maximum="Max" in operator, weights=weights)
    else:
        raise _refused(f"{operator} stands between the last feature maps and its answer", maker.name or name)


def _through(graph: Graph, layer: onnx.NodeProto, weights: Floats) -> Floats:
    """What the log-odds gain per unit of each input of a linear layer."""
    matrix = _constant(graph, layer.input[1])
    if layer.op_type == "Gemm":
        matrix = matrix.T if attribute(layer, "transB", 0) else matrix
        matrix = matrix * np.float32(attribute(layer, "alpha", 1.0))
    return np.asarray(matrix.astype(np.float64) @ weights.astype(np.float64), np.float32)


def _constant(graph: Graph, name: str) -> Floats:
    if name in graph.values:
        return np.asarray(graph.values[name], np.float32)
    maker = graph.maker[name]
    if maker.op_type != "DequantizeLinear" or maker.input[0] not in graph.values:
        raise _refused("the weights of its last layer are no constants", maker.op_type)
    stored, scale = graph.values[maker.input[0]].astype(np.float32), graph.values[maker.input[1]]
    axis = attribute(maker, "axis", 1) % stored.ndim
    return np.asarray(stored * (scale.reshape([-1 if i == axis else 1 for i in range(stored.ndim)]) if scale.ndim else scale), np.float32)


def _is_global(node: onnx.NodeProto, graph: Graph, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Does this node pool [1, C, H, W] over the whole of H and W?"""
    before, after = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
    if len(before) != 4 or int(np.prod(after)) != before[1]:
        return False
    if node.op_type in {"ReduceMean", "ReduceMax"}:
        given = graph.values.get(node.input[1]) if len(node.input) > 1 else None
        axes = attribute(node, "axes", ()) if given is None else given.tolist()
        return sorted(axis % 4 for axis in axes) == [2, 3]
    plain = not any(attribute(node, "pads", ()))
    return node.op_type in {"GlobalAveragePool", "GlobalMaxPool"} or (node.op_type in {"AveragePool", "MaxPool"} and plain)


class _Branch:
    """The nodes and constants of the map, as they are made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def cells(self, features: str, parts: list[Pooled], grid: tuple[int, ...]) -> str:
        """What each cell of `features` adds to the log-odds: [1, 1, H, W]."""
        averaged = [p.weights / np.float32(np.prod(grid)) for p in parts if not p.maximum]
        largest = [p.weights for p in parts if p.maximum]
        weights = [self._per_channel(averaged)] if averaged else []
        if largest:
            pooled = next((p.pooled for p in parts if p.maximum and p.pooled), "") or self._node("GlobalMaxPool", [features])
            weights.append(self._where_largest(features, pooled, self._per_channel(largest)))
        # Not a convolution: on what was dequantised, one with float weights would break the Q/DQ rules.
        weighted = self._node("Mul", [features, self._summed(weights)])
        return self._node("ReduceSum", [weighted, self._constant(np.array([1], np.int64))], keepdims=1)

    def on_grid(self, cells: str, grid: tuple[int, ...], finest: tuple[int, int]) -> str:
        """The same total on the finest grid, each cell's part spread over its area."""
        if grid == finest:
            return cells
        tall, wide = (large // small if large % small == 0 else 0 for small, large in zip(grid, finest, strict=True))
        if tall and wide:
            # Cheaper than two matrix products by far, and the common case: each coarse cell is so many fine ones.
            apart = self._reshaped(cells, [0, 1, grid[0], 1, grid[1], 1])
            share = np.full((1, 1, 1, tall, 1, wide), 1.0 / (tall * wide), np.float32)
            return self._reshaped(self._node("Mul", [apart, self._constant(share)]), [0, 1, *finest])
        higher = self._node("MatMul", [self._constant(_spread(grid[0], finest[0])), cells])
        return self._node("MatMul", [higher, self._constant(_spread(grid[1], finest[1]).T)])

    def finish(self, maps: list[str]) -> None:
        """Their sum as the output."""
        axis = self._constant(np.array([1], np.int64))
        self.nodes.append(helper.make_node("Squeeze", [self._summed(maps), axis], [MAP], name=MAP))

    def _where_largest(self, features: str, pooled: str, weights: str) -> str:
        """Every channel's weight, shared evenly by the cells that reach its maximum; elsewhere 0."""
        reached = self._node("Cast", [self._node("Equal", [features, pooled])], to=TensorProto.FLOAT)
        count = self._node("ReduceSum", [reached, self._constant(np.array([2, 3], np.int64))], keepdims=1)
        return self._node("Mul", [reached, self._node("Div", [weights, count])])

    def _per_channel(self, weights: list[Floats]) -> str:
        return self._constant(np.sum(weights, axis=0).reshape(1, -1, 1, 1).astype(np.float32))

    def _reshaped(self, tensor: str, shape: list[int]) -> str:
        return self._node("Reshape", [tensor, self._constant(np.array(shape, np.int64))])

    def _summed(self, names: list[str]) -> str:
        first, *others = names
        for name in others:
            first = self._node("Add", [first, name])
        return first

    def _node(self, operator: str, inputs: list[str], **attributes: object) -> str:
        name = f"{MAP}/{len(self.nodes)}_{operator}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, value: NDArray[np.generic]) -> str:
        name = f"{MAP}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def _spread(cells: int, finer: int) -> Floats:
    """f32 [finer, cells]: the part of each cell that lies in each finer one; every column adds up to 1."""
    edges, fine = np.arange(cells + 1) / cells, np.arange(finer + 1) / finer
    overlap = np.minimum(edges[None, 1:], fine[1:, None]) - np.maximum(edges[None, :-1], fine[:-1, None])
    return np.asarray(np.clip(overlap, 0.0, None) * cells, np.float32)


def _refused(why: str, seen: object) -> ExportError:
    return ExportError(f"this network has no class activation map: {why}", seen=seen, remedy=_REMEDY)
