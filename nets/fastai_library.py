"""The one place of this room that imports fastai, quietly: its XResNets, its `vision_learner` layouts, its pixel shuffle."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

XRESNETS = ("xresnet18", "xresnet34", "xresnet50")


def xresnet(name: str, classes: int) -> nn.Module:
    """ResNet by fastai with the tricks of He et al. 2018: three-convolution stem, average-pool shortcut."""
    with _quiet():
        from fastai.vision.models import xresnet as family  # noqa: PLC0415 - seconds that other networks need not pay

        network: nn.Module = getattr(family, name)(n_out=classes)
    return network


def bag_of_tricks(classes: int) -> nn.Module:
    """The same tricks over bottleneck blocks, two per resolution."""
    with _quiet():
        from fastai.layers import ResBlock  # noqa: PLC0415
        from fastai.vision.models.xresnet import XResNet  # noqa: PLC0415

        network: nn.Module = XResNet(ResBlock, 4, [2, 2, 2, 2], n_out=classes)
    return network


def vision_model(name: str, classes: int, *, pretrained: bool = False) -> nn.Module:
    """What `vision_learner(dls, NAME)` makes with its default head, so that the state dict of its `learn.save` fits.

    With `pretrained` the body's weights are torchvision's, from its cache or else its server: OSError or RuntimeError when not there.
    """
    with _quiet():
        from fastai.vision import models  # noqa: PLC0415
        from fastai.vision.learner import create_vision_model  # noqa: PLC0415

        library = models.xresnet if name in XRESNETS else models
        network: nn.Module = create_vision_model(getattr(library, name), classes, pretrained=pretrained)
    return network


def layer_groups(name: str) -> Callable[[nn.Module], list[list[nn.Parameter]]]:
    """How fastai parts `vision_model(name)` for fine-tuning: lists of parameters from the input to the head, which is trained first."""
    with _quiet():
        from fastai.vision import models  # noqa: PLC0415
        from fastai.vision.learner import default_split, model_meta  # noqa: PLC0415

        made: Callable[[nn.Module], list[list[nn.Parameter]]] = model_meta.get(getattr(models, name), {}).get("split", default_split)
    return made


def decoder_stage(inputs: int, outputs: int) -> nn.Module:
    """Twice the height and width by pixel shuffle (started as nearest neighbour, Aitken et al. 2017), then a 3x3 convolution."""
    with _quiet():
        from fastai.layers import ConvLayer, NormType, PixelShuffle_ICNR  # noqa: PLC0415

        shuffle = PixelShuffle_ICNR(inputs, outputs, norm_type=NormType.Batch)
        return nn.Sequential(shuffle, ConvLayer(outputs, outputs, 3))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what fastai's import says about torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
