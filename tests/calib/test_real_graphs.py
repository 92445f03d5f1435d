"""What ModelOpt makes of real architectures keeps every rule, excluded layers and FP16 included."""

import io
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import DenseNet, ResNet, SqueezeNet
from torchvision.models.resnet import BasicBlock

from calib.fold import tidy, to_bytes
from calib.half import check_fp16, to_fp16
from calib.mixed import exclude_layers, quantised_layers
from calib.qdq import check_qdq
from calib.quantise import quantise, read_model
from calib.ranges import activation_ranges
from calib.run import Network, score
from nets.architectures import build

H, W = 64, 96


class Scores(nn.Module):
    """u8 [1, 1, H, W] → probabilities, as a bundle's networks."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, heightmap: Tensor) -> Tensor:
        return torch.softmax(self.body((heightmap.float() / 255).expand(1, 3, H, W)), dim=1)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "small": lambda: build("small", 2),
    "resnet": lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=2),
    "densenet": lambda: DenseNet(growth_rate=16, block_config=(2, 2), num_init_features=32, num_classes=2),
    "squeezenet": lambda: SqueezeNet("1_1", num_classes=2),
}


def exported(make: Callable[[], nn.Module]) -> bytes:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    body = make()
    with torch.no_grad():
        for _ in range(3):
            body(torch.rand(4, 3, H, W))  # statistics for the batch norms
    buffer = io.BytesIO()
    example = (torch.zeros(1, 1, H, W, dtype=torch.uint8),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Scores(body).eval(), example, buffer, opset_version=19, dynamo=False, output_names=["scores"])
    return to_bytes(tidy(read_model(buffer.getvalue())))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_real_network_keeps_every_rule_in_int8_mixed_and_fp16(name: str) -> None:
    full = exported(NETWORKS[name])
    frames = np.random.default_rng(0).integers(0, 256, (4, 1, H, W), dtype=np.uint8)
    quantised = quantise(full, frames)
    model = read_model(quantised)
    assert check_qdq(model) == []
    layers = quantised_layers(model)
    assert len(activation_ranges(model)) >= 8
    wanted = score(Network(read_model(full)), frames)
    assert np.abs(score(Network(model), frames) - wanted).max() < 0.05
    mixed = exclude_layers(full, quantised, layers[::3])
    assert check_qdq(read_model(mixed)) == []
    assert np.abs(score(Network(read_model(mixed)), frames) - wanted).max() < 0.05
    half = to_fp16(full)
    assert check_fp16(read_model(half)) == []
    assert len(half) < 0.6 * len(full)


def test_every_layer_of_a_residual_network_can_be_excluded_alone() -> None:
    full = exported(NETWORKS["small"])
    frames = np.random.default_rng(0).integers(0, 256, (2, 1, H, W), dtype=np.uint8)
    quantised = quantise(full, frames)
    layers = quantised_layers(read_model(quantised))
    assert len(layers) > 20
    for layer in layers:
        assert layer not in quantised_layers(read_model(exclude_layers(full, quantised, [layer])))
