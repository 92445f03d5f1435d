"""The tables that the GPU resizes by, against OpenCV and against the CPU's fastai resize; no GPU is needed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.inspector.heightmap.cuda_layout import STATE
from edge.inspector.heightmap.cuda_plan import Plan
from edge.inspector.heightmap.cuda_tables import Axis, Resize, area_axis, linear_axis, resize_tables
from edge.inspector.heightmap.fastai_resize import FastaiResize
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, PercentileWindow, Resizing

SIZES = [(8, 8), (9, 8), (100, 33), (176, 64), (352, 352), (1000, 8), (1201, 217), (1944, 352), (16_384, 2048)]
WINDOW = MillimetreWindow(low_mm=0.0, high_mm=1.0)


def dense(axis: Axis, size: int) -> NDArray[np.float64]:
    """The table as a matrix (out, size)."""
    matrix = np.zeros((len(axis.lines), size))
    for out, line in enumerate(axis.lines):
        for tap in range(int(line["count"])):
            matrix[out, int(line["first"]) + tap] = axis.weights[tap, out]
    return matrix


def image(size: int, cols: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(size).uniform(0, 255, (size, cols)).astype(np.float32)


@pytest.mark.parametrize(("size", "out"), SIZES)
def test_shrinking_takes_the_means_that_opencv_takes(size: int, out: int) -> None:
    source = image(size)
    expected = cv2.resize(source, (source.shape[1], out), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(dense(area_axis(size, out), size) @ source, expected, atol=2e-3)


@pytest.mark.parametrize(("out", "size"), [*SIZES, (50, 1), (300, 2)])
def test_enlarging_interpolates_as_opencv_does(size: int, out: int) -> None:
    source = image(size)
    expected = cv2.resize(source, (source.shape[1], out), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(dense(linear_axis(size, out), size) @ source, expected, atol=2e-2)


@pytest.mark.parametrize("method", ["fastai-pad", "fastai-squish", "fastai-crop"])
@pytest.mark.parametrize("shape", [(20, 30), (100, 37), (8, 300), (61, 64)])
def test_fastai_weights_give_what_the_cpu_gives(method: Resizing, shape: tuple[int, int]) -> None:
    spec = HeightmapSpec(window=WINDOW, height=24, width=32, resize=method)
    gray = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    expected = np.empty((24, 32), np.uint8)
    FastaiResize(shape, 24, 32, method).place(gray, expected)  # type: ignore[arg-type]
    tables = resize_tables(spec, shape)
    half, bits = 1 << 21, 22
    narrow = (dense(tables.cols, shape[1]) @ gray.T.astype(np.float64) + half).astype(np.int64).T >> bits
    out = (dense(tables.rows, shape[0]) @ narrow + half).astype(np.int64) >> bits
    assert (out == expected).all()


def _every_resize() -> list[tuple[Resize, tuple[int, int]]]:
    shapes = [(1, 1), (1, 400), (300, 1), (8, 8), (37, 61), (700, 90), (1200, 1944), (3, 16_384)]
    methods: list[Resizing] = ["letterbox", "fastai-pad", "fastai-squish", "fastai-crop"]
    found = []
    for shape in shapes:
        for method in methods:
            if method == "letterbox" or min(shape) > 3:
                found.append((resize_tables(HeightmapSpec(window=WINDOW, resize=method), shape), shape))  # noqa: PERF401 -- reads better
    return found


def test_every_source_line_is_counted_once_and_is_read_where_it_is_counted() -> None:
    for resize, shape in _every_resize():
        for axis, size in ((resize.rows, shape[0]), (resize.cols, shape[1])):
            lines = axis.lines
            owned = [line for own, until in zip(lines["own"], lines["until"], strict=True) for line in range(own, until)]
            assert owned == list(range(size))


def test_a_letterbox_counts_only_lines_that_it_reads() -> None:
    """The kernel counts in the loop that reads."""
    for resize, shape in _every_resize():
        for axis in (resize.rows, resize.cols):
            lines = axis.lines
            if axis.weights.dtype == np.float32:
                assert (lines["first"] <= lines["own"]).all(), shape
                assert (lines["until"] <= lines["first"] + lines["count"]).all(), shape


def test_weights_lie_inside_the_image_and_add_up_to_one() -> None:
    for resize, shape in _every_resize():
        for axis, size in ((resize.rows, shape[0]), (resize.cols, shape[1])):
            assert (axis.lines["first"] >= 0).all()
            assert (axis.lines["first"] + axis.lines["count"] <= size).all()
            if axis.weights.dtype == np.float32:
                np.testing.assert_allclose(axis.weights.sum(axis=0), 1, atol=2e-3)


def test_steps_are_no_more_than_the_spec_asks_for() -> None:
    def kernels(spec: HeightmapSpec, kind: str = "range", dtype: str = "u2") -> list[str]:
        return [step.kernel for step in Plan(spec, kind, np.dtype(dtype), (90, 80)).steps]

    assert kernels(HeightmapSpec(window=WINDOW)) == ["letterbox"]
    assert kernels(HeightmapSpec(window=WINDOW), "heightmap", "u1") == ["letterbox"]
    assert kernels(HeightmapSpec(window=WINDOW), "cloud", "f4") == ["letterbox"]
    assert kernels(HeightmapSpec(window=PercentileWindow())) == ["count_top", "count_middle", "count_bottom", "letterbox"]
    assert kernels(HeightmapSpec(window=PercentileWindow()), "heightmap", "u1") == ["count_grays", "letterbox"]


def test_only_the_first_pass_over_the_frame_looks_for_what_is_not_finite() -> None:
    plan = Plan(HeightmapSpec(window=PercentileWindow()), "range", np.dtype("f4"), (90, 80))
    jobs = plan.jobs({})
    assert [bool(jobs[step.job]["check"]) for step in plan.steps] == [True, False, False, False]


def test_histograms_are_cleared_only_where_they_are_made() -> None:
    made = Plan(HeightmapSpec(window=PercentileWindow()), "range", np.dtype("f4"), (90, 80)).state_bytes
    assert made == STATE.itemsize
    assert Plan(HeightmapSpec(window=WINDOW), "range", np.dtype("f4"), (90, 80)).state_bytes < 1024
