from pathlib import Path

import numpy as np
import pytest

from calib.images import candidates, choose_images, features, spread_out
from calib.prepare import Prepared
from edge.errors import DatasetError
from scans.folder import Scan


def images(count: int, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = rng.integers(1, 255, (count, 1, 16, 32), dtype=np.uint8) // rng.integers(1, 6, (count, 1, 1, 1), dtype=np.uint8)
    made[rng.random(made.shape) < rng.random((count, 1, 1, 1)) * 0.5] = 0
    return made


def prepared(made: np.ndarray, labels: list[str] | None = None) -> Prepared:
    labels = labels or ["good" if i % 2 else "bad" for i in range(len(made))]
    scans = tuple(Scan(Path(f"{i}.png"), label, str(i)) for i, label in enumerate(labels))
    return Prepared(images=made, labels=tuple(labels), scans=scans, refused={})


def test_equal_parts_of_both_labels_are_chosen_and_none_twice() -> None:
    chosen = choose_images(prepared(images(80)), count=32)
    assert [chosen.labels.count(label) for label in ("bad", "good")] == [16, 16]
    assert len({image.tobytes() for image in chosen.images}) == 32
    assert chosen.images.shape == (32, 1, 16, 32)


def test_the_smaller_label_leaves_its_places_to_the_larger_one() -> None:
    few_bad = choose_images(prepared(images(60), ["bad"] * 4 + ["good"] * 56), count=32)
    few_good = choose_images(prepared(images(60), ["bad"] * 56 + ["good"] * 4), count=32)
    assert [few_bad.labels.count(label) for label in ("bad", "good")] == [4, 28]
    assert [few_good.labels.count(label) for label in ("bad", "good")] == [28, 4]


def test_the_same_images_in_another_order_give_the_same_set() -> None:
    made = images(40)
    order = np.random.default_rng(1).permutation(40)
    labels = ["good" if i % 2 else "bad" for i in range(40)]
    one = choose_images(prepared(made, labels), count=16)
    other = choose_images(prepared(made[order], [labels[i] for i in order]), count=16)
    assert one.hash == other.hash
    assert np.array_equal(one.images, other.images)


def test_another_set_has_another_hash() -> None:
    assert choose_images(prepared(images(40)), count=16).hash != choose_images(prepared(images(40, seed=1)), count=16).hash


def test_the_choice_spans_the_extremes_that_a_grab_misses() -> None:
    made = np.full((100, 1, 16, 32), 100, np.uint8) + np.arange(100, dtype=np.uint8)[:, None, None, None] // 50
    made[:, 0, 0, :] = np.arange(100, dtype=np.uint8)[:, None] + 1  # all different
    made[99, 0, 2:] = 250
    made[98, 0, 2:14] = 0
    chosen = {scan.path.name for scan in choose_images(prepared(made), count=16).scans}
    assert {"98.png", "99.png"} <= chosen


def test_fewer_than_sixteen_different_images_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"too few different calibration images \(seen: 15\)"):
        choose_images(prepared(np.repeat(images(15), 4, axis=0)))


def test_one_label_is_refused() -> None:
    with pytest.raises(DatasetError, match="all of one label"):
        choose_images(prepared(images(40), ["good"] * 40))


def test_images_that_differ_only_in_a_pixel_are_refused() -> None:
    made = np.full((40, 1, 16, 32), 90, np.uint8)
    made.reshape(40, -1)[np.arange(40), np.arange(40)] = 91
    with pytest.raises(DatasetError, match="hardly differ"):
        choose_images(prepared(made))


def test_features_are_zero_fraction_and_the_statistics_of_pixels_with_data() -> None:
    image = np.zeros((1, 1, 10, 10), np.uint8)
    image[0, 0, :5] = 200
    assert features(image).tolist() == [[127.5, 200.0, 0.0, 0.0]]


def test_spread_out_starts_at_the_middle_and_then_takes_the_ends() -> None:
    assert spread_out(np.array([[0.0], [4.0], [5.0], [6.0], [11.0]]), 3) == [2, 4, 0]


def test_large_folders_are_thinned_evenly_per_label() -> None:
    scans = [Scan(Path(str(i)), "good" if i < 90 else "bad", str(i)) for i in range(100)]
    kept = candidates(scans, limit=30)
    assert [int(s.path.name) for s in kept if s.label == "good"] == list(range(0, 90, 3))
    assert sum(s.label == "bad" for s in kept) == 10
