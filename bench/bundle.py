"""A bundle for measuring: ResNet18 networks with seeded random weights, truly quantised, with thresholds that their own scores allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from calib.half import to_fp16
from calib.quantise import quantise
from edge.bundle import Golden, Manifest, Member, TypologySpec, file_entries, save_bundle, sign_bundle
from edge.errors import ExportError
from edge.inspector.engines.openvino import Compiler
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow
from export.graph.write import export_onnx
from export.sources.load import source_from_module
from nets.architectures import build

SPEC = HeightmapSpec(window=MillimetreWindow(low_mm=0.0, high_mm=5.0))
CLASSES = ("bad", "good")
INPUT, OUTPUT = "heightmap", "scores"
Images = NDArray[np.uint8]
Precision = Literal["int8", "fp16"]


@dataclass(frozen=True)
class BenchBundle:
    """The file, its key, one network of it by itself, and frames that its first typology accepts."""

    path: Path
    key: str
    network: Path
    accepted: Images
    """u8 [n, 128, 352]."""
    typologies: tuple[str, ...]


def make_bundle(
    folder: Path, images: Images, *, typologies: int, threads: int, architecture: str = "resnet18", precision: Precision = "int8"
) -> BenchBundle:
    """`typologies` different networks in one signed bundle; `images` u8 [n, 128, 352] calibrate and become golden inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    names = tuple(f"R{number}" for number in range(typologies))
    files: dict[str, bytes] = {}
    specs = []
    accepted: Images | None = None
    for seed, name in enumerate(names):
        files[f"{name}.onnx"] = network = quantised_network(images, seed, architecture, precision)
        what = f"{name}-{architecture}"
        member = Member(name=what, file=f"{name}.onnx", architecture=architecture, input=INPUT, output=OUTPUT, classes=CLASSES)
        scores = _scores(member, network, images, threads)
        good, bad, threshold = _good_and_bad(scores)
        accepted = images[scores < threshold] if accepted is None else accepted
        files |= {f"{name}-good": images[good].tobytes(), f"{name}-bad": images[bad].tobytes()}
        tolerance = float((scores[bad] - scores[good]) / 8)
        golden = tuple(
            Golden(
                file=f"{name}-{label}",
                label=label,
                kind="heightmap",
                shape=(128, 352),
                dtype="u1",
                score=float(scores[i]),
                tolerance=tolerance,
            )
            for label, i in (("good", good), ("bad", bad))
        )
        specs.append(TypologySpec(name=name, heightmap=SPEC, members=(member,), threshold=threshold, golden=golden))
    manifest = Manifest(format=1, name="bench", version=1, typologies=tuple(specs), files=file_entries(files))
    key = Ed25519PrivateKey.generate()
    path = folder / f"bench-{typologies}.cordon"
    save_bundle(sign_bundle(manifest, files, key), path)
    network_file = folder / f"{architecture}.onnx"
    network_file.write_bytes(files["R0.onnx"])
    assert accepted is not None
    return BenchBundle(path, key.public_key().public_bytes_raw().hex(), network_file, accepted, names)


def quantised_network(images: Images, seed: int, architecture: str, precision: Precision) -> bytes:
    """ONNX of `architecture` with random weights of this seed, calibrated on the first 32 images."""
    torch.manual_seed(seed)
    body = build(architecture, len(CLASSES)).eval()
    full = export_onnx(source_from_module(body, classes=CLASSES, heightmap=SPEC, architecture=architecture))
    return to_fp16(full) if precision == "fp16" else quantise(full, images[:32, None])


def _scores(member: Member, network: bytes, images: Images, threads: int) -> NDArray[np.float64]:
    data = np.zeros(images.shape[1:], np.uint8)
    engine = Compiler(threads=threads).compile(member, network, data)
    scores = []
    for image in images:
        data[...] = image
        scores.append(float(engine.run()[CLASSES.index("bad")]))
    return np.asarray(scores)


def _good_and_bad(scores: Sequence[float] | NDArray[np.float64]) -> tuple[int, int, float]:
    """Indices of the lowest and the highest score and the threshold halfway."""
    values = np.asarray(scores)
    good, bad = int(values.argmin()), int(values.argmax())
    if values[bad] - values[good] < 1e-4:
        raise ExportError("a random network gives every image the same score", seen=values[bad] - values[good], remedy="Choose other seeds")
    return good, bad, float((values[good] + values[bad]) / 2)
