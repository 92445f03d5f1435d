"""A task that teaches a body what welds look like without any bad one: tell good scans from good scans with a piece moved.

After CutPaste (Li et al. 2021), on heights: a rectangle of a scan, mirrored or not and raised or lowered, lands elsewhere in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scans.folder import Scan
from train.amounts import Augmentation
from train.anomaly.options import AnomalyOptions
from train.data import PreparedScan, loaders
from train.fast import Callback, CrossEntropyLossFlat, Learner, no_random
from train.learner import NoValidation
from train.options import TrainingOptions

SIDES = (0.06, 0.5)
"""Shortest and longest side of a piece, as a part of the scan's height."""
LIFT = 0.4
"""Largest change of a piece's normalised gray."""
AMOUNTS = Augmentation(gain=0.1, offset=0.05, tilt=0.05, noise=0.005, dropout=0.01)
MOVED, WHOLE = 0, 1


class CutPaste(Callback):  # type: ignore[misc]
    """Gives every other scan of a batch a moved piece, and says which."""

    def before_batch(self) -> None:
        """Change images and labels in place of the loader's."""
        images, labels = cut_paste(self.x.as_subclass(Tensor))
        self.learn.xb, self.learn.yb = (images,), (labels,)


def cut_paste(images: Tensor) -> tuple[Tensor, Tensor]:
    """f32 [N, C, H, W] → images with a moved piece in every other one, and labels i64 [N]: MOVED or WHOLE."""
    changed = images.clone()
    labels = torch.full((len(images),), WHOLE, device=images.device)
    for image, source in zip(changed[::2], images[::2], strict=True):
        _move_piece(image, source)
    labels[::2] = MOVED
    return changed, labels


def _move_piece(image: Tensor, source: Tensor) -> None:
    empty = source.flatten(1).amin(dim=1)[:, None, None]
    where = (source > empty).any(dim=0).nonzero()
    if not len(where):
        return
    rows, columns = (max(2, int(image.shape[1] * _uniform(*SIDES))) for _ in range(2))
    piece = _cut(source, where, rows, columns).clone()
    piece = piece.flip(1) if torch.rand(()) < 0.5 else piece
    piece = piece.flip(2) if torch.rand(()) < 0.5 else piece
    piece = torch.where(piece > empty, piece + _uniform(-LIFT, LIFT), piece)
    target = _cut(image, where, rows, columns)
    target.copy_(piece[:, : target.shape[1], : target.shape[2]])


def _cut(image: Tensor, where: Tensor, rows: int, columns: int) -> Tensor:
    """A view of about rows x columns around one of the places `where`, i64 [n, 2]."""
    row, column = where[int(torch.randint(len(where), ()))].tolist()
    top = min(max(0, row - rows // 2), image.shape[1] - rows)
    left = min(max(0, column - columns // 2), image.shape[2] - columns)
    return image[:, top : top + rows, left : left + columns]


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def taught(network: nn.Module, good: Sequence[Scan], prepared: PreparedScan, options: AnomalyOptions) -> nn.Module:
    """`network` (two classes) after the pretext task on `good` scans; on the CPU, in eval mode."""
    training = TrainingOptions(batch_size=options.batch_size, augmentation=AMOUNTS)
    labels = {scan.path: "whole" for scan in good}
    data = loaders(good, good[:1], labels, ("moved", "whole"), prepared=prepared, options=training)
    learner: Any = Learner(data, network.to(memory_format=torch.channels_last), loss_func=CrossEntropyLossFlat(), wd=training.weight_decay)
    with no_random(options.seed, reproducible=True), learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(options.epochs, options.learning_rate, cbs=[NoValidation(), CutPaste()])
    trained: nn.Module = learner.model.cpu().to(memory_format=torch.contiguous_format).eval()
    return trained
