"""Defects as functions of a height field: they change what they say, in the direction they say, and nothing else."""

from dataclasses import fields, replace

import numpy as np
import pytest

from sim import defects
from sim.surface import HeightField, draw_field
from sim.typologies import TYPOLOGIES

NAMES = list(TYPOLOGIES)


def sound(name: str) -> HeightField:
    return draw_field(TYPOLOGIES[name], np.random.default_rng(3))


def noise() -> np.random.Generator:
    return np.random.default_rng(9)


def damage(field: HeightField) -> dict[str, defects.Damaged]:
    run = 0.4 * field.bead.length
    return {
        "deviate": defects.deviate(field, noise(), where="end", shift_mm=-3.0, run_mm=run),
        "exceed": defects.exceed(field, noise(), side="south", height_mm=1.2, run_mm=run),
        "drop_balls": defects.drop_balls(field, noise(), radii_mm=(1.5, 2.0)),
        "cut": defects.cut(field, noise(), lengths_mm=(4.0,)),
        "pierce": defects.pierce(field, noise(), diameters_mm=(1.5, 2.5)),
        "starve": defects.starve(field, noise(), side="north", run_mm=run, reach=0.0),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_defect_changes_the_field_inside_its_mask_only(name: str) -> None:
    before = sound(name)
    for what, (after, mask) in damage(before).items():
        change = np.abs(after.surface() - before.surface())
        assert change[~mask].max() <= defects.VISIBLE_MM + 1e-5, what
        assert not (after.lost & ~before.lost & ~mask).any(), what
        assert mask.any(), what


@pytest.mark.parametrize("name", NAMES)
def test_a_defect_leaves_the_field_it_was_given_alone(name: str) -> None:
    field = sound(name)
    layers = [f.name for f in fields(field) if isinstance(getattr(field, f.name), np.ndarray)]
    kept = {layer: getattr(field, layer).copy() for layer in layers}
    damage(field)
    assert all(np.array_equal(getattr(field, layer), kept[layer]) for layer in layers)


@pytest.mark.parametrize("name", NAMES)
def test_excess_and_balls_only_add_and_missing_material_and_holes_only_take_away(name: str) -> None:
    before = sound(name)
    change = {what: after.surface() - before.surface() for what, (after, _) in damage(before).items()}
    assert min(change["exceed"].min(), change["drop_balls"].min()) > -1e-4
    assert change["exceed"].max() > 0.8
    assert max(change["starve"].max(), change["pierce"].max(), change["cut"].max()) < 1e-4
    assert change["starve"].min() < -0.8


@pytest.mark.parametrize(("side", "sign"), [("north", -1), ("south", 1)])
def test_excess_and_missing_material_keep_to_their_side(side: defects.Side, sign: int) -> None:
    before = sound("T4")
    grown, _ = defects.exceed(before, noise(), side=side, height_mm=1.2, run_mm=15.0)
    starved, _ = defects.starve(before, noise(), side=side, run_mm=15.0, reach=0.0)
    for after in (grown, starved):
        change = np.abs(after.surface() - before.surface())
        assert sign * float((change * before.bead.across()).sum() / change.sum()) > 0.25


def test_a_hole_in_the_fillet_is_in_the_mask_although_the_cap_is_thin_there() -> None:
    field = sound("T2")
    thin = replace(field, cap=np.zeros_like(field.cap), fillet=np.ones_like(field.fillet))
    after, mask = defects.pierce(thin, noise(), diameters_mm=(2.0,))
    assert after.lost.any()
    assert mask[after.lost].all()


def test_a_cut_loses_its_length_and_no_more() -> None:
    before = sound("T3")
    after, _ = defects.cut(before, noise(), lengths_mm=(4.0,))
    middle = int(before.bead.centre.mean() / 0.2)
    assert after.lost[middle].sum() * 0.2 == pytest.approx(4.0, abs=0.5)


@pytest.mark.parametrize(("where", "first", "second"), [("start", 0.0, 0.4), ("end", 0.6, 1.0)])
def test_a_deviation_at_one_end_leaves_the_other_where_it_was(where: defects.Where, first: float, second: float) -> None:
    field = sound("T11")
    _, mask = defects.deviate(field, noise(), where=where, shift_mm=3.0, run_mm=0.4 * field.bead.length)
    columns = np.flatnonzero(mask.any(axis=0)) * 0.2
    assert columns.min() > field.bead.start + first * field.bead.length - 1.5
    assert columns.max() < field.bead.start + second * field.bead.length + 1.5


def test_a_bare_sheet_has_no_weld_and_stays_in_view() -> None:
    for name in NAMES:
        field, mask = defects.strip(sound(name), level_mm=1.0)
        assert not field.material().any()
        assert field.seen.any()
        assert mask.all()
