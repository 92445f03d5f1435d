"""Every painter as a pure function: what it changes, what it leaves alone, its label, its noise, its flanks."""

from dataclasses import fields, replace

import numpy as np
import pytest
from defects_kit import standard_of, weld_of
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import DatasetError
from sim.typologies import TYPOLOGIES
from train.defects.draw import BAD, DEFECTS, draw, draw_conditions
from train.defects.filters import noise_of
from train.defects.paint import capture, paint
from train.defects.values import Ball, Bare, Conditions, Cut, Deviation, Excess, Missing, Pore, Sound
from train.defects.weld import Painted, Weld

WELDS = st.builds(weld_of, st.sampled_from(list(TYPOLOGIES)), st.sampled_from(["none", "short_cut", "dropout"]), st.integers(0, 1))
UNBROKEN = st.builds(weld_of, st.sampled_from(list(TYPOLOGIES)), st.just("none"), st.integers(0, 1))
SEEDS = st.integers(0, 2**40)


def drawn(typology: str, defect: str, seed: int) -> tuple[Weld, Painted] | None:
    weld = weld_of(typology, "none", seed % 2)
    try:
        return weld, paint(weld, draw(defect, weld, standard_of(typology), np.random.default_rng(seed)), seed)
    except DatasetError:
        return None


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(list(TYPOLOGIES)), st.sampled_from(DEFECTS), SEEDS)
def test_outside_mask_and_shadow_a_painted_scan_is_its_source(typology: str, defect: str, seed: int) -> None:
    if (made := drawn(typology, defect, seed)) is None:
        return
    weld, painted = made
    outside = ~(painted.mask | painted.shadow)
    assert painted.height.dtype == np.float32
    assert painted.height.shape == weld.height.shape == painted.mask.shape
    assert painted.mask.dtype == np.bool_
    assert np.array_equal(painted.height[outside], weld.height[outside], equal_nan=True)
    assert painted.label == ("bad" if defect in BAD else "good")
    assert painted.mask.any() == (defect != "sound")
    again = drawn(typology, defect, seed)
    assert again is not None
    assert np.array_equal(again[1].height, painted.height, equal_nan=True)
    assert not np.isinf(painted.height).any()


def test_most_draws_fit_every_typology() -> None:
    missing = [
        (typology, defect, seed) for typology in TYPOLOGIES for defect in BAD for seed in range(2) if drawn(typology, defect, seed) is None
    ]
    assert len(missing) <= 6, missing


@pytest.mark.parametrize("defect", BAD)
def test_painting_leaves_the_weld_as_it_is(defect: str) -> None:
    weld = weld_of("T5")
    kept = {f.name: getattr(weld, f.name).copy() for f in fields(weld) if isinstance(getattr(weld, f.name), np.ndarray)}
    paint(weld, draw(defect, weld, standard_of("T5"), np.random.default_rng(1)), 1)
    assert all(np.array_equal(getattr(weld, name), array, equal_nan=array.dtype == np.float32) for name, array in kept.items())


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(st.floats(0.5, 7.0), st.floats(2.0, 4.0), SEEDS)
def test_a_cut_is_labelled_by_its_length_and_never_near_the_limit(length: float, limit: float, seed: int) -> None:
    weld, parameters = weld_of("T11"), Cut(lengths_mm=(length,), limit_mm=limit, margin=0.2)
    if abs(length - limit) < 0.2 * limit:
        with pytest.raises(DatasetError, match="no safe label"):
            paint(weld, parameters, seed)
        return
    painted = paint(weld, parameters, seed)
    assert painted.label == ("bad" if length > limit else "good")
    centre = np.rint(weld.bead.centre / weld.pitch[1]).astype(int)
    lost = np.isnan(painted.height) & ~np.isnan(weld.height)
    across = sum(lost[centre + step, np.arange(lost.shape[1])].sum() for step in (-1, 0, 1)) / 3
    assert across * weld.pitch[0] == pytest.approx(length, abs=0.5)


