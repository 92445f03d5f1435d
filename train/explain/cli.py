"""`cordon train explain`: where a trained network saw what it calls bad, as pictures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge.errors import ConfigError, DatasetError, StorageError
from edge.map_image import Picture, contact_sheet, encoded, overlay
from train.report import metrics_path

if TYPE_CHECKING:
    from train.explain.activations import Maps
    from train.explain.material import Shown

SHEET = 24
"""Pictures on the contact sheet."""
RAW = ("npy", "png16")


def main(argv: Sequence[str]) -> int:
    """Draw a network's maps over its heightmaps: OUT/NAME.png each, OUT/sheet.png, OUT/maps.csv."""
    arguments = _parser().parse_args(argv)
    from nets.checkpoint import load_checkpoint  # noqa: PLC0415 - PyTorch takes seconds that --help should not
    from train.explain.material import find, prepare  # noqa: PLC0415
    from train.explain.run import explained  # noqa: PLC0415

    checkpoint = load_checkpoint(arguments.network)
    if arguments.label not in checkpoint.classes:
        raise ConfigError("the network does not know this class", seen=arguments.label, remedy=f"Choose one of {checkpoint.classes}")
    found = find(arguments.scans, limit=arguments.limit)
    shown, refused = prepare(found, checkpoint.heightmap)
    if not shown:
        raise DatasetError("the box refuses every scan before any network", seen="; ".join(refused[:3]), remedy="Check spec and scans")
    scores, maps = explained(checkpoint, [one.gray for one in shown], arguments.label, arguments.method)
    threshold = arguments.threshold if arguments.threshold is not None else _threshold(arguments.network)
    _write_all(arguments, shown, scores[:, checkpoint.classes.index(arguments.label)].tolist(), maps, threshold)
    for name in refused:
        print(f"refused before any network: {name}")
    if arguments.masks is not None:
        _point(arguments.masks, shown, maps)
    print(f"written: {len(shown)} maps of {maps.shape[1]} x {maps.shape[2]} cells in {arguments.out}, sheet.png, maps.csv")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon train explain", description=main.__doc__)
    add = parser.add_argument
    add("network", type=Path, metavar="NETWORK.safetensors", help="a checkpoint that `cordon train` wrote")
    add("scans", type=Path, nargs="+", metavar="FOLDER_OR_IMAGE", help="labelled folders, other folders, or single images")
    add("--out", type=Path, required=True, metavar="DIR", help="where the pictures go; made where missing")
    methods = ("cam", "gradcam")
    add("--method", choices=methods, default="cam", help="class activation map, or Grad-CAM for every network (default: %(default)s)")
    add("--class", dest="label", default="bad", metavar="NAME", help="the class to explain (default: %(default)s)")
    add("--limit", type=int, metavar="N", help="explain at most N scans, taken evenly")
    add("--threshold", type=float, help="printed beside the score (default: the checkpoint's figures say, else 0.5)")
    add("--raw", choices=RAW, help="also write each map as f32 NPY, or as 16-bit PNG (65535 = the strongest cell)")
    add("--masks", type=Path, metavar="DIR", help="true masks by the scans' names, PNG: play the pointing game")
    return parser


def _threshold(network: Path) -> float:
    """The threshold in the figures that `cordon train` wrote beside the checkpoint, 0.5 where there are none."""
    try:
        return float(json.loads(metrics_path(network).read_text(encoding="utf-8"))["at_target"]["threshold"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.5


def _write_all(arguments: argparse.Namespace, shown: Sequence[Shown], scores: Sequence[float], maps: Maps, threshold: float) -> None:
    lines = ["file,label,defect,score,threshold,peak,row,column"]
    sheet: list[Picture] = []
    from train.explain.pointing import strongest  # noqa: PLC0415
    from train.explain.run import csv_line, file_name  # noqa: PLC0415

    for one, score, cells in zip(shown, scores, maps, strict=True):
        said = f"{arguments.method} {arguments.label} {score:.4f}, threshold {threshold:.4f}"
        title = " ".join(word for word in (one.name, one.label, one.defect) if word)
        picture = overlay(one.gray, cells, [title, said])
        _write(arguments.out / f"{file_name(one.name)}.png", encoded(picture))
        _write_raw(arguments, one, cells)
        row, column = strongest(cells, (one.gray.shape[0], one.gray.shape[1]))
        lines.append(csv_line(one.name, one.label, one.defect, f"{score:.6f}", f"{threshold:.6f}", f"{cells.max():.6g}", row, column))
        if len(sheet) < SHEET:
            sheet.append(picture)
    _write(arguments.out / "sheet.png", encoded(_small(contact_sheet(sheet))))
    _write(arguments.out / "maps.csv", ("\n".join(lines) + "\n").encode())


def _write_raw(arguments: argparse.Namespace, one: Shown, cells: Maps) -> None:
    from train.explain.run import file_name, npy_bytes  # noqa: PLC0415

    if arguments.raw == "npy":
        _write(arguments.out / f"{file_name(one.name)}.npy", npy_bytes(cells))
    elif arguments.raw == "png16":
        peak = float(cells.max())
        steps = np.rint(cells.clip(min=0.0) * (65535.0 / peak)) if peak > 0 else np.zeros_like(cells)
        _write(arguments.out / f"{file_name(one.name)}.raw.png", encoded(steps.astype(np.uint16)))


def _small(picture: Picture) -> Picture:
    """At most 1600 columns: a sheet is looked at as a whole."""
    if picture.shape[1] <= 1600:
        return picture
    return np.asarray(cv2.resize(picture, (1600, picture.shape[0] * 1600 // picture.shape[1]), interpolation=cv2.INTER_AREA), np.uint8)


def _point(masks: Path, shown: Sequence[Shown], maps: Maps) -> None:
    from train.explain.material import read_mask  # noqa: PLC0415
    from train.explain.pointing import point, table  # noqa: PLC0415

    pairs = [(one, cells, read_mask(masks, one)) for one, cells in zip(shown, maps, strict=True)]
    print(table(point(one.defect or "unnamed", one.gray, cells, mask) for one, cells, mask in pairs if mask is not None))


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as exc:
        raise StorageError(f"cannot write {path}", seen=exc.strerror, remedy="Check --out and its rights") from exc
