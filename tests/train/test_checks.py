from __future__ import annotations

import resource
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edge.errors import DatasetError
from scans.checks import check_scans
from scans.folder import find_scans
from train.cli import main
from train.memory import keep_freed_memory


@pytest.fixture
def root(make_folder: Any, tmp_path: Path) -> Path:
    return make_folder(tmp_path / "T")  # type: ignore[no-any-return]


def test_every_scan_of_a_sound_folder_has_a_digest(root: Path) -> None:
    found = find_scans(root)
    digests = check_scans(found)
    assert list(digests) == [scan.path for scan in found.scans]
    assert len(set(digests.values())) == 16


def test_a_file_under_both_labels_is_named_twice(root: Path) -> None:
    shutil.copy(root / "good" / "3.png", root / "bad" / "copy.png")
    with pytest.raises(DatasetError, match=r"good/3\.png = bad/copy\.png"):
        check_scans(find_scans(root))


def test_scans_of_another_size_or_depth_are_named(root: Path) -> None:
    cv2.imwrite(str(root / "good" / "wide.png"), np.zeros((64, 128), np.uint8))
    cv2.imwrite(str(root / "bad" / "deep.png"), np.zeros((64, 96), np.uint16))
    with pytest.raises(
        DatasetError, match=r"2 are not like the other 16 \(uint8 heightmap, 64 x 96\).*deep\.png.*wide\.png.*uint16 range, 64 x 96"
    ):
        check_scans(find_scans(root))


def test_all_unreadable_scans_are_counted_and_the_first_named(root: Path) -> None:
    for number in range(7):
        (root / "bad" / f"{number}.png").write_bytes(b"torn")
    with pytest.raises(DatasetError, match=r"cannot read 7 of 16 scans: bad/0\.png.* and 2 more"):
        check_scans(find_scans(root))


@pytest.mark.parametrize("more", [(), ("--folds", "2")])
def test_no_command_trains_on_such_a_folder(root: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    shutil.copy(root / "good" / "3.png", root / "bad" / "copy.png")
    with pytest.raises(DatasetError, match="good and bad at once"):
        main([str(root), "--out", str(tmp_path / "out"), *more])


def test_a_router_does_not_either(root: Path, make_folder: Any, tmp_path: Path) -> None:
    make_folder(tmp_path / "U", seed=1)
    shutil.copy(root / "good" / "3.png", root / "bad" / "copy.png")
    with pytest.raises(DatasetError, match="good and bad at once"):
        main([str(tmp_path), "--router", "--out", str(tmp_path / "out")])


@pytest.mark.skipif(not keep_freed_memory(), reason="the C library is not glibc")
def test_freed_tensors_do_not_go_back_to_the_kernel() -> None:
    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(4 << 20)  # 16 MB, 4096 pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()
    assert faults() < 4096
