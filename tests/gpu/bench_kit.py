"""Tiny networks of the size that the benchmark wants, in the folder where it looks for its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from tiny import network, probability

from bench.gpu_networks import PRECISIONS, Wanted, bench_images, complete
from edge.bundle import Golden, Manifest, Member, TypologySpec, file_entries, save_bundle, sign_bundle
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow

SPEC = HeightmapSpec(window=MillimetreWindow(low_mm=0.0, high_mm=5.0))
NAMES = ("R0", "R1")
KEY = Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)


def tiny_networks(folder: Path) -> Wanted:
    """Two typologies in each precision, bad above the middle gray of the benchmark's images."""
    wanted = Wanted(folder=folder, architecture="tiny", typologies=len(NAMES))
    folder.mkdir(parents=True, exist_ok=True)
    images = bench_images()
    means = images.mean(axis=(1, 2))
    centre = float(np.median(means))
    for precision in PRECISIONS:
        files: dict[str, bytes] = {}
        specs = tuple(_typology(name, centre, images, files, quantised=precision == "int8") for name in NAMES)
        manifest = Manifest(format=1, name="bench", version=1, typologies=specs, files=file_entries(files))
        save_bundle(sign_bundle(manifest, files, KEY), wanted.bundle(precision))
        key = KEY.public_key().public_bytes_raw().hex()
        complete(wanted.bundle(precision), key=key, accepted=images[means < centre - 1.0])
    return wanted


def _typology(name: str, centre: float, images: NDArray[np.uint8], files: dict[str, bytes], *, quantised: bool) -> TypologySpec:
    shape = images.shape[1:]
    files[f"{name}.onnx"] = network(centre=centre, sign=1.0, quantised=quantised, height=shape[0], width=shape[1])
    means = images.mean(axis=(1, 2))
    golden = []
    for label, index in (("good", int(means.argmin())), ("bad", int(means.argmax()))):
        files[f"{name}-{label}"] = images[index].tobytes()
        score = probability(images[index], centre=centre, sign=1.0)
        golden.append(Golden(file=f"{name}-{label}", label=label, kind="heightmap", shape=shape, dtype="u1", score=score))
    member = Member(
        name=f"{name}-tiny", file=f"{name}.onnx", architecture="tiny", input="heightmap", output="scores", classes=("bad", "good")
    )
    return TypologySpec(name=name, heightmap=SPEC, members=(member,), threshold=0.5, golden=tuple(golden))
