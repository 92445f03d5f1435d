"""Same or different? Two heightmaps through one body, and a head over both feature vectors."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from nets.small import SmallResidualNetwork

SAME, DIFFERENT = 0, 1
"""Places of the two logits."""
REFERENCE_IMAGES = "reference_images"
"""Constant of a trained checkpoint: the good scans that others are compared with, u8 [K, 1, H, W], prepared."""
Body = Literal["resnet18", "small"]


class SiameseNetwork(nn.Module):
    """A shared body, ResNet18 (512 features) or this project's small network (320); a head over two feature vectors decides.

    The head's first layer is applied to either half of its weights on its own and the results are added, which equals applying it
    to the concatenated vectors: so one scan is compared with many references without repeating it, and their half is a constant.
    """

    def __init__(self, hidden: int = 128, dropout: float = 0.3, *, body: Body = "resnet18") -> None:
        super().__init__()
        self.body, self.features = _body(body)
        self.first = nn.Linear(2 * self.features, hidden)
        self.rest = nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2))

    def embed(self, image: Tensor) -> Tensor:
        """f32 [N, 3, H, W], normalised → features f32 [N, F]."""
        features: Tensor = self.body(image)
        return features

    def left(self, features: Tensor) -> Tensor:
        """What the head's first layer makes of the first vector alone: f32 [..., F] → [..., hidden]."""
        return linear(features, self.first.weight[:, : self.features], self.first.bias)

    def right(self, features: Tensor) -> Tensor:
        """The same of the second vector."""
        return linear(features, self.first.weight[:, self.features :])

    def decide(self, joined: Tensor) -> Tensor:
        """`left` + `right`, f32 [..., hidden] → logits [..., 2], index 1 says different."""
        logits: Tensor = self.rest(joined)
        return logits

    def compare(self, one: Tensor, other: Tensor) -> Tensor:
        """Two sets of features f32 [..., F] that broadcast → logits f32 [..., 2], index 1 says different."""
        return self.decide(self.left(one) + self.right(other))

    def different(self, features: Tensor, sides: Tensor) -> Tensor:
        """Features f32 [N, F] and `right` of K references f32 [1, K, hidden] → probability of being different from each, f32 [N, K]."""
        logits = self.decide(self.left(features).unsqueeze(1) + sides)
        return torch.softmax(logits, dim=2)[:, :, DIFFERENT]

    def badness(self, features: Tensor, sides: Tensor) -> Tensor:
        """The verdict against several references: the mean of `different`, f32 [N, 1]."""
        return self.different(features, sides).mean(dim=1, keepdim=True)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Two batches of heightmaps f32 [N, 3, H, W] → logits f32 [N, 2], as training wants them."""
        return self.compare(self.embed(one), self.embed(other))


def _body(name: Body) -> tuple[nn.Module, int]:
    """A network that ends in its features, and how many they are."""
    if name == "small":
        small = SmallResidualNetwork(2)
        features = next(layer.in_features for layer in small.head if isinstance(layer, nn.Linear))
        small.head = nn.Sequential()
        return small, features
    from torchvision.models import resnet18  # noqa: PLC0415 - costs a second that other networks need not pay

    deep = resnet18(weights=None)
    features = int(deep.fc.in_features)
    deep.fc = nn.Identity()
    return deep, features
