"""fastai's view of a folder of scans: the box's own heightmap code as a Transform, so that training sees what the box sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge.contract import Reason
from edge.errors import DatasetError, FrameError
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import HeightmapSpec
from scans.folder import Scale, Scan, kind_of, read_image
from train.amounts import Augmentation
from train.augment import augment
from train.fast import Categorize, DataLoaders, Datasets, IntToFloatTensor, Normalize, TensorImageBW, Transform
from train.options import TrainingOptions


class PreparedScan(Transform):  # type: ignore[misc]
    """A path → u8 [1, height, width] by the box's Preparer; every file is read and prepared once and kept in memory."""

    order = 0

    def __init__(self, spec: HeightmapSpec, scale: Scale) -> None:
        super().__init__()
        self.spec = spec
        self.scale = scale
        self._start()

    def _start(self) -> None:
        self._preparer = Preparer(self.spec)
        self._kept: dict[Path, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Neither buffers nor the kept images go into an exported learner."""
        return {key: value for key, value in self.__dict__.items() if key not in ("_preparer", "_kept")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start again with empty buffers."""
        self.__dict__.update(state)
        self._start()

    def encodes(self, path: Path) -> Any:
        """One scan's heightmap. Raises DatasetError for an unreadable file and FrameError for one the box would refuse."""
        if path not in self._kept:
            self._kept[path] = self._prepared(read_image(path))
        return self._kept[path]

    def _prepared(self, image: NDArray[Any]) -> Any:
        out = np.empty((self.spec.height, self.spec.width), np.uint8)
        scale = self.scale
        self._preparer.prepare(
            image, kind=kind_of(image), z_scale_mm=scale.z_scale_mm, z_offset_mm=scale.z_offset_mm, no_data=scale.no_data, out=out
        )
        return TensorImageBW(torch.from_numpy(out)[None])


class Augmented(Transform):  # type: ignore[misc]
    """Random changes of a batch f32 [N, 1, H, W] in 0..1; training only."""

    order = 20
    split_idx = 0

    def __init__(self, amounts: Augmentation) -> None:
        super().__init__()
        self.amounts = amounts

    def encodes(self, images: TensorImageBW) -> Any:
        """The changed batch, same shape."""
        return TensorImageBW(augment(images.as_subclass(torch.Tensor), self.amounts))


class LabelOf(Transform):  # type: ignore[misc]
    """A path's label, looked up in a table, so that good against bad and typology against typology are learnt by the same code."""

    def __init__(self, labels: Mapping[Path, str]) -> None:
        super().__init__()
        self.labels = labels

    def encodes(self, path: Path) -> str:
        """The class name of one scan."""
        return self.labels[path]

    def __getstate__(self) -> dict[str, Any]:
        """An exported learner must not carry the paths of this machine."""
        return {**self.__dict__, "labels": {}}


def usable(scans: Sequence[Scan], prepare: Callable[[Path], Any]) -> tuple[tuple[Scan, ...], int]:
    """The scans that can be judged, and how many bad ones were left out because the box refuses them before any network.

    A bare or constant image of a bad weld is refused (FRAME_EMPTY) on the box, so no network needs to learn it; a good one like
    that, or a file of the wrong kind, is a mistake in the folder. Raises DatasetError.
    """
    kept = []
    for scan in scans:
        try:
            prepare(scan.path)
        except FrameError as exc:
            if scan.label == "bad" and exc.reason is Reason.FRAME_EMPTY:
                continue
            raise DatasetError(f"the box would refuse {scan.path}", seen=exc.what, remedy="Remove the file, or correct the spec") from exc
        kept.append(scan)
    return tuple(kept), len(scans) - len(kept)


def loaders(
    training: Sequence[Scan],
    held_out: Sequence[Scan],
    labels: Mapping[Path, str],
    classes: Sequence[str],
    *,
    prepared: PreparedScan,
    options: TrainingOptions,
) -> DataLoaders:
    """DataLoaders of normalised f32 [N, 3, H, W] and class indices; the training part is shuffled and augmented.

    With `balance` "oversample" an epoch draws as many scans as there are, with replacement, each class equally often.
    """
    items = [scan.path for scan in (*training, *held_out)]
    splits = [list(range(len(training))), list(range(len(training), len(items)))]
    sets = Datasets(items, [[prepared], [LabelOf(labels), Categorize(vocab=list(classes), sort=False)]], splits=splits)
    spec = prepared.spec
    normalise = Normalize.from_stats(spec.mean, spec.std, cuda=False)  # one gray channel becomes three by broadcasting
    made = sets.dataloaders
    if options.balance == "oversample":
        made = partial(sets.weighted_dataloaders, _rarity(training, labels))
    return made(
        bs=min(options.batch_size, len(training)),
        val_bs=4 * options.batch_size,
        num_workers=0,
        after_batch=[IntToFloatTensor, Augmented(options.augmentation), normalise],
    )


def _rarity(scans: Sequence[Scan], labels: Mapping[Path, str]) -> NDArray[np.float64]:
    counts = Counter(labels[scan.path] for scan in scans)
    return np.array([1 / counts[labels[scan.path]] for scan in scans])
