"""`cordon train clean`: find what is probably wrong in a labelled folder, apply what somebody decided, and undo it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import DatasetError
from scans.folder import read_spec
from train.cleaning.apply import apply_review, finish_interrupted, undo_step
from train.cleaning.journal import Step, read_steps

if TYPE_CHECKING:
    from train.cleaning.find import Findings
    from train.cleaning.review import Entry


def main(argv: Sequence[str]) -> int:
    """Find wrong labels and near-duplicates in a folder of scans; apply decisions about them, undo them, list them."""
    arguments = _parser().parse_args(argv)
    {"find": _find, "apply": _apply, "undo": _undo, "log": _log}[arguments.command](arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon train clean", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="find|apply|undo|log")
    find = commands.add_parser("find", help="write a review list and a page to browse it; changes nothing")
    apply = commands.add_parser("apply", help="move files and change groups as the review decides")
    undo = commands.add_parser("undo", help="put everything back as it was, byte for byte")
    log = commands.add_parser("log", help="list what was done")
    for command in (find, apply, undo, log):
        command.add_argument("folder", type=Path, metavar="FOLDER", help="has good/ and bad/ (or Soldadura_Buena/ and Soldadura_Mala/)")
    _add_find(find)
    table = "columns file and group (or scan); default: the one CSV in FOLDER that has them"
    for command in (find, apply):
        command.add_argument("--table", type=Path, metavar="CSV", help=table)
    apply.add_argument("--review", type=Path, metavar="CSV", help="with decisions; without it, only an interrupted step is finished")
    undo.add_argument("--step", type=int, metavar="N", help="default: the last one that is not undone")
    for command in (apply, undo):
        command.add_argument("--by", metavar="NAME", help="who decided; default: the user's name")
    return parser


def _add_find(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="REVIEW", help="folder for review.csv and index.html; finished folds are kept there")
    add("--splits", type=int, default=3, metavar="N", help="split seeds (default: %(default)s)")
    add("--folds", type=int, default=4, metavar="K", help="folds of whole groups per split seed (default: %(default)s)")
    add("--recipe", default="synthetic", help="training options to start from (default: %(default)s)")
    add("--arch", help="default: from the recipe")
    add("--epochs", type=int, help="default: from the recipe")
    add("--seed", type=int, help="the first split seed")
    add("--threads", type=int)
    add("--size", type=_size, metavar="HxW", help="of the networks' input; default: the folder's. Smaller is faster and sees less")
    add("--spec", type=Path, metavar="JSON", help="heightmap spec; default: FOLDER/heightmap.json, else 2nd to 98th percentile")
    add("--top", type=int, default=50, metavar="N", help="scans listed for their loss alone (default: %(default)s)")


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    try:
        return int(height), int(width)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, like 64x176") from exc


def _find(arguments: argparse.Namespace) -> None:
    from train.cleaning.find import Request, find_issues  # noqa: PLC0415 - torch and scikit-learn take seconds that --help should not
    from train.cleaning.judgement import confusion_table, save_confusion  # noqa: PLC0415
    from train.cleaning.page import write_page  # noqa: PLC0415
    from train.cleaning.review import review_entries, save_losses, save_review  # noqa: PLC0415
    from train.options import recipe  # noqa: PLC0415

    out = _folder_outside(arguments.out, arguments.folder)
    options = recipe(arguments.recipe, architecture=arguments.arch, epochs=arguments.epochs, seed=arguments.seed, threads=arguments.threads)
    request = Request(
        options=options,
        splits=arguments.splits,
        folds=arguments.folds,
        size=arguments.size,
        table=arguments.table,
        spec=None if arguments.spec is None else read_spec(arguments.spec),
    )
    findings = find_issues(arguments.folder, request, out / "folds")
    entries = review_entries(findings.evidence, top=arguments.top)
    save_review(findings.evidence, entries, out / "review.csv")
    save_losses(findings.evidence, out / "losses.csv")
    save_confusion(findings.confused, findings.judged.seeds, out / "confusion.csv")
    write_page(findings, entries, out)
    print(confusion_table(findings.confused))
    _print_summary(findings, entries)
    print(f"written: {out}/review.csv, index.html, confusion.csv, losses.csv; nothing in {arguments.folder} was changed")


def _folder_outside(out: Path, folder: Path) -> Path:
    if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
        raise DatasetError("the review may not lie in the folder it is about", seen=out, remedy="Choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise DatasetError(f"cannot make the folder {out}", seen=exc.strerror, remedy="Choose an --out you may write to") from exc
    return out


def _print_summary(findings: Findings, entries: Sequence[Entry]) -> None:
    from train.cleaning.page import SEVERITIES  # noqa: PLC0415 - as above
    from train.cleaning.review import joined_groups  # noqa: PLC0415

    for severity, name in enumerate(SEVERITIES):
        count = sum(entry.severity == severity for entry in entries)
        if count:
            print(f"{count:5d} {name}")
    for name, others in joined_groups(findings.evidence).items():
        print(f"one group, not several: {name}, {', '.join(others)}")
    if findings.refused:
        print(f"{findings.refused} bad scans took no part: the box refuses them before any network (constant or empty)")


def _apply(arguments: argparse.Namespace) -> None:
    if arguments.review is None:
        step = finish_interrupted(arguments.folder)
        print("nothing was interrupted" if step is None else _line(step))
        return
    step = apply_review(arguments.folder, arguments.review, by=arguments.by, table=arguments.table)
    print("the review decides nothing" if step is None else _line(step))


def _undo(arguments: argparse.Namespace) -> None:
    print(_line(undo_step(arguments.folder, arguments.step, by=arguments.by)))


def _log(arguments: argparse.Namespace) -> None:
    steps = read_steps(arguments.folder)
    if not steps:
        print("no cleaning steps")
    for step in steps:
        print(_line(step))
        moved = {move.file: f" -> {move.to}" for move in step.moves}
        for note in step.notes:
            print(f"    {note.file} ({note.label}, group {note.group}): {note.decision}{moved.get(note.file, '')}")


def _line(step: Step) -> str:
    undone = f", undone by {step.undone_by} {step.undone_when}" if step.undone_when else ""
    state = {"applying": "INTERRUPTED while applying", "undoing": "INTERRUPTED while undoing"}.get(step.state, step.state)
    return f"step {step.number}: {state}, {len(step.notes)} decisions by {step.by} {step.when}{undone}"
