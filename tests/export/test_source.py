import pickle
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from source_kit import SPEC

from edge.errors import ExportError
from export.graph.write import run_torch
from export.sources.load import load_source, source_from_module
from nets.architectures import build
from nets.checkpoint import Checkpoint, save_checkpoint


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.path, "executed")


def test_a_pickle_is_refused_before_a_byte_of_it_is_executed(tmp_path: Path) -> None:
    path, proof = tmp_path / "learner.pkl", tmp_path / "proof"
    path.write_bytes(pickle.dumps(Trap(proof)))
    with pytest.raises(ExportError, match=r"loading it executes .* Give --trust-pickle"):
        load_source(path, heightmap=SPEC)
    assert not proof.exists()


def test_a_missing_learner_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"cannot read .*learner.pkl \(seen: No such file"):
        load_source(tmp_path / "learner.pkl", trust_pickle=True)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no trained network \(seen: weights.h5\)"):
        load_source(tmp_path / "weights.h5", trust_pickle=True)


def test_a_checkpoint_keeps_its_meaning_and_provenance(tmp_path: Path) -> None:
    path = tmp_path / "T3.safetensors"
    made = Checkpoint(architecture="small", classes=("bad", "good"), heightmap=SPEC, model=build("small", 2), provenance={"seed": "5"})
    save_checkpoint(made, path)
    found = load_source(path)
    assert (found.architecture, found.classes, found.heightmap, found.provenance) == ("small", ("bad", "good"), SPEC, {"seed": "5"})
    assert not found.model.training


def test_spanish_class_names_are_understood_and_typology_names_stay() -> None:
    made = source_from_module(build("small", 2), classes=["Soldadura_Buena", "Soldadura_Mala"], heightmap=SPEC)
    assert made.classes == ("good", "bad")
    assert source_from_module(build("small", 2), classes=["T3", "T10"], heightmap=SPEC).classes == ("T3", "T10")


def test_the_hash_of_a_module_follows_its_weights() -> None:
    torch.manual_seed(0)
    model = build("small", 2)
    first = source_from_module(model, classes=["bad", "good"], heightmap=SPEC)
    assert source_from_module(model, classes=["bad", "good"], heightmap=SPEC).sha256 == first.sha256
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert source_from_module(model, classes=["bad", "good"], heightmap=SPEC).sha256 != first.sha256


@pytest.mark.slow
def test_a_trusted_learner_answers_as_the_network_it_was_made_of(tmp_path: Path) -> None:
    from export_workshop import write_scans  # noqa: PLC0415

    from train.options import TrainingOptions  # noqa: PLC0415 - fastai takes seconds
    from train.typology import train_typology  # noqa: PLC0415

    folder = write_scans(tmp_path / "T3", 4, 0)
    trained = train_typology(folder, TrainingOptions(epochs=1, threads=1), watch=False)
    path = tmp_path / "learner.pkl"
    trained.learner.export(path)
    found = load_source(path, heightmap=SPEC, trust_pickle=True)
    assert found.classes == ("bad", "good")
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 32, 64), dtype=np.uint8)
    made = source_from_module(trained.checkpoint.model, classes=trained.checkpoint.classes, heightmap=SPEC)
    assert np.allclose(run_torch(found, images), run_torch(made, images), atol=1e-6)
    with pytest.raises(ExportError, match=r"normalises otherwise .* mean \(0.485"):
        load_source(path, heightmap=msgspec.structs.replace(SPEC, mean=(0.5, 0.5, 0.5)), trust_pickle=True)


@pytest.mark.slow
def test_a_trusted_file_that_is_no_learner_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "learner.pkl"
    path.write_bytes(b"no pickle")
    with pytest.raises(ExportError, match="cannot be loaded as a Learner"):
        load_source(path, heightmap=SPEC, trust_pickle=True)
