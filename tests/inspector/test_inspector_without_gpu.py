"""A box set up for a GPU that it cannot use: nothing is judged, or the CPU judges: certified, fast enough, and named in every report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cell_kit import Cell, listen, make_config, make_parts
from tiny import TinyBundle, frame_image, probability

from edge.config import Config, GpuConfig, load_config
from edge.contract import InspectorState, Reason
from edge.errors import ConfigError, CordonError, EngineError
from edge.inspector.daemon import InspectorDaemon

Start = Callable[..., Cell]
Refuse = Callable[[TinyBundle, GpuConfig], tuple[CordonError, InspectorState]]


def gpu(folder: Path, **changes: Any) -> GpuConfig:
    """Engines that nobody built, under a backend that this Python does not have."""
    return GpuConfig(engines=folder / "engines", box_keys=("ab" * 32,), **changes)


def certified(**changes: Any) -> TinyBundle:
    """A tiny bundle with what `cordon export` would certify of it."""
    bundle = TinyBundle(**changes)
    bundle.manifest()
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in bundle.files.items()}
    parts = [{"name": name, "networks": [{"name": f"{name}-0", "shipped_sha256": digests[f"{name}-0.onnx"]}]} for name in ("T2", "T5")]
    router = {"network": {"name": "router", "shipped_sha256": digests["router.onnx"]}}
    certificate = {"tools": {"openvino": "2026.4"}, "typologies": parts, "router": router}
    bundle.files["certificate.json"] = json.dumps(certificate).encode()
    return bundle


@pytest.fixture
def refuse(tmp_path: Path) -> Iterator[Refuse]:
    """Start an inspector that must refuse; gives its error and what the gate was told."""
    gates = []

    def start(bundle: TinyBundle, settings: GpuConfig) -> tuple[CordonError, InspectorState]:
        config = make_config(tmp_path, backend="tensorrt", gpu=settings)
        bundle.save(config.inspector.bundle)
        gates.append(gate := listen(config.gate.socket))
        with pytest.raises(CordonError) as caught:
            InspectorDaemon(config)
        gate.poll()
        return caught.value, gate.states[-1]

    yield start
    for gate in gates:
        gate.close()


def test_without_a_fallback_the_inspector_ends_and_says_why(refuse: Refuse, tmp_path: Path) -> None:
    error, state = refuse(certified(), gpu(tmp_path))
    assert isinstance(error, EngineError)
    assert (state.ready, state.fault_reason) == (False, Reason.ENGINE_FAILED)
    assert state.fault == str(error)


def test_the_cpu_takes_over_and_every_report_says_so(start: Start, tmp_path: Path) -> None:
    cell = start(certified(), backend="tensorrt", gpu=gpu(tmp_path, fallback="openvino", fallback_within_ms=100.0))
    image = frame_image(40)
    report = cell.judge(*make_parts(image))
    assert report.reason is Reason.OK
    assert report.score == pytest.approx(probability(image, centre=60, sign=1), abs=1e-3)
    assert report.backend.startswith("openvino ")
    assert report.backend.endswith("in place of tensorrt")
    assert cell.gate.states[-1].backend == report.backend


def test_the_cpu_does_not_take_over_without_a_certificate(refuse: Refuse, tmp_path: Path) -> None:
    error, _ = refuse(TinyBundle(), gpu(tmp_path, fallback="openvino", fallback_within_ms=100.0))
    assert "certificate does not cover the CPU for this bundle (seen: tiny)" in str(error)


@pytest.mark.parametrize("name", ["T5-0", "router"])
def test_the_cpu_does_not_take_over_networks_that_were_not_certified(refuse: Refuse, tmp_path: Path, name: str) -> None:
    bundle = certified()
    digest = hashlib.sha256(bundle.files[f"{name}.onnx"]).hexdigest()
    bundle.files["certificate.json"] = bundle.files["certificate.json"].replace(digest.encode(), b"0" * 64)
    error, _ = refuse(bundle, gpu(tmp_path, fallback="openvino", fallback_within_ms=100.0))
    assert f"for this network (seen: {name})" in str(error)


def test_the_cpu_does_not_take_over_when_it_is_too_slow(refuse: Refuse, tmp_path: Path) -> None:
    error, _ = refuse(certified(), gpu(tmp_path, fallback="openvino", fallback_within_ms=0.001))
    assert "too slow" in str(error)
    assert "allowed 0.001 ms; the GPU: no tensorrt" in str(error)


GOOD = """
[gate]
port = "/dev/null"
records = "r.db"
socket = "gate"
[inspector]
bundle = "line.cordon"
trusted_keys = ["KEY"]
backend = "tensorrt"
[inspector.gpu]
engines = "engines"
box_keys = ["KEY"]
[[inspector.camera]]
name = "cam"
endpoint = "ipc:///cam"
""".replace("KEY", "ab" * 32)


def read(folder: Path, text: str) -> Config:
    path = folder / "cordon.toml"
    path.write_text(text)
    return load_config(path)


def test_a_gpu_needs_engines_and_the_key_they_are_signed_with(tmp_path: Path) -> None:
    settings = read(tmp_path, GOOD).inspector.gpu
    assert settings is not None
    assert (settings.fallback, settings.zero_copy, settings.graphs) == ("none", "auto", True)
    with pytest.raises(ConfigError, match=r"inspector\.gpu"):
        read(tmp_path, GOOD.replace("[inspector.gpu]", "").replace('engines = "engines"', "").replace(f'box_keys = ["{"ab" * 32}"]', ""))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('device = "dla"', "for INT8 on its DLA cores"),
        ("streams = 0", "inspector.gpu.streams"),
        ("timeout_ms = 0.0", "inspector.gpu.timeout_ms"),
        ('fallback = "openvino"', "inspector.gpu.fallback_within_ms"),
        ('fallback = "openvino"\nfallback_within_ms = 196.0', "from 0.001 to 195"),
    ],
)
def test_a_wrong_setting_of_the_gpu_is_named(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"cordon\.toml") as caught:
        read(tmp_path, GOOD.replace("[inspector.gpu]", f"[inspector.gpu]\n{line}"))
    assert told in str(caught.value)
