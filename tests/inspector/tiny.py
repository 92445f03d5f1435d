"""Real, tiny networks and a real signed bundle: brightness makes a weld bad, and the router tells dark from bright."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import Combine, Golden, Manifest, MapOutput, Member, RouterSpec, TypologySpec, file_entries, save_bundle, sign_bundle
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, Rasterise

HEIGHT, WIDTH = 16, 24
SPEC = HeightmapSpec(window=MillimetreWindow(low_mm=0.0, high_mm=10.0), height=HEIGHT, width=WIDTH)
GRID = Rasterise(x_mm=(0.0, 4.6), y_mm=(0.0, 3.0), pitch_mm=(0.2, 0.2))
"""As many cells as SPEC has pixels."""
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()
CENTRES = {"T2": 60.0, "T5": 180.0}


def frame_image(gray: int, *, seed: int = 0, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> NDArray[np.uint8]:
    """A heightmap of about one gray; no two seeds give the same pixels."""
    noise = np.random.default_rng(seed).integers(-3, 4, shape)
    return np.clip(gray + noise, 1, 255).astype(np.uint8)


def cloud_image(gray: int, *, seed: int = 0, organised: bool = True) -> NDArray[np.float32]:
    """`frame_image` as points at GRID's pitch: f32 (rows, cols, 3), or (1, points, 3) in no order."""
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    z = (frame_image(gray, seed=seed).astype(float) - 1) / 25.4
    cloud = np.stack([cols * GRID.pitch_mm[0], rows * GRID.pitch_mm[1], z], axis=2).astype(np.float32)
    return cloud if organised else np.random.default_rng(seed).permutation(cloud.reshape(-1, 3))[None]


