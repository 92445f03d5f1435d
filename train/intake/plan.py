"""What an import would add: each relabelled weld decoded, fitted to the folder and compared with what is there; nothing is written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from edge.errors import DatasetError, FrameError
from edge.inspector.heightmap.cpu import Preparer
from scans.folder import Label, kind_of
from train.intake.images import content_hash, read_frame
from train.intake.labels import named
from train.intake.matching import Relabelled
from train.intake.progress import shown
from train.intake.target import Target, scan_for

GroupBy: TypeAlias = Literal["part-day", "part", "day"]
GROUPINGS: tuple[str, ...] = get_args(GroupBy)


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """One scan to be written."""

    relabelled: Relabelled
    file: str
    """Relative to the folder, with slashes."""
    group: str
    content: str
    """Hash of the pixels in the file."""
    exact: bool
    """The very bytes that the box judged."""


@dataclass(kw_only=True)
class Plan:
    """What is added, and what is not and why."""

    added: list[Addition] = field(default_factory=list)
    present: list[Relabelled] = field(default_factory=list)
    """In the folder already, or earlier in this import, under the same label."""
    refused: list[tuple[Relabelled, str]] = field(default_factory=list)
    """Damaged images, and those that the box refuses before any network."""


def make_plan(target: Target, relabelled: Iterable[Relabelled], *, group_by: GroupBy) -> Plan:
    """Decide about each weld. Raises DatasetError when frames do not fit the folder, or labels contradict what is there; all named."""
    plan, preparer = Plan(), Preparer(target.spec)
    known: dict[str, tuple[str, Label]] = dict(target.content)
    contradicting: list[str] = []
    for one in shown(list(relabelled), "reading the images"):
        pixels = _usable(plan, target, preparer, one)
        if pixels is None:
            continue
        image, exact = pixels
        content = content_hash(image)
        addition = Addition(relabelled=one, file=_file(target, one, image), group=_group(one, group_by), content=content, exact=exact)
        twin, label = known.setdefault(content, (addition.file, one.said.label))
        if label != one.said.label:
            contradicting.append(f"{one.said.name}: the same pixels are {label} in {twin}")
        elif twin != addition.file or content in target.content:
            plan.present.append(one)
        else:
            plan.added.append(addition)
    if contradicting:
        remedy = "Nothing was written. Correct the table; or the folder: move file and row to the other label, or --undo the import"
        raise DatasetError(f"{len(contradicting)} labels contradict what is there", seen=named(contradicting), remedy=remedy)
    return plan


def file_pixels(target: Target, one: Relabelled) -> NDArray[Any]:
    """The pixels to be written for one weld. Raises DatasetError."""
    return scan_for(target, read_frame(one.weld.image))


def _usable(plan: Plan, target: Target, preparer: Preparer, one: Relabelled) -> tuple[NDArray[Any], bool] | None:
    try:
        frame = read_frame(one.weld.image)
    except DatasetError as exc:
        plan.refused.append((one, str(exc)))
        return None
    image = scan_for(target, frame)
    try:
        prepared(preparer, target, image)
    except FrameError as exc:
        # Training would stop at such a scan; the box rejects it before any network, so that none has to learn it.
        plan.refused.append((one, f"{one.weld.image.path.name} is refused before any network: {exc.what}"))
        return None
    return image, frame.exact


def prepared(preparer: Preparer, target: Target, image: NDArray[Any]) -> NDArray[np.uint8]:
    """The network input, u8 (height, width), that training makes of a file with these pixels. Raises FrameError."""
    out = np.empty((target.spec.height, target.spec.width), np.uint8)
    scale = target.scale
    preparer.prepare(image, kind=kind_of(image), z_scale_mm=scale.z_scale_mm, z_offset_mm=scale.z_offset_mm, no_data=scale.no_data, out=out)
    return out


def _group(one: Relabelled, by: GroupBy) -> str:
    if one.weld.judged.challenge:
        return f"line-{one.weld.judged.part}"  # the same specimen, whenever it comes
    parts = {"part-day": (one.weld.day, one.weld.judged.part), "part": (one.weld.judged.part,), "day": (one.weld.day,)}
    return "-".join(("line", *parts[by]))


def _file(target: Target, one: Relabelled, image: NDArray[Any]) -> str:
    judged = one.weld.judged
    suffix = ".png" if image.dtype in (np.uint8, np.uint16) else ".npy"
    name = "_".join(("line", one.weld.day, judged.part, judged.weld, f"{judged.session[:8]}-{judged.sequence}", judged.payload_hash[:8]))
    return f"{target.folders[one.said.label].name}/{re.sub('[^A-Za-z0-9._-]', '-', name)}{suffix}"
