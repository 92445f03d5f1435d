"""`python -m train.defects.judge CHECKPOINT FOLDER`: escapes and overkills of a network on scans it never saw, per kind of defect."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.errors import CordonError
from nets.checkpoint import load_checkpoint
from scans.folder import find_scans

UNNAMED = "unnamed"


def main(argv: Sequence[str] | None = None) -> int:
    """Score every scan of a labelled folder and print, per defect, how many were misjudged; the folder is not trained on."""
    parser = argparse.ArgumentParser(prog="python -m train.defects.judge", description=main.__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="NAME.safetensors of `cordon train`")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="has good/ and bad/, and groups.csv with the column defect")
    parser.add_argument("--threshold", type=float, default=0.5, help="badness up to this is accepted (default %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        for line in judged(arguments.checkpoint, arguments.folder, arguments.threshold):
            print(line)
    except CordonError as exc:
        print(f"{type(exc).__name__}: {exc}", file=sys.stderr)
        return 1
    return 0


def judged(checkpoint: Path, folder: Path, threshold: float) -> list[str]:
    """The table's lines: label, defect, scans, misjudged, median and extreme badness; then the sum and AUROC. Raises CordonError."""
    from train.data import PreparedScan, usable  # noqa: PLC0415 - torch and fastai take seconds that --help should not
    from train.metrics import measure  # noqa: PLC0415
    from train.scoring import heightmaps, probabilities  # noqa: PLC0415

    loaded = load_checkpoint(checkpoint)
    found = find_scans(folder)
    prepared = PreparedScan(loaded.heightmap, found.scale)
    scans, refused = usable(found.scans, prepared)
    badness = probabilities(loaded, heightmaps(scans, prepared))[:, loaded.classes.index("bad")]
    bad = np.array([scan.label == "bad" for scan in scans])
    kinds: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for index, scan in enumerate(scans):
        kinds[scan.label == "bad", scan.defect or UNNAMED].append(index)
    lines = [
        f"{'':6s}{'defect':14s}{'scans':>7s}{'wrong':>7s}{'median':>9s}{'extreme':>9s}   (badness; extreme: the nearest to the other label)"
    ]
    for (is_bad, name), chosen in sorted(kinds.items()):
        scores = badness[chosen]
        wrong = int(((scores <= threshold) if is_bad else (scores > threshold)).sum())
        extreme = scores.min() if is_bad else scores.max()
        lines.append(f"{'bad' if is_bad else 'good':6s}{name:14s}{len(chosen):7d}{wrong:7d}{np.median(scores):9.4f}{extreme:9.4f}")
    sums = measure(bad, badness, 0.0)
    escapes, overkills = int((badness[bad] <= threshold).sum()), int((badness[~bad] > threshold).sum())
    total = f"{escapes} of {sums.bad} bad accepted, {overkills} of {sums.good} good rejected at {threshold:g}; AUROC {sums.auroc:.4f}"
    return [*lines, total + (f"; {refused} refused before any network" if refused else "")]


if __name__ == "__main__":
    raise SystemExit(main())
