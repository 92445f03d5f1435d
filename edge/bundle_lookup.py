"""Which known welds look like this scan: prepared and run as the box does it, but outside the daemon and without a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, Member, TypologySpec
from edge.bundle_similar import Neighbour, nearest, unpack_similar
from edge.errors import BundleContentError, ConfigError, EngineError
from edge.inspector.engines.openvino import Compiler
from edge.inspector.heightmap.cpu import Preparer


@dataclass(frozen=True, kw_only=True)
class RangeScale:
    """What a value of a range image means, in place of what the typology's golden inputs say."""

    z_scale_mm: float | None = None
    z_offset_mm: float | None = None
    no_data: float | None = None


def similar_welds(bundle: Bundle, typology: str, scan: Path, *, count: int, scale: RangeScale) -> tuple[Neighbour, ...]:
    """The `count` known welds of `typology` nearest to `scan`, nearest first.

    Raises ConfigError (no such typology, unreadable scan), BundleContentError (no known welds), FrameError or EngineError.
    """
    spec, member = _find(bundle, typology)
    known = unpack_similar(bundle.files[spec.similar or ""])
    data = np.zeros((spec.heightmap.height, spec.heightmap.width), np.uint8)
    _prepare(spec, read_scan(scan), scale, data)
    engine = Compiler(threads=1).compile(member, bundle.files[member.file], data)
    engine.run()
    if engine.embedding is None:
        raise EngineError(f"member {member.name} gives no embedding", seen=member.embedding, remedy="Export the bundle again")
    return nearest(known, engine.embedding, count)


def read_scan(path: Path) -> NDArray[Any]:
    """A PNG, TIFF or NPY scan as a 2-D array: u8 (heightmap), u16 or f32 (range). Raises ConfigError."""
    try:
        image: Any = np.load(path, allow_pickle=False) if path.suffix.lower() == ".npy" else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError) as exc:
        raise ConfigError(f"cannot read the scan {path}", seen=exc, remedy="Check the path") from exc
    if image is None:
        raise ConfigError(f"cannot read the scan {path}", remedy="Check the path; PNG, TIFF and NPY are read")
    if image.ndim == 3 and (image == image[..., :1]).all():
        image = image[..., 0]  # gray saved as colour: equal channels
    if image.ndim != 2 or image.dtype.name not in ("uint8", "uint16", "float32"):
        raise ConfigError(
            f"{path} is not a height image", seen=f"{image.dtype} {image.shape}", remedy="Save one channel as uint8, uint16 or float32"
        )
    return np.ascontiguousarray(image)


def _find(bundle: Bundle, typology: str) -> tuple[TypologySpec, Member]:
    specs = {spec.name: spec for spec in bundle.manifest.typologies}
    if typology not in specs:
        raise ConfigError("the bundle has no such typology", seen=typology, remedy=f"It has {', '.join(specs)}")
    spec = specs[typology]
    if spec.similar is None or spec.embedder is None:
        remedy = "Export it with embeddings = true in its [[typology]]"
        raise BundleContentError(f"the bundle keeps no known welds for {typology}", remedy=remedy)
    return spec, spec.embedder


def _prepare(spec: TypologySpec, image: NDArray[Any], scale: RangeScale, out: NDArray[np.uint8]) -> None:
    kind = "heightmap" if image.dtype == np.uint8 else "range"
    # The golden inputs come from the same camera as the scans the bundle was made from.
    example = next((golden for golden in spec.golden if golden.kind == kind), spec.golden[0])
    no_data = example.no_data if scale.no_data is None else scale.no_data
    if scale.no_data is None and image.dtype == np.float32 and np.isnan(image).any():
        no_data = float("nan")
    Preparer(spec.heightmap).prepare(
        image,
        kind=kind,
        z_scale_mm=example.z_scale_mm if scale.z_scale_mm is None else scale.z_scale_mm,
        z_offset_mm=example.z_offset_mm if scale.z_offset_mm is None else scale.z_offset_mm,
        no_data=no_data,
        out=out,
    )
