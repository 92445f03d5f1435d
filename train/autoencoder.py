"""The autoencoder: learns to draw good scans, and judges a scan by what it cannot draw.

Three rules say what the error is. "source" is what the sources did, as far as they say it: images of good welds only, and a threshold
on the mean squared error. How that threshold was found they do not say, only that about 48 % of T7 was misjudged; so the notes show
three usual ways, and the best threshold in hindsight, which tells whether any way could have worked. "measured" leaves out pixels
without data, of which good welds have more or fewer by the capture angle alone. "local" compares the error of every place with what
good scans reach there, and counts missing data where good scans have some (`nets.autoencoder`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edge.errors import DatasetError
from nets.architectures import build
from nets.autoencoder import (
    ERROR_MAP,
    ERROR_SCALE,
    EVERY_PIXEL,
    GAP_MAP,
    Body,
    DrawingError,
    cell_errors,
    gap_error,
    shape_error,
    window_errors,
)
from train.amounts import Augmentation
from train.data import Augmented, PreparedScan
from train.drawing import Redrawn, drawing_loss, drawn
from train.fast import DataLoaders, Datasets, IntToFloatTensor, Learner, no_random
from train.learner import Fitted, NoValidation, Task, quiet_unless_terminal
from train.options import RECIPES, TrainingOptions
from train.scoring import heightmaps
from train.sides import Sides, finished, of_label, plain, require, usable_sides
from train.typology import truth_of

Rule = Literal["local", "measured", "source"]
LEAST_GOOD = 8
"""Good training scans."""
_FLOOR = 0.3
"""Of the mean of a map: where good scans hardly err at all, a little more is not yet much."""
_LEVEL = 0.9
"""Quantile of good scans at which both parts of the local error are 1, so that neither drowns the other."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderOptions:
    """One training on good scans. The same values on the same CPU give the same weights."""

    body: Body = "small"
    """`resnet18` as in the sources, 12.7 million weights, or `small`, 0.2 million."""
    rule: Rule = "local"
    quantile: float = 0.95
    """Of the errors of good validation scans (of the training's where there are none): badness 0.5."""
    epochs: int = 60
    batch_size: int = 16
    learning_rate: float = 5e-3
    """The one-cycle schedule's highest."""
    weight_decay: float = 0.01
    seed: int = 42
    threads: int = 1
    augmentation: Augmentation = field(default_factory=lambda: RECIPES["synthetic"].augmentation)

    def __post_init__(self) -> None:
        if not 0.5 <= self.quantile <= 1.0:
            raise DatasetError("the training option quantile is out of range", seen=self.quantile, remedy="Choose from 0.5 to 1")
        shared = {name: getattr(self, name) for name in ("epochs", "batch_size", "learning_rate", "seed", "threads")}
        TrainingOptions(architecture=self.architecture, **shared)

    @property
    def architecture(self) -> str:
        """The network's name in `nets.architectures`."""
        return "autoencoder" if self.body == "resnet18" else "autoencoder_small"


def fit_autoencoder(task: Task, options: AutoencoderOptions, *, watch: bool = False) -> Fitted:
    """Train on the good scans of `task.training`, then score the other sides as the box will; bad ones are judged, never learnt from.

    `watch` shows the loss on the good validation scans after every epoch. Raises DatasetError for too few good training scans or a
    validation side that is not empty and has no good scan, ExportError for a size that is no multiple of 32.
    """
    torch.set_num_threads(options.threads)
    sides = usable_sides(task)
    require(sides.training, "good", "training", least=LEAST_GOOD)
    if sides.validation:
        require(sides.validation, "good", "validation")
    with no_random(options.seed, reproducible=True):
        learner = _train(task, sides, options, watch=watch)
    network = plain(learner.model)
    return finished(
        task,
        sides,
        learner,
        network,
        architecture=options.architecture,
        provenance={name: str(value) for name, value in asdict(options).items()},
        constants=_constants(network, task, sides, options),
        notes=_source_notes(network, task, sides) if options.rule == "source" else ("learnt from good scans only",),
    )


