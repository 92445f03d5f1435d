"""The heightmap spec read out of a fastai Learner's validation transforms; what a spec cannot say is refused by its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import torch

from edge.errors import ConfigError, ExportError
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, Resizing
from export.sources.learner_images import model_inputs, validation_loader
from scans.folder import Scan

STATISTICS_TOLERANCE = 1e-4
AS_IT_IS = MillimetreWindow(low_mm=1.0, high_mm=255.0)
"""The window of a spec read from a Learner that opens 8-bit images: leaves every gray of a `heightmap` frame as it is."""
BILINEAR = 2
"""Pillow's number of the filter."""
METHODS: dict[str, Resizing] = {"pad": "fastai-pad", "squish": "fastai-squish", "crop": "fastai-crop"}
OPENS_IMAGES = "PILBase.create"
"""The name fastai gives the transform made of PILImage.create and PILImageBW.create."""
_AUGMENT, _TRANSFORMS = "fastai.vision.augment", "fastai.data.transforms"
Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """One transform that a spec cannot repeat, and what to do about it."""

    what: str
    remedy: str


@dataclass(kw_only=True)
class Reading:
    """What the validation transforms say."""

    prepared: HeightmapSpec | None = None
    """The spec of our own PreparedScan."""
    size: tuple[int, int] | None = None
    """Height and width of the one Resize."""
    method: Resizing = "letterbox"
    divisor: float = 1.0
    normalise: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = field(default_factory=list)
    obstacles: list[Obstacle] = field(default_factory=list)
    by_pillow: bool = False

    def statistics(self) -> Statistics:
        """Mean and std of (gray / 255 - mean) / std, the divisor and every Normalize in one."""
        mean, std = np.zeros(3), np.full(3, self.divisor / 255.0)
        for shift, spread in self.normalise:
            mean, std = mean + std * shift, std * spread
        return _three(mean), _three(std)


def spec_of(learner: Any, declared: HeightmapSpec | None = None, *, scans: Sequence[Scan] = ()) -> HeightmapSpec:
    """The spec that makes the box see what `learner` sees on its validation set.

    A Learner of `cordon train` carries its spec. One that opens 8-bit images by fastai says size, way of resizing, mean and std;
    window, outliers and plane come from `declared`, else gray levels stay as they are. Without a Resize the size is that of `scans[0]`,
    or of the Learner's validation images. A transform that changes validation images and fits no spec is refused, unless
    `declared` says what it amounts to (`require_same_pixels` then tells whether it does). Raises ExportError.
    """
    reading = read_transforms(learner)
    if declared is None:
        _refuse_obstacles(reading)
        spec = reading.prepared or _spec(reading, reading.size or _size(learner, scans))
    else:
        _require_no_contradiction(reading, declared)
        spec = declared
    _require_statistics(reading.statistics(), spec)
    return spec


def read_transforms(learner: Any) -> Reading:
    """Walk dataset, item and batch transforms in the order of the validation set. Raises ExportError when it has more than one input."""
    reading = Reading()
    opened = False
    for stage, transform in _validation_transforms(learner):
        opens = isinstance(getattr(transform, "spec", None), HeightmapSpec) or transform.name == OPENS_IMAGES
        if stage == "dataset" and not opened and not opens:
            continue  # says which file, not which pixels
        if stage != "dataset" and not opened:
            reading.obstacles.append(_unknown("its images are not opened by PILImage, PILImageBW or PreparedScan"))
            opened = True
        opened = opened or opens
        _read(transform, reading)
    return reading


def _validation_transforms(learner: Any) -> Iterator[tuple[str, Any]]:
    valid = validation_loader(learner)
    dataset = valid.dataset
    if getattr(dataset, "n_inp", 1) != 1:
        raise ExportError(
            "the Learner takes more than one input", seen=dataset.n_inp, remedy="Export the network from a .safetensors checkpoint"
        )
    lists = getattr(dataset, "tls", None) or [dataset]
    pipelines = (
        ("dataset", getattr(lists[0], "tfms", None)),
        *((name, getattr(valid, name, None)) for name in ("after_item", "before_batch", "after_batch")),
    )
    for stage, pipeline in pipelines:
        yield from ((stage, transform) for transform in getattr(pipeline, "fs", ()))


def _read(transform: Any, reading: Reading) -> None:
    kind, name = type(transform).__name__, f"{type(transform).__module__}.{type(transform).__name__}"
    if isinstance(getattr(transform, "spec", None), HeightmapSpec):
        reading.prepared = transform.spec
    elif transform.name == OPENS_IMAGES:
        reading.by_pillow = True
    elif name == f"{_TRANSFORMS}.Normalize":
        reading.normalise.append((_channels(transform.mean), _channels(transform.std)))
    elif name == f"{_TRANSFORMS}.IntToFloatTensor":
        reading.divisor = float(transform.div)
    elif name.startswith(f"{_AUGMENT}.") and hasattr(transform, "aff_fs"):
        # fastai's affine transforms leave validation images as they are, except that they also resize when they have a size.
        if transform.size is not None:
            reading.obstacles.append(_unknown(f"{kind} resizes batches to {transform.size}"))
    elif transform.name == "noop" or name == f"{_TRANSFORMS}.ToTensor" or transform.split_idx == 0:
        pass  # changes no pixel, or training images only
    elif name == f"{_AUGMENT}.Resize" and reading.size is None and reading.prepared is None:
        _read_resize(transform, reading)
    else:
        reading.obstacles.append(_unknown(_shown(transform)))


