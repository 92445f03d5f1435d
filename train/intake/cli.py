"""`cordon train import`: relabelled welds from the line into a training folder, with provenance."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from edge.errors import DatasetError
from train.intake.images import find_archive
from train.intake.labels import LabelTable, read_labels
from train.intake.ledger import ledgers, only_import, pending_path, read_ledger, roll_back
from train.intake.matching import Matched, Relabelled, Welds, match, welds_of
from train.intake.plan import GROUPINGS, GroupBy, Plan, make_plan
from train.intake.records import ProvenExport, read_export
from train.intake.summary import remarks, table
from train.intake.target import Target, label_folders, read_target
from train.intake.template import write_template
from train.intake.write import take_back, write


def main(argv: Sequence[str]) -> int:
    """Add what operators relabelled to a training folder: the export is proved, each image matched to its record by hash.

    Nothing counts before everything is written; the same import again adds nothing.
    """
    arguments = _parser().parse_args(argv)
    if arguments.undo is not None:
        return _undo(arguments)
    _check_usage(arguments)
    export = read_export(arguments.export)
    found = welds_of(export, find_archive(arguments.images), challenge_parts=arguments.challenge_parts)
    if arguments.template is not None:
        return _template(arguments, found)
    labels = read_labels(arguments.labels)
    matched = match(labels, export, found, skip_unmatched=arguments.skip_unmatched)
    typology = _typology(matched, arguments.typology)
    plan = _planned(arguments, matched, typology)[1] if arguments.dry_run else _import(arguments, matched, typology, export, labels)
    for line in table(matched.relabelled, plan, typology):
        print(line)
    if arguments.dry_run:
        print(f"--dry-run: nothing was written to {arguments.into}", file=sys.stderr)
    for line in remarks(found, plan, matched.unmatched, matched.challenges, labels.unlabelled):
        print(line, file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon train import", description=main.__doc__)
    add = parser.add_argument
    add("export", type=Path, nargs="?", metavar="EXPORT", help="what `cordon records export --to` wrote: the folder, or one file of it")
    add("--images", type=Path, metavar="FOLDER", help="copy of the box's image archive, or of some of its days")
    todo = parser.add_mutually_exclusive_group(required=True)
    todo.add_argument("--labels", type=Path, metavar="CSV", help="session and sequence, or part and weld; label; defect, by, when, comment")
    todo.add_argument("--template", type=Path, metavar="CSV", help="write the table to be filled in, one line an image, and stop")
    todo.add_argument("--undo", type=int, metavar="N", help="remove the scans of import N (provenance/N.json) from --into again")
    add("--into", type=Path, metavar="DATASET", help="training folder of one typology, with good/ and bad/ in it")
    add("--typology", metavar="NAME", help="take its welds only; needed when the labels are about several")
    add("--group", choices=GROUPINGS, help="what a split keeps together (default: as the folder's last import, else part-day)")
    add("--by", default="", metavar="NAME", help="who labelled, where the table does not say")
    add("--skip-unmatched", action="store_true", help="leave out rows that fit no weld, instead of refusing the table")
    add("--challenge-parts", action="store_true", help="take challenge parts too: each specimen becomes one group, whatever --group says")
    add("--dry-run", action="store_true", help="say what would be done")
    return parser


def _check_usage(arguments: argparse.Namespace) -> None:
    needed = {"EXPORT": arguments.export, "--images": arguments.images}
    if arguments.labels is not None:
        needed["--into"] = arguments.into
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise DatasetError(
            "the import needs more to go on", seen=f"no {' and no '.join(missing)}", remedy="See `cordon train import --help`"
        )


def _template(arguments: argparse.Namespace, found: Welds) -> int:
    chosen = [weld for weld in found.welds.values() if arguments.typology in (None, weld.typology)]
    count = write_template(arguments.template, chosen, arguments.images)
    print(f"{count} welds in {arguments.template}: write good or bad into column label, leave the others empty")
    for line in remarks(found, Plan(), (), (), 0):
        print(line, file=sys.stderr)
    return 0


def _typology(matched: Matched, wanted: str | None) -> str:
    counts = Counter(one.weld.typology for one in matched.relabelled)
    if wanted is not None:
        if matched.relabelled and wanted not in counts:
            raise DatasetError(f"no label is about typology {wanted}", seen=dict(counts), remedy="Correct --typology")
        return wanted
    if len(counts) > 1:
        remedy = "A training folder is of one typology: name it with --typology, and import once for each"
        raise DatasetError("the labels are about several typologies", seen=dict(counts), remedy=remedy)
    return next(iter(counts), "")


def _import(arguments: argparse.Namespace, matched: Matched, typology: str, export: ProvenExport, labels: LabelTable) -> Plan:
    root: Path = arguments.into
    label_folders(root)
    with only_import(root):
        if (removed := roll_back(root)) > 0:
            print(f"{removed} files of an import that was interrupted were removed", file=sys.stderr)
        target, plan, group_by = _planned(arguments, matched, typology)
        if not plan.added:
            print(f"nothing new for {root}")
            return plan
        ledger = write(target, plan.added, export, labels=labels.sha256, group_by=group_by, by=arguments.by)
        print(f"{len(plan.added)} scans added to {root}; where they came from: {ledger}")
    return plan


def _planned(arguments: argparse.Namespace, matched: Matched, typology: str) -> tuple[Target, Plan, GroupBy]:
    group_by = _group_by(arguments.into, arguments.group)
    target = read_target(arguments.into)
    chosen: list[Relabelled] = [one for one in matched.relabelled if one.weld.typology == typology]
    return target, make_plan(target, chosen, group_by=group_by), group_by


def _group_by(root: Path, wanted: str | None) -> GroupBy:
    earlier = [read_ledger(path).group_by for _, path in ledgers(root)][-1:]
    if wanted is not None and earlier and earlier[0] != wanted:
        remedy = "Keep to it, or the same part would have two groups and fall on both sides of a split"
        raise DatasetError(f"{root} groups scans from the line otherwise", seen=f"{earlier[0]}, asked for {wanted}", remedy=remedy)
    return cast("GroupBy", wanted or (earlier[0] if earlier else GROUPINGS[0]))


def _undo(arguments: argparse.Namespace) -> int:
    if arguments.into is None:
        raise DatasetError("--undo needs the training folder", remedy="Name it with --into")
    label_folders(arguments.into)
    with only_import(arguments.into):
        half_undone = pending_path(arguments.into, arguments.undo).exists()
        removed = roll_back(arguments.into)
        count = removed if half_undone else take_back(arguments.into, arguments.undo)
    print(f"{count} scans of import {arguments.undo} removed from {arguments.into}")
    return 0
