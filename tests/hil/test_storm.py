"""Strangers besiege the port that a camera's frames come by: the camera's verdicts do not notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tiny import PUBLIC, TinyBundle, frame_image

from bench.storm import besiege


@dataclass
class Signed:
    path: Path
    key: str
    accepted: NDArray[np.uint8]
    typologies: tuple[str, ...]


def test_a_storm_from_the_cameras_own_address_disturbs_no_verdict(tmp_path: Path) -> None:
    images = np.stack([frame_image(40, seed=seed) for seed in range(24)])
    bundle = Signed(TinyBundle().save(tmp_path / "tiny.cordon"), PUBLIC, images, ("T2",))
    siege = besiege(bundle, "listen", "same", "garbage", connections=1_000, seconds=0.8, every_ms=40)
    assert siege.crowd["attempts"] >= 1_000
    during = siege.phases[1]
    assert (during.missing, during.reasons) == (0, {}), "\n".join(siege.rows())
    assert max(during.taken_ms) <= 200
    assert siege.crowd["through_while_heard"] == 0, "while the camera is heard, nobody else can even connect"
    assert siege.back_s <= 20, "a camera that drops out comes back through the storm"