def _train(task: Task, sides: Sides, options: AutoencoderOptions, *, watch: bool) -> Learner:
    good = of_label(sides.training, "good")
    shown = of_label(sides.validation, "good") or good[:1]
    data = _loaders([scan.path for scan in good], [scan.path for scan in shown], sides.prepared, options)
    made = build(options.architecture, 2, size=(task.spec.height, task.spec.width)).to(memory_format=torch.channels_last)
    loss = drawing_loss(every_pixel=options.rule == "source")
    learner = Learner(data, made, loss_func=loss, cbs=[Redrawn(task.spec)], wd=options.weight_decay)
    with quiet_unless_terminal(learner):
        learner.fit_one_cycle(options.epochs, options.learning_rate, cbs=[] if watch and sides.validation else [NoValidation()])
    return learner


def _loaders(training: list[Any], shown: list[Any], prepared: PreparedScan, options: AutoencoderOptions) -> DataLoaders:
    """Batches of heightmaps f32 [N, 1, H, W] in 0..1 alone: each is its own label."""
    splits = [list(range(len(training))), list(range(len(training), len(training) + len(shown)))]
    sets = Datasets([*training, *shown], [[prepared]], splits=splits)
    after = [IntToFloatTensor, Augmented(options.augmentation)]
    return sets.dataloaders(bs=min(options.batch_size, len(training)), val_bs=64, num_workers=0, after_batch=after)


def _constants(network: nn.Module, task: Task, sides: Sides, options: AutoencoderOptions) -> dict[str, Tensor]:
    """Maps by all good scans but the held-out ones; the scale by the good validation scans, which the network has not learnt."""
    judging = of_label(sides.validation, "good") or of_label(sides.training, "good")
    unseen, learnt = (_drawn(network, task, sides, scans) for scans in (judging, of_label(sides.training, "good")))
    constants: dict[str, Tensor] = {}
    if options.rule == "source":
        constants[EVERY_PIXEL] = torch.ones(1)
    elif options.rule == "local":
        constants[ERROR_MAP] = _greatest(cell_errors(*learnt), cell_errors(*unseen))
        constants[ERROR_MAP] *= torch.quantile(shape_error(*unseen, constants[ERROR_MAP]), _LEVEL)
        constants[GAP_MAP] = _greatest(window_errors(*learnt), window_errors(*unseen))
        constants[GAP_MAP] *= torch.quantile(gap_error(*unseen, constants[GAP_MAP]), _LEVEL)
    scale = torch.quantile(DrawingError(constants)(*unseen), options.quantile)
    return {**constants, ERROR_SCALE: scale.reshape(1)}


def _greatest(*errors: Tensor) -> Tensor:
    found = torch.cat(errors).amax(dim=0, keepdim=True)
    return found.clamp_min(_FLOOR * float(found.mean()))


def _drawn(network: nn.Module, task: Task, sides: Sides, scans: Any) -> tuple[Tensor, Tensor]:
    images = heightmaps(scans, sides.prepared)
    return images, drawn(network, images, task.spec)


def _source_notes(network: nn.Module, task: Task, sides: Sides) -> tuple[str, ...]:
    """Errors of the held-out scans by thresholds on the plain error of the good training scans."""
    error = DrawingError({EVERY_PIXEL: torch.ones(1)})
    good = error(*_drawn(network, task, sides, of_label(sides.training, "good")))[:, 0].double().numpy()
    found = error(*_drawn(network, task, sides, sides.held_out))[:, 0].double().numpy()
    bad = truth_of(sides.held_out)
    ways = {"mean": good.mean(), "mean + 2 deviations": good.mean() + 2 * good.std(), "greatest": good.max()}
    rates = [f"{name} {((found > value) != bad).mean():.2%}" for name, value in ways.items()]
    best = min(float(((found > value) != bad).mean()) for value in (-1.0, *found))
    return (
        "the sources do not say how they found the threshold",
        f"error by thresholds from good training scans: {', '.join(rates)}; by the best in hindsight {best:.2%}",
    )
