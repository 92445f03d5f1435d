"""Several networks as one typology, from the order to the box's own loader."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from export_workshop import SPEC, Workshop

from edge.bundle import verify_bundle
from edge.bundle_similar import unpack_similar
from edge.errors import ExportError
from edge.inspector.loader import load_engines
from edge.manifest import Combine
from export.order import LineOrder, MemberOrder, TypologyOrder
from export.pipeline import Exported, export_line
from export.source import source_from_module
from export.typology import one_heightmap
from nets.architectures import build
from nets.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sources(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """T3's checkpoint, and the same network a little noisier as a plain state dict."""
    folder = tmp_path_factory.mktemp("members")
    first = workshop.order.typology[0].source
    assert first is not None
    weights = load_checkpoint(first).model.state_dict()
    torch.manual_seed(1)
    noisy = {name: value * (1 + 0.02 * torch.randn_like(value)) if value.ndim == 4 else value for name, value in weights.items()}
    torch.save(noisy, folder / "second.pth")
    return first, folder / "second.pth"


def exported_with(workshop: Workshop, sources: tuple[Path, Path], how: Combine, **changes: object) -> Exported:
    members = (
        MemberOrder(source=sources[0], name="first"),
        MemberOrder(source=sources[1], architecture="small", classes=("bad", "good"), weight=3.0),
    )
    order = TypologyOrder(name="T3", scans=workshop.order.typology[0].scans, member=members, combine=how, **changes)  # type: ignore[arg-type]
    return export_line(LineOrder(name="line", version=1, typology=(order,)), workshop.key, say=lambda _: None)


@pytest.mark.parametrize("how", ["mean", "weighted", "vote"])
def test_a_committee_is_proved_as_the_box_combines_it(workshop: Workshop, sources: tuple[Path, Path], how: Combine) -> None:
    exported = exported_with(workshop, sources, how)
    bundle = verify_bundle(exported.data, (workshop.public_key,))
    judge = load_engines(bundle, threads=1, progress=lambda _: None).judges["T3"]
    assert [engine.member.name for engine in judge.engines] == ["first", "second"]
    (typology,) = bundle.manifest.typologies
    assert (typology.combine, [m.weight for m in typology.members]) == (how, [1.0, 3.0])
    assert all(len(g.members) == 2 for g in typology.golden)
    (certificate,) = exported.certificate.typologies
    assert certificate.result.shipped.shipped.escapes == 0
    assert [network.name for network in certificate.networks] == ["first", "second"]
    assert len(exported.latency["T3"]) == 2


def test_embeddings_of_the_training_scans_come_along_when_asked_for(workshop: Workshop, sources: tuple[Path, Path]) -> None:
    exported = exported_with(workshop, sources, "mean", embeddings=True)
    (typology,) = exported.bundle.manifest.typologies
    assert typology.similar is not None
    known = unpack_similar(bytes(exported.bundle.files[typology.similar]))
    assert len(known.names) == len(known.directions) == 40
    assert [m.embedding for m in typology.members] == ["embedding", None]
    assert str(workshop.root).encode() not in exported.data


def test_an_autoencoder_is_a_member_like_any_other(workshop: Workshop, tmp_path: Path) -> None:
    """Its weights are random: what it reconstructs is dark, so that bright, bad welds have the larger error."""
    torch.manual_seed(0)
    made = Checkpoint(
        architecture="autoencoder", classes=("bad", "good"), heightmap=SPEC, model=build("autoencoder", 2, size=(32, 64)).eval()
    )
    save_checkpoint(made, tmp_path / "coder.safetensors")
    order = TypologyOrder(name="T3", source=tmp_path / "coder.safetensors", scans=workshop.order.typology[0].scans, held_out=0.5)
    exported = export_line(LineOrder(name="line", version=1, typology=(order,)), workshop.key, say=lambda _: None)
    (typology,) = exported.bundle.manifest.typologies
    assert typology.members[0].kind == "autoencoder"
    assert typology.threshold <= 0.5
    written = json.loads(bytes(exported.bundle.files["certificate.json"]))
    assert written["typologies"][0]["networks"][0]["kind"] == "autoencoder"


def test_members_that_see_different_heightmaps_are_refused() -> None:
    body = build("small", 2)
    one = source_from_module(body, classes=("bad", "good"), heightmap=SPEC)
    other_size = replace(one, heightmap=msgspec.structs.replace(SPEC, height=64))
    other_mean = replace(one, heightmap=msgspec.structs.replace(SPEC, mean=(0.5, 0.5, 0.5)))
    assert one_heightmap([one, other_mean], "T3") == SPEC
    with pytest.raises(ExportError, match="must see the same heightmap"):
        one_heightmap([one, other_size], "T3")
