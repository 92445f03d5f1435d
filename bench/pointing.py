"""`cordon bench pointing NETWORK --typology T3`: does a map point at the defect? On simulated welds, whose masks are true."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nets.checkpoint import load_checkpoint
from sim.welds import REJECTABLE, TYPOLOGIES, make_weld, to_heightmap
from train.explain.pointing import TOLERANCE, point, table
from train.explain.run import explained

UNPLACED = frozenset({"bare_sheet", "solid"})
"""What is wrong everywhere has no place to point at."""
FIRST_SEED = 9_000_000
"""Far from the seeds of every data set that `cordon sim welds` makes."""


def main(argv: Sequence[str]) -> int:
    """Play the pointing game and print hits per kind of defect, beside what chance would give."""
    parser = argparse.ArgumentParser(prog="cordon bench pointing", description=main.__doc__)
    parser.add_argument("network", type=Path, metavar="NETWORK.safetensors")
    parser.add_argument("--typology", choices=list(TYPOLOGIES), required=True)
    parser.add_argument("--welds", type=int, default=40, help="of each kind of defect (default %(default)s)")
    parser.add_argument("--method", choices=("cam", "gradcam"), default="cam")
    parser.add_argument("--tolerance", type=int, default=TOLERANCE, metavar="PIXELS", help="around the true mask (default %(default)s)")
    arguments = parser.parse_args(argv)
    kinds = [kind for kind in REJECTABLE if kind not in UNPLACED]
    welds = [make_weld(arguments.typology, kind, FIRST_SEED + number) for kind in kinds for number in range(arguments.welds)]
    grays = [to_heightmap(weld) for weld in welds]
    scores, maps = explained(load_checkpoint(arguments.network), grays, "bad", arguments.method)
    seen = [one for one in zip(welds, grays, maps, scores[:, 0], strict=True) if one[0].mask.any()]
    print(f"{arguments.network.name}, {arguments.typology}, {arguments.method}, maps of {maps.shape[1]} x {maps.shape[2]} cells")
    print(table(point(weld.defect, gray, cells, weld.mask, tolerance=arguments.tolerance) for weld, gray, cells, _ in seen))
    return 0
