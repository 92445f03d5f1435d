"""`cordon calib`: choose images from a labelled folder, quantise an ONNX network with them, and show the ranges found."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from calib.images import DEFAULT_IMAGES, CalibrationSet, candidates, choose_images
from calib.prepare import prepare_scans
from calib.quantise import METHODS, Method, quantise, read_model
from calib.ranges import activation_ranges
from edge.errors import ConfigError, DatasetError, ExportError
from edge.inspector.heightmap.spec import HeightmapSpec, spec_from_json
from scans.folder import ScanFolder, find_scans
from scans.split import split_by_group


def main(argv: Sequence[str]) -> int:
    """Choose, quantise, save, and print what was chosen and found."""
    a = _parser().parse_args(argv)
    folder = find_scans(a.images, table=a.table)
    chosen = choose_from_folder(folder, read_spec(a.spec, folder), count=a.count, held_out=a.held_out, seed=a.seed)
    _print_set(chosen)
    try:
        network = a.onnx.read_bytes()
    except OSError as exc:
        raise ExportError(f"cannot read the network {a.onnx}", seen=exc.strerror, remedy="Check --onnx") from exc
    method: Method = a.method
    quantised = quantise(network, chosen.images, method=method, verbose=a.verbose)
    save(quantised, a.out)
    _print_ranges(quantised)
    print(f"{a.out}: {len(quantised):,} bytes (from {len(network):,})")
    return 0


def choose_from_folder(folder: ScanFolder, spec: HeightmapSpec, *, count: int, held_out: float, seed: int) -> CalibrationSet:
    """Calibration images of a folder's training part only; the held-out groups stay unseen. Raises DatasetError."""
    training, _ = split_by_group(folder.scans, held_out=held_out, seed=seed)
    return choose_images(prepare_scans(candidates(training), spec, folder.scale), count=count)


def read_spec(path: Path | None, folder: ScanFolder) -> HeightmapSpec:
    """The spec of `path`, else the folder's heightmap.json. Raises ConfigError or DatasetError."""
    if path is None:
        if folder.spec is None:
            raise DatasetError(f"{folder.root} has no heightmap.json", remedy="Give --spec, the heightmap the network was trained with")
        return folder.spec
    try:
        return spec_from_json(path.read_bytes())
    except OSError as exc:
        raise ConfigError(f"cannot read the heightmap spec {path}", seen=exc.strerror, remedy="Check --spec") from exc


def save(network: bytes, path: Path) -> None:
    """Write the ONNX file atomically. Raises ExportError."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_bytes(network)
        temporary.replace(path)
    except OSError as exc:
        raise ExportError(f"cannot write {path}", seen=exc.strerror, remedy="Choose a folder that exists and has room") from exc


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon calib", description=__doc__)
    parser.add_argument("images", type=Path, help="folder with good/ and bad/ scans")
    parser.add_argument("--onnx", type=Path, required=True, help="FP32 network with one u8 input [1, 1, H, W]")
    parser.add_argument("--out", type=Path, required=True, help="Q/DQ INT8 network to write")
    parser.add_argument("--spec", type=Path, help="heightmap.json; default: the one in the folder")
    parser.add_argument("--table", type=Path, help="CSV with columns file and group (or scan)")
    parser.add_argument("--method", choices=METHODS, default="max")
    parser.add_argument("--count", type=int, default=DEFAULT_IMAGES, help="calibration images (default %(default)s)")
    parser.add_argument("--held-out", type=float, default=0.2, help="part of the groups that is not touched (default %(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="of the split (default %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="show ModelOpt's own log")
    return parser


def _print_set(chosen: CalibrationSet) -> None:
    labels = ", ".join(f"{n} {label}" for label, n in sorted(Counter(chosen.labels).items()))
    print(f"{len(chosen.images)} images ({labels}) of {chosen.candidates} candidates, {chosen.duplicates} duplicates dropped")
    print("\n".join(f"  {label:<5} {scan.path}" for label, scan in zip(chosen.labels, chosen.scans, strict=True)))
    print(f"set {chosen.hash}")


def _print_ranges(network: bytes) -> None:
    ranges = activation_ranges(read_model(network))
    print(f"{'amax':>12}  activation → consumers")
    print("\n".join(f"{r.amax:>12.5g}  {r.tensor} → {r.consumers}" for r in ranges))
