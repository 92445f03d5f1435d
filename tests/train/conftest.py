"""Tiny labelled folders: a bright seam on a dark sheet, broken by a gap when the weld is bad."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow, spec_to_json

SPEC = HeightmapSpec(window=PercentileWindow(low=1.0, high=99.0), height=64, width=96)
MakeFolder = Callable[..., Path]


@pytest.fixture(scope="session")
def make_folder() -> MakeFolder:
    def make(root: Path, *, good: str = "good", bad: str = "bad", count: int = 8, seed: int = 0, brightness: int = 40) -> Path:
        rng = np.random.default_rng(seed)
        for label in (good, bad):
            (root / label).mkdir(parents=True)
            for number in range(count):
                image = rng.integers(brightness, brightness + 20, (64, 96)).astype(np.uint8)
                image[24:40] += 100
                if label == bad:
                    image[24:40, 40 + number : 56 + number] = 0
                cv2.imwrite(str(root / label / f"{number}.png"), image)
        rows = [f"{label}/{n}.png,part{n // 2}" for label in (good, bad) for n in range(count)]
        (root / "groups.csv").write_text("\n".join(["file,group", *rows]) + "\n", encoding="utf-8")
        (root / "heightmap.json").write_bytes(spec_to_json(SPEC))
        return root

    return make
