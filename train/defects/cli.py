"""`cordon train defects`: a labelled training folder from good scans only."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

from edge.errors import DatasetError
from train.defects.draw import BAD, DEFECTS, draw
from train.defects.make import MULTIPLE, Outcome, make, plan, provenance, usable_sources, weld_of
from train.defects.paint import paint
from train.defects.sheet import contact_sheet
from train.defects.source import GoodFolder, Source, read_good_folder
from train.defects.standards import Standard, read_standard
from train.defects.weld import Painted
from train.defects.write import PROVENANCE, Writer

SHEET = "sheet.png"


def main(argv: Sequence[str]) -> int:
    """Paint defects on good scans: OUT/good, OUT/bad and OUT/groups.csv, ready for `cordon train OUT`."""
    arguments = _parser().parse_args(argv)
    only = _only(arguments.only)
    standard = read_standard(arguments.typology, arguments.standard)
    _check_counts(arguments)
    folder = read_good_folder(arguments.folder)
    found = Outcome()
    with Writer(arguments.out, folder, masks=arguments.masks) as writer:
        usable = usable_sources(folder, standard, found)
        outcome = _fill(writer, folder, standard, usable, arguments, only=only)
        outcome.skipped = found.skipped
        said = {"tool": "cordon train defects", "cordon": version("cordon"), "typology": arguments.typology, "seed": arguments.seed}
        writer.write_text(PROVENANCE, provenance(folder, standard, outcome, only=list(only), **said))
        if arguments.sheet:
            _write_sheet(writer.path / SHEET, folder, standard, usable, arguments)
    _report(arguments.out, outcome)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon train defects", description=main.__doc__)
    add = parser.add_argument
    add(
        "folder",
        type=Path,
        metavar="GOOD_FOLDER",
        help="good scans (or a folder with good/ in it) with scan.toml; groups.csv, heightmap.json if any",
    )
    add("--typology", required=True, help="which standard: limits and sizes in mm, for example T7")
    add("--out", type=Path, required=True, metavar="OUT", help="a folder that does not exist yet")
    add("--good", type=int, metavar="N", help=f"good scans to write, the sources among them (default: {MULTIPLE} for each source)")
    add("--bad", type=int, metavar="N", help=f"bad scans to write (default: {MULTIPLE} for each source)")
    add("--seed", type=int, default=1, help="equal seeds give equal bytes (default %(default)s)")
    add("--standard", type=Path, metavar="FILE", help="TOML of your own instead of the packaged standards (docs/defects.md)")
    add("--only", default="", metavar="NAMES", help=f"some defects only, with commas between: {', '.join(DEFECTS[1:])}")
    add("--masks", action="store_true", help="also OUT/masks: where each defect is, as PNG")
    add("--sheet", action="store_true", help=f"also OUT/{SHEET}: every defect on one scan, before and after")
    return parser


def _only(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name for name in names if name not in DEFECTS]:
        raise DatasetError("no such defect", seen=", ".join(unknown), remedy=f"Choose from: {', '.join(DEFECTS)}")
    return names


def _check_counts(arguments: argparse.Namespace) -> None:
    for name in ("good", "bad", "seed"):
        value = getattr(arguments, name)
        if value is not None and value < 0:
            raise DatasetError(f"--{name} is not negative", seen=value, remedy="Give 0 or more")


def _fill(
    writer: Writer, folder: GoodFolder, standard: Standard, usable: list[Source], arguments: argparse.Namespace, *, only: tuple[str, ...]
) -> Outcome:
    """The sources as they are, then the derived scans. Raises DatasetError when the sources cannot give as many."""
    good = MULTIPLE * len(usable) if arguments.good is None else arguments.good
    wants_bad = not only or any(name in BAD for name in only)
    bad = (MULTIPLE * len(usable) if arguments.bad is None else arguments.bad) if wants_bad else 0
    derived = max(good - len(usable), 0) + bad
    if derived > standard.per_scan * len(usable):
        seen = f"{derived} from {len(usable)} scans, at most {standard.per_scan} each"
        raise DatasetError("that many scans would repeat the same few welds", seen=seen, remedy="Ask for fewer, or give more good scans")
    for source in usable[:good]:
        writer.copy(source)
    jobs = plan(standard, good=max(good - len(usable), 0), bad=bad, seed=arguments.seed, only=only)
    outcome = make(folder, standard, jobs, usable, writer, seed=arguments.seed)
    outcome.written["good", "none"] = len(usable[:good])
    return outcome


def _write_sheet(path: Path, folder: GoodFolder, standard: Standard, usable: list[Source], arguments: argparse.Namespace) -> None:
    source = usable[0]
    weld = weld_of(source, folder, standard)
    results: list[tuple[str, Painted]] = []
    for defect in DEFECTS[1:]:
        rng = np.random.default_rng([arguments.seed, 3, *defect.encode()])
        try:
            results.append((defect, paint(weld, draw(defect, weld, standard, rng), arguments.seed)))
        except DatasetError as exc:
            print(f"not on the sheet: {defect}: {exc}")
    title = f"{arguments.typology}: {source.name}"
    if not cv2.imwrite(str(path), contact_sheet(weld, results, title)):
        raise DatasetError(f"cannot write {path}", remedy="Check free space and the folder's rights")


def _report(out: Path, outcome: Outcome) -> None:
    for (label, defect), count in sorted(outcome.written.items(), key=lambda item: (item[0][0] != "good", item[0][1])):
        print(f"{label:5s} {defect:10s} {count:6d}")
    for name, why in outcome.skipped.items():
        print(f"skipped: {name}: {why}")
    for defect, reasons in sorted((name, why) for name, why in outcome.unfit.items() if why):
        print(f"{defect} did not fit {len(reasons)} times, for example on {reasons[0]}")
    for defect, count in sorted(outcome.unmade.items()):
        print(f"NOT MADE: {count} x {defect}")
    if outcome.skipped:
        print(f"{len(outcome.skipped)} scans gave nothing: no bead found in them")
    print(f"written: {out}")
