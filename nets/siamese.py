"""Same or different? Two heightmaps through one body, and a head over both feature vectors."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import linear

FEATURES = 512
SAME, DIFFERENT = 0, 1
"""Places of the two logits."""


class SiameseNetwork(nn.Module):
    """ResNet18 as the shared body; the head takes two concatenated feature vectors and says same or different.

    The head's first layer is applied to either half of its weights on its own and the results are added, which equals applying it
    to the concatenated vectors: so one scan is compared with many references without repeating it, and their half is a constant.
    """

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

    def left(self, features: Tensor) -> Tensor:
        """What the head's first layer makes of the first vector alone: f32 [..., 512] → [..., hidden]."""
        return linear(features, self.first.weight[:, :FEATURES], self.first.bias)

    def right(self, features: Tensor) -> Tensor:
        """The same of the second vector."""
        return linear(features, self.first.weight[:, FEATURES:])

    def decide(self, joined: Tensor) -> Tensor:
        """`left` + `right`, f32 [..., hidden] → logits [..., 2], index 1 says different."""
        logits: Tensor = self.rest(joined)
        return logits

    def compare(self, one: Tensor, other: Tensor) -> Tensor:
        """Two sets of features f32 [..., 512] that broadcast → logits f32 [..., 2], index 1 says different."""
        return self.decide(self.left(one) + self.right(other))

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Two batches of heightmaps f32 [N, 3, H, W] → logits f32 [N, 2], as training wants them."""
        return self.compare(self.embed(one), self.embed(other))
