"""Simulated good scans as an integrator would have them: gray values, from which the heights are read again."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from scans.folder import Scale
from sim.surface import Bead as TrueBead
from sim.surface import draw_field
from sim.typologies import typology_of
from sim.welds import PITCH_MM, make_weld, spec_of, to_heightmap
from sim.welds import _generator as generator
from train.defects.find import find_weld
from train.defects.source import to_mm
from train.defects.standards import Standard, read_standard
from train.defects.weld import F32, Weld

PITCH = (PITCH_MM, PITCH_MM)


def scale_of(typology: str) -> Scale:
    window = typology_of(typology).window_mm
    step = (window[1] - window[0]) / 254
    return Scale(pitch_mm=PITCH, z_scale_mm=step, z_offset_mm=window[0] - step)


@cache
def standard_of(typology: str) -> Standard:
    return read_standard(typology)


@cache
def height_of(typology: str, defect: str, seed: int) -> F32:
    return to_mm(to_heightmap(make_weld(typology, defect, seed)), scale_of(typology))


@cache
def weld_of(typology: str, defect: str = "none", seed: int = 1) -> Weld:
    return find_weld(height_of(typology, defect, seed), PITCH, standard_of(typology).hint())


def truth_of(typology: str, defect: str, seed: int) -> TrueBead:
    """What the simulator drew; only tests may know it."""
    return draw_field(typology_of(typology), generator(seed, typology, defect)).bead


def small_folder(root: Path, *, count: int = 3, typology: str = "T10", dtype: str = "u8") -> Path:
    """A folder of tiny good scans (the part of the frame around a short bead) with scan.toml, heightmap.json and groups.csv."""
    import cv2  # noqa: PLC0415

    from edge.inspector.heightmap.spec import spec_to_json  # noqa: PLC0415

    (root / "good").mkdir(parents=True)
    scale = scale_of(typology)
    rows = ["file,label,group,defect"]
    for number in range(count):
        image = to_heightmap(make_weld(typology, "none", number))[24:104, 110:242]
        name = f"good/scan{number}" + {"u8": ".png", "u16": ".tiff", "f32": ".npy"}[dtype]
        if dtype == "f32":
            np.save(root / name, to_mm(image, scale))
        else:
            cv2.imwrite(str(root / name), image if dtype == "u8" else image.astype(np.uint16) * 100)
        rows.append(f"{name},good,part{number // 2},none")
    z_scale = {"u8": scale.z_scale_mm, "u16": scale.z_scale_mm / 100, "f32": 1.0}[dtype]
    offset = 0.0 if dtype == "f32" else scale.z_offset_mm
    no_data = "nan" if dtype == "f32" else "0.0"
    text = f"pitch_mm = [{PITCH_MM}, {PITCH_MM}]\nz_scale_mm = {z_scale!r}\nz_offset_mm = {offset!r}\nno_data = {no_data}\n"
    (root / "scan.toml").write_text(text, encoding="utf-8")
    (root / "heightmap.json").write_bytes(spec_to_json(spec_of(typology)))
    (root / "groups.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root
