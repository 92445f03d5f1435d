from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from edge.errors import ExportError
from nets.anomaly import ANOMALY
from nets.architectures import ARCHITECTURES, CLASSIFIERS, build, kind_of

FAST = ("small", "lenet", "scratch", "six_convolutions", "resnet18", "squeezenet1_1", "googlenet", "xresnet18", "fastai/xresnet18")
VISION_LEARNER = "fastai/squeezenet1_1"


@pytest.mark.parametrize("name", FAST)
def test_a_classifier_gives_one_logit_per_class(name: str) -> None:
    network = build(name, 5, size=(64, 96)).eval()
    with torch.inference_mode():
        logits = network(torch.randn(2, 3, 64, 96))
    assert logits.shape == (2, 5)
    assert logits.dtype == torch.float32


def test_every_family_of_the_sources_has_a_name() -> None:
    families = "resnet18 resnet34 resnet50 resnet101 xresnet18 xresnet34 xresnet50 squeezenet1_0 squeezenet1_1 alexnet densenet121"
    families += " densenet161 densenet169 densenet201 vgg16_bn vgg19_bn googlenet lenet scratch bag_of_tricks six_convolutions"
    widths = {f"six_convolutions_{width}" for width in (8, 16, 24, 48)}  # what a search may choose from
    assert set(families.split()) | {"small"} | widths == {name for name in CLASSIFIERS if not name.startswith("fastai/")}
    assert ARCHITECTURES.keys() - CLASSIFIERS.keys() == {"siamese", "siamese_small", "autoencoder", "autoencoder_small", *ANOMALY}


@pytest.mark.parametrize("name", ["small", "scratch", "googlenet", "bag_of_tricks", "siamese", "autoencoder", "siamese_small"])
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    first, second, other = (_weights(name, seed) for seed in (7, 7, 8))
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


def _weights(name: str, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return build(name, 2).state_dict()


def test_the_scratch_network_flattens_what_the_source_flattens() -> None:
    shapes = [tuple(value.shape) for value in build("scratch", 2).state_dict().values()]
    assert (256, 128 * 4 * 11) in shapes


@pytest.mark.parametrize("size", [(128, 352), (224, 224), (50, 70)])
@pytest.mark.parametrize("name", ["lenet", "scratch"])
def test_networks_without_global_pooling_are_built_for_their_size(name: str, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert build(name, 3, size=size).eval()(torch.zeros(1, 3, *size)).shape == (1, 3)


def test_a_size_too_small_for_lenet_is_refused() -> None:
    with pytest.raises(ExportError, match="16 x 16"):
        build("lenet", 2, size=(12, 352))


def test_what_a_vision_learner_saves_fits_the_network_of_that_name(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what fastai's import says about torch
        from fastai.data.core import DataLoaders  # noqa: PLC0415
        from fastai.losses import CrossEntropyLossFlat  # noqa: PLC0415
        from fastai.vision.learner import vision_learner  # noqa: PLC0415
        from fastai.vision.models import squeezenet1_1  # noqa: PLC0415
    learner = vision_learner(
        DataLoaders([], []), squeezenet1_1, n_out=2, pretrained=False, normalize=False, loss_func=CrossEntropyLossFlat(), path=tmp_path
    )
    learner.save("weights", with_opt=False)
    network = build(VISION_LEARNER, 2)
    network.load_state_dict(torch.load(tmp_path / "models" / "weights.pth", weights_only=True))
    assert torch.equal(next(network.parameters()), next(learner.model.parameters()))


@pytest.mark.parametrize(("name", "features"), [("siamese", 512), ("siamese_small", 320)])
def test_the_siamese_head_sees_what_it_would_see_of_concatenated_features(name: str, features: int) -> None:
    torch.manual_seed(0)
    network = build(name, 2).eval()
    one, many = torch.randn(3, 1, features), torch.randn(1, 4, features)
    with torch.inference_mode():
        compared = network.compare(one, many)
        pairs = torch.cat((one.expand(3, 4, features), many.expand(3, 4, features)), dim=-1)
        expected = network.rest(network.first(pairs))
        both = network(*torch.randn(2, 2, 3, 64, 64))
    assert compared.shape == (3, 4, 2)
    assert (compared - expected).abs().max() < 1e-5
    assert both.shape == (2, 2)


@pytest.mark.parametrize(("name", "size"), [("autoencoder", (128, 128)), ("autoencoder", (64, 160)), ("autoencoder_small", (32, 96))])
def test_the_autoencoder_draws_gray_levels_in_its_input_size(name: str, size: tuple[int, int]) -> None:
    network = build(name, 2, size=size).eval()
    with torch.inference_mode():
        drawn = network(torch.randn(2, 3, *size))
    assert drawn.shape == (2, 1, *size)
    assert 0 <= drawn.min() <= drawn.max() <= 1


def test_an_autoencoder_for_a_size_it_cannot_halve_five_times_is_refused() -> None:
    with pytest.raises(ExportError, match="multiples of 32"):
        build("autoencoder", 2, size=(128, 350))


@pytest.mark.parametrize("name", ["siamese", "autoencoder"])
def test_networks_that_only_know_good_take_no_third_class(name: str) -> None:
    with pytest.raises(ExportError, match="good from bad"):
        build(name, 3)
    assert kind_of(name) == kind_of(f"{name}_small") == name


def test_every_other_name_is_a_classifier() -> None:
    assert {kind_of(name) for name in (*CLASSIFIERS, "somebody's own")} == {"classifier"}


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
    with pytest.raises(ExportError, match=r"resnet18, resnet34.*, small, squeezenet"):
        build("resnet9000", 2)


def test_a_classifier_of_one_class_is_refused() -> None:
    with pytest.raises(ExportError, match="at least two classes"):
        build("small", 1)
