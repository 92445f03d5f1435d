from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from train.amounts import Augmentation
from train.augment import DARKEST, augment

STILL = Augmentation(flip_rows=False, flip_columns=False, shift=0, rotation_deg=0, stretch=0, gain=0, offset=0, tilt=0, noise=0, dropout=0)


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(0)
    images = torch.rand(8, 1, 32, 48) * 0.6 + 0.2
    images[:, :, 10:14, 20:30] = 0
    return images


def test_all_amounts_at_zero_change_nothing(images: torch.Tensor) -> None:
    assert torch.allclose(augment(images, STILL), images)


def test_changed_heights_leave_no_data_alone_and_never_become_no_data(images: torch.Tensor) -> None:
    changed = augment(images, replace(STILL, gain=0.9, offset=0.9, tilt=0.9, noise=0.5))
    assert torch.equal(changed == 0, images == 0)
    assert changed[images > 0].min() >= DARKEST
    assert changed.max() <= 1
    assert not torch.allclose(changed, images)


def test_every_image_of_a_batch_is_changed_on_its_own() -> None:
    changed = augment(torch.full((6, 1, 8, 8), 0.5), replace(STILL, offset=0.2))
    assert len(changed.flatten(1).mean(dim=1).unique()) == 6


@pytest.mark.parametrize(("switch", "axis"), [("flip_rows", 2), ("flip_columns", 3)])
def test_a_flip_turns_some_images_whole(images: torch.Tensor, switch: str, axis: int) -> None:
    changed = augment(images, replace(STILL, **{switch: True}))
    turned = [torch.allclose(c, i.flip(axis - 1)) for c, i in zip(changed, images, strict=True)]
    kept = [torch.allclose(c, i) for c, i in zip(changed, images, strict=True)]
    assert any(turned)
    assert any(kept)
    assert all(t or k for t, k in zip(turned, kept, strict=True))


def test_moving_only_brings_grays_that_were_there_and_no_data_from_outside(images: torch.Tensor) -> None:
    changed = augment(images, replace(STILL, shift=0.3, rotation_deg=10, stretch=0.1))
    grays = (images * 1e4).round().unique().tolist()
    assert set((changed * 1e4).round().unique().tolist()) <= {0.0, *grays}
    assert (changed == 0).sum() > (images == 0).sum()


def test_a_turn_keeps_right_angles_on_an_oblong_image() -> None:
    image = torch.zeros(1, 1, 60, 180)
    image[..., 20:40, 80:100] = 1.0
    torch.manual_seed(3)
    changed = augment(image, replace(STILL, rotation_deg=90.0))
    assert changed.sum() == pytest.approx(400, rel=0.1)


def test_dropout_takes_at_most_its_share() -> None:
    full = torch.ones(16, 1, 64, 64)
    lost = (augment(full, replace(STILL, dropout=0.1)) == 0).float().mean(dim=(1, 2, 3))
    assert 0 < lost.max() < 0.12
