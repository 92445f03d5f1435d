"""Two bundles of one line whose networks and thresholds differ, and frames of which both are known: a verdict shows which one gave it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from edge.bundle import Golden, Manifest, Member, TypologySpec, file_entries, open_bundle, save_bundle, sign_bundle
from edge.errors import SimulationError
from edge.inspector.engines.openvino import Compiler
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.inspector.loader import Loaded, load_engines
from edge.inspector.machine import CpuMachine, prepare_and_run
from edge.inspector.scan import Scan

TYPOLOGY, CLASSES = "R0", ("bad", "good")
APART = 1e-3
"""Frames whose scores by the two bundles, or by one and its threshold, lie nearer than this are not used."""
LEAST_FRAMES = 17
"""The inspector takes one of the last 16 frames that comes again for a frozen camera's."""
Images = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network for the pair and what it reads."""

    onnx: bytes
    architecture: str
    input: str
    output: str


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two files, and what each bundle says of every frame."""

    paths: tuple[Path, Path]
    key: str
    hashes: tuple[str, str]
    images: Images
    """u8 [n, height, width]."""
    numbers: dict[str, int]
    """Number of the frame by the hash of its payload, as records name it."""
    scores: tuple[NDArray[np.float64], NDArray[np.float64]]
    """What each bundle gives, f64 [n]."""
    thresholds: tuple[float, float]


def make_pair(folder: Path, networks: tuple[Network, Network], spec: HeightmapSpec, images: Images, *, threads: int) -> Pair:
    """Sign both, load them as the box does and ask each for every image. Raises SimulationError where they differ in too few."""
    folder.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    paths = folder / "first.cordon", folder / "second.cordon"
    for version, (path, network) in enumerate(zip(paths, networks, strict=True), start=1):
        save_bundle(_signed(network, spec, images, version=version, key=key, threads=threads), path)
    loaded = [load_engines(open_bundle(path, (public,)), CpuMachine(threads=threads), progress=lambda _: None) for path in paths]
    first, second = (_scores(one, images) for one in loaded)
    limits = loaded[0].judges[TYPOLOGY].spec.threshold, loaded[1].judges[TYPOLOGY].spec.threshold
    near = np.stack([np.abs(first - second), np.abs(first - limits[0]), np.abs(second - limits[1])]).min(axis=0)
    kept = near > APART
    if kept.sum() < LEAST_FRAMES:
        raise SimulationError("the two bundles agree on too many frames", seen=int(kept.sum()), remedy="Choose networks that differ more")
    return Pair(
        paths=paths,
        key=public,
        hashes=(loaded[0].bundle, loaded[1].bundle),
        images=images[kept],
        numbers={hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest(): number for number, image in enumerate(images[kept])},
        scores=(first[kept], second[kept]),
        thresholds=limits,
    )


def _signed(network: Network, spec: HeightmapSpec, images: Images, *, version: int, key: Ed25519PrivateKey, threads: int) -> bytes:
    """A bundle whose golden inputs are the frames with the lowest and the highest score, and whose threshold lies halfway."""
    member = Member(
        name=f"{TYPOLOGY}-{network.architecture}",
        file=f"{TYPOLOGY}.onnx",
        architecture=network.architecture,
        input=network.input,
        output=network.output,
        classes=CLASSES,
    )
    scores = _bare_scores(member, network.onnx, images, threads)
    ends = {"good": int(scores.argmin()), "bad": int(scores.argmax())}
    tolerance = float(scores.max() - scores.min()) / 8
    golden = tuple(
        Golden(
            file=f"{TYPOLOGY}-{label}",
            label=label,
            kind="heightmap",
            shape=(spec.height, spec.width),
            dtype="u1",
            score=float(scores[index]),
            tolerance=tolerance,
        )
        for label, index in ends.items()
    )
    files = {member.file: network.onnx} | {f"{TYPOLOGY}-{label}": images[index].tobytes() for label, index in ends.items()}
    limit = float(scores.min() + scores.max()) / 2
    typology = TypologySpec(name=TYPOLOGY, heightmap=spec, members=(member,), threshold=limit, golden=golden)
    return sign_bundle(Manifest(format=1, name="bench", version=version, typologies=(typology,), files=file_entries(files)), files, key)


def _bare_scores(member: Member, onnx: bytes, images: Images, threads: int) -> NDArray[np.float64]:
    data = np.zeros(images.shape[1:], np.uint8)
    engine = Compiler(threads=threads).compile(member, onnx, data)
    scores = []
    for image in images:
        data[...] = image
        scores.append(float(engine.run()[CLASSES.index("bad")]))
    return np.asarray(scores)


def _scores(loaded: Loaded, images: Images) -> NDArray[np.float64]:
    judge, scores = loaded.judges[TYPOLOGY], []
    for image in images:
        scan = Scan(image=image, kind="heightmap", z_scale_mm=0.01, z_offset_mm=0.0, no_data=0.0)
        prepare_and_run(loaded.machine, scan, (judge.preparation,), judge.engines)
        scores.append(judge.score().value)
    return np.asarray(scores)


def small_pair(folder: Path, *, threads: int) -> Pair:
    """Networks of one multiplication over frames of 16 x 24: a swap costs little, so that many fit into a test. Needs onnx."""
    from faults.line.bundles import SPEC, network, weld_image  # noqa: PLC0415 - needs onnx, as only this pair does

    images = np.stack([weld_image(gray, seed=gray) for gray in range(40, 100)])
    first, second = (Network(onnx=network(centre), architecture="tiny", input="heightmap", output="scores") for centre in (60, 80))
    return make_pair(folder, (first, second), SPEC, images, threads=threads)


def resnet_pair(folder: Path, *, threads: int) -> Pair:
    """ResNet18 INT8 with two sets of random weights over frames of 128 x 352. Needs PyTorch."""
    from bench.bundle import INPUT, OUTPUT, SPEC, quantised_network  # noqa: PLC0415 - a box has no PyTorch
    from sim.welds import make_weld, to_heightmap  # noqa: PLC0415 - likewise

    images = np.stack([to_heightmap(make_weld("T3", "none", seed)) for seed in range(96)])
    first, second = (
        Network(onnx=quantised_network(images, seed, "resnet18", "int8"), architecture="resnet18", input=INPUT, output=OUTPUT)
        for seed in (0, 1)
    )
    return make_pair(folder, (first, second), SPEC, images, threads=threads)
