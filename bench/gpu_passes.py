"""How many bytes each kernel of a heightmap must move at least: what it reads and writes once, caches and tables left out.

A pass over n pixels moves n x (bytes of what it reads + bytes of what it writes), where a pixel is 1 (u8), 2 (u16) or 4 (f32, and heights
kept from an earlier pass) bytes and a point of a cloud 12. The neighbourhood of an outlier filter counts once. A point that falls into a
grid reads its 12 bytes and changes a cell: 4 read, 4 written; before that the grid is cleared, 4 written per cell. Samples for the
plane, histograms and tables are small and not counted.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from edge.inspector.heightmap.cuda_layout import CLOUD, FLOATS, GRAYS, HEIGHTS, STEPS
from edge.inspector.heightmap.cuda_plan import Plan
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.inspector.scan import Scan

CLEARING = "clearing"
"""The one pass that is no kernel of ours."""
_PIXEL = {GRAYS: 1, STEPS: 2, FLOATS: 4, CLOUD: 12, HEIGHTS: 4}
_HEIGHT = 4


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One launch."""

    kernel: str
    nbytes: int


def passes(spec: HeightmapSpec, scan: Scan) -> tuple[Pass, ...]:
    """Every launch for one frame, in order, with the bytes it must move."""
    rows, cols = scan.image.shape[:2]
    plan = Plan(spec, scan.kind, scan.image.dtype, (rows, cols))
    jobs = plan.jobs(defaultdict(int))
    launched = tuple(Pass(kernel=step.kernel, nbytes=_nbytes(step.kernel, jobs[step.job], spec)) for step in plan.steps)
    return launched if plan.grid is None else (Pass(kernel=CLEARING, nbytes=_HEIGHT * plan.shape[0] * plan.shape[1]), *launched)


def _nbytes(kernel: str, job: np.void, spec: HeightmapSpec) -> int:
    pixels, points = int(job["rows"]) * int(job["cols"]), int(job["points"])
    read = pixels * _PIXEL[int(job["kind"])]
    heights, narrow, out = pixels * _HEIGHT, int(job["rows"]) * spec.width, spec.height * spec.width
    if kernel == "drop_points":
        return points * (_PIXEL[CLOUD] + 2 * _HEIGHT)
    if kernel in ("fill_rows", "fill_columns"):
        return 2 * heights
    if kernel.startswith("drop_outliers"):
        return read + heights
    return {
        "count_top": read + heights * bool(job["keep"]),
        "vote": 0,
        "letterbox": read + out,
        "resize_rows": read + narrow,
        "resize_columns": narrow + out,
    }.get(kernel, read)
