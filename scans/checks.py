"""What makes a folder of scans unfit for training or for proving a network, said with the files' names before anything is done."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from tqdm import tqdm

from edge.errors import DatasetError
from scans.folder import ScanFolder, kind_of, read_image

SHOWN = 5
"""Files named in one message; more are counted."""


def check_scans(found: ScanFolder, *, mixed_sizes: bool = False) -> dict[Path, str]:
    """Read every scan once; the SHA-256 of each file, by path. Raises DatasetError naming the files at fault.

    Refused: files that cannot be read, files of another depth or size than most (one `scan.toml` holds for all of them; point
    clouds in no order may differ in length; with `mixed_sizes` all may differ in size), and equal files under both labels.
    """
    digests: dict[Path, str] = {}
    forms: dict[Path, str] = {}
    unreadable: dict[Path, DatasetError] = {}
    for scan in tqdm(found.scans, desc=f"{found.root.name}: reading", unit="scan", leave=False, disable=not sys.stderr.isatty()):
        try:
            forms[scan.path] = _form(read_image(scan.path), mixed_sizes=mixed_sizes)
            digests[scan.path] = sha256(scan.path.read_bytes()).hexdigest()
        except DatasetError as exc:
            unreadable[scan.path] = exc
    if unreadable:
        first = next(iter(unreadable.values()))
        named = named_files(unreadable, found.root)
        raise DatasetError(f"cannot read {len(unreadable)} of {len(found.scans)} scans: {named}", seen=first.what, remedy=first.remedy)
    _require_one_form(found.root, forms)
    _require_one_label(found, digests)
    return digests


def named_files(files: Iterable[Path], root: Path) -> str:
    """The first few names relative to `root`, and how many more there are."""
    names = [path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path in files]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _form(image: NDArray[Any], *, mixed_sizes: bool) -> str:
    kind = kind_of(image)
    if mixed_sizes:
        return f"{image.dtype} {kind}"
    if kind == "cloud" and image.shape[0] == 1:
        return "cloud, points in no order"
    return f"{image.dtype} {kind}, {image.shape[0]} x {image.shape[1]}"


def _require_one_form(root: Path, forms: Mapping[Path, str]) -> None:
    counts = Counter(forms.values())
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        odd = [path for path, form in forms.items() if form != usual]
        raise DatasetError(
            f"{root} mixes scans of different depths or sizes: {len(odd)} are not like the other {counts[usual]} ({usual})",
            seen=f"{named_files(odd, root)}: {', '.join(sorted({forms[path] for path in odd})[:SHOWN])}",
            remedy="Put scans of one depth and size into one folder; scan.toml's scale holds for all of it",
        )


def _require_one_label(found: ScanFolder, digests: Mapping[Path, str]) -> None:
    good = {digests[scan.path]: scan.path for scan in found.labelled("good")}
    both = [(good[digests[scan.path]], scan.path) for scan in found.labelled("bad") if digests[scan.path] in good]
    if both:
        raise DatasetError(
            f"{found.root} has {len(both)} files that are good and bad at once",
            seen="; ".join(f"{one} = {other}" for one, other in _relative(both[:SHOWN], found.root)),
            remedy="Decide for one label and remove the other copy; `cordon train clean find` shows them",
        )


def _relative(pairs: Sequence[tuple[Path, Path]], root: Path) -> list[tuple[str, str]]:
    return [(one.relative_to(root).as_posix(), other.relative_to(root).as_posix()) for one, other in pairs]
