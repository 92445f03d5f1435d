"""An anomaly network from good scans to the graph the box runs: the tail in float, the body in INT8, the same scores."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from family_kit import images

from calib.graph import read_graph
from calib.qdq import check_qdq
from calib.quantise import FLOAT_TAIL, quantise
from edge.bundle import Member
from edge.inspector.engines.openvino import Compiler
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow
from export.graph.write import INPUT, OUTPUT
from export.proof.verify import run_network
from export.sources.module import TorchSource, source_from_module
from nets.anomaly import ANOMALY, PatchNetwork
from nets.architectures import kind_of
from train.anomaly import AnomalyOptions
from train.anomaly.fit import draw_border, feature_maps, learn_patches

pytestmark = pytest.mark.slow
SIZE = (64, 96)
QUICK = ("padim", "patchcore_small")
"""Together they hold every kind of statistics and both ways of a body to come to its features."""


@pytest.fixture(scope="module", params=QUICK)
def source(request: pytest.FixtureRequest) -> TorchSource:
    torch.manual_seed(0)
    spec = HeightmapSpec(window=PercentileWindow(), height=SIZE[0], width=SIZE[1])
    network = PatchNetwork(request.param, SIZE).eval()
    options = AnomalyOptions(architecture=request.param, origin="fixed" if ANOMALY[request.param][1] == "relief" else "random")
    if options.origin == "fixed":
        network.body.expect(spec.mean, spec.std)  # type: ignore[operator]
    good = torch.from_numpy(images(48, SIZE, seed=1)[::2].copy())
    maps = feature_maps(network.body, good, spec)
    learn_patches(network.float_tail.distances, [each[:16] for each in maps], options)
    draw_border(network.float_tail, [each[16:] for each in maps], 0.99)
    return source_from_module(network, classes=("bad", "good"), heightmap=spec, architecture=request.param, kind=kind_of(request.param))


def _answers(source: TorchSource, graph: bytes, pictures: np.ndarray) -> np.ndarray:
    member = Member(name="m", file="m.onnx", architecture=source.architecture, input=INPUT, output=OUTPUT, classes=source.classes)
    return run_network(Compiler(threads=1), member, graph, pictures)


def test_the_fp32_graph_gives_the_scores_of_pytorch(source: TorchSource) -> None:
    pictures = images(12, SIZE, seed=2)
    wanted = source.run(pictures)
    assert np.ptp(wanted[:, 0]) > 0.1
    assert np.abs(_answers(source, source.to_onnx(), pictures) - wanted).max() < 1e-4


def test_int8_keeps_the_tail_in_float_and_the_order_of_the_scores(source: TorchSource) -> None:
    pictures = images(24, SIZE, seed=2)
    quantised = quantise(source.to_onnx(), pictures)
    model = onnx.load_model_from_string(quantised)
    assert check_qdq(model) == []
    graph = read_graph(model)
    tail = [node for node in graph.nodes if FLOAT_TAIL in node.name]
    assert len(tail) > 10
    readers = [user for node in tail for name in node.output for user in graph.users.get(name, [])]
    assert not any(user.op_type == "QuantizeLinear" for user in readers)
    assert any(graph.dequantised(node.input[1]) for node in graph.nodes if node.op_type == "Conv")
    found, wanted = _answers(source, quantised, pictures)[:, 0], source.run(pictures)[:, 0]
    assert np.corrcoef(found, wanted)[0, 1] > 0.9
    assert np.abs(found - wanted).mean() < 0.1
