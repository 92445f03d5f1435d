"""`cordon train clean find`: from a labelled folder to a list of what is probably wrong in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.contract import Reason
from edge.errors import DatasetError, FrameError
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import HeightmapSpec
from scans.folder import Scale, Scan, ScanFolder, find_scans, kind_of, read_image
from train.cleaning.duplicates import Duplicates, find_duplicates, merged_groups, pixel_hash
from train.cleaning.fingerprint import SIZE, Gray
from train.cleaning.journal import require_settled, sha256_of
from train.cleaning.judgement import Confused, confusion, judge_labels
from train.cleaning.outoffold import OutOfFold, judge_out_of_fold
from train.cleaning.review import Evidence
from train.learner import DEFAULT_SPEC
from train.options import TrainingOptions


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be looked for, and how long."""

    options: TrainingOptions
    splits: int = 3
    folds: int = 4
    size: tuple[int, int] | None = None
    """Height and width for the networks; None: the folder's."""
    table: Path | None = None
    spec: HeightmapSpec | None = None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything found. `images` u8 [128, 352] per scan, None where a scan cannot be prepared."""

    evidence: Evidence
    images: tuple[Gray | None, ...]
    duplicates: Duplicates
    confused: tuple[Confused, ...]
    judged: OutOfFold
    refused: int
    """Bad scans that the box refuses before any network: nothing is wrong with them, and no network judged them."""


@dataclass(frozen=True, kw_only=True)
class _Looked:
    """One scan as read: why no network can take it, if so."""

    content: str
    pixels: str
    image: Gray | None
    unusable: str = ""


def find_issues(folder: Path, request: Request, kept: Path) -> Findings:
    """Compare all scans with each other, then train and judge out of fold; finished folds are kept in `kept`.

    Scans that show one weld are held out together, whatever their groups say. Raises DatasetError for a folder that lacks a label,
    has too few groups for the folds, or was left half cleaned.
    """
    require_settled(folder)
    found = find_scans(folder, table=request.table)
    spec = request.spec or found.spec or DEFAULT_SPEC
    reader = _Reader(spec, found.scale)
    looked = [reader.look(scan) for scan in tqdm(found.scans, desc="reading scans", unit="scan", disable=None)]
    images = tuple(one.image for one in looked)
    duplicates = find_duplicates([one.pixels for one in looked], [one.content for one in looked], images)
    chosen = [index for index, image in enumerate(images) if image is not None]
    groups = merged_groups(found.scans, duplicates.pairs)
    judged = _judge(found, request, spec, kept, chosen=chosen, groups=groups, looked=looked)
    unusable = {index: one.unusable for index, one in enumerate(looked) if one.unusable}
    evidence = Evidence(
        names=tuple(scan.path.relative_to(folder).as_posix() for scan in found.scans),
        scans=found.scans,
        hashes=tuple(one.content for one in looked),
        pairs=duplicates.pairs,
        unusable=unusable,
        judged=judge_labels(judged.scans, judged.badness),
        place={index: row for row, index in enumerate(chosen)},
        seeds=request.splits,
    )
    refused = len(images) - len(chosen) - len(unusable)
    confused = confusion(judged.scans, judged.badness)
    return Findings(evidence=evidence, images=images, duplicates=duplicates, confused=confused, judged=judged, refused=refused)


def _judge(
    found: ScanFolder,
    request: Request,
    spec: HeightmapSpec,
    kept: Path,
    *,
    chosen: list[int],
    groups: tuple[str, ...],
    looked: list[_Looked],
) -> OutOfFold:
    scans = [replace(found.scans[index], group=groups[index]) for index in chosen]
    if {scan.label for scan in scans} != {"good", "bad"}:
        raise DatasetError(
            f"{found.root} has scans of one label only that can be read",
            seen=f"{len(scans)} of {len(looked)}",
            remedy="Look at the files: they are empty, constant or no images",
        )
    if request.size is not None:
        spec = msgspec.structs.replace(spec, height=request.size[0], width=request.size[1])
    content = [looked[index].content for index in chosen]
    return judge_out_of_fold(found, scans, content, request.options, spec=spec, splits=request.splits, folds=request.folds, kept=kept)


class _Reader:
    """Reads scans and prepares them at the size in which they are compared."""

    def __init__(self, spec: HeightmapSpec, scale: Scale) -> None:
        self._preparer = Preparer(msgspec.structs.replace(spec, height=SIZE[0], width=SIZE[1], resize="letterbox"))
        self._scale = scale

    def look(self, scan: Scan) -> _Looked:
        """Hashes and heightmap of one scan; a file that cannot be used is a finding, not an error."""
        try:
            content = sha256_of(scan.path)
            image = read_image(scan.path)
        except OSError as exc:
            raise DatasetError(f"cannot read {scan.path}", seen=exc.strerror, remedy="Check the file's rights") from exc
        except DatasetError as exc:
            return _Looked(content=content, pixels=content, image=None, unusable=exc.what.replace(str(scan.path), scan.path.name))
        pixels = pixel_hash(image)
        try:
            return _Looked(content=content, pixels=pixels, image=self._prepared(image))
        except FrameError as exc:
            expected = scan.label == "bad" and exc.reason is Reason.FRAME_EMPTY
            return _Looked(content=content, pixels=pixels, image=None, unusable="" if expected else f"the box would refuse it, {exc.what}")

    def _prepared(self, image: NDArray[Any]) -> Gray:
        out, scale = np.empty(SIZE, np.uint8), self._scale
        self._preparer.prepare(
            image, kind=kind_of(image), z_scale_mm=scale.z_scale_mm, z_offset_mm=scale.z_offset_mm, no_data=scale.no_data, out=out
        )
        return out
