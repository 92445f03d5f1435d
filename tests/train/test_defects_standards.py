"""The standards: nine typologies packaged, others refused with file, key, value and remedy."""

from pathlib import Path

import numpy as np
import pytest
from defects_kit import standard_of, weld_of

from edge.errors import DatasetError
from sim.typologies import TYPOLOGIES
from train.defects.draw import DEFECTS, draw, draw_conditions, weights
from train.defects.make import plan
from train.defects.standards import PACKAGED, read_standard
from train.defects.values import Cut

TEXT = (Path(__file__).parents[2] / "train" / "defects" / PACKAGED).read_text(encoding="utf-8")


@pytest.mark.parametrize("typology", list(TYPOLOGIES))
def test_every_typology_has_a_standard_with_the_limit_that_the_line_uses(typology: str) -> None:
    assert standard_of(typology).cut_limit_mm == TYPOLOGIES[typology].cut_limit_mm


@pytest.mark.parametrize("typology", list(TYPOLOGIES))
def test_drawn_cuts_keep_their_distance_from_the_limit(typology: str) -> None:
    standard = standard_of(typology)
    for seed in range(40):
        for defect, shorter in (("short_cut", True), ("cut", False)):
            parameters = draw(defect, weld_of("T3"), standard, np.random.default_rng(seed))
            assert isinstance(parameters, Cut)
            assert all((length < standard.cut_limit_mm) == shorter for length in parameters.lengths_mm)
            assert min(abs(length / standard.cut_limit_mm - 1.0) for length in parameters.lengths_mm) > 0.19


def refused(tmp_path: Path, old: str, new: str, typology: str = "T7") -> str:
    path = tmp_path / "own.toml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DatasetError) as caught:
        read_standard(typology, path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("radius_mm = [1.3, 2.3]", "radius_mm = [2.3, 1.3]", "radius_mm = [2.3, 1.3]: the first of a range"),
        ("radius_mm = [1.3, 2.3]", "radius = [1.3, 2.3]", "unknown field `radius` - at `$.ball`"),
        ("radius_mm = [1.3, 2.3]", 'radius_mm = "big"', "`$.ball.radius_mm`"),
        ("radius_mm = [1.3, 2.3]", "radius_mm = [0.0, 2.3]", "greater than 0"),
        ("whole = 0.5", "whole = 1.5", "whole = 1.5: a share is at most 1"),
        ("weight = 3.0", "weight = -3.0", "must not be negative"),
        ("acceptable_mm = [0.8, 1.8]", "acceptable_mm = [0.8, 2.9]", "must end at 2.4"),
        ("rejectable_mm = [4.0, 6.5]", "rejectable_mm = [3.1, 6.5]", "must begin at 3.6"),
        ('axis = "columns"', 'axis = "diagonal"', "`$.find.axis`"),
        ("cut_limit_mm = 3.0", "cut_limit_mm = = 3.0", "is not TOML"),
        ("[T7]", "T7 = 5\n[T6]", "must be tables"),
    ],
)
def test_a_wrong_standard_is_refused_with_file_key_value_and_remedy(old: str, new: str, match: str, tmp_path: Path) -> None:
    if new.startswith("T7 = 5"):
        path = tmp_path / "own.toml"
        path.write_text("T7 = 5\n", encoding="utf-8")
        with pytest.raises(DatasetError, match=match):
            read_standard("T7", path)
        return
    assert match in refused(tmp_path, old, new)


def test_a_missing_file_and_an_unknown_typology_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot read the standard"):
        read_standard("T7", tmp_path / "none.toml")
    with pytest.raises(DatasetError, match=r"no typology T6.*T10"):
        read_standard("T6")
    with pytest.raises(DatasetError, match="no typology every"):
        read_standard("every")


def test_a_plan_gives_every_defect_its_share() -> None:
    jobs = plan(standard_of("T3"), good=50, bad=394, seed=3)
    counts = {name: sum(job.defect == name for job in jobs) for name in DEFECTS}
    assert sum(counts.values()) == 444
    assert counts["cut"] == counts["ball"] == 60
    assert counts["bare"] == 20
    assert [job.number for job in jobs] == list(range(444))
    assert {job.defect for job in plan(standard_of("T3"), good=4, bad=4, seed=3, only=("ball",))} == {"sound", "ball"}


def test_conditions_say_nothing_about_the_label() -> None:
    drawn = [draw_conditions(standard_of("T4"), np.random.default_rng(seed)) for seed in range(400)]
    assert np.mean([c.dropout > 0 for c in drawn]) == pytest.approx(0.3, abs=0.07)
    assert np.mean([c.gain != 1.0 for c in drawn]) == pytest.approx(0.3, abs=0.07)
    assert np.mean([c.move_mm != (0.0, 0.0) for c in drawn]) == pytest.approx(0.5, abs=0.08)
    assert sum(weights(standard_of("T4"))[1].values()) > 0
