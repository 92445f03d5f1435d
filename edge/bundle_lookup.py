"""Which known welds look like this scan: prepared and run as the box does it, but outside the daemon and without a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, Member, TypologySpec
from edge.bundle_similar import Neighbour, nearest, unpack_similar
from edge.errors import BundleContentError, ConfigError, EngineError
from edge.inspector.engines.openvino import Compiler
from edge.inspector.heightmap.cpu import Preparer
from edge.scan_file import kind_of, read_scan


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
    kind = kind_of(image)
    # The golden inputs come from the same camera as the scans the bundle was made from.
    example = next((golden for golden in spec.golden if golden.kind == kind), spec.golden[0])
    no_data = example.no_data if scale.no_data is None else scale.no_data
    if scale.no_data is None and image.dtype == np.float32 and np.isnan(image if kind == "range" else image[..., 2]).any():
        no_data = float("nan")
    Preparer(spec.heightmap).prepare(
        image,
        kind=kind,
        z_scale_mm=example.z_scale_mm if scale.z_scale_mm is None else scale.z_scale_mm,
        z_offset_mm=example.z_offset_mm if scale.z_offset_mm is None else scale.z_offset_mm,
        no_data=no_data,
        out=out,
    )