def test_a_new_gap_keeps_away_from_the_ends_and_from_gaps_that_are_there() -> None:
    weld = weld_of("T3", "short_cut", 1)
    old = np.flatnonzero(weld.bead.gaps) * weld.pitch[0]
    for seed in range(6):
        painted = paint(weld, Cut(lengths_mm=(5.0,), limit_mm=3.0), seed)
        columns = np.flatnonzero((np.isnan(painted.height) & painted.mask).sum(axis=0) > 12) * weld.pitch[0]
        assert columns.min() > weld.bead.start + 1.0
        assert columns.max() < weld.bead.end - 1.0
        assert all(np.abs(columns - x).min() > 1.0 for x in old)


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(WELDS, st.sampled_from(["north", "south"]), st.floats(0.8, 1.8), SEEDS)
def test_excess_only_adds_on_its_side_with_smooth_flanks_and_the_scans_noise(weld: Weld, side: str, height: float, seed: int) -> None:
    painted = paint(replace(weld, sight=None), Excess(side=side, height_mm=height), seed)  # type: ignore[arg-type]
    added = np.where(painted.mask, painted.height - weld.height, 0.0)
    both = np.isfinite(painted.height) & np.isfinite(weld.height) & ~weld.shadow
    assert added[both].min() > -1e-4
    assert 0.4 * height < added[both].max() < 1.5 * height
    steps = np.abs(np.diff(np.where(both, added, np.nan), axis=0))
    assert np.nanmax(steps) / weld.pitch[1] < 3.0
    sign = 1.0 if side == "south" else -1.0
    assert sign * (added * weld.across())[both].sum() > 0
    raised = both & (added > 0.3)
    assert 0.6 < noise_of(painted.height, raised) / noise_of(weld.height, raised) < 1.5


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(UNBROKEN, st.floats(1.4, 2.2), SEEDS)
def test_a_ball_is_highest_in_its_middle_and_no_step_of_one_pixel(weld: Weld, radius: float, seed: int) -> None:
    painted = paint(weld, Ball(radii_mm=(radius,), rise=0.9), seed)
    rise = np.where(painted.mask, painted.height - weld.solid, np.nan)
    rows, columns = np.nonzero(np.nan_to_num(rise) > 0.3 * np.nanmax(rise))
    peak = np.unravel_index(np.nanargmax(rise), rise.shape)
    spread = max(np.ptp(rows) * weld.pitch[1], np.ptp(columns) * weld.pitch[0])
    assert 0.8 * radius < spread < 2.4 * radius
    assert np.hypot(peak[0] - rows.mean(), peak[1] - columns.mean()) * weld.pitch[0] < 0.8 * radius
    steps = [np.nanmax(np.abs(np.diff(rise, axis=axis))) for axis in (0, 1)]
    assert max(steps) < 0.55 * 0.9 * radius + 0.2


@pytest.mark.parametrize("typology", ["T2", "T4", "T5"])
def test_laid_bare_sheet_carries_the_noise_of_the_sheet_beside_it(typology: str) -> None:
    weld = weld_of(typology)
    painted = paint(weld, Bare(), 3)
    under = weld.bead.footprint & np.isfinite(painted.height)
    assert under.sum() > 1000
    assert 0.7 < noise_of(painted.height, under) / weld.noise[1] < 1.4
    assert np.abs(painted.height - weld.ground)[under].max() < 0.2


@pytest.mark.parametrize("where", ["start", "middle", "end"])
def test_a_deviating_bead_keeps_its_section_its_noise_and_its_lost_pixels(where: str) -> None:
    weld = weld_of("T4", "dropout", 1)
    painted = paint(weld, Deviation(where=where, shift_mm=3.5, run_mm=18.0), 5)  # type: ignore[arg-type]
    over = painted.height - weld.ground
    moved = (over > 0.8) & (np.abs(weld.across()) < 3)
    before = (weld.height - weld.ground > 0.8) & weld.bead.footprint
    assert moved.sum() == pytest.approx(before.sum(), rel=0.06)
    lost = [np.isnan(h)[m].sum() for h, m in ((painted.height, painted.mask), (weld.height, weld.bead.footprint))]
    assert 0.3 < lost[0] / lost[1] < 1.6
    changed = painted.mask & moved
    assert 0.6 < noise_of(painted.height, changed) / weld.noise[0] < 1.5
    lowest = np.where(moved, np.arange(128)[:, None], 0).max(axis=0) - np.where(before, np.arange(128)[:, None], 0).max(axis=0)
    assert lowest.max() * weld.pitch[1] == pytest.approx(3.5, abs=0.8)


