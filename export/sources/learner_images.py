"""What a fastai Learner's own validation pipeline makes of files: the very tensors its network would be given."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import ExportError


def model_inputs(learner: Any, items: Sequence[Any]) -> Iterator[NDArray[np.float32]]:
    """One f32 [channels, height, width] per item, after all item and batch transforms of the validation set, in order.

    Every item is a batch of its own, as on the box. Raises ExportError when the Learner cannot open one, or leaves one out.
    """
    validation_loader(learner)
    loader = _quietly(lambda: iter(learner.dls.test_dl(list(items), bs=1, num_workers=0, shuffle=False, drop_last=False)), items[0])
    for count, item in enumerate(items):
        batch = _quietly(lambda: next(loader, None), item)
        if batch is None:
            raise ExportError(
                "the Learner's own pipeline leaves scans out", seen=f"{count} of {len(items)} kept", remedy="Remove the others"
            )
        yield _one(batch)


def validation_loader(learner: Any) -> Any:
    """The DataLoader whose transforms say what the network sees after training. Raises ExportError when there is none."""
    if len(learner.dls.loaders) < 2:
        raise ExportError("the Learner has no validation set", seen="one DataLoader", remedy="Give its DataLoaders a validation set")
    return learner.dls.valid


def _quietly(run: Callable[[], Any], item: Any) -> Any:
    """Run a part of the Learner's own code, which may warn about itself and raise anything."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run()
    except Exception as exc:
        raise ExportError(
            "the Learner's own pipeline cannot open a scan",
            seen=f"{item}: {exc!r}",
            remedy="Give scans of the kind it was trained on",
        ) from exc


def _one(batch: Any) -> NDArray[np.float32]:
    images = batch[0] if isinstance(batch, tuple | list) else batch
    array: NDArray[np.float32] = np.asarray(images.detach().cpu().float())
    if array.ndim != 4 or len(array) != 1 or array.shape[1] not in (1, 3):
        raise ExportError("the Learner's network takes no gray or RGB images", seen=array.shape, remedy="Export a network of heightmaps")
    image: NDArray[np.float32] = array[0]
    return image
