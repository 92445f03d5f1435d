"""What an autoencoder's training adds to fastai's: the image is its own label, and pixels without data may be left out of the loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from edge.inspector.heightmap.spec import HeightmapSpec
from train.fast import Callback
from train.scoring import BATCH, normalised

Loss = Callable[[Tensor, Tensor], Tensor]


class Redrawn(Callback):  # type: ignore[misc]
    """Makes of a batch of heightmaps f32 [N, 1, H, W] the network's input, normalised in three channels, and its label, as it is."""

    def __init__(self, spec: HeightmapSpec) -> None:
        super().__init__()
        self.mean, self.std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))

    def before_batch(self) -> None:
        """Replace input and label."""
        image = self.learn.xb[0].as_subclass(Tensor)
        self.learn.xb = ((image - self.mean.to(image.device)) / self.std.to(image.device),)
        self.learn.yb = (image,)


def drawing_loss(*, every_pixel: bool) -> Loss:
    """Mean squared difference of drawing and heightmap f32 [N, 1, H, W], over every pixel or over those with data."""

    def loss(drawing: Tensor, image: Tensor) -> Tensor:
        valid = torch.ones_like(image) if every_pixel else (image > 0).float()
        return ((drawing - image) ** 2 * valid).sum() / valid.sum().clamp_min(1.0)

    return loss


def drawn(network: nn.Module, images: Tensor, spec: HeightmapSpec) -> Tensor:
    """u8 [N, 1, H, W] → the drawings f32 [N, 1, H, W], gray / 255; the network must be in `eval()` mode."""
    with torch.inference_mode():
        parts = [network(normalised(part, spec.mean, spec.std)) for part in torch.split(images, BATCH)]
        return torch.cat(parts)
