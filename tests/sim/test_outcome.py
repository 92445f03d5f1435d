import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sim.dataset import scale_toml
from sim.outcome import Judged, read_results, sheet_of, table_of
from sim.welds import make_weld, to_cloud

WELDS = [
    {"part": "P1", "weld": f"W{number}", "typology": "T3", "truth": truth, "defect": "none", "file": "x.png"}
    for number, truth in enumerate(["good", "good", "bad", "bad", "good"])
]


def _results(path: Path) -> Path:
    """Accepted good, rejected good, rejected bad, accepted bad; nothing for the last."""
    told = [("ACCEPT", True, 2.0), ("REJECT", False, 3.0), ("REJECT", False, 4.0), ("ACCEPT", True, 150.0)]
    lines = [
        {"part": "P1", "weld": f"W{n}", "outcome": outcome, "accepted": accepted, "reason": "OK", "latency_ms": ms}
        for n, (outcome, accepted, ms) in enumerate(told)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def judged(tmp_path: Path) -> list[Judged]:
    return read_results(WELDS, _results(tmp_path / "results.jsonl"))


def test_escapes_overkills_and_missing_verdicts_are_counted_apart(judged: list[Judged]) -> None:
    _, summary = table_of(judged, 100.0)
    assert {key: summary[key] for key in ("welds", "escapes", "overkills", "missing", "max_ms")} == {
        "welds": 5,
        "escapes": 1,
        "overkills": 1,
        "missing": 1,
        "max_ms": 150.0,
    }


def test_a_budget_that_was_not_kept_is_shown(judged: list[Judged]) -> None:
    assert "EXCEEDED" in table_of(judged, 100.0)[0]
    assert "EXCEEDED" in table_of(judged[-1:], 1000.0)[0]
    assert "EXCEEDED" not in table_of(judged[:3], 100.0)[0]


def test_a_robot_that_wrote_nothing_leaves_every_verdict_missing(tmp_path: Path) -> None:
    text, summary = table_of(read_results(WELDS, tmp_path / "none.jsonl"), 100.0)
    assert (summary["missing"], summary["escapes"], summary["p50_ms"]) == (5, 0, 0.0)
    assert "no verdict 5" in text


def test_the_sheet_shows_what_went_wrong_first(tmp_path: Path, judged: list[Judged]) -> None:
    image = np.random.default_rng(1).integers(1, 255, (128, 352), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "x.png"), image)
    here = [Judged(**{**vars(j), "file": tmp_path / "x.png"}) for j in judged]
    sheet_of(here, tmp_path / "sheet.png")
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None


@pytest.mark.parametrize("organised", [True, False])
def test_clouds_are_shown_by_their_heights(tmp_path: Path, judged: list[Judged], organised: bool) -> None:
    weld = make_weld("T4", "none", 3)
    np.save(tmp_path / "x.npy", to_cloud(weld, organised=organised))
    (tmp_path / "scan.toml").write_text(scale_toml("T4", "cloud"))
    sheet_of([Judged(**{**vars(judged[0]), "file": tmp_path / "x.npy"})], tmp_path / "cloud.png")
    np.save(tmp_path / "x.npy", weld.height_mm)
    sheet_of([Judged(**{**vars(judged[0]), "file": tmp_path / "x.npy"})], tmp_path / "range.png")
    cloud, heights = (cv2.imread(str(tmp_path / name)).astype(int) for name in ("cloud.png", "range.png"))
    assert cloud.shape == heights.shape
    assert (np.abs(cloud - heights) <= 8).mean() > 0.8