def test_a_lump_casts_its_shadow_and_a_bare_sheet_has_none() -> None:
    weld = weld_of("T5", "none", 2)
    lump = paint(weld, Ball(radii_mm=(2.2,), rise=1.0), 4)
    shadowed = lump.shadow & np.isnan(lump.height)
    assert shadowed.sum() > 20
    rows = np.nonzero(shadowed)[0]
    assert rows.mean() > np.nonzero(lump.mask)[0].mean()
    bare = paint(weld, Bare(), 4)
    assert np.isnan(bare.height[weld.shadow]).mean() < 0.1


def test_missing_material_is_gone_on_its_side_only() -> None:
    weld = weld_of("T3")
    for side, sign in (("north", -1.0), ("south", 1.0)):
        painted = paint(weld, Missing(side=side, run_mm=20.0, reach_mm=0.0), 2)  # type: ignore[arg-type]
        gone = np.isnan(painted.height) & ~np.isnan(weld.height)
        assert sign * weld.across()[gone].mean() > 0.3
        assert gone.any(axis=0).sum() * weld.pitch[0] == pytest.approx(20.0, abs=3.5)


def test_pores_lose_about_their_area() -> None:
    weld = weld_of("T11")
    painted = paint(weld, Pore(diameters_mm=(3.0,)), 2)
    lost = (np.isnan(painted.height) & ~np.isnan(weld.height)).sum() * weld.pitch[0] * weld.pitch[1]
    assert lost == pytest.approx(np.pi / 4 * (0.9 * 3.0) ** 2, rel=0.25)


@pytest.mark.parametrize(
    "parameters",
    [
        Cut(lengths_mm=(30.0,), limit_mm=3.0),
        Excess(side="north", height_mm=1.0, run_mm=99.0),
        Missing(side="south", run_mm=99.0, reach_mm=0.0),
        Pore(diameters_mm=(60.0,)),
        Deviation(where="start", shift_mm=3.0, run_mm=50.0),
        Deviation(where="start", shift_mm=3.0, run_mm=3.0),
        Deviation(where="end", shift_mm=30.0, run_mm=61.0),
    ],
)
def test_what_does_not_fit_on_a_short_bead_is_refused(parameters: object) -> None:
    with pytest.raises(DatasetError):
        paint(weld_of("T10"), parameters, 1)  # type: ignore[arg-type]


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(WELDS, SEEDS)
def test_conditions_change_no_label_and_invent_no_data(weld: Weld, seed: int) -> None:
    conditions = draw_conditions(standard_of("T3"), np.random.default_rng(seed))
    plain = paint(weld, Sound(), 0)
    taken = capture(weld, plain, conditions, seed)
    assert taken.label == "good"
    if conditions == Conditions():
        assert np.array_equal(taken.height, weld.height, equal_nan=True)
    if conditions.move_mm == (0.0, 0.0):
        assert np.isnan(taken.height[np.isnan(weld.height)]).all()
        lost = np.isnan(taken.height) & ~np.isnan(weld.height)
        assert not lost[~weld.bead.footprint & (weld.height - weld.ground < 0.1)].any()
        assert lost.sum() == pytest.approx(conditions.dropout * weld.bead.footprint.sum(), rel=0.4, abs=3)


def test_moving_the_part_moves_heights_without_mixing_them() -> None:
    weld = weld_of("T4")
    moved = capture(weld, paint(weld, Sound(), 0), Conditions(move_mm=(1.0, -0.6)), 0).height
    assert np.array_equal(moved[3:-3, 5:-5], weld.height[6:, :-10], equal_nan=True) or np.array_equal(
        moved[6:-6, 10:-10], np.roll(weld.height, (-3, 5), axis=(0, 1))[6:-6, 10:-10], equal_nan=True
    )
