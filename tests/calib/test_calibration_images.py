from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from calib.features import drop_near, features, shows_nothing
from calib.images import candidates, choose_images, require_one_size, spread_out
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
    rng = np.random.default_rng(0)
    made = rng.integers(95, 106, (100, 1, 16, 32), dtype=np.uint8)
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


def test_images_whose_figures_are_all_equal_are_refused() -> None:
    rng = np.random.default_rng(0)
    quarters = np.stack([rng.permutation(np.repeat(np.arange(1, 129, dtype=np.uint8), 1)).reshape(8, 16) for _ in range(40)])
    half = np.concatenate([quarters, quarters[:, ::-1]], axis=1)
    made = np.concatenate([half, half[:, :, ::-1]], axis=2)[:, None]
    with pytest.raises(DatasetError, match="hardly differ"):
        choose_images(prepared(made))


def test_nearly_equal_images_of_a_label_count_once() -> None:
    made = np.repeat(images(20), 2, axis=0)
    made[1::2] += np.random.default_rng(1).random(made[1::2].shape) < 0.3
    labels = [("bad", "good")[i % 2] for i in range(20) for _ in range(2)]
    chosen = choose_images(prepared(made, labels), count=16)
    assert chosen.duplicates == 20
    other_label = choose_images(prepared(made, ["bad", "good"] * 20), count=16)
    assert other_label.duplicates == 0, "what separates good from bad may be as small as that"


def test_which_of_two_near_twins_stays_does_not_depend_on_their_order() -> None:
    made = np.repeat(images(20), 2, axis=0)
    made[1::2] += np.random.default_rng(1).random(made[1::2].shape) < 0.3
    labels = [("bad", "good")[i % 2] for i in range(20) for _ in range(2)]
    one, other = choose_images(prepared(made, labels), count=16), choose_images(prepared(made[::-1], labels[::-1]), count=16)
    assert one.hash == other.hash


def test_near_means_less_than_a_gray_level_over_the_pixels_with_data() -> None:
    bead = np.zeros((1, 16, 32), np.uint8)
    bead[0, :2] = 100
    half, whole = bead.copy(), bead.copy()
    half[0, 0], whole[0, :2] = 101, 101
    assert drop_near([bead, half]) == [0]
    assert drop_near([bead, whole]) == [0, 1], "the empty pixels around the bead do not make it more alike"
    assert drop_near([]) == []


def test_dropping_near_images_compares_as_a_plain_search_does() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 3, (6, 1, 17, 31), dtype=np.uint8) * 60
    noise = rng.integers(-2, 3, (60, 1, 17, 31)) * (rng.random((60, 1, 17, 31)) < rng.random((60, 1, 1, 1)))
    made = [np.clip(base[i % 6] + noise[i], 0, 255).astype(np.uint8) for i in range(60)]

    def near(one: np.ndarray, other: np.ndarray) -> bool:
        return bool(np.abs(one.astype(int) - other).sum() < np.count_nonzero(one | other))

    kept: list[int] = []
    for index in range(60):
        if not any(near(made[index], made[k]) for k in kept):
            kept.append(index)
    assert drop_near(made) == kept
    assert 6 < len(kept) < 60


def flat(count: int) -> np.ndarray:
    """Different images without contrast."""
    return np.arange(10, 10 + 2 * count, 2, dtype=np.uint8)[:, None, None, None] + np.zeros((count, 1, 16, 32), np.uint8)


def clipped(count: int) -> np.ndarray:
    """Different images of which two thirds are white."""
    made = images(count)
    made[:, :, :12] = 255
    return made


@pytest.mark.parametrize("broken", [flat, clipped])
def test_a_set_that_mostly_shows_nothing_is_refused(broken: Callable[[int], np.ndarray]) -> None:
    few, many = np.concatenate([images(30), broken(10)]), np.concatenate([images(10), broken(30)])
    assert len(choose_images(prepared(few), count=32).images) == 32
    with pytest.raises(DatasetError, match=r"most calibration images show nothing.* \(seen: 30 of 40\)"):
        choose_images(prepared(many), count=32)


