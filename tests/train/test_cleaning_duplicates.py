"""Copies of a weld are told from other welds of its kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.inspector.heightmap.cpu import Preparer
from scans.folder import Scan
from sim import defects
from sim.capture import Conditions, capture
from sim.surface import HeightField, draw_field
from sim.typologies import spec_of, typology_of
from train.cleaning.duplicates import Pair, find_duplicates, merged_groups, pixel_hash
from train.cleaning.fingerprint import Gray, common_strength, difference, likeness, relief_of, whiten
from train.cleaning.judgement import confusion, judge_labels

WELDS = 12


def shoot(field: HeightField, take: int, gain: float = 1.0) -> Gray:
    height = capture(field, Conditions(gain=gain), np.random.default_rng(take))
    out = np.empty((128, 352), np.uint8)
    Preparer(spec_of(field.typology.name)).prepare(height, kind="range", no_data=float("nan"), out=out)
    return out


@pytest.fixture(scope="module")
def fields() -> list[HeightField]:
    return [draw_field(typology_of("T3"), np.random.default_rng(seed)) for seed in range(WELDS)]


def test_copies_are_found_and_other_welds_of_the_kind_are_not(fields: list[HeightField]) -> None:
    rng = np.random.default_rng(1)
    images = [shoot(field, index) for index, field in enumerate(fields)]
    lost = images[1].copy()
    lost[rng.random(lost.shape) < 0.02] = 0
    copies = {
        (0, WELDS): shoot(fields[0], 100, gain=1.05),
        (1, WELDS + 1): lost,
        (2, WELDS + 2): np.roll(images[2], (2, -7), (0, 1)),
        (3, WELDS + 3): np.where(images[3] > 0, np.clip(images[3] * 1.1 + 5, 1, 255), 0).astype(np.uint8),
    }
    pierced, _ = defects.pierce(fields[4], rng, diameters_mm=(3.0,))
    everything = [*images, *copies.values(), shoot(pierced, 200)]
    hashes = [pixel_hash(image) for image in everything]
    found = {(pair.first, pair.second): pair for pair in find_duplicates(hashes, hashes, everything).pairs}
    assert set(found) == {*copies, (4, WELDS + 4)}
    assert all(found[pair].kind == "same weld" for pair in copies)
    assert found[2, WELDS + 2].move == (-2, 7)
    assert found[4, WELDS + 4].kind == "same weld, altered"


def test_the_difference_shows_where_a_registered_copy_differs(fields: list[HeightField]) -> None:
    image = shoot(fields[0], 1)
    marked = image.copy()
    marked[58:68, 150:170] = 0
    shown, changed = difference(image, np.roll(marked, (3, 4), (0, 1)), (-3, -4))
    assert shown[60:66, 152:168].min() == 255
    assert shown[:, :140].max() < 20
    assert 150 <= changed <= 250
    assert difference(image, np.clip(image * 0.9 + 9, 1, 255).astype(np.uint8) * (image > 0), (0, 0))[1] == 0


def test_what_all_welds_share_does_not_make_them_alike(fields: list[HeightField]) -> None:
    stripes = (20 * np.sin(np.arange(352) * 2 * np.pi / 8)).astype(int)[None, :]
    images = [np.where((image := shoot(field, 1)) > 0, np.clip(image + stripes, 1, 255), 0).astype(np.uint8) for field in fields[:6]]
    reliefs = [relief_of(image) for image in images]
    strength = common_strength(reliefs)
    plain = [likeness(reliefs[0], other)[0] for other in reliefs[1:]]
    whitened = [likeness(whiten(reliefs[0], strength), whiten(other, strength))[0] for other in reliefs[1:]]
    assert np.mean(whitened) < np.mean(plain) - 0.2


def test_equal_pixels_are_found_whatever_they_are_stored_as() -> None:
    image = np.random.default_rng(0).integers(1, 255, (8, 9)).astype(np.uint8)
    hashes = [pixel_hash(image), pixel_hash(image.astype(np.uint16)), pixel_hash(image.T), pixel_hash(image)]
    pairs = find_duplicates(hashes, ["a", "b", "c", "a"], [None] * 4).pairs
    assert [(pair.first, pair.second, pair.kind) for pair in pairs] == [(0, 1, "same pixels"), (0, 3, "same bytes")]


def test_scans_without_any_relief_are_no_copies() -> None:
    flat = [np.full((128, 352), 100 + index, np.uint8) for index in range(5)]
    hashes = [pixel_hash(image) for image in flat]
    assert find_duplicates(hashes, hashes, flat).pairs == ()


def _scan(number: int, label: str, group: str, defect: str = "") -> Scan:
    return Scan(Path(f"{label}/{number}.png"), label, group, defect)  # type: ignore[arg-type]


def test_groups_are_joined_through_any_number_of_copies() -> None:
    scans = [_scan(number, "good", group) for number, group in enumerate("dbcae")]
    pairs = [Pair(first=0, second=1, kind="same weld"), Pair(first=2, second=1, kind="same bytes")]
    assert merged_groups(scans, pairs) == ("b", "b", "b", "a", "e")


def test_planted_wrong_labels_are_the_suspects_and_confusion_names_their_kind() -> None:
    rng = np.random.default_rng(0)
    scans = tuple(_scan(n, "bad" if n % 2 else "good", str(n), "pore" if n % 4 == 1 else "cut" if n % 2 else "") for n in range(80))
    truth = np.array([scan.label == "bad" for scan in scans])
    wrong = [5, 9, 40]
    seen = truth.copy()
    seen[wrong] = ~seen[wrong]
    badness = np.clip(np.where(seen, 0.9, 0.1) + rng.normal(0, 0.05, (3, 80)), 0.01, 0.99)
    judged = judge_labels(scans, badness)
    assert np.flatnonzero(judged.error | judged.doubtful).tolist() == wrong
    assert judged.error[40]
    assert judged.misjudged[wrong].tolist() == [3, 3, 3]
    assert np.allclose(judged.loss, -np.log(np.where(truth, badness, 1 - badness)).mean(axis=0))
    assert (judged.worst_loss >= judged.loss).all()
    rows = confusion(scans, badness)
    assert (rows[0].defect, rows[0].scans, rows[0].wrong, rows[0].judged_bad) == ("pore", 20, (2, 2, 2), (18, 18, 18))
    assert {row.defect: row.wrong for row in rows}["cut"] == (0, 0, 0)
    assert replace(rows[0], label="good").wrong == (18, 18, 18)


def test_a_label_is_an_error_only_where_every_split_contradicts_it() -> None:
    scans = (*(_scan(n, "good", f"g{n}") for n in range(10)), *(_scan(n, "bad", f"b{n}") for n in range(10, 18)))
    badness = np.array([[0.05] * 8 + [0.9, 0.45] + [0.6] * 8, [0.05] * 8 + [0.9, 0.99] + [0.7] * 8])
    assert np.flatnonzero(judge_labels(scans, badness).error).tolist() == [8]
