from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from edge.errors import DatasetError
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow
from nets.architectures import build
from nets.checkpoint import Checkpoint
from train.probability import Affine, bins_table, compare, folded, isotonic, platt, reliability, table, temperature
from train.scoring import probabilities

SPEC = HeightmapSpec(window=PercentileWindow(), height=64, width=96)


def _overconfident(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and probabilities whose logits are three times too large."""
    rng = np.random.default_rng(seed)
    honest = expit(rng.normal(0, 2, count))
    return rng.random(count) < honest, expit(3 * logit(honest))


def test_temperature_and_platt_undo_overconfidence() -> None:
    bad, badness = _overconfident(5000, 0)
    assert temperature(bad, badness).scale == pytest.approx(1 / 3, rel=0.1)
    found = platt(bad, badness)
    assert (found.scale, found.shift) == pytest.approx((1 / 3, 0), abs=0.1)


def test_calibration_helps_on_scans_it_has_not_seen() -> None:
    found = compare(_overconfident(2000, 1), _overconfident(2000, 2))
    for way in ("temperature", "platt", "isotonic"):
        assert found[way].ece < 0.5 * found["none"].ece
        assert found[way].brier < found["none"].brier
    assert [line.split()[0] for line in table(found).splitlines()[1:]] == ["none", "temperature", "platt", "isotonic"]


def test_scans_that_are_separated_do_not_make_the_network_certain() -> None:
    bad = np.array([True] * 20 + [False] * 20)
    badness = np.where(bad, 0.7, 0.3)
    for way in (temperature(bad, badness), platt(bad, badness)):
        assert 0.7 < way(badness)[0] < 0.999


def test_the_errors_are_those_counted_by_hand() -> None:
    bad, badness = np.array([True, False, True, True]), np.array([0.15, 0.15, 0.95, 0.95])
    found = reliability(bad, badness)
    assert found.ece == pytest.approx(0.5 * abs(0.15 - 0.5) + 0.5 * abs(0.95 - 1))
    assert found.brier == pytest.approx((0.85**2 + 0.15**2 + 2 * 0.05**2) / 4)
    assert [(each.scans, each.bad) for each in found.bins] == [(2, 0.5), (2, 1.0)]
    assert len(bins_table(found).splitlines()) == 3


def test_the_order_of_the_scans_stays() -> None:
    bad, badness = _overconfident(300, 3)
    order = np.argsort(badness)
    for way in (temperature(bad, badness), platt(bad, badness), isotonic(bad, badness)):
        assert (np.diff(way(badness)[order]) >= 0).all()


@pytest.mark.parametrize("name", ["small", "padim", "lenet", "squeezenet1_1"])
def test_a_temperature_inside_the_last_layer_gives_the_calibrated_probabilities(name: str) -> None:
    torch.manual_seed(0)
    checkpoint = Checkpoint(architecture=name, classes=("bad", "good"), heightmap=SPEC, model=build(name, 2, size=(64, 96)).eval())
    images = torch.randint(0, 256, (4, 1, 64, 96), dtype=torch.uint8)
    before = probabilities(checkpoint, images)[:, 0]
    how = Affine(scale=0.4)
    after = probabilities(folded(checkpoint, how), images)[:, 0]
    assert np.allclose(after, how(before), atol=1e-5)
    assert np.array_equal(probabilities(checkpoint, images)[:, 0], before)


@pytest.mark.parametrize("classes", [("bad", "good"), ("good", "bad")])
def test_a_shift_goes_to_the_right_class(classes: tuple[str, str]) -> None:
    torch.manual_seed(0)
    checkpoint = Checkpoint(architecture="small", classes=classes, heightmap=SPEC, model=build("small", 2).eval())
    images, bad = torch.randint(0, 256, (4, 1, 64, 96), dtype=torch.uint8), classes.index("bad")
    made = folded(checkpoint, Affine(scale=2.0, shift=1.5))
    assert np.allclose(
        probabilities(made, images)[:, bad], Affine(scale=2.0, shift=1.5)(probabilities(checkpoint, images)[:, bad]), atol=1e-5
    )
    assert made.provenance == {"calibration_scale": "2.0", "calibration_shift": "1.5"}


def test_a_shift_that_a_last_layer_cannot_give_is_refused() -> None:
    torch.manual_seed(0)
    network = build("squeezenet1_1", 2).eval()  # a ReLU stands behind its last convolution
    checkpoint = Checkpoint(architecture="squeezenet1_1", classes=("bad", "good"), heightmap=SPEC, model=network)
    with pytest.raises(DatasetError, match="cannot be put into the last layer"):
        folded(checkpoint, Affine(shift=50.0))


def test_a_router_is_not_calibrated() -> None:
    checkpoint = Checkpoint(architecture="small", classes=("T2", "T3"), heightmap=SPEC, model=build("small", 2))
    with pytest.raises(DatasetError, match="good from bad"):
        folded(checkpoint, Affine())


def test_one_label_is_not_enough_and_a_network_that_is_upside_down_is_refused() -> None:
    with pytest.raises(DatasetError, match="good and bad"):
        temperature(np.ones(4, bool), np.full(4, 0.5))
    with pytest.raises(DatasetError, match="below good ones"):
        platt(np.array([True, True, False, False]), np.array([0.1, 0.2, 0.8, 0.9]))
