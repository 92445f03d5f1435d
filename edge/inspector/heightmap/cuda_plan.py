"""Which kernels make a heightmap of one kind and shape of frame, with the memory and the constants that they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from edge.inspector.heightmap.cpu import GRAYS as GRAY_STEPS
from edge.inspector.heightmap.cuda_kernels import THREADS
from edge.inspector.heightmap.cuda_layout import CLOUD, FLOATS, GRAYS, HEIGHTS, JOB, STATE, STEPS
from edge.inspector.heightmap.cuda_tables import Resize, resize_tables
from edge.inspector.heightmap.plane import REFINEMENTS, SAMPLES_PER_SIDE, STEPS_PER_INLIER, draws
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow

ROWS_AT_ONCE = 8
"""`STRIP` in kernels/job.cuh."""
TILE = (32, 64)
"""(rows, cols) that a block of the outlier filter takes: `TILE_Y` and `TILE_X` in kernels/outliers.cuh."""
CANDIDATES_AT_ONCE = 8
"""Planes that a block of `vote` counts for: BLOCK / TEAM."""


class Step(NamedTuple):
    """One launch: the kernel, its number of blocks if the GPU had room for all, and which job it is told."""

    kernel: str
    work: int
    job: int


class Plan:
    """The steps for frames of `kind` and `dtype` with `shape` (rows, cols) under `spec`; nothing here touches a GPU."""

    def __init__(self, spec: HeightmapSpec, kind: str, dtype: np.dtype[Any], shape: tuple[int, int]) -> None:
        """Raises FrameError FRAME_SHAPE where a fastai resize is impossible."""
        self._spec = spec
        self.source = {"uint8": GRAYS, "uint16": STEPS}.get(dtype.name, CLOUD if kind == "cloud" else FLOATS)
        self.grid = None if self.source != CLOUD else spec.rasterise
        self.shape = shape if self.grid is None else self.grid.shape
        self.resize: Resize = resize_tables(spec, self.shape)
        self.percentile = not isinstance(spec.window, MillimetreWindow)
        self._constants = self._job_constants(shape)
        self._jobs: list[np.ndarray[Any, Any]] = []
        self.steps: list[Step] = []
        self.from_frame: list[int] = []
        """The jobs whose `raw` is the frame itself."""
        self._links: list[tuple[int, str, str]] = []
        self._checked, self._counted, self._kept = False, False, ""
        if self.source == GRAYS:
            self._add_grays()
        else:
            self._add_heights()
        self._add_resize()

    # -- what the steps need

    @property
    def gray(self) -> bool:
        """Frames hold grays, not heights."""
        return self.source == GRAYS

    @property
    def state_bytes(self) -> int:
        """How much of STATE must be zero when a frame begins: histograms lie at its end."""
        histograms = STATE.fields["top"][1] if STATE.fields else 0
        return STATE.itemsize if self.percentile else histograms

    def sizes(self) -> dict[str, int]:
        """Bytes of each buffer of its own."""
        rows, cols = self.shape
        sizes = {"across": 4 * cols, "down": 4 * rows} if self._spec.plane else {}
        for name in {name for _, _, name in self._links}:
            sizes[name] = 4 * rows * cols
        if self._spec.resize != "letterbox":
            sizes["narrow"] = rows * self._spec.width
        return sizes

    def tables(self) -> dict[str, np.ndarray[Any, Any]]:
        """What is computed once and read by every frame."""
        tables: dict[str, np.ndarray[Any, Any]] = {}
        for side, axis in (("x", self.resize.cols), ("y", self.resize.rows)):
            tables[f"line_{side}"], tables[f"weight_{side}"] = axis.lines, axis.weights
        if self._spec.plane is not None:
            tables["draws"] = (draws(self._spec.plane.iterations) * 2**32).astype(np.uint32)
        return tables

    def jobs(self, addresses: Mapping[str, int]) -> np.ndarray[Any, Any]:
        """JOB (n,) with everything filled in that does not change from frame to frame."""
        jobs = np.array(self._jobs, JOB)
        for name in ("across", "down", "narrow", "draws", "line_x", "line_y", "weight_x", "weight_y", "state", "result", "out"):
            jobs[name] = addresses.get(name, 0)
        for job, field, name in self._links:
            jobs[field][job] = addresses[name]
        return jobs

    # -- the steps

    def _job(self, *, kind: int, **fields: Any) -> int:
        """A new job and its number."""
        job = self._constants.copy()
        for name, value in ({"kind": kind} | fields).items():
            job[name] = value
        self._jobs.append(job)
        number = len(self._jobs) - 1
        if kind != HEIGHTS:
            self.from_frame.append(number)
        return number

    def _reading(self, **fields: Any) -> int:
        """A job that reads what the steps so far have made; the first that reads all of the frame looks for what is not finite."""
        if self._kept:
            number = self._job(kind=HEIGHTS, **fields)
            self._links.append((number, "raw", self._kept))
            return number
        number = self._job(kind=self.source, check=not self._checked, **fields)
        self._checked = True
        return number

    def _keeping(self, kernel: str, work: int, name: str, job: int) -> None:
        """A step that leaves heights in buffer `name`."""
        self._links.append((job, "z", name))
        self._kept = name
        self.steps.append(Step(kernel, work, job))

    def _add_grays(self) -> None:
        if self.percentile:
            self.steps.append(Step("count_grays", self._strips(), self._job(kind=GRAYS)))

    def _add_heights(self) -> None:
        spec = self._spec
        early = self.percentile and spec.plane is None
        """The first histogram needs no pass of its own when heights are final already in the pass that makes them."""
        if self.grid is not None:
            self._add_grid(count=early and spec.outliers is None)
        if spec.outliers is not None:
            job = self._reading(count=early)
            self._counted = early
            self._keeping(f"drop_outliers_{spec.outliers.window}", self._tiles(), "second" if self._kept == "first" else "first", job)
        elif self.source == CLOUD and self.grid is None and (self.percentile or spec.plane is not None):
            self._keeping("count_top", self._strips(), "first", self._reading(count=early, keep=1))
            self._counted = early
        if spec.plane is not None:
            self._add_plane()
        if self.percentile:
            self._add_percentiles()

    def _add_grid(self, *, count: bool) -> None:
        assert self.grid is not None
        job = self._job(kind=CLOUD, check=1)
        self._checked = True
        for field, name in (("keys", "first"), ("filled", "second")):
            self._links.append((job, field, name))
        self.steps.append(Step("drop_points", _parts(int(self._constants["points"]), THREADS), job))
        self.steps.append(Step("fill_rows", self._strips(), job))
        self._kept = "second"
        if self.grid.max_gap:
            job = self._job(kind=HEIGHTS, count=count)
            self._links.append((job, "filled", "second"))
            self._counted = count
            self._keeping("fill_columns", self._strips(), "first", job)

    def _add_plane(self) -> None:
        assert self._spec.plane is not None
        first = self._reading()
        again = first if self._kept else self._reading()
        self.steps.append(Step("vote", _parts(self._spec.plane.iterations, CANDIDATES_AT_ONCE), again))
        self.steps += [Step("refine_plane", self._strips(), again if done else first) for done in range(REFINEMENTS)]

    def _add_percentiles(self) -> None:
        flat = self._spec.plane is not None
        if not self._counted:
            self.steps.append(Step("count_top", self._strips(), self._reading(count=1, flat=flat)))
        job = self._reading(flat=flat)
        self.steps += [Step(kernel, self._strips(), job) for kernel in ("count_middle", "count_bottom")]

    def _add_resize(self) -> None:
        job = self._reading(flat=self.source != GRAYS and self._spec.plane is not None)
        rows, cols = self.resize.shape
        tiles = _parts(cols, int(self._constants["tile"]))
        if self._spec.resize == "letterbox":
            self.steps.append(Step("letterbox", tiles * rows, job))
        else:
            self.steps.append(Step("resize_rows", tiles * _parts(self.shape[0], ROWS_AT_ONCE), job))
            self.steps.append(Step("resize_columns", _parts(rows * cols, THREADS), job))

    # -- amounts and constants

    def _strips(self) -> int:
        return _parts(_parts(self.shape[0], ROWS_AT_ONCE) * self.shape[1], THREADS)

    def _tiles(self) -> int:
        return _parts(self.shape[0], TILE[0]) * _parts(self.shape[1], TILE[1])

    def _job_constants(self, shape: tuple[int, int]) -> np.ndarray[Any, Any]:
        job = np.zeros((), JOB)
        job["rows"], job["cols"] = self.shape
        job["points"] = shape[0] * shape[1]
        job["percentile"] = self.percentile
        self._set_window(job)
        self._set_resize(job)
        self._set_grid(job)
        self._set_plane(job)
        if self._spec.outliers is not None:
            job["limit"] = self._spec.outliers.limit_mm
        return job

    def _set_window(self, job: np.ndarray[Any, Any]) -> None:
        window = self._spec.window
        if isinstance(window, MillimetreWindow):
            job["low"], job["factor"] = window.low_mm, GRAY_STEPS / (window.high_mm - window.low_mm)
        else:
            job["percent"] = window.low / 100.0, window.high / 100.0

    def _set_resize(self, job: np.ndarray[Any, Any]) -> None:
        job["out_rows"], job["out_cols"] = self.resize.shape
        job["top"], job["left"] = self.resize.corner
        job["width"] = self._spec.width
        # The columns of one piece of a row are about as many as a block has threads.
        job["tile"] = max(1, min(THREADS, int((THREADS - 2) / self.resize.cols.ratio)))

    def _set_grid(self, job: np.ndarray[Any, Any]) -> None:
        if self.grid is not None:
            job["x0"], job["y0"] = self.grid.x_mm[0], self.grid.y_mm[0]
            job["per_x"], job["per_y"] = (1.0 / pitch for pitch in self.grid.pitch_mm)
            job["max_gap"] = self.grid.max_gap

    def _set_plane(self, job: np.ndarray[Any, Any]) -> None:
        plane = self._spec.plane
        if plane is None:
            return
        job["inlier"] = job["near"] = plane.inlier_mm
        job["quantum"], job["steps"] = plane.inlier_mm / STEPS_PER_INLIER, STEPS_PER_INLIER / plane.inlier_mm
        job["iterations"] = plane.iterations
        for axis, size in (("x", self.shape[1]), ("y", self.shape[0])):
            step = _parts(size, SAMPLES_PER_SIDE)
            job[f"step_{axis}"], job[f"first_{axis}"] = step, step // 2
            job[f"samples_{axis}"] = len(range(step // 2, size, step))


def _parts(whole: int, part: int) -> int:
    """How many parts make up at least the whole."""
    return -(-whole // part)
