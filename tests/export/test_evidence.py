"""The map as a second output: what it adds up to, that it changes no score, and which networks have none."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import onnx
import pytest
from export_workshop import SPEC, Workshop
from family_kit import Made, images, make, untrained
from numpy.typing import NDArray

from calib.qdq import check_qdq
from calib.run import Network
from edge.errors import ExportError
from edge.inspector.engines.openvino import Compiler
from edge.inspector.loader import load_engines
from edge.inspector.machine import CpuMachine
from edge.manifest import MapOutput, Member
from export.graph.evidence import MAP, with_map
from export.order import LineOrder
from export.pipeline import export_line
from export.progress import Progress
from export.proof.explain import agreement
from export.typology import export_sources

MEMBER = Member(name="one", file="one.onnx", architecture="x", input="heightmap", output="scores", classes=("bad", "good"))


def log_odds(scores: NDArray[np.float32]) -> float:
    return float(np.log(scores[0, 0].astype(np.float64) / scores[0, 1]))


def run(onnx_bytes: bytes, pictures: NDArray[np.uint8], *names: str) -> list[list[NDArray[np.float32]]]:
    network = Network(onnx.load_model_from_string(onnx_bytes), extra=names)
    return [network.run(picture) for picture in pictures]


@pytest.mark.parametrize(
    ("name", "grid"), [("small", (4, 6)), ("six_convolutions", (2, 3)), ("squeezenet1_1", (3, 5)), ("resnet18", (2, 3))]
)
def test_the_maps_sum_is_the_log_odds_but_for_the_heads_bias(name: str, grid: tuple[int, int]) -> None:
    pictures = images(4, (64, 96))
    full = untrained(name, pictures).to_onnx()
    mapped, shape = with_map(full, 0)
    assert shape == grid
    found = run(mapped, pictures, MAP)
    left = [log_odds(scores) - float(cells.sum(dtype=np.float64)) for scores, cells in found]
    assert left == pytest.approx([left[0]] * len(left), abs=1e-4)
    assert np.ptp([log_odds(scores) for scores, _ in found]) > 0.1
    for (scores, _), (alone,) in zip(found, run(full, pictures), strict=True):
        assert np.array_equal(scores, alone)


def test_of_the_other_class_the_map_is_the_negative() -> None:
    pictures = images(4, (64, 96))
    full = untrained("small", pictures).to_onnx()
    bad, good = (run(with_map(full, number)[0], pictures[:1], MAP)[0] for number in (0, 1))
    assert np.allclose(bad[1], -good[1], atol=1e-6)
    assert bad[1].any()


def test_a_head_of_zeros_gives_a_map_of_zeros() -> None:
    pictures = images(4, (64, 96))
    model = onnx.load_model_from_string(untrained("small", pictures).to_onnx())
    head = next(node for node in model.graph.node if node.op_type == "Gemm").input[1]
    for tensor in model.graph.initializer:
        if tensor.name == head:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(tuple(tensor.dims), np.float32), head))
    assert not run(with_map(model.SerializeToString(), 0)[0], pictures, MAP)[0][1].any()


@pytest.mark.parametrize("name", ["lenet", "scratch"])
def test_a_network_that_does_not_end_in_pooling_and_one_linear_layer_is_refused(name: str) -> None:
    source = untrained(name, images(4, (64, 96)))
    with pytest.raises(ExportError, match="has no class activation map") as refused:
        with_map(source.to_onnx(), 0)
    assert "docs/explaining.md" in str(refused.value)


@pytest.fixture(scope="module")
def made() -> Made:
    return make("small", count=8)


@pytest.mark.slow
def test_int8_scores_are_the_same_bits_with_the_map_beside_them(made: Made) -> None:
    mapped, shape = with_map(made.int8, 0)
    assert check_qdq(onnx.load_model_from_string(mapped)) == []
    member = msgspec.structs.replace(made.member, map=MapOutput(name=MAP, shape=shape))
    data = np.zeros(made.images.shape[2:], np.uint8)
    plain, silent, telling = (
        Compiler(threads=1, maps=maps).compile(entry, graph, data)
        for entry, graph, maps in ((made.member, made.int8, False), (member, mapped, False), (member, mapped, True))
    )
    assert silent.map is None
    assert telling.map is not None
    assert telling.map.shape == shape
    seen = []
    for picture in made.images:
        data[:] = picture[0]
        scores = plain.run().tobytes()
        assert silent.run().tobytes() == scores == telling.run().tobytes()
        seen.append(telling.map.copy())
    full = [cells[0] for _, cells in run(with_map(made.full, 0)[0], made.images, MAP)]
    record = agreement("one", np.stack(full), np.stack(seen))
    assert record.correlation_mean > 0.95
    assert (record.rows, record.columns, record.scans) == (4, 6, 8)


def test_two_maps_agree_as_far_as_they_vary_alike() -> None:
    one = np.array([[[0.0, 1.0], [2.0, 3.0]]], np.float32)
    assert agreement("a", one, one * 2 + 1).correlation_least == 1.0
    assert agreement("a", one, -one).correlation_mean == -1.0
    assert agreement("a", one, one * 0).correlation_mean == 0.0
    assert agreement("a", one * 0, one * 0).correlation_mean == 1.0
    far = np.zeros((1, 3, 5), np.float32)
    near = far.copy()
    far[0, 0, 0] = near[0, 1, 1] = 1.0
    assert agreement("a", far, near).peaks_within_a_cell == 1.0
    assert agreement("a", far, np.roll(near, 1, axis=2)).peaks_within_a_cell == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_an_order_to_explain_ships_maps_and_says_how_they_agree(workshop: Workshop, precision: str) -> None:
    order = msgspec.structs.replace(workshop.order.typology[0], explain=True, precision=precision)
    exported = export_line(LineOrder(name="line", version=1, typology=(order,)), workshop.key, say=lambda _: None)
    (typology,) = exported.bundle.manifest.typologies
    assert typology.members[0].map == MapOutput(name=MAP, shape=(2, 4))
    (certificate,) = exported.certificate.typologies
    (record,) = certificate.maps
    assert (record.member, record.rows, record.columns) == ("T3", 2, 4)
    assert record.correlation_mean > 0.9
    loaded = load_engines(exported.bundle, CpuMachine(threads=1, maps=True), progress=lambda _: None)
    (engine,) = loaded.judges["T3"].engines
    assert engine.map is not None
    assert engine.map.shape == (2, 4)
    assert load_engines(exported.bundle, CpuMachine(threads=1), progress=lambda _: None).judges["T3"].engines[0].map is None


@pytest.mark.slow
def test_an_order_to_explain_a_network_without_a_map_is_refused(workshop: Workshop) -> None:
    order = msgspec.structs.replace(workshop.order.typology[0], explain=True)
    source = untrained("lenet", images(4, (32, 64)))
    with pytest.raises(ExportError, match="has no class activation map"):
        export_sources([replace(source, heightmap=SPEC)], order, Progress(lambda _: None))
