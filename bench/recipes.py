"""`cordon bench recipes`: the sources' figures beside ours, as Markdown tables from the results of `cordon train run`."""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from edge.errors import DatasetError
from edge.toml import parse_toml

Row = Mapping[str, str]
Cell = Callable[[Row], str]
SOURCES = Path(__file__).with_name("recipes.toml")
DEPTHS = ("resnet18", "resnet34", "resnet50", "resnet101")


def main(argv: Sequence[str]) -> int:
    """Write the tables between the markers `<!-- NAME -->` and `<!-- end -->` of a document, and the rows into a CSV beside it.

    Other text stays as it is, and so do tables none of whose runs was done this time.
    """
    parser = argparse.ArgumentParser(prog="cordon bench recipes", description=main.__doc__)
    parser.add_argument("document", type=Path, metavar="DOCUMENT.md")
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULTS.csv", help="written by `cordon train run`")
    arguments = parser.parse_args(argv)
    rows = [row for path in arguments.results for row in read_rows(path)]
    text = fill(arguments.document.read_text(encoding="utf-8"), rows)
    arguments.document.write_text(text, encoding="utf-8")
    kept = [name for name, table in TABLES.items() if not table.chosen(rows)]
    save_rows(rows, arguments.document.with_suffix(".csv"))
    print(f"written: {arguments.document}, from {len(rows)} runs{'; kept as they were: ' if kept else ''}{', '.join(kept)}")
    return 0


def read_rows(path: Path) -> list[Row]:
    """The table's rows. Raises DatasetError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows: list[Row] = list(csv.DictReader(file))
    except OSError as exc:
        raise DatasetError(f"cannot read the results {path}", seen=exc.strerror, remedy="Run `make recipes` first") from exc
    if not rows or "error_low" not in rows[0]:
        raise DatasetError(
            f"{path} is not a table of experiments", seen=f"{len(rows)} rows", remedy="Give OUT/results.csv of `cordon train run`"
        )
    return rows


def save_rows(rows: Sequence[Row], path: Path) -> None:
    """The same rows, as a CSV in the order given."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@dataclass(frozen=True)
class Table:
    """Which runs, by the patterns of their names, in this order; and which columns."""

    runs: tuple[str, ...]
    columns: Mapping[str, Cell]

    def chosen(self, rows: Sequence[Row]) -> list[Row]:
        """Those of the runs that are there."""
        return list(_in_order(rows, self.runs))

    def markdown(self, rows: Sequence[Row]) -> str:
        """The table of the runs that are there."""
        head = f"| {' | '.join(self.columns)} |\n|{'---|' * len(self.columns)}"
        return "\n".join([head, *(f"| {' | '.join(cell(row) for cell in self.columns.values())} |" for row in self.chosen(rows))])


def fill(text: str, rows: Sequence[Row]) -> str:
    """The document with every table made anew that `rows` have a run for. Raises DatasetError for a marker that names no table."""

    def made(match: re.Match[str]) -> str:
        name = match[1]
        if name not in TABLES:
            raise DatasetError("the document asks for an unknown table", seen=name, remedy=f"Choose from: {', '.join(TABLES)}")
        if not TABLES[name].chosen(rows):
            return match[0]
        return f"<!-- {name} -->\n{TABLES[name].markdown(rows)}\n<!-- end -->"

    return re.sub(r"<!-- ([a-z ]+) -->\n.*?<!-- end -->", made, text, flags=re.DOTALL)


def _in_order(rows: Sequence[Row], patterns: Iterable[str]) -> Iterable[Row]:
    seen = set()
    for pattern in patterns:
        for row in rows:
            if row["name"] not in seen and fnmatchcase(row["name"], pattern):
                seen.add(row["name"])
                yield row


def percent(column: str) -> Cell:
    """A rate with its interval, in percent."""
    return lambda row: f"{float(row[column]):.2%} ({float(row[f'{column}_low']):.2%} to {float(row[f'{column}_high']):.2%})"


def count(column: str, of: str) -> Cell:
    """So many of so many."""
    return lambda row: f"{row[column]} of {row[of]}"


def plain(column: str) -> Cell:
    """The value as it stands."""
    return lambda row: row[column]


def typology(row: Row) -> str:
    """The run's data, which is a typology's folder."""
    return row["data"].rsplit("/", 1)[-1]


def _sources() -> dict[str, dict[str, object]]:
    return parse_toml(SOURCES.read_bytes())


def source(*sets: str) -> Cell:
    """The sources' error rates of this row's typology and depth, one per set; ResNet18's where our network is another."""
    figures = _sources()

    def cell(row: Row) -> str:
        depth = DEPTHS.index(row["architecture"]) if row["architecture"] in DEPTHS else 0
        found = [figures[name].get(typology(row)) for name in sets]
        texts = [f"{value[depth] if isinstance(value, list) else value:g}" if value is not None else "-" for value in found]
        return " / ".join(texts)

    return cell


def defects(row: Row) -> str:
    """What was misjudged at the threshold, by kind of defect; the good welds' kinds are overkills."""
    found = {name: counts for name, counts in json.loads(row["defects"]).items() if counts[2]}
    return ", ".join(f"{name.replace('_', ' ')} {wrong} of {scans}" for name, (scans, _, wrong) in found.items()) or "none"


def _kind(name: str) -> Cell:
    """One figure of the sources on T7."""
    figures = _sources()["kinds_on_T7"]
    return lambda _: f"{figures[name]:g}" if name in figures else "-"


_OURS: dict[str, Cell] = {
    "error (95 %)": percent("error"),
    "escapes": count("escapes", "bad"),
    "overkills": count("overkills", "good"),
    "at 0.5: escapes, overkills": lambda row: f"{row['escapes_half']}, {row['overkills_half']}",
    "AUROC": lambda row: f"{float(row['auroc']):.4f}",
}
_RUN: dict[str, Cell] = {"run": plain("name"), "training scans": plain("training"), **_OURS}
_T7 = {
    "scratch": "scratch",
    "bag-of-tricks": "bag of tricks",
    "siamese": "siamese, 20 epochs",
    "autoencoder-source": "autoencoder",
    "committee": "committee of 34, 50 and 101, mean",
}
"""Run → the sources' row it stands beside."""


def on_t7(row: Row) -> str:
    """The sources' error rate of the same kind of network on T7, where they give one."""
    return _kind(_T7.get(row["name"], ""))(row)


TABLES: dict[str, Table] = {
    "typologies": Table(
        ("small-T*",),
        {"typology": typology, "sources, ResNet18: sets 1 / 2 / 3": source("set_1", "set_2", "set_3"), **_OURS, "misjudged": defects},
    ),
    "depth": Table(
        ("resnets-*",), {"typology": typology, "network": plain("architecture"), "sources: sets 1 / 2": source("set_1", "set_2"), **_OURS}
    ),
    "kinds": Table(
        (
            "small-T7",
            "transfer-*",
            "tricks",
            "scratch",
            "bag-of-tricks",
            "six-convolutions",
            "siamese",
            "autoencoder-source",
            "autoencoder",
            "anomaly",
            "committee",
        ),
        {"run": plain("name"), "sources": on_t7, **_OURS, "notes": plain("notes")},
    ),
    "seeds": Table(("small-T9", "small-seeds-*", "small-committee"), {**_RUN, "misjudged": defects}),
    "balancing": Table(("balancing-*",), _RUN),
    "balls": Table(("balls-*",), {"network": plain("architecture"), **_OURS}),
    "real scans": Table(("real*",), {**_RUN, "notes": plain("notes")}),
}
"""Name in the document → its table."""
