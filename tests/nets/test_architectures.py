from __future__ import annotations

import pytest
import torch

from edge.errors import ExportError
from nets.architectures import ARCHITECTURES, build


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_architecture_gives_one_logit_per_class(name: str) -> None:
    network = build(name, 5).eval()
    with torch.inference_mode():
        logits = network(torch.randn(2, 3, 64, 96))
    assert logits.shape == (2, 5)
    assert logits.dtype == torch.float32


def test_the_small_network_stays_under_a_million_weights_in_channels_that_int8_likes() -> None:
    network = build("small", 2)
    assert 200_000 < sum(weight.numel() for weight in network.parameters()) < 400_000
    widths = {module.out_channels for module in network.modules() if isinstance(module, torch.nn.Conv2d)}
    assert all(width % 16 == 0 for width in widths)


def test_one_small_lump_changes_what_the_small_network_says() -> None:
    torch.manual_seed(0)
    network = build("small", 2).eval()
    image = torch.zeros(1, 3, 128, 352)
    lump = image.clone()
    lump[..., 60:68, 170:178] = 3.0
    with torch.inference_mode():
        assert (network(lump) - network(image)).abs().max() > 1e-3


def test_an_unknown_architecture_is_refused_with_the_known_names() -> None:
    with pytest.raises(ExportError, match="resnet18, small"):
        build("resnet9000", 2)


def test_a_classifier_of_one_class_is_refused() -> None:
    with pytest.raises(ExportError, match="at least two classes"):
        build("small", 1)
