"""The steps every network takes, whatever it decides: source to FP32 graph, and that graph in the precision that is to be shipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calib.half import to_fp16
from calib.images import CalibrationSet
from calib.mixed import LayerSensitivity, exclude_layers, sensitivity
from calib.prepare import Prepared
from calib.quantise import Method, quantise
from edge.errors import ExportError
from edge.inspector.engines.openvino import Compiler
from edge.manifest import Member
from export.graph.kinds import rebase
from export.graph.write import INPUT, OUTPUT
from export.proof.verify import run_network
from export.sources.load import Source

THREADS = 2
SAMPLES = 8
"""Images on which the FP32 graph must answer as its source does."""
SOURCE_TOLERANCE = 1e-3
"""Largest difference of a probability between the source's own runtime and the FP32 graph."""
SENSITIVITY_IMAGES = 16
EMBEDDING = "embedding"
Shipped = Literal["int8", "mixed", "fp16"]
Images = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Network:
    """One member on its way into a bundle: the source, its FP32 graph, and the graph to be shipped with how it was made."""

    source: Source
    member: Member
    good: Images
    """Good training images u8 [n, 1, H, W]: references of a siamese network, error scale of an autoencoder."""
    full: bytes
    calibration: CalibrationSet
    method: Method
    source_difference: float
    """Largest difference of a probability, source against FP32 graph."""
    precision: Shipped = "int8"
    shipped: bytes = b""
    int8: bytes = field(default=b"", repr=False)
    """The fully quantised graph, whatever is shipped."""
    float_layers: tuple[str, ...] = ()
    """Layers that stay float in a mixed graph."""


def full_network(
    source: Source, member: Member, chosen: CalibrationSet, proof: Prepared, *, method: Method = "max", good: Images | None = None
) -> Network:
    """The FP32 graph, held against its source on sample images of `proof`. Raises ExportError or EngineError."""
    full = source.to_onnx(embedding=member.embedding is not None)
    sample = proof.images[:: max(1, len(proof.images) // SAMPLES)]
    difference = float(np.abs(run_network(Compiler(threads=THREADS), member, full, sample) - source.run(sample)).max())
    if not difference <= SOURCE_TOLERANCE:
        raise ExportError(
            f"{member.name}: the ONNX graph answers differently from its source",
            seen=f"probabilities differ by {difference:.5f}, allowed {SOURCE_TOLERANCE:g}",
            remedy="Put the network into eval mode and avoid operators that depend on data",
        )
    return Network(
        source=source,
        member=member,
        good=proof.images[:0] if good is None else good,
        full=full,
        calibration=chosen,
        method=method,
        source_difference=difference,
    )


def in_int8(network: Network) -> Network:
    """Every layer that can be is quantised. Raises ExportError or DatasetError."""
    quantised = quantise(network.full, network.calibration.images, method=network.method)
    return replace(network, precision="int8", int8=quantised, shipped=_rebased(network, quantised), float_layers=())


def in_mixed(network: Network, layers: Sequence[str]) -> Network:
    """The INT8 graph with `layers` in float again; without any of its own a member stays as it is. Raises ExportError."""
    if not layers:
        return in_int8(network) if not network.int8 else replace(network, shipped=_rebased(network, network.int8))
    mixed = exclude_layers(network.full, network.int8, layers)
    return replace(network, precision="mixed", shipped=_rebased(network, mixed), float_layers=tuple(layers))


def in_fp16(network: Network) -> Network:
    """Weights and arithmetic in float16, input and output as before. Raises ExportError."""
    return replace(network, precision="fp16", shipped=to_fp16(network.full), float_layers=())


def sensitive_layers(network: Network) -> tuple[LayerSensitivity, ...]:
    """Which layers' quantisation changes the scores, worst first, on calibration images."""
    images = network.calibration.images
    return sensitivity(network.full, network.int8, images[:: max(1, len(images) // SENSITIVITY_IMAGES)])


def answers(network: Network, images: Images, *, full: bool = False) -> NDArray[np.float32]:
    """Probabilities [N, classes] of the shipped graph, or of the FP32 one, by the engine class the box uses."""
    return run_network(Compiler(threads=THREADS), network.member, network.full if full else network.shipped, images)


def member_of(source: Source, name: str, *, folder: str, weight: float = 1.0, embedding: bool = False) -> Member:
    """The manifest's entry for a network named `name` in `folder` of the bundle."""
    return Member(
        name=name,
        file=f"{folder}/{name}.onnx",
        architecture=source.architecture,
        input=INPUT,
        output=OUTPUT,
        classes=source.classes,
        kind=source.kind,
        weight=weight,
        embedding=EMBEDDING if embedding else None,
    )


def _rebased(network: Network, graph: bytes) -> bytes:
    return graph if network.source.kind == "classifier" else rebase(graph, network.source, network.good)
