"""The table operators fill in: one line for every image, with what the box said and an empty label."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from edge.errors import DatasetError
from edge.records.formats import FORMULA
from train.intake.labels import COLUMNS
from train.intake.matching import Weld

SAID = ("typology", "time", "outcome", "reason", "score", "threshold", "image")
HEADER = (*COLUMNS[:4], *SAID, *COLUMNS[4:])


def write_template(path: Path, welds: Iterable[Weld], images: Path) -> int:
    """Write the table, the rejected first, then by score; returns its rows. Raises DatasetError rather than overwrite labels."""
    ordered = sorted(welds, key=lambda weld: (weld.judged.outcome == "ACCEPT", -(weld.judged.score or 0.0), weld.judged.key))
    try:
        # The mark lets spreadsheets see UTF-8.
        with path.open("x", newline="", encoding="utf-8-sig") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            writer.writerows(_cells(weld, images) for weld in ordered)
    except FileExistsError as exc:
        raise DatasetError(f"{path} exists already", remedy="Name another file: this one may hold labels") from exc
    except OSError as exc:
        raise DatasetError(f"cannot write the template {path}", seen=exc.strerror, remedy="Choose a place you may write to") from exc
    return len(ordered)


def _cells(weld: Weld, images: Path) -> list[str]:
    judged = weld.judged
    numbers = ["" if value is None else f"{value:.4f}" for value in (judged.score, judged.threshold)]
    image = weld.image.path.relative_to(images).as_posix()
    texts = [judged.part, judged.weld, weld.typology, judged.time, judged.outcome, judged.reason]
    return [_text(judged.session), str(judged.sequence), *map(_text, texts), *numbers, _text(image), "", "", "", "", ""]


def _text(text: str) -> str:
    """An apostrophe before what a spreadsheet would calculate, round or take for a date."""
    return "'" + text if text.startswith(FORMULA) or text[:1].isdigit() else text