def network(
    *,
    centre: float,
    sign: float,
    quantised: bool = False,
    embedding: bool = False,
    maps: float | None = None,
    classes: int = 2,
    height: int = HEIGHT,
    width: int = WIDTH,
) -> bytes:
    """P(class 0) = sigmoid(sign (mean gray - centre) / 4); `quantised` puts the gray through a Q/DQ pair of scale 2 first.

    `embedding` adds an output of that name: the mean gray of every column. `maps` adds an output `map` [1, 4, 6], `maps` times what each
    cell adds to the log-odds.
    """
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
    outputs: dict[str, int | tuple[int, int]] = {"scores": classes}
    if embedding:
        constants["line"] = np.array([1, -1], np.int64)
        nodes += [
            helper.make_node("ReduceMean", ["gray"], ["columns"], axes=[2], keepdims=0),
            helper.make_node("Reshape", ["columns", "line"], ["embedding"]),
        ]
        outputs = {"embedding": width, **outputs}  # first: the engine must go by names
    if maps is not None:
        constants |= {"part": np.array(maps * sign / 4 / 24, np.float32), "centre": np.array(centre, np.float32), "one": np.array([1])}
        nodes += [
            helper.make_node("AveragePool", ["gray"], ["cells"], kernel_shape=[height // 4, width // 6], strides=[height // 4, width // 6]),
            helper.make_node("Sub", ["cells", "centre"], ["above"]),
            helper.make_node("Mul", ["above", "part"], ["parts"]),
            helper.make_node("Squeeze", ["parts", "one"], ["map"]),
        ]
        outputs["map"] = (4, 6)
    return _serialise(nodes, constants, height, width, outputs)


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
    return _serialise(nodes, constants, HEIGHT, WIDTH, {"scores": 2})


def _serialise(
    nodes: list[onnx.NodeProto], constants: dict[str, NDArray], height: int, width: int, outputs: dict[str, int | tuple[int, int]]
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("heightmap", TensorProto.UINT8, [1, 1, height, width])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *np.atleast_1d(size).tolist()]) for name, size in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def probability(gray: NDArray[np.uint8], *, centre: float, sign: float) -> float:
    """What `network` answers for class 0, computed here and not by it."""
    return float(1 / (1 + np.exp(-sign * (float(gray.mean()) - centre) / 4)))


def together(badness: Sequence[float], *, how: Combine, weights: Sequence[float], thresholds: Sequence[float]) -> float:
    """What a committee answers, computed here and not by the rule of the box."""
    if how == "mean":
        return float(np.mean(badness))
    if how == "weighted":
        return float(np.average(badness, weights=weights))
    over = np.subtract(badness, thresholds)
    share = float(np.mean(over > 0))
    return share if share != 0.5 else 0.5 + float(over.mean()) * 0.5 / len(over)


@dataclass
class TinyBundle:
    """Two typologies, T2 (bad above gray 60) and T5 (bad above gray 180), and a router that calls gray below 120 T2.

    The members' centres lie `spread` apart, their weights are 1, 2, 3 ... and their voting thresholds 0.4, 0.5, 0.6 ...
    Change a field before `save` to make a bundle that promises something false.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    promised: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Scores of the good and the bad golden input, in place of the true ones."""
    router: bool = True
    members: int = 1
    version: int = 1
    combine: Combine = "mean"
    spread: float = 0.0
    embedding: bool = False
    """Every first member gives an embedding."""
    maps: float | None = None
    """Every member of a typology gives a map, multiplied by this."""
    clouds: bool = False
    """Typologies rasterise clouds, and their golden inputs are clouds in no order."""
    similar: dict[str, bytes] = field(default_factory=dict)
    """By typology: known welds as edge.similar packs them."""

    def manifest(self) -> Manifest:
        typologies = tuple(self._typology(name, centre) for name, centre in CENTRES.items())
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

    def truth(self, name: str, image: NDArray[np.uint8]) -> float:
        """The badness of `image` u8 (rows, cols) as typology `name`."""
        badness = [probability(image, centre=CENTRES[name] + i * self.spread, sign=1.0) for i in range(self.members)]
        weights, thresholds = [1.0 + i for i in range(self.members)], [0.4 + 0.1 * i for i in range(self.members)]
        return together(badness, how=self.combine, weights=weights, thresholds=thresholds)

    def _typology(self, name: str, centre: float) -> TypologySpec:
        members = tuple(
            self._member(
                f"{name}-{i}",
                centre=centre + i * self.spread,
                sign=1.0,
                classes=("bad", "good"),
                weight=1.0 + i,
                threshold=0.4 + 0.1 * i,
                embedding="embedding" if self.embedding and i == 0 else None,
                map=None if self.maps is None else MapOutput(name="map", shape=(4, 6)),
            )
            for i in range(self.members)
        )
        good, bad = frame_image(int(centre) - 20, seed=1), frame_image(int(centre) + 20, seed=2)
        promised = self.promised.get(name, (self.truth(name, good), self.truth(name, bad)))
        similar = f"{name}/similar.msgpack" if name in self.similar else None
        if similar is not None:
            self.files[similar] = self.similar[name]
        golden = (
            self._golden(f"{name}/good", good, "good", promised[0]),
            self._golden(f"{name}/bad", bad, "bad", promised[1]),
        )
        if self.clouds:
            clouds = (cloud_image(int(centre) - 20, seed=1, organised=False), cloud_image(int(centre) + 20, seed=2, organised=False))
            golden = tuple(self._as_cloud(golden[i], clouds[i]) for i in range(2))
        heightmap = msgspec.structs.replace(SPEC, rasterise=GRID) if self.clouds else SPEC
        return TypologySpec(
            name=name, heightmap=heightmap, members=members, threshold=0.5, golden=golden, combine=self.combine, similar=similar
        )

    def _router(self) -> RouterSpec:
        member = self._member("router", centre=120.0, sign=-1.0, classes=("T2", "T5"))
        dark, bright = frame_image(60, seed=3), frame_image(180, seed=4)
        golden = (
            self._golden("router/dark", dark, "T2", probability(dark, centre=120.0, sign=-1.0)),
            self._golden("router/bright", bright, "T5", 1 - probability(bright, centre=120.0, sign=-1.0)),
        )
        return RouterSpec(heightmap=SPEC, member=member, confidence=0.9, golden=golden)

    def _member(self, name: str, *, centre: float, sign: float, classes: tuple[str, ...], **more: Any) -> Member:
        file = f"{name}.onnx"
        embedding = more.get("embedding") is not None
        maps = self.maps if more.get("map") is not None else None
        made = network(centre=centre, sign=sign, quantised=name.startswith("T5"), embedding=embedding, maps=maps)
        self.files.setdefault(file, made)
        return Member(name=name, file=file, architecture="tiny", input="heightmap", output="scores", classes=classes, **more)

    def _golden(self, name: str, image: NDArray[np.uint8], label: str, score: float) -> Golden:
        self.files[name] = image.tobytes()
        return Golden(file=name, label=label, kind="heightmap", shape=(HEIGHT, WIDTH), dtype="u1", score=score)

    def _as_cloud(self, golden: Golden, cloud: NDArray[np.float32]) -> Golden:
        self.files[golden.file] = cloud.tobytes()
        return msgspec.structs.replace(golden, kind="cloud", shape=cloud.shape[:2], dtype="f4", no_data=-1.0)