def _read_resize(transform: Any, reading: Reading) -> None:
    width, height = transform.size
    method, padding, filters = str(transform.method), str(transform.pad_mode), int(transform.resamples[0])
    shown = f"Resize(({height}, {width}), method={method!r}, pad_mode={padding!r})"
    if filters != BILINEAR:
        reading.obstacles.append(
            Obstacle(what=f"{shown} resamples by Pillow's filter {filters}", remedy="Train with resamples=(BILINEAR, NEAREST)")
        )
    elif method == "pad" and padding != "zeros":
        remedy = "Train with pad_mode=PadMode.Zeros"
        reading.obstacles.append(Obstacle(what=f"{shown} fills the border by {padding}, not by zeros", remedy=remedy))
    else:
        reading.size, reading.method = (int(height), int(width)), METHODS[method]


def _unknown(what: str) -> Obstacle:
    return Obstacle(what=what, remedy="Train with Resize and Normalize alone on the validation set, or with `cordon train`")


def _shown(transform: Any) -> str:
    """The class, or for a wrapped function its name."""
    kind = type(transform).__name__
    return f"{kind} {transform.name}" if kind == "Transform" else kind


def _channels(values: Any) -> np.ndarray[Any, Any]:
    flat = torch.as_tensor(values).detach().cpu().double().reshape(-1).numpy()
    if flat.size not in (1, 3):
        raise ExportError("the Learner normalises by other than one or three channels", seen=flat.size, remedy="Use Normalize.from_stats")
    return np.broadcast_to(flat, 3)


def _three(values: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    first, second, third = (round(float(value), 6) for value in values)
    return first, second, third


def _refuse_obstacles(reading: Reading) -> None:
    if reading.obstacles:
        raise ExportError(
            "the Learner changes its validation images in a way that no heightmap spec can say",
            seen="; ".join(obstacle.what for obstacle in reading.obstacles),
            remedy=f"{reading.obstacles[0].remedy}; or declare the heightmap spec it amounts to, and the pixels will be compared",
        )


def _size(learner: Any, scans: Sequence[Scan]) -> tuple[int, int]:
    valid = validation_loader(learner)
    if scans:
        height, width = next(model_inputs(learner, [scans[0].path])).shape[1:]
    elif len(valid.dataset):
        height, width = next(model_inputs(learner, [valid.dataset.items[0]])).shape[1:]
    else:
        raise ExportError("the Learner does not resize, so its network's input size is not known", remedy="Declare a heightmap spec")
    return int(height), int(width)


def _spec(reading: Reading, size: tuple[int, int]) -> HeightmapSpec:
    mean, std = reading.statistics()
    try:
        return HeightmapSpec(window=AS_IT_IS, height=size[0], width=size[1], resize=reading.method, mean=mean, std=std)
    except ConfigError as exc:
        raise ExportError("the Learner's transforms make no valid heightmap spec", seen=exc, remedy="Train with another size") from exc


def _require_no_contradiction(reading: Reading, declared: HeightmapSpec) -> None:
    own: dict[str, Any] = {}
    if reading.prepared is not None:
        own = {name: value for name, value in msgspec.structs.asdict(reading.prepared).items() if name not in ("mean", "std")}
    elif reading.size is not None and not reading.obstacles:
        own = {"height": reading.size[0], "width": reading.size[1], "resize": reading.method}
    differing = [
        f"{name} {getattr(declared, name)}, the Learner's {value}" for name, value in own.items() if getattr(declared, name) != value
    ]
    if differing:
        raise ExportError(
            "the declared heightmap spec contradicts the Learner's own transforms",
            seen="; ".join(differing),
            remedy="Leave the declared spec out, or write the Learner's values into it",
        )


def _require_statistics(own: Statistics, spec: HeightmapSpec) -> None:
    """The Learner's own normalisation is what the exported network will contain; a silent difference ruins every score."""
    if np.abs(np.array(own) - np.array([spec.mean, spec.std])).max() > STATISTICS_TOLERANCE:
        raise ExportError(
            "the Learner normalises otherwise than the heightmap spec says",
            seen=f"mean {own[0]}, std {own[1]}; spec mean {spec.mean}, std {spec.std}",
            remedy="Write the Learner's mean and std into the heightmap spec",
        )
