from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow
from nets.architectures import build
from nets.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

SPEC = HeightmapSpec(window=MillimetreWindow(low_mm=-0.5, high_mm=4.5), mean=(0.1, 0.2, 0.3))


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(1)
    network = build("small", 3)
    network.train()(torch.randn(4, 3, 64, 64))  # statistics that are not the fresh ones
    return Checkpoint(architecture="small", classes=("T2", "T3", "Ñandú"), heightmap=SPEC, model=network.eval(), provenance={"seed": "1"})


def test_a_checkpoint_comes_back_exactly(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(checkpoint, tmp_path / "new" / "T2.safetensors")
    loaded = load_checkpoint(tmp_path / "new" / "T2.safetensors")
    assert (loaded.architecture, loaded.classes, loaded.heightmap) == ("small", ("T2", "T3", "Ñandú"), SPEC)
    assert loaded.provenance == {"seed": "1"}
    assert not loaded.model.training
    saved = checkpoint.model.state_dict()
    assert saved.keys() == loaded.model.state_dict().keys()
    assert all(torch.equal(saved[name], value) for name, value in loaded.model.state_dict().items())


def test_half_precision_halves_the_file_and_hardly_moves_the_answer(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(checkpoint, tmp_path / "full.safetensors")
    save_checkpoint(checkpoint, tmp_path / "half.safetensors", half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.55 * (tmp_path / "full.safetensors").stat().st_size
    loaded = load_checkpoint(tmp_path / "half.safetensors")
    assert {value.dtype for value in loaded.model.parameters()} == {torch.float32}
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        difference = (loaded.model(images) - checkpoint.model(images)).abs().max()
    assert 0 < difference < 0.01


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint: Checkpoint, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_checkpoint(checkpoint, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"nowhere\.safetensors"):
        load_checkpoint(tmp_path / "nowhere.safetensors")


def test_a_truncated_checkpoint_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "T2.safetensors"
    save_checkpoint(checkpoint, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ExportError, match="cannot read the checkpoint"):
        load_checkpoint(path)


def test_another_programs_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ExportError, match="not a checkpoint of this project"):
        load_checkpoint(path)


def test_weights_that_do_not_fit_their_architecture_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    wrong = Checkpoint(architecture="resnet18", classes=checkpoint.classes, heightmap=SPEC, model=checkpoint.model)
    save_checkpoint(wrong, tmp_path / "wrong.safetensors")
    with pytest.raises(ExportError, match="does not hold a whole checkpoint"):
        load_checkpoint(tmp_path / "wrong.safetensors")
