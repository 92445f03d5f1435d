"""Two tiny typologies whose bad welds are bright, and networks trained on them in seconds."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from calib.prepare import Prepared, join, prepare_scans
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, spec_to_json
from export.order import LineOrder, RouterOrder, TypologyOrder
from nets.architectures import build
from nets.checkpoint import Checkpoint, save_checkpoint
from scans.folder import find_scans
from scans.split import split_by_group

SPEC = HeightmapSpec(window=MillimetreWindow(low_mm=0.0, high_mm=5.0), height=32, width=64)
PER_LABEL = 40
PROVENANCE = {"held_out": "0.5", "seed": "42"}


def write_scans(folder: Path, top: int, seed: int) -> Path:
    """A bead of 8 rows at `top`; good ones have gray 60 to 100, bad ones 170 to 230."""
    rng = np.random.default_rng(seed)
    for label, low, high in (("good", 60, 100), ("bad", 170, 230)):
        (folder / label).mkdir(parents=True)
        for number in range(PER_LABEL):
            image = np.zeros((32, 64), np.uint8)
            start = int(rng.integers(2, 12))
            image[top : top + 8, start:-start] = rng.integers(low, high) + rng.integers(-8, 8, (8, 64 - 2 * start))
            cv2.imwrite(str(folder / label / f"{number:03d}.png"), image)
    (folder / "heightmap.json").write_bytes(spec_to_json(SPEC))
    return folder


def train(data: Prepared, classes: tuple[str, ...], path: Path, *, steps: int = 60, spec: HeightmapSpec = SPEC) -> Path:
    """The small network, seeded, on brightness or place: converges in a second."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build("small", len(classes)).train()
    mean, std = torch.tensor(spec.mean).reshape(1, 3, 1, 1), torch.tensor(spec.std).reshape(1, 3, 1, 1)
    images, truth = torch.from_numpy(data.images.copy()), torch.tensor([classes.index(label) for label in data.labels])
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(steps):
        picked = torch.randint(0, len(images), (24,))
        loss = torch.nn.functional.cross_entropy(model((images[picked].float() / 255 - mean) / std), truth[picked])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    made = Checkpoint(architecture="small", classes=classes, heightmap=spec, model=model.eval(), provenance=PROVENANCE)
    save_checkpoint(made, path)
    return path


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Scans, checkpoints, key and order of a line of T3 and T9."""

    root: Path
    order: LineOrder
    key: Ed25519PrivateKey

    @property
    def public_key(self) -> str:
        return self.key.public_key().public_bytes_raw().hex()


def make_workshop(root: Path) -> Workshop:
    """Scans, trained checkpoints and an order below `root`."""
    typologies, parts = [], []
    for seed, (name, top) in enumerate((("T3", 4), ("T9", 20))):
        found = find_scans(write_scans(root / name, top, seed))
        training, _ = split_by_group(found.scans, held_out=0.5, seed=42)
        source = train(prepare_scans(training, SPEC, found.scale), ("bad", "good"), root / f"{name}.safetensors")
        typologies.append(TypologyOrder(name=name, source=source, scans=found.root))
        parts.append(prepare_scans(training, SPEC, found.scale, label=name))
    router = RouterOrder(source=train(join(parts), ("T3", "T9"), root / "router.safetensors"))
    order = LineOrder(name="line", version=3, typology=tuple(typologies), router=router)
    return Workshop(root=root, order=order, key=Ed25519PrivateKey.generate())
