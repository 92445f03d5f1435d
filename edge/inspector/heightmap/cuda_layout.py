"""The structures that the kernels and the host share, field for field those of kernels/job.cuh."""

from __future__ import annotations

import numpy as np

POINTERS = (
    *("raw", "z", "keys", "filled", "across", "down", "state", "result", "narrow", "out"),
    *("draws", "line_x", "line_y", "weight_x", "weight_y"),
)
_INTEGERS = (
    *("kind", "rows", "cols", "points", "check", "count", "keep", "flat", "percentile", "missing_step", "nan_missing", "max_gap"),
    *("first_x", "first_y", "step_x", "step_y", "samples_x", "samples_y", "iterations"),
    *("out_rows", "out_cols", "top", "left", "width", "tile"),
)
_FLOATS = (
    *("scale", "offset", "no_data", "x0", "y0", "per_x", "per_y", "limit", "near", "steps", "low", "factor"),
)  # fmt: skip

JOB = np.dtype(
    [
        *((name, "u8") for name in POINTERS),
        *(("inlier", "f8"), ("quantum", "f8"), ("percent", "f8", 2)),
        *((name, "i4") for name in _INTEGERS),
        ("ticket", "u4"),
        *((name, "f4") for name in _FLOATS),
    ],
    align=True,
)
"""Everything a kernel is told."""

STATE = np.dtype(
    [
        *(("best", "u8"), ("sums", "i8", 9), ("plane", "f8", 3), ("part", "f8", 2), ("lowest", "f8")),
        *((name, "u4") for name in ("done", "bad", "samples", "planeless", "window")),
        *((name, "u4", 2) for name in ("prefix", "rank", "further", "above")),
        *(("source", "u4", 3), ("seen", "u4", 3), ("low", "f4"), ("factor", "f4"), ("table", "u1", 256)),
        *(("top", "u4", 2048), ("middle", "u4", (2, 2048)), ("bottom", "u4", (2, 1024))),
    ],
    align=True,
)
"""What kernels leave for the next; zero when a frame begins."""

RESULT = np.dtype(
    [
        *(("plane", "f8", 3), ("lowest", "f8"), ("low", "f4"), ("factor", "f4")),
        *((name, "u4") for name in ("bad", "samples", "planeless", "window")),
        *((name, "u4") for name in ("darkest", "brightest", "valid", "seen_darkest", "seen_brightest", "ticket")),
    ],
    align=True,
)
"""What the host reads of a frame."""

LINE = np.dtype([("first", "i4"), ("count", "i4"), ("own", "i4"), ("until", "i4")])
"""One line of the resized image: its source lines, and those it counts for the contrast."""

GRAYS, STEPS, FLOATS, CLOUD, HEIGHTS = range(5)
"""What `raw` holds: u8, u16, f32, f32 x y z, or heights kept from an earlier pass."""
GIVEN, NOTHING_VALID, CONSTANT = range(3)
"""What became of a percentile window."""
