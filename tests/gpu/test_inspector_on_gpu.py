"""The whole inspector on the GPU, real sockets around it: frames in, reports out, every answer that of the CPU's reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_kit import build_engines, gpu_settings, open_tiny
from cell_kit import Cell, make_parts, start
from runtime_kit import backend, machine
from tiny import TinyBundle, frame_image, probability

from edge.contract import Reason
from edge.engines.backend import Backend

__all__ = ["backend", "machine", "start"]
Start = Callable[..., Cell]


@pytest.fixture
def begin(backend: Backend, start: Start, tmp_path: Path) -> Callable[..., Cell]:
    """`begin(bundle, gpu={...}, **inspector settings)` gives a READY cell on the GPU, its engines built here."""

    def make(tiny: TinyBundle | None = None, gpu: dict[str, Any] | None = None, **settings: Any) -> Cell:
        tiny = tiny or TinyBundle()
        build_engines(open_tiny(tiny, tmp_path), tmp_path / "engines", backend=backend.name)
        return start(tiny, backend=backend.name, gpu=gpu_settings(tmp_path / "engines", **(gpu or {})), **settings)

    return make


def test_a_frame_is_judged_on_the_gpu_and_the_report_says_so(begin: Start) -> None:
    cell = begin()
    image = frame_image(55)
    report = cell.judge(*make_parts(image))
    assert report.reason is Reason.OK
    assert report.score == pytest.approx(probability(image, centre=60, sign=1), abs=2e-3)
    assert report.backend.startswith("tensorrt")
    assert report.received_ns < report.prepared_ns <= report.scored_ns
    assert cell.gate.states[-1].known_answers == 6


def test_one_frame_after_the_other_gets_its_own_score(begin: Start) -> None:
    cell = begin()
    for counter, gray in enumerate((40, 58, 62, 90, 61, 59), 1):
        image = frame_image(gray, seed=counter)
        report = cell.judge(*make_parts(image, counter=counter))
        assert report.score == pytest.approx(probability(image, centre=60, sign=1), abs=2e-3)


def test_the_router_names_the_typology_and_all_engines_cross_check(begin: Start) -> None:
    cell = begin(engines="all")
    assert cell.judge(*make_parts(frame_image(170), typology=None)).typology == "T5"
    report = cell.judge(*make_parts(frame_image(41), typology="T5", counter=2))
    assert report.reason is Reason.CROSS_CHECK


def test_a_committee_runs_side_by_side_and_reports_every_member(begin: Start) -> None:
    bundle = TinyBundle(members=3, combine="weighted", spread=4.0)
    cell = begin(bundle)
    image = frame_image(63)
    report = cell.judge(*make_parts(image))
    assert report.members == pytest.approx([probability(image, centre=60 + 4 * i, sign=1) for i in range(3)], abs=2e-3)
    assert report.score == pytest.approx(bundle.truth("T2", image), abs=2e-3)


def test_an_empty_frame_is_refused_by_what_the_kernels_found_and_the_next_is_judged(begin: Start) -> None:
    cell = begin()
    report = cell.judge(*make_parts(np.full((24, 32), 70, np.uint8)))
    assert (report.reason, report.score) == (Reason.FRAME_EMPTY, 1.0)
    assert "constant" in report.detail
    assert cell.judge(*make_parts(frame_image(40), counter=2)).reason is Reason.OK


def test_range_frames_with_infinite_heights_are_refused(begin: Start) -> None:
    cell = begin()
    z = np.random.default_rng(1).normal(0, 1, (24, 32)).astype(np.float32)
    z[3, 4] = np.inf
    report = cell.judge(*make_parts(z, kind="range", dtype="f4"))
    assert report.reason is Reason.FRAME_NONFINITE


def test_an_expected_trigger_warms_the_gpu_and_changes_no_answer(begin: Start) -> None:
    cell = begin()
    cell.judge(*make_parts(frame_image(40)))
    for counter in range(2, 6):
        cell.expect("T2", sequence=counter)
        for _ in range(5):
            cell.tick()
        image = frame_image(55 + counter, seed=counter)
        report = cell.judge(*make_parts(image, counter=counter))
        assert report.score == pytest.approx(probability(image, centre=60, sign=1), abs=2e-3)


@pytest.mark.soft
def test_the_way_of_a_frame_allocates_nothing_and_never_stops_the_device(begin: Start, driver: Any) -> None:
    cell = begin(TinyBundle(members=2, spread=4.0), engines="all")
    cell.judge(*make_parts(frame_image(40)))
    before = driver.counters()
    for counter in range(2, 12):
        cell.judge(*make_parts(frame_image(40 + counter), counter=counter))
    used = driver.counters() - before
    assert (used.allocations, used.frees, used.host_allocations, used.device_syncs, used.default_stream_uses) == (0, 0, 0, 0, 0)
    assert used.launches > 0
    assert driver.violations() == []


@pytest.mark.soft
@pytest.mark.parametrize("seed", range(1, 9))
def test_no_order_that_cuda_allows_changes_an_answer(begin: Start, driver: Any, seed: int) -> None:
    cell = begin(TinyBundle(members=3, spread=4.0), engines="all", gpu={"streams": 2})
    driver.seed(seed)
    for counter, gray in enumerate((40, 63, 58, 90), 1):
        image = frame_image(gray, seed=seed + counter)
        report = cell.judge(*make_parts(image, counter=counter, typology="T2"))
        assert report.members == pytest.approx([probability(image, centre=60 + 4 * i, sign=1) for i in range(3)], abs=2e-3)


@pytest.mark.soft
def test_each_frame_is_copied_up_once_and_answers_down_together(begin: Start, driver: Any) -> None:
    cell = begin(engines="all", gpu={"zero_copy": "off"})
    cell.judge(*make_parts(frame_image(40)))
    before = driver.counters()
    cell.judge(*make_parts(frame_image(41), counter=2))
    assert (driver.counters() - before).copies == len(("frame", "what the kernels found", "all answers"))
