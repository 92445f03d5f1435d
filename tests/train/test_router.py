from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import DatasetError
from nets.checkpoint import load_checkpoint
from train.checkpoints import main as regenerate
from train.cli import main
from train.learner import DEFAULT_SPEC
from train.router import typology_folders


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, make_folder: Any) -> Path:
    root = tmp_path_factory.mktemp("typologies")
    for number, name in enumerate(("T2", "T10")):
        make_folder(root / name, count=4, seed=number, brightness=40 + 60 * number)
    (root / "notes").mkdir()
    return root


def test_the_router_s_classes_are_the_typologies(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "router.safetensors"
    assert main([str(root), "--router", "--epochs", "1", "--held-out", "0.5", "--out", str(out)]) == 0
    assert load_checkpoint(out).classes == ("T10", "T2")
    assert load_checkpoint(out).heightmap.height == 64
    assert "misnamed" in capsys.readouterr().out
    assert json.loads((tmp_path / "router.metrics.json").read_text())["held_out"] == {"T10": 4, "T2": 4}


def test_typologies_with_different_specs_share_the_percentile_one(tmp_path: Path, make_folder: Any) -> None:
    for name in ("T2", "T3"):
        make_folder(tmp_path / name, count=4)
    (tmp_path / "T3" / "heightmap.json").write_text('{"window": {"by": "mm", "low_mm": 0, "high_mm": 3}}')
    out = tmp_path / "router.safetensors"
    main([str(tmp_path), "--router", "--epochs", "1", "--held-out", "0.5", "--out", str(out)])
    assert load_checkpoint(out).heightmap == DEFAULT_SPEC


def test_different_scales_need_a_window_that_does_not_depend_on_them(tmp_path: Path, make_folder: Any) -> None:
    for number, name in enumerate(("T2", "T3")):
        make_folder(tmp_path / name, count=4)
        (tmp_path / name / "scan.toml").write_text(f"z_scale_mm = 0.0{number + 1}\n")
        (tmp_path / name / "heightmap.json").write_text('{"window": {"by": "mm", "low_mm": 0, "high_mm": 3}}')
    with pytest.raises(DatasetError, match=r"scan\.toml differ"):
        main([str(tmp_path), "--router", "--epochs", "1", "--held-out", "0.5", "--out", str(tmp_path / "r.safetensors")])


def test_folders_without_labels_are_no_typologies(root: Path) -> None:
    assert [path.name for path in typology_folders(root)] == ["T10", "T2"]


def test_a_root_without_typologies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="folder per typology"):
        typology_folders(tmp_path / "nowhere")


@pytest.mark.slow
def test_one_command_makes_all_the_repository_s_checkpoints(tmp_path: Path, make_folder: Any) -> None:
    root = tmp_path / "data"
    for name in ("T2", "T10"):
        make_folder(root / name, count=10)
    out = tmp_path / "checkpoints"
    assert regenerate(["--data", str(root), "--out", str(out), "--epochs", "1"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["T10.safetensors", "T2.safetensors", "metrics.json", "router.safetensors"]
    figures = json.loads((out / "metrics.json").read_text())
    assert list(figures) == ["T10", "T2", "router"]
    assert np.isfinite(figures["T2"]["auroc"])
    assert regenerate(["--data", str(root), "--out", str(out), "--only", "T99"]) == 1
