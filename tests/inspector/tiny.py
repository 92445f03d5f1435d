"""Real, tiny networks and a real signed bundle: brightness makes a weld bad, and the router tells dark from bright."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import Golden, Manifest, Member, RouterSpec, TypologySpec, file_entries, save_bundle, sign_bundle
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow

HEIGHT, WIDTH = 16, 24
SPEC = HeightmapSpec(window=MillimetreWindow(low_mm=0.0, high_mm=10.0), height=HEIGHT, width=WIDTH)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()


def frame_image(gray: int, *, seed: int = 0, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> NDArray[np.uint8]:
    """A heightmap of about one gray; no two seeds give the same pixels."""
    noise = np.random.default_rng(seed).integers(-3, 4, shape)
    return np.clip(gray + noise, 1, 255).astype(np.uint8)


def network(*, centre: float, sign: float, quantised: bool = False, classes: int = 2, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """P(class 0) = sigmoid(sign (mean gray - centre) / 4); `quantised` puts the gray through a Q/DQ pair of scale 1 first."""
    weight = np.zeros((1, classes), np.float32)
    bias = np.full(classes, -50.0, np.float32)
    weight[0, 0], bias[0], bias[1] = sign / 4, -sign * centre / 4, 0.0
    constants = {"weight": weight, "bias": bias, "flat": np.array([1, 1], np.int64)}
    nodes = [helper.make_node("Cast", ["heightmap"], ["gray"], to=TensorProto.FLOAT)]
    if quantised:
        constants |= {"scale": np.array(2.0, np.float32), "zero": np.array(0, np.int8)}
        nodes += [
            helper.make_node("QuantizeLinear", ["gray", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        ]
    nodes += [
        helper.make_node("ReduceMean", ["dq" if quantised else "gray"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "flat"], ["row"]),
        helper.make_node("Gemm", ["row", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    return _serialise(nodes, constants, height, width, classes)


def brittle_network() -> bytes:
    """As a network, but a frame brighter than gray 230 makes it fail inside: 4 values are multiplied by 5."""
    constants = {"four": np.ones((1, 4), np.float32), "flat": np.array([1, 1], np.int64), "limit": np.array([230.0], np.float32)}
    constants |= {"weight": np.array([[1.0, -1.0]], np.float32), "whole": np.array([4], np.int64), "axis": np.array([0], np.int64)}
    nodes = [
        helper.make_node("Cast", ["heightmap"], ["gray"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["gray"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Greater", ["mean", "limit"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["one"], to=TensorProto.INT64),
        helper.make_node("Add", ["one", "whole"], ["length"]),
        helper.make_node("ConstantOfShape", ["length"], ["ones"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        helper.make_node("MatMul", ["four", "ones"], ["line"]),
        helper.make_node("ReduceSum", ["line", "axis"], ["sum"], keepdims=0),
        helper.make_node("Reshape", ["sum", "flat"], ["row"]),
        helper.make_node("Gemm", ["row", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    return _serialise(nodes, constants, HEIGHT, WIDTH, 2)


def _serialise(nodes: list[onnx.NodeProto], constants: dict[str, NDArray], height: int, width: int, classes: int) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("heightmap", TensorProto.UINT8, [1, 1, height, width])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, classes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def probability(gray: NDArray[np.uint8], *, centre: float, sign: float) -> float:
    """What `network` answers for class 0, computed here and not by it."""
    return float(1 / (1 + np.exp(-sign * (float(gray.mean()) - centre) / 4)))


@dataclass
class TinyBundle:
    """Two typologies, T2 (bad above gray 60) and T5 (bad above gray 180), and a router that calls gray below 120 T2.

    Change a field before `save` to make a bundle that promises something false.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    promised: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Scores of the good and the bad golden input, in place of the true ones."""
    router: bool = True
    members: int = 1
    version: int = 1

    def manifest(self) -> Manifest:
        typologies = tuple(self._typology(name, centre) for name, centre in (("T2", 60.0), ("T5", 180.0)))
        router = self._router() if self.router else None
        return Manifest(
            format=1,
            name="tiny",
            version=self.version,
            typologies=typologies,
            router=router,
            files=file_entries(self.files),
        )

    def save(self, path: Path, key: Ed25519PrivateKey = KEY) -> Path:
        manifest = self.manifest()
        save_bundle(sign_bundle(manifest, self.files, key), path)
        return path

    def _typology(self, name: str, centre: float) -> TypologySpec:
        members = tuple(self._member(f"{name}-{index}", centre=centre, sign=1.0, classes=("bad", "good")) for index in range(self.members))
        good, bad = frame_image(int(centre) - 20, seed=1), frame_image(int(centre) + 20, seed=2)
        truth = probability(good, centre=centre, sign=1.0), probability(bad, centre=centre, sign=1.0)
        promised = self.promised.get(name, truth)
        golden = (
            self._golden(f"{name}/good", good, "good", promised[0]),
            self._golden(f"{name}/bad", bad, "bad", promised[1]),
        )
        return TypologySpec(name=name, heightmap=SPEC, members=members, threshold=0.5, golden=golden)

    def _router(self) -> RouterSpec:
        member = self._member("router", centre=120.0, sign=-1.0, classes=("T2", "T5"))
        dark, bright = frame_image(60, seed=3), frame_image(180, seed=4)
        golden = (
            self._golden("router/dark", dark, "T2", probability(dark, centre=120.0, sign=-1.0)),
            self._golden("router/bright", bright, "T5", 1 - probability(bright, centre=120.0, sign=-1.0)),
        )
        return RouterSpec(heightmap=SPEC, member=member, confidence=0.9, golden=golden)

    def _member(self, name: str, *, centre: float, sign: float, classes: tuple[str, ...]) -> Member:
        file = f"{name}.onnx"
        self.files.setdefault(file, network(centre=centre, sign=sign, quantised=name.startswith("T5")))
        return Member(name=name, file=file, architecture="tiny", input="heightmap", output="scores", classes=classes)

    def _golden(self, name: str, image: NDArray[np.uint8], label: str, score: float) -> Golden:
        self.files[name] = image.tobytes()
        return Golden(file=name, label=label, kind="heightmap", shape=(HEIGHT, WIDTH), dtype="u1", score=score)