def test_black_and_white_ends_of_the_scale_are_both_clipped() -> None:
    made = images(3)
    made[0, :, :12], made[1, :, :12] = 1, 255
    assert shows_nothing(made, features(made)).tolist() == [True, True, False]


def test_features_are_zero_fraction_and_the_statistics_of_pixels_with_data() -> None:
    image = np.zeros((1, 1, 10, 10), np.uint8)
    image[0, 0, :5] = 200
    assert features(image)[0] == pytest.approx([127.5, 200.0, 0.0, 0.0, 0.0, 0.0])


def test_tilt_is_the_slope_of_the_plane_through_the_pixels_with_data() -> None:
    rows, columns = np.mgrid[:101, :201]
    image = (100 + 0.4 * rows - 0.2 * columns).round().astype(np.uint8)
    image[20:60, 50:150] = 0
    assert features(image[None, None])[0, 4:] == pytest.approx([40.0, -40.0], abs=0.2)
    line = np.zeros((1, 1, 9, 9), np.uint8)
    line[0, 0, 4] = np.arange(9) * 10 + 1
    assert features(line)[0, 4:] == pytest.approx([0.0, 80.0])
    assert features(np.zeros((1, 1, 9, 9), np.uint8))[0].tolist() == [255.0, 0, 0, 0, 0, 0]


def test_spread_out_starts_at_the_middle_and_then_takes_the_ends() -> None:
    assert spread_out(np.array([[0.0], [4.0], [5.0], [6.0], [11.0]]), 3) == [2, 4, 0]


def test_large_folders_are_thinned_evenly_per_label() -> None:
    scans = [Scan(Path(str(i)), "good" if i < 90 else "bad", str(i)) for i in range(100)]
    kept = candidates(scans, limit=30)
    assert [int(s.path.name) for s in kept if s.label == "good"] == list(range(0, 90, 3))
    assert sum(s.label == "bad" for s in kept) == 10


def write(folder: Path, name: str, shape: tuple[int, int]) -> Scan:
    image = np.ones(shape, np.uint8)
    if name.endswith("npy"):
        np.save(folder / name, image)
    else:
        cv2.imwrite(str(folder / name), image)
    return Scan(folder / name, "good", name)


def test_scans_of_one_size_have_that_size(tmp_path: Path) -> None:
    assert require_one_size([write(tmp_path, name, (20, 30)) for name in ("a.png", "b.tif", "c.npy")]) == (20, 30)


def test_clouds_in_no_order_have_one_size_however_many_points_they_hold(tmp_path: Path) -> None:
    for count in (5, 9):
        np.save(tmp_path / f"{count}.npy", np.ones((1, count, 3), np.float32))
        np.save(tmp_path / f"ordered{count}.npy", np.ones((4, count, 3), np.float32))
    assert require_one_size([Scan(tmp_path / f"{count}.npy", "good", "a") for count in (5, 9)]) == (1, 0)
    assert require_one_size([Scan(tmp_path / "ordered5.npy", "good", "a")]) == (4, 5)
    with pytest.raises(DatasetError, match="1 of 4 x 9"):
        require_one_size([Scan(tmp_path / f"ordered{count}.npy", "good", "a") for count in (5, 5, 9)])


@pytest.mark.parametrize("suffix", ["png", "tif", "npy"])
def test_mixed_sizes_are_refused_with_counts_and_an_example(tmp_path: Path, suffix: str) -> None:
    scans = [write(tmp_path, f"{i}.png", (20, 30)) for i in range(3)] + [write(tmp_path, f"odd.{suffix}", (30, 20))]
    with pytest.raises(DatasetError, match=rf"seen: 3 of 20 x 30, 1 of 30 x 20; for example .*odd\.{suffix}"):
        require_one_size(scans)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy"])
def test_an_unreadable_scan_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=name):
        require_one_size([Scan(tmp_path / name, "good", "a")])
    with pytest.raises(DatasetError, match="no scans"):
        require_one_size([])
