"""Fitting to good welds: a body, statistics of its patches, and a calibration that says where good ends."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.errors import DatasetError
from edge.inspector.heightmap.spec import HeightmapSpec
from nets.anomaly import MEMORY, GaussianDistances, MemoryDistances, PatchNetwork, Tail
from nets.architectures import build
from nets.checkpoint import Checkpoint
from scans.folder import Scan
from train.anomaly.body import body_for
from train.anomaly.options import AnomalyOptions
from train.anomaly.statistics import coreset, gaussians
from train.data import PreparedScan, usable
from train.fast import no_random
from train.learner import Fitted, Task
from train.scoring import BATCH, heightmaps, normalised, probabilities

MIN_GOOD = 16
"""Good training scans below which nothing can be said about good."""
TYPICAL = 0.05
"""Badness of the median good scan."""


def fit_anomaly(task: Task, options: AnomalyOptions) -> Fitted:
    """Fit to the good scans of `task.training` alone, then score validation and held-out scans; its bad ones are never opened.

    Equal good scans and options give equal networks on one kind of CPU. `Fitted.learner` is None: nothing of it is a fastai Learner.
    Raises DatasetError for too few good scans and for what `train.learner.fit` raises it for.
    """
    torch.set_num_threads(options.threads)
    prepared = PreparedScan(task.spec, task.scale)
    known = sorted((scan for scan in task.training if task.labels[scan.path] == "good"), key=lambda scan: scan.path)
    good, _ = usable(known, prepared)
    validation, refused = usable(task.validation, prepared)
    held_out, refused_too = usable(task.held_out, prepared)
    with no_random(options.seed, reproducible=True):
        network = good_network(task, good, prepared, options)
    checkpoint = Checkpoint(
        architecture=options.architecture,
        classes=task.classes,
        heightmap=task.spec,
        model=network,
        provenance=_provenance(options, len(good), len(held_out)),
    )
    images = heightmaps(held_out, prepared)
    nothing = np.zeros((0, len(task.classes)))
    return Fitted(
        learner=None,
        checkpoint=checkpoint,
        held_out=held_out,
        images=images,
        probabilities=probabilities(checkpoint, images),
        refused=refused + refused_too,
        validation=validation,
        validation_probabilities=probabilities(checkpoint, heightmaps(validation, prepared)) if validation else nothing,
    )


def good_network(task: Task, good: Sequence[Scan], prepared: PreparedScan, options: AnomalyOptions) -> PatchNetwork:
    """A fitted network from prepared `good` scans; draws from torch's generator. Raises DatasetError."""
    if len(good) < MIN_GOOD:
        raise DatasetError("too few good scans to say what is good", seen=len(good), remedy=f"Give at least {MIN_GOOD} training scans")
    for_statistics, for_border = _set_apart(good, options)
    network: PatchNetwork = build(options.architecture, 2, size=(task.spec.height, task.spec.width))  # type: ignore[assignment]
    network.body = body_for(task, for_statistics, prepared, options)
    learn_patches(network.float_tail.distances, feature_maps(network.body, heightmaps(for_statistics, prepared), task.spec), options)
    draw_border(network.float_tail, feature_maps(network.body, heightmaps(for_border, prepared), task.spec), options.quantile)
    return network.eval()


def _set_apart(good: Sequence[Scan], options: AnomalyOptions) -> tuple[list[Scan], list[Scan]]:
    """(statistics, border): whole groups, because a scan's own twin lies nearer to the statistics than a new weld does."""
    groups = sorted({scan.group for scan in good})
    np.random.default_rng(options.seed).shuffle(groups)
    wanted, apart, count = max(1, round(options.calibration * len(good))), set(), 0
    for group in groups[: len(groups) - 1]:
        if count >= wanted:
            break
        apart.add(group)
        count += sum(scan.group == group for scan in good)
    if not count:
        raise DatasetError("all good scans are of one group", seen=groups, remedy="Give scans of several parts, and their groups")
    return [scan for scan in good if scan.group not in apart], [scan for scan in good if scan.group in apart]


def feature_maps(body: nn.Module, images: Tensor, spec: HeightmapSpec) -> list[Tensor]:
    """The body's maps of u8 [N, 1, H, W], each f32 [N, C, h, w]."""
    with torch.inference_mode():
        parts = [body(normalised(part, spec.mean, spec.std)) for part in torch.split(images, BATCH)]
    return [torch.cat(maps) for maps in zip(*parts, strict=True)]


def learn_patches(distances: GaussianDistances | MemoryDistances, maps: Sequence[Tensor], options: AnomalyOptions) -> None:
    """Fill the statistics in place from feature maps f32 [N, C, h, w] of good scans."""
    with torch.no_grad():
        for level, feature in enumerate(maps):
            if isinstance(distances, GaussianDistances):
                made = dict(zip(("mean", "whitening"), gaussians(feature.numpy(), reach=options.reach), strict=True))
            else:
                made = _memory(distances, level, feature, options.seed)
            for name, value in made.items():
                distances.get_buffer(f"{name}{level}").copy_(torch.from_numpy(value))


def _memory(distances: MemoryDistances, level: int, feature: Tensor, seed: int) -> dict[str, NDArray[np.float32]]:
    deviation, mean = torch.std_mean(feature, dim=(0, 2, 3), keepdim=True)
    scale = 1.0 / deviation.clamp_min(1e-4)
    distances.get_buffer(f"mean{level}").copy_(mean)
    distances.get_buffer(f"scale{level}").copy_(scale)
    patches = distances.patches(level, feature).permute(0, 2, 3, 1).flatten(0, 2).numpy()
    return {"memory": coreset(patches, MEMORY, seed=seed)}


def draw_border(tail: Tail, maps: Sequence[Tensor], quantile: float) -> None:
    """Set in place where badness is 0.5: the `quantile` of the scores of other good scans, whose median gets TYPICAL.

    Each map is measured in its own quantile first, so that none drowns the others.
    """
    with torch.no_grad():
        peaks = np.concatenate([tail.peaks([each[i : i + BATCH] for each in maps]).numpy() for i in range(0, len(maps[0]), BATCH)])
        tail.get_buffer("unit").copy_(torch.from_numpy(np.quantile(peaks, quantile, axis=0).astype(np.float32)))
        scores = np.log((peaks / tail.get_buffer("unit").numpy()).max(axis=1))
        border, median = np.quantile(scores, (quantile, 0.5))
        slope = np.log(1 / TYPICAL - 1) / max(border - median, 1e-3)
        tail.calibration.weight.zero_()
        tail.calibration.weight[0, 0] = slope
        tail.calibration.bias.zero_()
        tail.calibration.bias[0] = -slope * border


def _provenance(options: AnomalyOptions, good: int, held_out: int) -> dict[str, str]:
    counts = {"training_scans": str(good), "held_out_scans": str(held_out)}
    return {**options.as_text(), **counts, **{name: version(name) for name in ("cordon", "torch", "scikit-learn")}}
