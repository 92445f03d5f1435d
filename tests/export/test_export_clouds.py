"""A line whose camera sends point clouds: trained on clouds, exported with clouds as golden inputs, judged on clouds."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from export_workshop import SPEC, train, write_scans

from calib.prepare import prepare_scans
from edge.bundle import verify_bundle
from edge.contract import Reason
from edge.errors import FrameError
from edge.inspector.heightmap.spec import Rasterise, spec_to_json
from edge.inspector.judging import inspect
from edge.inspector.loader import load_engines
from edge.inspector.machine import CpuMachine
from edge.inspector.scan import Scan
from export.order import LineOrder, TypologyOrder
from export.pipeline import export_line
from scans.folder import find_scans, read_image
from scans.split import split_by_group

pytestmark = pytest.mark.slow

GRID = Rasterise(x_mm=(10.0, 10.0 + 63 * 0.5), y_mm=(-4.0, -4.0 + 31 * 0.25), pitch_mm=(0.5, 0.25), max_gap=1)


def make_clouds(folder: Path) -> Path:
    """The workshop's scans as points in no order; the pixels without data leave no point."""
    write_scans(folder, 4, 0)
    for file in sorted(folder.rglob("*.png")):
        gray = read_image(file)
        rows, cols = np.nonzero(gray)
        z = (gray[rows, cols] - 1.0) * 5 / 254
        points = np.stack([10 + 0.5 * cols, -4 + 0.25 * rows, z], axis=1).astype(np.float32)
        np.save(file.with_suffix(".npy"), np.random.default_rng(len(points)).permutation(points)[None])
        file.unlink()
    (folder / "heightmap.json").write_bytes(spec_to_json(msgspec.structs.replace(SPEC, rasterise=GRID)))
    (folder / "scan.toml").write_text("pitch_mm = [0.5, 0.25]\nno_data = nan\n")
    return folder


def test_a_line_of_clouds_is_exported_proved_and_judged(tmp_path: Path) -> None:
    found = find_scans(make_clouds(tmp_path / "T3"))
    assert found.spec is not None
    training, held_out = split_by_group(found.scans, held_out=0.5, seed=42)
    prepared = prepare_scans(training, found.spec, found.scale)
    assert prepared.refused == {}
    source = train(prepared, ("bad", "good"), tmp_path / "T3.safetensors", spec=found.spec)
    key = Ed25519PrivateKey.generate()
    order = LineOrder(name="clouds", version=1, typology=(TypologyOrder(name="T3", source=source, scans=found.root),))
    data = export_line(order, key, say=lambda _: None).data

    bundle = verify_bundle(data, (key.public_key().public_bytes_raw().hex(),))
    (spec,) = bundle.manifest.typologies
    assert spec.heightmap.rasterise == GRID
    assert {(golden.kind, golden.shape[0], golden.dtype) for golden in spec.golden} == {("cloud", 1, "f4")}
    loaded = load_engines(bundle, CpuMachine(threads=1), progress=lambda _: None)
    assert loaded.known_answers == len(spec.golden)
    for scan in held_out[:: len(held_out) // 6]:
        cloud = Scan(image=read_image(scan.path), kind="cloud", no_data=math.nan)
        finding = inspect(loaded, cloud, "T3", every_engine=False)
        assert (finding.score > finding.threshold) == (scan.label == "bad")
    with pytest.raises(FrameError) as caught:
        inspect(loaded, Scan(image=cloud.image - np.float32(100), kind="cloud"), "T3", every_engine=False)
    assert caught.value.reason is Reason.FRAME_EMPTY
