"""`cordon calib`: choose images from a labelled folder, quantise an ONNX network with them, and show the ranges found."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from calib.images import DEFAULT_IMAGES, CalibrationSet, candidates, choose_images, require_one_size
from calib.prepare import prepare_scans
from calib.progress import bar
from calib.quantise import METHODS, Method, quantise, read_model
from calib.ranges import activation_ranges
from edge.errors import ConfigError, DatasetError, ExportError
from edge.inspector.heightmap.spec import HeightmapSpec, spec_from_json
from scans.folder import ScanFolder, find_scans
from scans.split import split_by_group


def main(argv: Sequence[str]) -> int:
    """Choose, quantise, save, and print what was chosen and found; or, with the word `compare` first, compare the methods."""
    words = list(argv)
    if words[:1] == ["compare"]:
        return _compare(_compare_parser().parse_args(words[1:]))
    return _quantise(_parser().parse_args(words))


def _quantise(a: argparse.Namespace) -> int:
    chosen = _chosen(a)
    _print_set(chosen)
    network = _network(a.onnx)
    method: Method = a.method
    with bar("calibrating") as progress:
        quantised = quantise(network, chosen.images, method=method, exclude=a.exclude, progress=progress, verbose=a.verbose)
    save(quantised, a.out)
    _print_ranges(quantised)
    print(f"{a.out}: {len(quantised):,} bytes (from {len(network):,})")
    return 0


def _compare(a: argparse.Namespace) -> int:
    from calib.compare import compare_methods, table  # noqa: PLC0415 - scikit-learn and matplotlib take a second
    from calib.plot import plot_ranges  # noqa: PLC0415

    methods = _methods(a.methods)
    if a.out is not None and not a.out.is_dir():
        raise ExportError("there is no folder for the plot", seen=a.out, remedy="Choose a folder that exists")
    folder = find_scans(a.images, table=a.table)
    chosen = _chosen(a)
    network = _network(a.onnx)
    print(f"{len(chosen.images)} calibration images, set {chosen.hash[:12]}")
    _, held_out = split_by_group(folder.scans, held_out=a.held_out, seed=a.seed)
    proof = prepare_scans(held_out, read_spec(a.spec, folder), folder.scale)
    with bar("calibrating") as calibrate, bar("observing") as seen, bar("scoring") as scored:
        told = {"calibrate": calibrate, "observe": seen, "score": scored}
        found = compare_methods(network, chosen.images, proof, methods=methods, bad=a.bad, progress=told)
    print(table(found))
    if a.out is not None:
        title = f"{a.onnx.name}, {len(chosen.images)} calibration images"
        save(plot_ranges({m.method: m.ranges for m in found.methods}, title), a.out / "ranges.svg")
        print(a.out / "ranges.svg")
    return 0


def _chosen(a: argparse.Namespace) -> CalibrationSet:
    folder = find_scans(a.images, table=a.table)
    require_one_size(folder.scans)
    return choose_from_folder(folder, read_spec(a.spec, folder), count=a.count, held_out=a.held_out, seed=a.seed)


def _network(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ExportError(f"cannot read the network {path}", seen=exc.strerror, remedy="Check --onnx") from exc


def _methods(words: str) -> tuple[Method, ...]:
    named = [word.strip() for word in words.split(",")]
    found = tuple(method for method in METHODS if method in named)
    if set(named) != set(found):
        raise ConfigError("this is no calibration method", seen=words, remedy=f"Choose of {', '.join(METHODS)}, with commas")
    return found


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
    parser = argparse.ArgumentParser(
        prog="cordon calib", description=__doc__, epilog="`cordon calib compare FOLDER` compares the methods; see its --help"
    )
    _add_common(parser)
    parser.add_argument("--out", type=Path, required=True, help="Q/DQ INT8 network to write")
    parser.add_argument("--method", choices=METHODS, default="max")
    parser.add_argument("--exclude", action="append", default=[], metavar="NODE", help="leave this node in float; may be repeated")
    parser.add_argument("--verbose", action="store_true", help="show ModelOpt's own log")
    return parser


def _compare_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cordon calib compare", description="Quantise with every method, score held-out scans, and print the methods side by side."
    )
    _add_common(parser)
    parser.add_argument("--methods", default=",".join(METHODS), help="with commas (default %(default)s)")
    parser.add_argument("--bad", type=int, default=0, help="place of the bad label's score among the outputs (default %(default)s)")
    parser.add_argument("--out", type=Path, help="folder for the plot ranges.svg")
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", type=Path, help="folder with good/ and bad/ scans")
    parser.add_argument("--onnx", type=Path, required=True, help="FP32 network with one u8 input [1, 1, H, W]")
    parser.add_argument("--spec", type=Path, help="heightmap.json; default: the one in the folder")
    parser.add_argument("--table", type=Path, help="CSV with columns file and group (or scan)")
    parser.add_argument("--count", type=int, default=DEFAULT_IMAGES, help="calibration images (default %(default)s)")
    parser.add_argument("--held-out", type=float, default=0.2, help="part of the groups that is not touched (default %(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="of the split (default %(default)s)")


def _print_set(chosen: CalibrationSet) -> None:
    labels = ", ".join(f"{n} {label}" for label, n in sorted(Counter(chosen.labels).items()))
    print(f"{len(chosen.images)} images ({labels}) of {chosen.candidates} candidates, {chosen.duplicates} duplicates dropped")
    print("\n".join(f"  {label:<5} {scan.path}" for label, scan in zip(chosen.labels, chosen.scans, strict=True)))
    print(f"set {chosen.hash}")


def _print_ranges(network: bytes) -> None:
    ranges = activation_ranges(read_model(network))
    print(f"{'amax':>12}  activation → consumers")
    print("\n".join(f"{r.amax:>12.5g}  {r.tensor} → {r.consumers}" for r in ranges))
