"""Several networks as one typology, from the order to the box's own loader."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from export_workshop import SPEC, Workshop

from calib.prepare import prepare_scans
from calib.quantise import read_model
from edge.bundle import verify_bundle
from edge.bundle_similar import unpack_similar
from edge.errors import ExportError
from edge.inspector.loader import load_engines
from edge.inspector.machine import CpuMachine
from edge.manifest import Combine
from export.graph.inspection import SIDES
from export.order import LineOrder, MemberOrder, TypologyOrder
from export.pipeline import Exported, export_line
from export.sources.load import source_from_module
from export.typology import one_heightmap
from nets.architectures import build
from nets.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nets.siamese import SiameseNetwork
from scans.folder import find_scans
from scans.split import split_by_group

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
    judge = load_engines(bundle, CpuMachine(threads=1), progress=lambda _: None).judges["T3"]
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


def siamese_checkpoint(workshop: Workshop, path: Path) -> Path:
    """A siamese network whose body keeps its random weights and whose head learns same from different on T3's training scans."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build("siamese", 2)
    assert isinstance(model, SiameseNetwork)
    found = find_scans(workshop.order.typology[0].scans)
    training, _ = split_by_group(found.scans, held_out=0.5, seed=42)
    prepared = prepare_scans(training, SPEC, found.scale)
    bad = torch.tensor([label == "bad" for label in prepared.labels])
    normalised = (torch.from_numpy(prepared.images).float() / 255 - 0.45) / 0.225
    with torch.no_grad():
        model.train()(normalised.expand(-1, 3, -1, -1), normalised.expand(-1, 3, -1, -1))  # batch norm's statistics
        embedded = model.eval().embed(normalised.expand(-1, 3, -1, -1))
    head = [*model.first.parameters(), *model.rest.parameters()]
    optimiser = torch.optim.Adam(head, lr=1e-3)
    for _ in range(150):
        one, other = torch.randint(0, len(bad), (2, 64))
        loss = torch.nn.functional.cross_entropy(model.compare(embedded[one], embedded[other]), (bad[one] != bad[other]).long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    spec = msgspec.structs.replace(SPEC, mean=(0.45,) * 3, std=(0.225,) * 3)
    provenance = {"held_out": "0.5", "seed": "42"}
    save_checkpoint(
        Checkpoint(architecture="siamese", classes=("bad", "good"), heightmap=spec, model=model.eval(), provenance=provenance), path
    )
    return path


def test_a_siamese_network_ships_with_its_references_inside(workshop: Workshop, tmp_path: Path) -> None:
    source = siamese_checkpoint(workshop, tmp_path / "siamese.safetensors")
    member = MemberOrder(source=source, name="siamese", references=5)
    order = TypologyOrder(name="T3", scans=workshop.order.typology[0].scans, member=(member,))
    exported = export_line(LineOrder(name="line", version=1, typology=(order,)), workshop.key, say=lambda _: None)
    (typology,) = exported.bundle.manifest.typologies
    assert typology.members[0].kind == "siamese"
    found = exported.certificate.typologies[0].result
    assert (found.shipped.auroc, found.shipped.shipped.escapes, found.flips.total) == (1.0, 0, 0)
    graph = read_model(bytes(exported.bundle.files["T3/siamese.onnx"])).graph
    assert [list(t.dims) for t in graph.initializer if t.name == SIDES] == [[1, 5, 128]]
    assert load_engines(exported.bundle, CpuMachine(threads=1), progress=lambda _: None).known_answers == 4


def test_members_that_see_different_heightmaps_are_refused() -> None:
    body = build("small", 2)
    one = source_from_module(body, classes=("bad", "good"), heightmap=SPEC)
    other_size = replace(one, heightmap=msgspec.structs.replace(SPEC, height=64))
    other_mean = replace(one, heightmap=msgspec.structs.replace(SPEC, mean=(0.5, 0.5, 0.5)))
    assert one_heightmap([one, other_mean], "T3") == SPEC
    with pytest.raises(ExportError, match="must see the same heightmap"):
        one_heightmap([one, other_size], "T3")
