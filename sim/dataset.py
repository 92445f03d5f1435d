"""`cordon sim welds`: labelled folders of simulated scans to train and calibrate on, and a production line-up for camera and robot."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar, get_args

import cv2
import numpy as np

from edge.errors import SimulationError
from edge.inspector.heightmap.spec import spec_to_json
from sim.welds import (
    ACCEPTABLE,
    NO_DATA,
    PITCH_MM,
    REJECTABLE,
    TYPOLOGIES,
    Z_OFFSET_MM,
    Z_SCALE_MM,
    Weld,
    cloud_spec,
    draw_weld,
    make_weld,
    spec_of,
    to_cloud,
    to_heightmap,
    to_range,
)

Kind: TypeAlias = Literal["heightmap", "range", "cloud", "unorganised"]
Item = TypeVar("Item")

SEEDS_PER_DATASET = 100_000
"""Welds of data set `seed` are made from seeds `seed * SEEDS_PER_DATASET + n`: two data sets never share a weld."""
GROUP = 4
"""Welds of one simulated part in a data set; a split keeps them together."""
LINE_UP_BAD = 0.4
"""Share of bad welds in a line-up: far more than a real line makes, so that escapes would show."""


def main(argv: Sequence[str]) -> int:
    """Write simulated scans: OUT/good and OUT/bad (for `all` typologies OUT/T2/good ...), and OUT/welds.csv with --line-up."""
    parser = argparse.ArgumentParser(prog="cordon sim welds", description=main.__doc__)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--typology", choices=[*TYPOLOGIES, "all"], default="all")
    parser.add_argument("--good", type=int, help="good welds per typology (default 100, or 0 with --line-up)")
    parser.add_argument("--bad", type=int, help="bad welds per typology (default 100, or 0 with --line-up)")
    parser.add_argument("--seed", type=int, default=1, help="data sets of different seeds share no weld (default %(default)s)")
    kinds = "8-bit heightmaps, 16-bit range images, or point clouds as NPY: organised, or their points in no order"
    parser.add_argument("--kind", choices=get_args(Kind), default="heightmap", help=kinds)
    parser.add_argument("--line-up", type=int, default=0, metavar="N", help="also a mixed production of N welds, listed in OUT/welds.csv")
    arguments = parser.parse_args(argv)
    unsaid = 0 if arguments.line_up else 100
    good, bad = (unsaid if count is None else count for count in (arguments.good, arguments.bad))
    names = list(TYPOLOGIES) if arguments.typology == "all" else [arguments.typology]
    for name in names if good or bad else []:
        folder = arguments.out / name if arguments.typology == "all" else arguments.out
        write_dataset(folder, name, good=good, bad=bad, seed=arguments.seed, kind=arguments.kind)
    if arguments.line_up:
        write_line_up(arguments.out, names, welds=arguments.line_up, seed=arguments.seed, kind=arguments.kind)
    return 0


def write_dataset(out: Path, typology: str, *, good: int, bad: int, seed: int, kind: Kind = "heightmap") -> None:
    """Write `good` and `bad` scans of one typology with heightmap.json, scan.toml and groups.csv.

    Every kind of defect takes its share of the count. Raises SimulationError: unknown typology, a negative count or seed, a
    folder that already holds scans, or a file that cannot be written.
    """
    spec = cloud_spec(typology) if kind == "unorganised" else spec_of(typology)
    plan = _plan(typology, good, bad, seed)
    for folder in (out / "good", out / "bad"):
        _make_folder(folder)
    _write_text(out / "heightmap.json", spec_to_json(spec).decode() + "\n")
    _write_text(out / "scan.toml", scale_toml(typology, kind))
    rows = []
    for number, defect in _progress(list(enumerate(plan)), f"{typology} {kind}"):
        weld = make_weld(typology, defect, seed * SEEDS_PER_DATASET + number)
        name = f"{weld.label}/{typology}_{defect}_{weld.seed}{_suffix(kind)}"
        _write_scan(out / name, weld, kind)
        rows.append((name, weld.label, f"{typology}-{seed}-{number // GROUP:04d}", defect))
    _write_table(out / "groups.csv", ("file", "label", "group", "defect"), rows)


def write_line_up(out: Path, typologies: Sequence[str], *, welds: int, seed: int, kind: Kind = "heightmap") -> Path:
    """Write OUT/line/*.png (or *.npy) and OUT/welds.csv (part, weld, typology, truth, defect, file): nine welds a part, typologies in turn.

    `file` is an absolute path. Of all kinds but "heightmap" OUT/line/scan.toml holds the scale. Returns the table's path.
    Raises SimulationError.
    """
    _check_counts(welds, 0, seed)
    _make_folder(out / "line")
    if kind != "heightmap":
        _write_text(out / "line" / "scan.toml", scale_toml(typologies[0], kind))
    rows = []
    for number in _progress(range(welds), f"line-up {kind}"):
        part, position = divmod(number, len(TYPOLOGIES))
        weld = draw_weld(typologies[number % len(typologies)], seed * SEEDS_PER_DATASET + number, LINE_UP_BAD)
        names = f"P{part + 1:05d}", f"W{position + 1}"
        file = (out / "line" / f"{names[0]}_{names[1]}{_suffix(kind)}").resolve()
        _write_scan(file, weld, kind)
        rows.append((*names, weld.typology, weld.label, weld.defect, str(file)))
    table = out / "welds.csv"
    _write_table(table, ("part", "weld", "typology", "truth", "defect", "file"), rows)
    return table


def scale_toml(typology: str, kind: Kind) -> str:
    """The text of scan.toml: height in mm = value * z_scale_mm + z_offset_mm, for grays of a heightmap as well."""
    scale, offset, no_data = Z_SCALE_MM, Z_OFFSET_MM, repr(float(NO_DATA))
    if kind == "heightmap":
        low, high = TYPOLOGIES[typology].window_mm
        scale = (high - low) / 254
        offset = low - scale
    elif kind != "range":
        scale, offset, no_data = 1.0, 0.0, "nan"
    return f"pitch_mm = [{PITCH_MM}, {PITCH_MM}]\nz_scale_mm = {scale!r}\nz_offset_mm = {offset!r}\nno_data = {no_data}\n"


def _plan(typology: str, good: int, bad: int, seed: int) -> list[str]:
    """Which defects, in which order; good and bad are mixed, so that parts hold both."""
    _check_counts(good, bad, seed)
    rng = np.random.default_rng([seed, *typology.encode()])
    plan = _shares(ACCEPTABLE, good, rng) + _shares(REJECTABLE, bad, rng)
    return [plan[index] for index in rng.permutation(len(plan))]


def _shares(weights: Mapping[str, float], count: int, rng: np.random.Generator) -> list[str]:
    exact = np.array(list(weights.values())) * count / sum(weights.values())
    whole = np.floor(exact).astype(int)
    names = [name for name, many in zip(weights, whole, strict=True) for _ in range(many)]
    order = sorted(weights, key=dict(zip(weights, whole - exact + 1e-9 * rng.random(len(weights)), strict=True)).__getitem__)
    return names + order[: count - len(names)]


def _check_counts(good: int, bad: int, seed: int) -> None:
    if min(good, bad) < 0 or not 0 < good + bad <= SEEDS_PER_DATASET:
        raise SimulationError("cannot make that many welds", seen=(good, bad), remedy=f"Ask for 1 to {SEEDS_PER_DATASET} in all")
    if seed < 0:
        raise SimulationError("a data set's seed is not negative", seen=seed, remedy="Give 0 or more")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SimulationError(f"cannot make the folder {folder}", seen=exc.strerror, remedy="Choose a folder you may write to") from exc
    if any(path.suffix in (".png", ".npy") for path in folder.iterdir()):
        raise SimulationError(f"{folder} already holds scans", remedy="Remove them or name another folder: old and new would mix")


def _suffix(kind: Kind) -> str:
    return ".png" if kind in ("heightmap", "range") else ".npy"


def _write_scan(path: Path, weld: Weld, kind: Kind) -> None:
    if _suffix(kind) == ".npy":
        try:
            np.save(path, to_cloud(weld, organised=kind == "cloud"))
        except OSError as exc:
            raise _unwritten(path, exc.strerror) from exc
        return
    image = to_heightmap(weld) if kind == "heightmap" else to_range(weld)[0]
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 3]):
        raise _unwritten(path, None)


def _unwritten(path: Path, seen: str | None) -> SimulationError:
    return SimulationError(f"cannot write the scan {path}", seen=seen, remedy="Check free space and the folder's rights")


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise SimulationError(f"cannot write {path}", seen=exc.strerror, remedy="Check free space and the folder's rights") from exc


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
    except OSError as exc:
        raise SimulationError(f"cannot write {path}", seen=exc.strerror, remedy="Check free space and the folder's rights") from exc


def _progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Pass the items through and count them on standard error: a moving line on a terminal, one line otherwise."""
    live = sys.stderr.isatty()
    for done, item in enumerate(items, 1):
        yield item
        if live and (done % 20 == 0 or done == len(items)):
            print(f"\r{what}: {done} / {len(items)}", end="", file=sys.stderr, flush=True)
    print("" if live else f"{what}: {len(items)} welds", file=sys.stderr)
