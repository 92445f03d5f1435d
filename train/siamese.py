"""The siamese network: learns same from different on pairs, and judges a scan by how different it is from several good ones.

The references are training scans, the ones nearest to the centres of k clusters of good features, so that every sub-kind of good weld
has one. They go into the checkpoint, and the box computes the same badness: the mean probability of being different from them. The
sources only measured how often a pair is misjudged; that stands beside the verdict in the notes.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from edge.errors import DatasetError
from nets.architectures import build
from nets.siamese import REFERENCE_IMAGES, Body, SiameseNetwork
from train.amounts import Augmentation
from train.data import loaders
from train.fast import Learner, no_random
from train.learner import Fitted, NoValidation, Task, quiet_unless_terminal
from train.options import RECIPES, TrainingOptions
from train.pairs import AllPairs, PairLoss, pair_error
from train.scoring import BATCH, heightmaps, normalised
from train.sides import Sides, finished, of_label, plain, require, usable_sides
from train.typology import truth_of


@dataclass(frozen=True, kw_only=True)
class SiameseOptions:
    """One training of pairs. The same values on the same CPU give the same weights and references."""

    body: Body = "small"
    """`resnet18` as in the sources, 11 million weights, or `small`, 0.4 million."""
    references: int = 8
    """Good training scans that every scan is compared with."""
    bad_pairs: bool = False
    """Whether two bad scans are taught to be the same, too."""
    epochs: int = 40
    """In one epoch as many scans are drawn as there are, good and bad ones equally often."""
    batch_size: int = 16
    learning_rate: float = 1e-3
    """The one-cycle schedule's highest; from about 1e-2 on the head calls every pair different and stays there."""
    weight_decay: float = 0.05
    seed: int = 42
    threads: int = 1
    augmentation: Augmentation = field(default_factory=lambda: RECIPES["synthetic"].augmentation)

    def __post_init__(self) -> None:
        if not 1 <= self.references <= 64:
            raise DatasetError("the training option references is out of range", seen=self.references, remedy="Choose from 1 to 64")
        self.training()

    @property
    def architecture(self) -> str:
        """The network's name in `nets.architectures`."""
        return "siamese" if self.body == "resnet18" else "siamese_small"

    def training(self) -> TrainingOptions:
        """What it shares with the training of a classifier. Raises DatasetError for a value out of range."""
        shared = {name: getattr(self, name) for name in ("epochs", "batch_size", "learning_rate", "weight_decay", "seed", "threads")}
        return TrainingOptions(architecture=self.architecture, balance="oversample", augmentation=self.augmentation, **shared)


def fit_siamese(task: Task, options: SiameseOptions, *, watch: bool = False) -> Fitted:
    """Train on pairs of `task.training`, choose references among its good scans, score the other sides as the box will.

    `watch` shows the pairs' loss on the validation scans after every epoch. Raises DatasetError when a side that is not empty lacks
    a label, or there are fewer good training scans than references.
    """
    torch.set_num_threads(options.threads)
    sides = usable_sides(task)
    _require_labels(sides, options)
    with no_random(options.seed, reproducible=True):
        learner = _train(task, sides, options, watch=watch)
    network = learner.model.network
    plain(network)
    images = heightmaps(of_label(sides.training, "good"), sides.prepared)
    chosen = choose_references(_features(network, images, task), options.references, seed=options.seed)
    return finished(
        task,
        sides,
        learner,
        network,
        architecture=options.architecture,
        provenance={name: str(value) for name, value in asdict(options).items()},
        constants={REFERENCE_IMAGES: images[chosen]},
        notes=_notes(network, task, sides, options),
    )


def choose_references(features: Tensor, count: int, *, seed: int) -> list[int]:
    """Indices of the `count` vectors of f32 [N, F] nearest to the centres that k-means finds, in ascending order, each once.

    Raises DatasetError when fewer vectors differ.
    """
    points = features.double().numpy()
    if (differing := len(np.unique(points, axis=0))) < count:
        raise DatasetError("fewer good training scans than references", seen=f"{differing} that differ", remedy=f"Give {count} or more")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # vectors may be equal but for rounding: then centres fall together
        centres = KMeans(count, n_init=4, random_state=seed).fit(points).cluster_centers_
    distances = np.linalg.norm(points[None] - centres[:, None], axis=2)
    chosen: list[int] = []
    for row in distances:
        row[chosen] = np.inf
        chosen.append(int(np.argmin(row)))
    return sorted(chosen)


def _require_labels(sides: Sides, options: SiameseOptions) -> None:
    require(sides.training, "good", "training", least=max(2, options.references))
    require(sides.training, "bad", "training")
    for where, scans in (("validation", sides.validation), ("held-out", sides.held_out)):
        for label in ("good", "bad"):
            if scans:
                require(scans, label, where)


def _train(task: Task, sides: Sides, options: SiameseOptions, *, watch: bool) -> Learner:
    shown = sides.validation or sides.held_out
    data = loaders(sides.training, shown, task.labels, task.classes, prepared=sides.prepared, options=options.training())
    made = build(options.architecture, 2, size=(task.spec.height, task.spec.width)).to(memory_format=torch.channels_last)
    assert isinstance(made, SiameseNetwork)
    learner = Learner(data, AllPairs(made), loss_func=PairLoss(bad_pairs=options.bad_pairs), wd=options.weight_decay)
    with quiet_unless_terminal(learner):
        learner.fit_one_cycle(options.epochs, options.learning_rate, cbs=[] if watch and sides.validation else [NoValidation()])
    return learner


def _features(network: SiameseNetwork, images: Tensor, task: Task) -> Tensor:
    with torch.inference_mode():
        parts = [network.embed(normalised(part, task.spec.mean, task.spec.std)) for part in torch.split(images, BATCH)]
    return torch.cat(parts)


def _notes(network: SiameseNetwork, task: Task, sides: Sides, options: SiameseOptions) -> tuple[str, ...]:
    features = _features(network, heightmaps(sides.held_out, sides.prepared), task)
    found = pair_error(network, features, torch.from_numpy(truth_of(sides.held_out)), bad_pairs=options.bad_pairs)
    wrong = f"same pairs called different {found.same:.2%}, different ones same {found.different:.2%}"
    return (f"{options.references} references, pair error {found.balanced:.2%} ({wrong})",)
