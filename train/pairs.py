"""Pairs of scans, same or different: formed inside a batch, so that every scan goes through the body once, and each kind weighs half."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nets.siamese import DIFFERENT, SAME, SiameseNetwork

BAD, GOOD = 0, 1
"""Class indices, in the order of train.typology.CLASSES."""
_ROWS = 64
"""Scans that are compared with all others at once."""


class AllPairs(nn.Module):
    """The siamese network as training runs it: every scan of a batch against every scan."""

    def __init__(self, network: SiameseNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """f32 [N, 3, H, W], normalised → logits f32 [N, N, 2]; row i, column j: i as the scan, j as its reference."""
        features = self.network.embed(image)
        return self.network.compare(features.unsqueeze(1), features.unsqueeze(0))


class PairLoss(nn.Module):
    """Cross entropy over all pairs of different scans; the mean of same pairs and that of different pairs count half each.

    Same are two good scans, and with `bad_pairs` two bad ones, which otherwise take no part: two defects need not look alike, and
    the verdict only compares with good scans.
    """

    def __init__(self, *, bad_pairs: bool) -> None:
        super().__init__()
        self.bad_pairs = bad_pairs

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """f32 [N, N, 2] and class indices [N] → f32 []; 0 where a batch holds no pair."""
        same, different = pair_kinds(label.long(), bad_pairs=self.bad_pairs)
        losses = [
            cross_entropy(logits[kind], torch.full((int(kind.sum()),), target, device=logits.device))
            for kind, target in ((same, SAME), (different, DIFFERENT))
            if kind.any()
        ]
        return torch.stack(losses).mean() if losses else logits.sum() * 0.0


def pair_kinds(label: Tensor, *, bad_pairs: bool) -> tuple[Tensor, Tensor]:
    """Class indices [N] → which ordered pairs are same and which are different, bool [N, N] each; no scan is paired with itself."""
    good = label == GOOD
    other = ~torch.eye(len(label), dtype=torch.bool, device=label.device)
    same = good[:, None] & good[None] & other
    if bad_pairs:
        same |= ~good[:, None] & ~good[None] & other
    return same, good[:, None] != good[None]


@dataclass(frozen=True, kw_only=True)
class PairError:
    """What the sources measured of a siamese network: how often it misjudges a pair."""

    same: float
    """Part of the same pairs called different."""
    different: float
    """Part of the different pairs called same."""

    @property
    def balanced(self) -> float:
        """Error where both kinds of pairs are equally frequent."""
        return (self.same + self.different) / 2


def pair_error(network: SiameseNetwork, features: Tensor, bad: Tensor, *, bad_pairs: bool) -> PairError:
    """Over all ordered pairs of scans with features f32 [N, F] and bool [N]; NaN for a kind that does not occur."""
    same, different = pair_kinds((~bad).long(), bad_pairs=bad_pairs)
    with torch.inference_mode():
        rows = [network.compare(part.unsqueeze(1), features.unsqueeze(0)).argmax(2) for part in torch.split(features, _ROWS)]
    called = torch.cat(rows) == DIFFERENT
    return PairError(same=_share(called[same]), different=_share(~called[different]))


def _share(wrong: Tensor) -> float:
    return float(wrong.double().mean()) if len(wrong) else float(np.nan)
