"""Tiny real networks in a real signed bundle: brightness decides, so the truth of every frame is known without asking a network."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from edge.bundle import Golden, Manifest, Member, RouterSpec, TypologySpec, file_entries, save_bundle, sign_bundle
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow
from faults.registry import Skipped

HEIGHT, WIDTH = 16, 24
WINDOW_MM = 10.0
SPEC = HeightmapSpec(window=MillimetreWindow(low_mm=0.0, high_mm=WINDOW_MM), height=HEIGHT, width=WIDTH)
CENTRES = {"T2": 60, "T5": 180}
"""Gray above which a weld of the typology is bad."""
AWAY = 20
"""Good and bad welds lie this many grays from the centre: their scores are 0.007 and 0.993."""
KEY = Ed25519PrivateKey.from_private_bytes(secrets.token_bytes(32))
"""Signs the bundles of this run; never written to a file."""
PUBLIC = KEY.public_key().public_bytes_raw().hex()


def gray_of(typology: str, *, good: bool) -> int:
    """The gray of a weld that is clearly good or bad as `typology`."""
    return CENTRES[typology] + (-AWAY if good else AWAY)


def weld_image(gray: int, seed: int) -> NDArray[np.uint8]:
    """A heightmap u8 (HEIGHT, WIDTH) of about one gray; no two seeds give the same pixels."""
    noise = np.random.default_rng(seed).integers(-3, 4, (HEIGHT, WIDTH))
    return np.clip(gray + noise, 1, 255).astype(np.uint8)


def probability(image: NDArray[np.uint8], centre: float, sign: float = 1.0) -> float:
    """What a tiny network answers for its first class, computed here and not by it."""
    return float(1 / (1 + np.exp(-sign * (float(image.mean()) - centre) / 4)))


def network(centre: float, *, sign: float = 1.0, slope: float = 0.25, classes: int = 2) -> bytes:
    """ONNX bytes: P(first class) = sigmoid(sign slope (mean gray - centre)); input "heightmap" u8, output "scores" f32 [1, classes]."""
    try:
        from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 - the box itself has no onnx
    except ImportError as exc:
        raise Skipped("onnx makes the tiny networks: install the extra [export]") from exc
    weight, bias = np.zeros((1, classes), np.float32), np.full(classes, -50.0, np.float32)
    weight[0, 0], bias[0], bias[1] = sign * slope, -sign * slope * centre, 0.0
    constants = {"weight": weight, "bias": bias, "flat": np.array([1, 1], np.int64)}
    nodes = [
        helper.make_node("Cast", ["heightmap"], ["gray"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["gray"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "flat"], ["row"]),
        helper.make_node("Gemm", ["row", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("heightmap", TensorProto.UINT8, [1, 1, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, classes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


@dataclass
class TinyBundle:
    """T2 and T5 with `members` networks each, and a router. Change a field before `manifest` to promise something false."""

    version: int = 1
    members: int = 1
    router: bool = True
    files: dict[str, bytes] = field(default_factory=dict)
    """Files that take the place of the true ones."""
    promised: dict[str, float] = field(default_factory=dict)
    """By golden file: the score promised in place of the true one."""
    classes: tuple[str, str] = ("bad", "good")
    """Labels as the manifest names them; the networks answer bad first."""

    def manifest(self) -> Manifest:
        """The manifest, with every file made."""
        typologies = tuple(self._typology(name, centre) for name, centre in CENTRES.items())
        router = self._router() if self.router else None
        entries = file_entries(self.files)
        return Manifest(format=1, name="tiny", version=self.version, typologies=typologies, router=router, files=entries)

    def signed(self, key: Ed25519PrivateKey = KEY) -> bytes:
        """The bundle's bytes."""
        return sign_bundle(self.manifest(), self.files, key)

    def save(self, path: Path) -> Path:
        """Write the bundle."""
        save_bundle(self.signed(), path)
        return path

    def _typology(self, name: str, centre: int) -> TypologySpec:
        members = tuple(self._member(f"{name}-{index}", centre, self.classes) for index in range(self.members))
        golden = (self._golden(name, "good", centre), self._golden(name, "bad", centre))
        return TypologySpec(name=name, heightmap=SPEC, members=members, threshold=0.5, golden=golden)

    def _member(self, name: str, centre: float, classes: tuple[str, ...], sign: float = 1.0) -> Member:
        file = f"{name}.onnx"
        self.files.setdefault(file, network(centre, sign=sign))
        return Member(name=name, file=file, architecture="tiny", input="heightmap", output="scores", classes=classes)

    def _golden(self, name: str, label: str, centre: int) -> Golden:
        image = weld_image(gray_of(name, good=label == "good"), seed=len(label))
        return self._answer(f"{name}/{label}", image, label, probability(image, centre))

    def _router(self) -> RouterSpec:
        member = self._member("router", 120.0, ("T2", "T5"), sign=-1.0)
        dark, bright = weld_image(60, 3), weld_image(180, 4)
        golden = (
            self._answer("router/dark", dark, "T2", probability(dark, 120.0, -1.0)),
            self._answer("router/bright", bright, "T5", 1 - probability(bright, 120.0, -1.0)),
        )
        return RouterSpec(heightmap=SPEC, member=member, confidence=0.9, golden=golden)

    def _answer(self, file: str, image: NDArray[np.uint8], label: str, score: float) -> Golden:
        self.files.setdefault(file, image.tobytes())
        told = self.promised.get(file, score)
        return Golden(file=file, label=label, kind="heightmap", shape=(HEIGHT, WIDTH), dtype="u1", score=told)


def resigned(manifest: bytes, files: Mapping[str, bytes], key: Ed25519PrivateKey = KEY) -> bytes:
    """A bundle with any `manifest` bytes at all under a good signature, as only the key's owner could make it; nothing is checked."""
    public = key.public_key().public_bytes_raw()
    length = len(manifest).to_bytes(4, "little")
    signature = key.sign(b"CORDON\x00\x01" + public + length + manifest)
    return b"CORDON\x00\x01" + public + signature + length + manifest + b"".join(files.values())
