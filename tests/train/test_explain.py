"""Maps that are where they should be: on planted blobs, nowhere for an empty head, and equal where theory says so."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from calib.run import Network
from edge.errors import ConfigError, DatasetError, ExportError
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow
from export.graph.evidence import MAP, with_map
from export.sources.module import source_from_module
from nets.architectures import build
from nets.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sim.welds import REJECTABLE, make_weld, to_heightmap
from train.cli import main as train_main
from train.explain.activations import activation_maps
from train.explain.cli import main
from train.explain.pointing import dilated, point, strongest, table
from train.explain.run import explained

SIZE = (48, 64)
SPEC = HeightmapSpec(window=MillimetreWindow(low_mm=0.0, high_mm=5.0), height=64, width=96)
CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"


class Tiny(nn.Module):
    """Two convolutions, average (or maximum) over everything, one linear layer."""

    def __init__(self, *, maximum: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU()
        )
        self.pool = nn.AdaptiveMaxPool2d(1) if maximum else nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, 2)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pool(self.features(image)).flatten(1))
        return logits


def blobs(count: int, seed: int) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
    """Noise; every second image has one bright blob of radius 5, whose centre is given."""
    rng = np.random.default_rng(seed)
    images, places = rng.normal(0.0, 0.3, (count, *SIZE)).astype(np.float32), []
    for number, image in enumerate(images):
        row, column = int(rng.integers(8, 40)), int(rng.integers(8, 56))
        places.append((row, column))
        if number % 2 == 0:
            cv2.circle(image, (column, row), 5, 2.0, -1)
    labels = torch.tensor([number % 2 for number in range(count)])
    return torch.from_numpy(images)[:, None].repeat(1, 3, 1, 1), labels, places


@pytest.fixture(scope="module", params=[False, True], ids=["average", "maximum"])
def trained(request: pytest.FixtureRequest) -> Tiny:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, (images, labels, _) = Tiny(maximum=request.param), blobs(64, seed=1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(40):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model.eval()


@pytest.mark.parametrize("method", ["cam", "gradcam"])
def test_the_maximum_of_a_map_lies_in_the_planted_blob(trained: Tiny, method: str) -> None:
    images, labels, places = blobs(40, seed=2)
    scores, maps = activation_maps(trained, images, 0, method)  # type: ignore[arg-type]
    assert ((scores[:, 0] > 0.5) == (labels.numpy() == 0)).all()
    hits = []
    for cells, place, label in zip(maps, places, labels.tolist(), strict=True):
        mask = np.zeros(SIZE, np.uint8)
        cv2.circle(mask, place[::-1], 5, 1, -1)
        if label == 0:
            hits.append(dilated(mask > 0, 3)[strongest(cells, SIZE)])
    assert len(hits) == 20
    assert np.mean(hits) >= 0.95


def test_a_head_of_zeros_knows_nothing(trained: Tiny) -> None:
    blind = Tiny()
    blind.load_state_dict(trained.state_dict())
    nn.init.zeros_(blind.head.weight)
    images, _, _ = blobs(4, seed=3)
    for method in ("cam", "gradcam"):
        assert not activation_maps(blind, images, 0, method)[1].any()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["six_convolutions", "squeezenet1_1"])
def test_behind_average_pooling_and_one_linear_layer_grad_cam_is_the_positive_part_of_cam(name: str) -> None:
    torch.manual_seed(1)
    model, images = build(name, 2).eval(), torch.randn(3, 3, 64, 96)
    cam, grad = (activation_maps(model, images.clone(), 0, method)[1] for method in ("cam", "gradcam"))
    assert np.abs(cam).max() > 0
    assert np.allclose(np.maximum(cam, 0.0), grad, atol=1e-6 * float(np.abs(cam).max()))


def test_the_exported_map_is_the_same_and_its_sum_is_the_log_odds_but_for_the_bias() -> None:
    torch.manual_seed(2)
    model = build("small", 2).eval()
    gray = torch.randint(0, 256, (3, 1, 64, 96), dtype=torch.uint8)
    made = Checkpoint(architecture="small", classes=("bad", "good"), heightmap=SPEC, model=model)
    scores, maps = explained(made, list(gray[:, 0].numpy()), "bad", "cam")
    bias = model.head[1].bias.detach().numpy()  # type: ignore[union-attr,index]
    assert maps.sum(axis=(1, 2)) + bias[0] - bias[1] == pytest.approx(np.log(scores[:, 0] / scores[:, 1]), abs=1e-4)
    graph, shape = with_map(source_from_module(model, classes=("bad", "good"), heightmap=SPEC).to_onnx(), 0)
    network = Network(onnx.load_model_from_string(graph), extra=[MAP])
    assert maps.shape[1:] == shape
    for image, cells in zip(gray.numpy(), maps, strict=True):
        assert np.allclose(network.run(image)[1][0], cells, atol=1e-5)


def test_cells_that_reach_a_maximum_together_share_it() -> None:
    model = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    nn.init.ones_(model[0].weight)  # type: ignore[arg-type]
    image = torch.zeros(1, 3, 2, 4)
    image[0, 0, 0, :2] = 1.0
    weight = float((model[3].weight[0] - model[3].weight[1]).item())  # type: ignore[operator,index,union-attr]
    expected = np.zeros((2, 4))
    expected[0, :2] = weight / 2
    assert activation_maps(model, image, 0, "cam")[1][0] == pytest.approx(expected)


@pytest.mark.parametrize(("name", "why"), [("lenet", "no global pooling"), ("scratch", "no global pooling")])
def test_a_network_without_a_cam_is_told_so_and_still_has_grad_cam(name: str, why: str) -> None:
    model, images = build(name, 2, size=(64, 96)), torch.randn(1, 3, 64, 96)
    with pytest.raises(ExportError, match="has no class activation map") as refused:
        activation_maps(model, images.clone(), 0, "cam")
    assert why in str(refused.value)
    assert "--method gradcam" in str(refused.value)
    assert activation_maps(model, images.clone(), 0, "gradcam")[1].shape[0] == 1


def test_a_hidden_layer_behind_the_pooling_is_no_linear_head() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(ExportError, match="relu behind its pooling"):
        activation_maps(model, torch.randn(1, 3, 32, 32), 0, "cam")


def test_the_pointing_game_counts_hits_beside_chance() -> None:
    gray, mask, cells = np.full((32, 64), 9, np.uint8), np.zeros((32, 64), bool), np.zeros((4, 8), np.float32)
    gray[:, 32:] = 0
    mask[10:14, 10:14] = True
    cells[1, 1] = 1.0
    near, far = point("pore", gray, cells, mask, tolerance=2), point("pore", gray, cells[::-1, ::-1].copy(), mask, tolerance=2)
    assert (near.hit, far.hit) == (True, False)
    assert near.chance == pytest.approx(dilated(mask, 2).sum() / (32 * 32))
    assert table([near, far]).splitlines()[-1].split()[:4] == ["all", "2", "1", "50.0%"]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    made = Checkpoint(architecture="small", classes=("bad", "good"), heightmap=SPEC, model=build("small", 2).eval())
    save_checkpoint(made, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    for label, count in (("good", 2), ("bad", 2)):
        (tmp_path / "scans" / label).mkdir(parents=True)
        for number in range(count):
            image = rng.integers(1, 255, (64, 96)).astype(np.uint8)
            image[:, :10] = 0
            cv2.imwrite(str(tmp_path / "scans" / label / f"{number}.png"), image)
    (tmp_path / "scans" / "groups.csv").write_text("file,label,group,defect\nbad/0.png,bad,a,pore\n")
    cv2.imwrite(str(tmp_path / "scans" / "bad" / "empty.png"), np.zeros((64, 96), np.uint8))
    return tmp_path / "scans"


def test_the_command_draws_every_scan_and_says_what_it_saw(
    network: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, masks = tmp_path / "out", tmp_path / "masks"
    (masks / "bad").mkdir(parents=True)
    cv2.imwrite(str(masks / "bad" / "0.png"), np.full((64, 96), 255, np.uint8))
    assert train_main(["explain", str(network), str(scans), "--out", str(out), "--raw", "npy", "--masks", str(masks)]) == 0
    said = capsys.readouterr().out
    assert "refused before any network: bad/empty.png: FRAME_EMPTY" in said
    assert "100.0%" in said
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"{label}_{number}.{kind}" for label in ("bad", "good") for number in (0, 1) for kind in ("npy", "png")), "maps.csv", "sheet.png",
    ]  # fmt: skip
    rows = list(csv.DictReader((out / "maps.csv").read_text().splitlines()))
    assert [(row["file"], row["label"], row["defect"]) for row in rows][:2] == [("bad/0.png", "bad", "pore"), ("bad/1.png", "bad", "")]
    assert np.load(out / "bad_0.npy").shape == (4, 6)
    picture = cv2.imread(str(out / "bad_0.png"))
    assert not picture[40:-38, : 8 * picture.shape[1] // 96].any(), "no data stays black"


def test_the_raw_map_can_be_a_16_bit_picture_and_a_limit_thins_evenly(network: Path, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([str(network), str(scans / "good"), "--out", str(out), "--raw", "png16", "--limit", "1", "--method", "gradcam"]) == 0
    raw = cv2.imread(str(next(out.glob("*.raw.png"))), cv2.IMREAD_UNCHANGED)
    assert (raw.dtype, raw.shape) == (np.uint16, (2, 3))
    assert raw.max() in (0, 65_535)


def test_what_cannot_be_explained_is_said(network: Path, scans: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match="does not know this class"):
        main([str(network), str(scans), *out, "--class", "pore"])
    with pytest.raises(DatasetError, match="no folder"):
        main([str(network), str(tmp_path / "none"), *out])
    (tmp_path / "bare").mkdir()
    with pytest.raises(DatasetError, match="no scan to explain"):
        main([str(network), str(tmp_path / "bare"), *out])
    cv2.imwrite(str(tmp_path / "bare" / "0.png"), np.zeros((64, 96), np.uint8))
    with pytest.raises(DatasetError, match="refuses every scan"):
        main([str(network), str(tmp_path / "bare"), *out])


@pytest.mark.slow
def test_on_simulated_welds_the_map_points_at_the_defect_far_more_often_than_chance() -> None:
    kinds = [kind for kind in REJECTABLE if kind not in {"bare_sheet", "solid"}]
    welds = [make_weld("T3", kind, 77_000 + number) for number in range(6) for kind in kinds]
    grays = [to_heightmap(weld) for weld in welds]
    _, maps = explained(load_checkpoint(CHECKPOINTS / "T3.safetensors"), grays, "bad", "cam")
    rounds = [point(weld.defect, gray, cells, weld.mask) for weld, gray, cells in zip(welds, grays, maps, strict=True)]
    hits, chance = np.mean([one.hit for one in rounds]), np.mean([one.chance for one in rounds])
    assert hits > 0.5
    assert hits > chance + 0.2
