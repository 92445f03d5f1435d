"""Real fastai Learners on a tiny folder of scans, and the warnings fastai's import makes kept away from the tests."""

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from scans.folder import Scan, find_scans

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.data.block import CategoryBlock, DataBlock
    from fastai.data.core import Datasets
    from fastai.data.transforms import Normalize, ToTensor, get_image_files, parent_label
    from fastai.learner import Learner, load_learner
    from fastai.losses import CrossEntropyLossFlat
    from fastai.torch_core import TensorImage
    from fastai.vision.augment import RandomResizedCrop, Resize, aug_transforms
    from fastai.vision.core import PILImage, PILImageBW
    from fastai.vision.data import ImageBlock, ImageDataLoaders
    from fastai.vision.learner import vision_learner
    from fasttransform import Transform

__all__ = ["Datasets", "Normalize", "PILImage", "PILImageBW", "RandomResizedCrop", "Resize", "ToTensor", "aug_transforms", "vision_learner"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHAPES = ((40, 90), (61, 73), (33, 118))
CPU = torch.device("cpu")


def write_scans(root: Path, *, shapes: tuple[tuple[int, int], ...] = SHAPES) -> list[Scan]:
    """Four good and four bad scans with a ridge, a shadow and missing points; 8 bits."""
    rng = np.random.default_rng(7)
    for label in ("good", "bad"):
        (root / label).mkdir(parents=True)
        for number in range(4):
            shape = shapes[number % len(shapes)]
            rows, cols = np.mgrid[: shape[0], : shape[1]]
            image = 60 + 150 * np.exp(-(((rows - shape[0] * 0.4 - 2 * np.sin(cols / 9 + number)) / 7) ** 2)) + rng.normal(0, 4, shape)
            image[int(shape[0] * 0.7) : int(shape[0] * 0.85)] = 0
            image[rng.random(shape) < 0.03] = 0
            cv2.imwrite(str(root / label / f"{number}.png"), np.clip(image, 0, 255).astype(np.uint8))
    return list(find_scans(root).scans)


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2))


def from_folder(root: Path, item_tfms: Any = None, batch_tfms: Any = None) -> Any:
    return ImageDataLoaders.from_folder(
        root, valid_pct=0.5, seed=1, item_tfms=item_tfms, batch_tfms=batch_tfms, bs=2, num_workers=0, device=CPU
    )


def from_block(root: Path, item_tfms: Any = None, batch_tfms: Any = None, *, image: Any = PILImageBW) -> Any:
    block = DataBlock(
        blocks=(ImageBlock(image), CategoryBlock), get_items=get_image_files, get_y=parent_label, item_tfms=item_tfms, batch_tfms=batch_tfms
    )
    return block.dataloaders(root, bs=2, num_workers=0, device=CPU)


def learner_of(dls: Any, root: Path) -> Any:
    return Learner(dls, network(), loss_func=CrossEntropyLossFlat(), path=root)


def reloaded(learner: Any) -> Any:
    """Through a file and back."""
    learner.export("learner.pkl")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fastai warns about pickles
        return load_learner(learner.path / "learner.pkl")


def normalise() -> Any:
    return Normalize.from_stats(MEAN, STD, cuda=False)


# -- transforms that are not fastai's


class Brighter(Transform):  # type: ignore[misc]
    """Adds gray levels to an 8-bit image."""

    order = 6

    def __init__(self, more: int = 3) -> None:
        super().__init__()
        self.more = more

    def encodes(self, image: TensorImage) -> Any:
        return (image.int() + self.more).clamp(0, 255).byte()


class Spot(Transform):  # type: ignore[misc]
    """Changes one pixel."""

    order = 6

    def encodes(self, image: TensorImage) -> Any:
        image[..., 20, 30] ^= 64
        return image


class Mirror(Transform):  # type: ignore[misc]
    """Left becomes right."""

    order = 6

    def encodes(self, image: TensorImage) -> Any:
        return image.flip(-1)


class NotANumber(Transform):  # type: ignore[misc]
    """Spoils the batch."""

    order = 100

    def encodes(self, image: TensorImage) -> Any:
        image[..., 3, 4] = float("nan")
        return image


class Halved(Transform):  # type: ignore[misc]
    """Divides as nothing else does."""

    order = 10

    def encodes(self, image: TensorImage) -> Any:
        return image.float() / 127.5


def three_more(image: PILImage) -> Any:
    return PILImage.create(np.minimum(np.asarray(image), 252) + 3)


def open_by_hand(path: Path) -> Any:
    return PILImage.create(path)
