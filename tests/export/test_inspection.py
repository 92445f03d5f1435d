"""The module around every network: normalisation, kinds, embeddings, adaptive pooling."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow
from export.graph.inspection import Normalisation, bad_and_good, inspection_of
from export.graph.pools import MatrixPool, fixed_pools
from nets.architectures import build
from nets.autoencoder import reconstruction_error

SPEC = HeightmapSpec(window=PercentileWindow(), height=32, width=64, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


def _heightmaps(count: int = 2) -> Tensor:
    return torch.randint(1, 256, (count, 1, 32, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


class _Channels(nn.Module):
    """Answers with the first pixel of every channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 1)
        nn.init.dirac_(self.first.weight)
        nn.init.zeros_(self.first.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        pixel: Tensor = self.first(image)[:, :, 0, 0]
        return pixel if pixel.shape[1] > 1 else torch.cat((pixel, -pixel), dim=1)


def test_three_channels_are_normalised_each_by_its_own_mean_and_deviation() -> None:
    heightmaps = _heightmaps()
    gray = heightmaps[:, 0, 0, 0].float()[:, None] / 255
    expected = torch.softmax((gray - torch.tensor(SPEC.mean)) / torch.tensor(SPEC.std), dim=1)
    assert (inspection_of(_Channels(3), SPEC, "classifier", {})(heightmaps) - expected).abs().max() < 1e-6


def test_a_one_channel_network_is_given_one_channel() -> None:
    spec = HeightmapSpec(window=PercentileWindow(), height=32, width=64, mean=(0.5,) * 3, std=(0.25,) * 3)
    heightmaps = _heightmaps()
    value = (heightmaps[:, 0, 0, 0].float()[:, None] / 255 - 0.5) / 0.25
    expected = torch.softmax(torch.cat((value, -value), dim=1), dim=1)
    assert (inspection_of(_Channels(1), spec, "classifier", {})(heightmaps) - expected).abs().max() < 1e-6


def test_a_one_channel_network_with_three_different_means_is_refused() -> None:
    with pytest.raises(ExportError, match="three equal means"):
        inspection_of(_Channels(1), SPEC, "classifier", {})


@pytest.mark.parametrize(("name", "features"), [("small", 320), ("lenet", 84), ("squeezenet1_1", 512), ("six_convolutions", 128)])
def test_the_embedding_is_what_the_last_layer_decides_on(name: str, features: int) -> None:
    body = build(name, 2, size=(32, 64)).eval()
    with torch.inference_mode():
        plain = inspection_of(body, SPEC, "classifier", {})(_heightmaps())
        scores, embedding = inspection_of(body, SPEC, "classifier", {}, embedding=True)(_heightmaps())
    assert torch.equal(scores, plain)
    assert embedding.shape == (2, features)
    assert not any(module._forward_pre_hooks for module in body.modules())


def test_a_network_without_any_layer_to_look_at_gives_no_embedding() -> None:
    body = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ExportError, match="no embedding"):
        inspection_of(body, SPEC, "classifier", {}, embedding=True)(_heightmaps())


@pytest.mark.parametrize(("name", "missing"), [("siamese", "references"), ("autoencoder", "error_scale")])
def test_a_kind_without_its_constants_is_refused(name: str, missing: str) -> None:
    with pytest.raises(ExportError, match=missing):
        inspection_of(build(name, 2, size=(32, 64)), SPEC, name, {})  # type: ignore[arg-type]


def test_a_siamese_scores_the_mean_probability_of_being_different() -> None:
    torch.manual_seed(0)
    body = build("siamese", 2).eval()
    references = torch.randn(3, 512)
    with torch.inference_mode():
        scores, embedding = inspection_of(body, SPEC, "siamese", {"references": references}, embedding=True)(_heightmaps())
        different = torch.stack([torch.softmax(body.compare(embedding, one), dim=1)[:, 1] for one in references])
    assert (scores - bad_and_good(different.mean(dim=0)[:, None])).abs().max() < 1e-6


def test_an_autoencoder_scores_its_error_against_the_scale() -> None:
    torch.manual_seed(0)
    body = build("autoencoder", 2, size=(32, 64)).eval()
    constants = {"error_scale": torch.tensor([0.02])}
    with torch.inference_mode():
        scores, embedding = inspection_of(body, SPEC, "autoencoder", constants, embedding=True)(_heightmaps())
        error = reconstruction_error(_heightmaps(), body(Normalisation(body, SPEC)(_heightmaps())))
    assert embedding.shape == (2, 512)
    assert (scores - bad_and_good(error / (error + 0.02))).abs().max() < 1e-6


def test_the_error_counts_pixels_with_data_only() -> None:
    heightmap = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    heightmap[..., :2] = 51
    drawn = torch.full((1, 1, 4, 4), 0.4)
    drawn[..., 2:] = 1.0
    assert abs(reconstruction_error(heightmap, drawn).item() - (0.4 - 0.2) ** 2) < 1e-5


def test_a_heightmap_without_any_data_is_bad() -> None:
    empty = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    assert reconstruction_error(empty, torch.zeros(1, 1, 4, 4)).item() == 1.0


@pytest.mark.parametrize(
    ("inputs", "outputs"), [((3, 10), (6, 6)), ((4, 11), (7, 7)), ((2, 3), (7, 7)), ((5, 9), (1, 4)), ((20, 30), (16, 18))]
)
def test_matrices_pool_as_adaptive_pooling_does(inputs: tuple[int, int], outputs: tuple[int, int]) -> None:
    image = torch.randn(2, 5, *inputs)
    assert (MatrixPool(inputs, outputs)(image) - nn.functional.adaptive_avg_pool2d(image, outputs)).abs().max() < 1e-5


def test_only_uneven_pooling_is_replaced_and_the_network_itself_stays() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d((6, 6)), nn.AdaptiveAvgPool2d((3, 2)), nn.AdaptiveMaxPool2d(1)
    )
    image = torch.randn(1, 3, 8, 16)
    fixed = fixed_pools(network, image)
    assert [type(module).__name__ for module in network] == ["Conv2d", "AdaptiveAvgPool2d", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d"]
    assert [type(module).__name__ for module in fixed.children()] == ["Conv2d", "MatrixPool", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d"]
    assert (fixed(image) - network(image)).abs().max() < 1e-5
    assert fixed_pools(network[:1], image) is not fixed


def test_a_network_without_uneven_pooling_is_returned_as_it_is() -> None:
    network = build("small", 2)
    assert fixed_pools(network, torch.randn(1, 3, 32, 64)) is network


def test_uneven_maximum_pooling_is_refused() -> None:
    with pytest.raises(ExportError, match="pools maxima"):
        fixed_pools(nn.Sequential(nn.AdaptiveMaxPool2d((6, 6))), torch.randn(1, 3, 8, 16))


def test_one_pooling_used_at_two_sizes_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.AdaptiveAvgPool2d(3)

        def forward(self, image: Tensor) -> Tensor:
            return torch.cat((self.pool(image), self.pool(image[..., :5, :5])))

    with pytest.raises(ExportError, match="two sizes"):
        fixed_pools(Twice(), torch.randn(1, 3, 8, 16))
