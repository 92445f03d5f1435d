"""What a siamese network and an autoencoder need beside their weights: references and error scale, from good scans.

Both are constants of the graph. As INT8 rounds the network a little, they are taken once from the network itself, for the FP32 graph,
and once more from the INT8 graph, so that like is compared with like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from calib.features import features
from calib.fold import to_bytes
from calib.graph import Graph, copy_of, read_graph
from calib.images import spread_out
from calib.quantise import read_model
from calib.run import Network
from edge.errors import ExportError
from export.graph.inspection import REFERENCES, SCALE, SIDES, Normalisation
from export.sources.base import Source
from export.sources.module import TorchSource
from nets.autoencoder import DrawingError
from nets.siamese import REFERENCE_IMAGES

CLASSES = ("bad", "good")
QUANTILE = "quantile"
"""Constant of an autoencoder source: the part of the good scans whose error lies below the scale, f64 [1]; none for a trained scale."""
MIN_GOOD = 16
MAX_GOOD = 256
"""Good images that are run; more are thinned evenly."""
Images = NDArray[np.uint8]


def prepare_kind(source: Source, good_images: Images, *, references: int = 8, quantile: float = 0.995) -> Source:
    """`source` with the constants of its kind, taken from good images u8 [N, 1, H, W]; a classifier as it is.

    A siamese network gets the embeddings of `references` images that lie far from each other in `calib.features`, an autoencoder the
    `quantile` of its errors as the scale, so that badness 0.5 is that quantile. Reference images or a scale that training left in
    the checkpoint are kept instead. Raises ExportError for another kind of file, classes other than bad and good, too few good
    images, or options out of range, in this order.
    """
    if source.kind == "classifier":
        return source
    if not isinstance(source, TorchSource):
        raise ExportError(
            f"a {source.kind} comes from a checkpoint or state dict", seen=type(source).__name__, remedy="Export one of those"
        )
    if source.classes != CLASSES:
        raise ExportError(f"a {source.kind} scores bad, then good", seen=source.classes, remedy="Give the classes as bad,good")
    if len(good_images) < MIN_GOOD:
        raise ExportError(f"too few good scans for a {source.kind}", seen=len(good_images), remedy=f"Give at least {MIN_GOOD}")
    if REFERENCE_IMAGES in source.constants:
        good_images = source.constants[REFERENCE_IMAGES].numpy()
        references = len(good_images)
    elif SCALE in source.constants and QUANTILE not in source.constants:
        return source
    made = _references(source, good_images, references) if source.kind == "siamese" else _scale(source, good_images, quantile)
    return replace(source, constants={**source.constants, **made})


def rebase(quantised: bytes, source: Source, good_images: Images) -> bytes:
    """The INT8 graph with the constants of `source` (from `prepare_kind`, with the same images) as this very graph gives them.

    Same bytes for the same arguments. A classifier's graph stays as it is. Raises ExportError when the graph is not of that source.
    """
    if source.kind == "classifier" or not isinstance(source, TorchSource):
        return quantised
    model = read_model(quantised)
    if source.kind == "siamese":
        chosen = _reference_images(source, good_images, len(source.constants[REFERENCES]))
        embeddings = _run(model, _embedding(read_graph(model)), chosen)
        with torch.no_grad():
            sides = source.model.right(torch.from_numpy(embeddings))[None]  # type: ignore[operator]
        return _with_constant(model, SIDES, sides.numpy())
    errors = _run(model, _beside(read_graph(model), SCALE), _thinned(good_images))
    if QUANTILE in source.constants:
        return _with_constant(model, SCALE, _quantile(errors, float(source.constants[QUANTILE])))
    grown = np.median(errors / _errors(source, good_images))
    return _with_constant(model, SCALE, (source.constants[SCALE].numpy() * grown).astype(np.float32))


def _references(source: TorchSource, good_images: Images, count: int) -> dict[str, Tensor]:
    if not 1 <= count <= len(good_images):
        raise ExportError("the number of references is out of range", seen=count, remedy=f"Choose 1 to {len(good_images)}")
    normalise = Normalisation(source.model, source.heightmap)
    with torch.no_grad():
        images = [normalise(torch.from_numpy(image[None])) for image in _reference_images(source, good_images, count)]
        return {REFERENCES: torch.cat([source.model.embed(image) for image in images])}  # type: ignore[operator]


def _scale(source: TorchSource, good_images: Images, quantile: float) -> dict[str, Tensor]:
    if not 0.5 <= quantile <= 1.0:
        raise ExportError("the quantile is out of range", seen=quantile, remedy="Choose 0.5 to 1")
    found = _quantile(_errors(source, good_images), quantile)
    return {SCALE: torch.from_numpy(found), QUANTILE: torch.tensor([quantile], dtype=torch.float64)}


def _errors(source: TorchSource, good_images: Images) -> NDArray[np.float32]:
    """By the network itself, f32 [N, 1]."""
    normalise, error = Normalisation(source.model, source.heightmap), DrawingError(source.constants)
    with torch.no_grad():
        heightmaps = [torch.from_numpy(image[None]) for image in _thinned(good_images)]
        errors: NDArray[np.float32] = torch.cat([error(image, source.model(normalise(image))) for image in heightmaps]).numpy()
    return errors


def _reference_images(source: TorchSource, good_images: Images, count: int) -> Images:
    """Those that training chose, else `count` of the good images."""
    if REFERENCE_IMAGES in source.constants:
        return np.asarray(source.constants[REFERENCE_IMAGES].numpy())
    return _chosen(good_images, count)


def _quantile(errors: NDArray[np.float32], quantile: float) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.array([np.quantile(errors.astype(np.float64), quantile)], np.float32)
    if not (np.isfinite(found).all() and found[0] > 0):
        raise ExportError("the autoencoder's errors on good scans are not finite", seen=found[0], remedy="Train it again")
    return found


def _chosen(images: Images, count: int) -> Images:
    """`count` images, spread over the features that calibration images are chosen by."""
    thinned = _thinned(images) if count <= MAX_GOOD else images
    return thinned[spread_out(features(thinned), count)]


def _thinned(images: Images) -> Images:
    kept: Images = images[np.linspace(0, len(images) - 1, min(len(images), MAX_GOOD)).astype(int)]
    return kept


def _run(model: onnx.ModelProto, tensor: str, images: Images) -> NDArray[np.float32]:
    """What `tensor` [1, F] holds for each image: f32 [N, F]."""
    network = Network(model, extra=[tensor])
    rows: Sequence[NDArray[np.float32]] = [network.run(image)[1] for image in images]
    return np.concatenate(rows)


def _beside(graph: Graph, constant: str) -> str:
    """The tensor that is added to a constant of this name."""
    for node in graph.users.get(constant, []):
        if node.op_type == "Add":
            return str(next(name for name in node.input if name != constant))
    raise ExportError(f"the graph holds no {constant}", seen=len(graph.nodes), remedy="Export the network again with `cordon export`")


def _embedding(graph: Graph) -> str:
    """What goes into the head's first layer, which is the first layer with weights above the references."""
    name = _beside(graph, SIDES)
    while (maker := graph.maker[name]).op_type not in ("Gemm", "MatMul"):
        name = next(i for i in maker.input if i not in graph.values)
    return graph.before_pair(maker.input[0]) or str(maker.input[0])


def _with_constant(model: onnx.ModelProto, name: str, value: NDArray[np.float32]) -> bytes:
    copy = copy_of(model)
    for tensor in copy.graph.initializer:
        if tensor.name == name:
            if list(tensor.dims) != list(value.shape):
                raise ExportError(f"{name} has another shape", seen=tuple(tensor.dims), remedy=f"Wanted {value.shape}; export it again")
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
            return to_bytes(copy)
    raise ExportError(f"the graph holds no {name}", seen=len(copy.graph.initializer), remedy="Export the network again")
