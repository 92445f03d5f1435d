"""Maps on their way from the engines into a report: on request only, bounded, and never with any part in the verdict."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from cell_kit import Cell, make_parts, start  # noqa: F401 - the fixture
from test_archive import said
from tiny import CENTRES, HEIGHT, WIDTH, TinyBundle, frame_image

from edge.config import ArchiveConfig
from edge.contract import Reason
from edge.errors import EngineError
from edge.inspector.archive import MAP_SUFFIX, Room
from edge.inspector.engines.openvino import Compiler
from edge.inspector.explaining import Explainer
from edge.inspector.judging import Finding
from edge.map_text import MAX_COLUMNS, MAX_ROWS, unpack

BAD = frame_image(int(CENTRES["T2"]) + 20, seed=9)


def a_finding(score: float = 0.9, **changes: Any) -> Finding:
    settings = {"reason": Reason.OK, "detail": "", "typology": "T2", "score": score, "threshold": 0.5, "prepared_ns": 1}
    return Finding(**(settings | changes))


def loaded(*maps: Any, combine: str = "mean", weights: tuple[float, ...] = ()) -> Any:
    """As much of a Loaded as an Explainer looks at: one typology whose engines gave these maps."""
    members = [SimpleNamespace(name=f"m{i}", weight=weights[i] if weights else 1.0) for i in range(len(maps))]
    engines = [SimpleNamespace(map=one, member=member) for one, member in zip(maps, members, strict=True)]
    return SimpleNamespace(judges={"T2": SimpleNamespace(engines=engines, spec=SimpleNamespace(combine=combine, members=members))})


def cells(text: str | None) -> np.ndarray:
    found = unpack(text)
    return np.frombuffer(found.cells, np.uint8).reshape(found.rows, found.columns) * (found.peak / 255)


@pytest.mark.parametrize(("asked", "good", "bad"), [("none", False, False), ("rejects", False, True), ("all", True, True)])
def test_a_report_carries_the_map_that_was_asked_for(start: Callable[..., Cell], asked: str, good: bool, bad: bool) -> None:  # noqa: F811
    cell = start(TinyBundle(maps=1.0), explain=asked)
    image = frame_image(30)
    image[:4, :4] = 90
    accepted, rejected = cell.judge(*make_parts(image)), cell.judge(*make_parts(BAD, counter=2))
    assert (accepted.map is not None, rejected.map is not None) == (good, bad)
    assert accepted.score <= accepted.threshold < rejected.score
    if good:
        assert np.unravel_index(int(cells(accepted.map).argmax()), (4, 6)) == (0, 0)
    if bad:
        blocks = BAD.reshape(4, HEIGHT // 4, 6, WIDTH // 6).mean(axis=(1, 3))
        assert cells(rejected.map) == pytest.approx((blocks - CENTRES["T2"]) / 4 / 24, abs=unpack(rejected.map).peak / 254)
    refused = cell.judge(*make_parts(np.full((HEIGHT, WIDTH), 40, np.uint8), counter=3))
    assert (refused.reason, refused.map, refused.map_note) == (Reason.FRAME_EMPTY, None, "")


def test_scores_are_the_same_whatever_was_asked_for(start: Callable[..., Cell]) -> None:  # noqa: F811
    cell = start(TinyBundle(maps=1.0), explain="all")
    assert cell.judge(*make_parts(BAD)).score == pytest.approx(TinyBundle().truth("T2", BAD), abs=1e-6)


def test_a_bundle_without_maps_is_judged_as_ever_and_the_log_says_so(
    start: Callable[..., Cell],  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    cell = start(explain="all")
    assert "T2, T5" in caplog.text
    report = cell.judge(*make_parts(BAD))
    assert (report.reason, report.map, report.map_note) == (Reason.OK, None, "")


@pytest.mark.parametrize("scale", [math.nan, math.inf, -math.inf])
def test_a_map_that_is_not_finite_stays_out_and_changes_nothing(start: Callable[..., Cell], scale: float) -> None:  # noqa: F811
    cell = start(TinyBundle(maps=scale), explain="all")
    for counter, image in enumerate((frame_image(30), BAD), 1):
        report = cell.judge(*make_parts(image, counter=counter))
        assert (report.reason, report.map) == (Reason.OK, None)
        assert "not finite" in report.map_note
        assert report.score == pytest.approx(TinyBundle().truth("T2", image), abs=1e-6)


@pytest.mark.parametrize(
    "planted", [None, "text", np.zeros((2, 3, 4), np.float32), np.array(3.0, np.float32), np.zeros((0, 4), np.float32)]
)
def test_whatever_an_engine_gives_in_its_place_becomes_a_note(planted: Any) -> None:
    one = loaded(np.ones((4, 6), np.float32))
    explainer = Explainer(one, "all")
    one.judges["T2"].engines[0].map = planted
    found = explainer.of(a_finding())
    assert found.text is None
    assert found.note.startswith("no map of T2: ")
    assert len(found.note) <= 200


def test_a_map_larger_than_a_record_takes_is_averaged_down_and_keeps_its_sum() -> None:
    large = np.zeros((512, 352), np.float32)
    large[100:110, 200:230] = 0.01
    found = Explainer(loaded(large), "all").of(a_finding())
    small = cells(found.text)
    assert small.shape == (MAX_ROWS, MAX_COLUMNS)
    assert small.sum() == pytest.approx(3.0, rel=0.02)
    assert np.unravel_index(int(small.argmax()), small.shape) in {(3, 26), (3, 25), (3, 27)}


def test_members_of_several_sizes_are_put_on_one_grid_and_averaged_as_their_scores_are() -> None:
    fine, coarse = np.zeros((4, 6), np.float32), np.zeros((2, 3), np.float32)
    fine[3, 5], coarse[1, 2] = 2.0, 4.0
    plain = cells(Explainer(loaded(fine, coarse), "all").of(a_finding()).text)
    assert plain[3, 5] == pytest.approx((2.0 + 1.0) / 2)
    assert plain[2, 4] == pytest.approx(0.5, rel=0.01)
    weighted = loaded(fine, coarse, combine="weighted", weights=(3.0, 1.0))
    assert cells(Explainer(weighted, "all").of(a_finding()).text)[3, 5] == pytest.approx((3 * 2.0 + 1.0) / 4)
    assert cells(Explainer(loaded(fine, coarse, combine="vote", weights=(3.0, 1.0)), "all").of(a_finding()).text)[3, 5] == pytest.approx(
        1.5
    )


def test_where_nothing_speaks_for_a_defect_the_map_is_empty() -> None:
    found = unpack(Explainer(loaded(np.full((2, 2), -1.0, np.float32)), "all").of(a_finding()).text)
    assert (found.peak, found.cells) == (0.0, bytes(4))


@pytest.mark.parametrize("finding", [a_finding(reason=Reason.CROSS_CHECK), a_finding(typology=None), a_finding(typology="T9")])
def test_a_frame_that_was_not_judged_has_no_map(finding: Finding) -> None:
    assert Explainer(loaded(np.ones((2, 2), np.float32)), "all").of(finding).text is None


def test_making_a_map_takes_far_less_than_a_millisecond() -> None:
    explainer = Explainer(loaded(np.random.default_rng(1).random((8, 22), np.float32)), "all")
    finding = a_finding()
    times = []
    for _ in range(50):
        began = time.perf_counter()
        explainer.of(finding)
        times.append(time.perf_counter() - began)
    assert sorted(times)[25] < 0.001


def test_a_graph_whose_map_is_not_what_the_manifest_says_is_refused() -> None:
    tiny = TinyBundle(maps=1.0)
    member = tiny.manifest().typologies[0].members[0]
    data = np.zeros((HEIGHT, WIDTH), np.uint8)
    assert member.map is not None
    wrong = [msgspec.structs.replace(member.map, shape=(4, 7)), msgspec.structs.replace(member.map, name="cells"), None]
    for maps in (False, True):
        Compiler(threads=1, maps=maps).compile(member, tiny.files[member.file], data)
        for one in wrong:
            with pytest.raises(EngineError):
                Compiler(threads=1, maps=maps).compile(msgspec.structs.replace(member, map=one), tiny.files[member.file], data)


def test_the_drawn_map_lies_beside_the_archived_image(start: Callable[..., Cell], tmp_path: Path) -> None:  # noqa: F811
    folder = tmp_path / "images"
    cell = start(TinyBundle(maps=1.0), explain="rejects", archive=ArchiveConfig(folder=folder, accepts_every=1))
    for counter, image in enumerate((frame_image(30), BAD), 1):
        cell.judge(*make_parts(image, counter=counter))
        archive = cell.daemon._archive
        assert archive is not None
        archive.settle(said(counter))
    archive.close()
    drawn = sorted(folder.glob(f"*/*{MAP_SUFFIX}"))
    assert len(drawn) == 1
    assert drawn[0].name.endswith("_P1_W1_REJECT.map.png")
    assert drawn[0].with_name(drawn[0].name.replace(MAP_SUFFIX, ".json")).exists()
    picture = cv2.imread(str(drawn[0]))
    assert picture.shape[1] >= 700
    assert len([path for path in folder.glob("*/*.png") if not path.name.endswith(MAP_SUFFIX)]) == 2


def test_an_image_takes_its_drawn_map_with_it_when_it_goes(tmp_path: Path) -> None:
    room = Room(tmp_path, 1_000)
    room.put("2026-11-21/a", bytes(200), bytes(100), None, bytes(300))
    assert room.used_bytes == 600
    assert Room(tmp_path, 1_000).used_bytes == 600
    room.put("2026-11-21/b", bytes(300), bytes(200))
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["b.json", "b.png"]
    assert room.used_bytes == 500
