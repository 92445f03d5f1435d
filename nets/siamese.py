"""Same or different? Two heightmaps through one body, and a head over both feature vectors."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import linear

FEATURES = 512
SAME, DIFFERENT = 0, 1
"""Places of the two logits."""


class SiameseNetwork(nn.Module):
    """ResNet18 as the shared body; the head takes two concatenated feature vectors and says same or different."""

    def __init__(self, hidden: int = 128, dropout: float = 0.3) -> None:
        super().__init__()
        from torchvision.models import resnet18  # noqa: PLC0415 - costs a second that other networks need not pay

        self.body = resnet18(weights=None)
        self.body.fc = nn.Identity()
        self.first = nn.Linear(2 * FEATURES, hidden)
        self.rest = nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2))

    def embed(self, image: Tensor) -> Tensor:
        """f32 [N, 3, H, W], normalised → features f32 [N, 512]."""
        features: Tensor = self.body(image)
        return features

    def compare(self, one: Tensor, other: Tensor) -> Tensor:
        """Two sets of features f32 [..., 512] that broadcast → logits f32 [..., 2], index 1 says different.

        The first layer is applied to each half of its weights on its own, which is the same as to the concatenated vectors, and
        lets one scan be compared with many references without being repeated.
        """
        weight = self.first.weight
        joined = linear(one, weight[:, :FEATURES], self.first.bias) + linear(other, weight[:, FEATURES:])
        logits: Tensor = self.rest(joined)
        return logits

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Two batches of heightmaps f32 [N, 3, H, W] → logits f32 [N, 2], as training wants them."""
        return self.compare(self.embed(one), self.embed(other))
