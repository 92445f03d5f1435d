"""A registry of names that `build` turns into PyTorch modules: this project's own networks and every family of its sources."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from edge.bundle import Kind
from edge.errors import ExportError
from nets.anomaly import ANOMALY, PatchNetwork
from nets.autoencoder import STRIDE, Autoencoder, Body
from nets.classics import LeNet, ScratchNetwork, SixConvolutionNetwork, Size
from nets.fastai_library import XRESNETS, bag_of_tricks, vision_model, xresnet
from nets.siamese import SiameseNetwork
from nets.small import SmallResidualNetwork

DEFAULT_SIZE: Size = (128, 352)
TORCHVISION = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "squeezenet1_0", "squeezenet1_1", "alexnet"),
    *("densenet121", "densenet161", "densenet169", "densenet201", "vgg16_bn", "vgg19_bn"),
)
Maker = Callable[[int, Size], nn.Module]


def _torchvision(name: str, classes: int, _: Size) -> nn.Module:
    from torchvision import models  # noqa: PLC0415 - costs a second that the small network need not pay

    network: nn.Module = models.get_model(name, weights=None, num_classes=classes)
    return network


def _googlenet(classes: int, _: Size) -> nn.Module:
    from torchvision import models  # noqa: PLC0415

    network: nn.Module = models.googlenet(weights=None, num_classes=classes, aux_logits=False, init_weights=True)
    return network


def _autoencoder(body: Body, _: int, size: Size) -> nn.Module:
    if size[0] % STRIDE or size[1] % STRIDE:
        raise ExportError("the autoencoder halves its input five times", seen=size, remedy=f"Use multiples of {STRIDE} pixels")
    return Autoencoder(body=body)


def _patches(name: str, _: int, size: Size) -> nn.Module:
    return PatchNetwork(name, size)


def _any_size(make: Callable[[int], nn.Module]) -> Maker:
    return lambda classes, _: make(classes)


CLASSIFIERS: dict[str, Maker] = {
    "small": _any_size(SmallResidualNetwork),
    "lenet": LeNet,
    "scratch": ScratchNetwork,
    "six_convolutions": _any_size(SixConvolutionNetwork),
    **{f"six_convolutions_{width}": _any_size(partial(SixConvolutionNetwork, width=width)) for width in (8, 16, 24, 48)},
    "bag_of_tricks": _any_size(bag_of_tricks),
    "googlenet": _googlenet,
    **{name: partial(_torchvision, name) for name in TORCHVISION},
    **{name: _any_size(partial(xresnet, name)) for name in XRESNETS},
    **{f"fastai/{name}": _any_size(partial(vision_model, name)) for name in (*TORCHVISION, *XRESNETS)},
}
"""Names whose networks give one logit per class."""

ARCHITECTURES: dict[str, Maker] = {
    **CLASSIFIERS,
    "siamese": lambda _, __: SiameseNetwork(),
    "siamese_small": lambda _, __: SiameseNetwork(body="small"),
    "autoencoder": partial(_autoencoder, "resnet18"),
    "autoencoder_small": partial(_autoencoder, "small"),
    **{name: partial(_patches, name) for name in ANOMALY},
}
"""Every name `build` knows."""


def build(architecture: str, classes: int, *, size: Size = DEFAULT_SIZE) -> nn.Module:
    """A network with fresh random weights: input f32 [N, 3, H, W] normalised; a classifier's output is logits f32 [N, classes].

    `size` (H, W) matters to networks without global pooling. Siamese and autoencoder tell good from bad, two classes.
    Raises ExportError for an unknown name, a size the network cannot take, or a number of classes it cannot tell apart.
    """
    if architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ExportError("this architecture is not known", seen=architecture, remedy=f"Choose one of: {known}")
    if classes < 2:
        raise ExportError("a classifier needs at least two classes", seen=classes, remedy="Give one class name per output")
    if architecture not in CLASSIFIERS and classes != 2:
        raise ExportError(f"{architecture} only tells good from bad", seen=classes, remedy="Give the classes bad and good")
    return ARCHITECTURES[architecture](classes, size)


def kind_of(architecture: str) -> Kind:
    """How the network of this name comes to its scores; a name `build` does not know is taken for a classifier's."""
    kinds: dict[str, Kind] = {
        "siamese": "siamese",
        "siamese_small": "siamese",
        "autoencoder": "autoencoder",
        "autoencoder_small": "autoencoder",
    }
    return kinds.get(architecture, "classifier")
