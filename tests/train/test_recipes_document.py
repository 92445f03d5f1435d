"""docs/recipes.md shows what docs/recipes.csv holds, beside the sources' figures."""

import csv
from pathlib import Path

import pytest

from bench.recipes import TABLES, Row, fill, main, read_rows
from edge.errors import DatasetError

DOCS = Path(__file__).parents[2] / "docs"
ROW: Row = {
    "name": "small-T5",
    "data": "T5",
    "architecture": "small",
    "training": "90",
    "good": "40",
    "bad": "60",
    "auroc": "0.99",
    "notes": "",
    "error": "0.02",
    "error_low": "0.002",
    "error_high": "0.07",
    "escapes": "0",
    "overkills": "2",
    "escapes_half": "3",
    "overkills_half": "1",
    "defects": '{"ball": [9, 3, 0], "none": [40, 1, 2]}',
}


def test_the_documents_tables_are_those_of_the_committed_results() -> None:
    text = (DOCS / "recipes.md").read_text(encoding="utf-8")
    assert fill(text, read_rows(DOCS / "recipes.csv")) == text
    assert all(f"<!-- {name} -->\n|" in text for name in TABLES)


def test_a_row_stands_beside_the_sources_figures() -> None:
    table = TABLES["typologies"].markdown([ROW]).splitlines()[-1]
    assert table == "| T5 | 2.88 / 1.61 / 0.2 | 2.00% (0.20% to 7.00%) | 0 of 60 | 2 of 40 | 3, 1 | 0.9900 | none 2 of 40 |"


def test_rows_keep_the_tables_order_and_come_once() -> None:
    names = ["tricks", "small-T7", "small-T2", "siamese"]
    table = TABLES["kinds"].markdown([{**ROW, "name": name, "data": "T7"} for name in names]).splitlines()[2:]
    assert [line.split(" | ")[0].strip("| ") for line in table] == ["small-T7", "tricks", "siamese"]


def test_a_deep_network_stands_beside_its_own_depth() -> None:
    table = TABLES["depth"].markdown([{**ROW, "name": "resnets-T7-resnet50", "data": "T7", "architecture": "resnet50"}])
    assert "| T7 | resnet50 | 2.93 / 2.25 |" in table


def test_text_outside_the_markers_stays() -> None:
    text = "before\n<!-- typologies -->\nold\n<!-- end -->\nafter\n"
    filled = fill(text, [ROW])
    assert filled.startswith("before\n<!-- typologies -->\n| typology |")
    assert filled.endswith("<!-- end -->\nafter\n")
    assert "old" not in filled


def test_an_unknown_table_is_refused_and_one_without_runs_stays() -> None:
    with pytest.raises(DatasetError, match="unknown table"):
        fill("<!-- nonsense -->\n<!-- end -->", [ROW])
    assert fill("<!-- balls -->\nold\n<!-- end -->", [ROW]) == "<!-- balls -->\nold\n<!-- end -->"


def test_the_command_writes_the_document_and_refuses_another_table(tmp_path: Path) -> None:
    document, results, other = tmp_path / "d.md", tmp_path / "r.csv", tmp_path / "o.csv"
    document.write_text("<!-- typologies -->\n<!-- end -->\n")
    with results.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROW))
        writer.writeheader()
        writer.writerow(ROW)
    other.write_text("name,score\na,1\n")
    with pytest.raises(DatasetError, match="not a table of experiments"):
        main([str(document), str(results), str(other)])
    with pytest.raises(DatasetError, match="cannot read the results"):
        main([str(document), str(tmp_path / "none.csv")])
    assert document.read_text() == "<!-- typologies -->\n<!-- end -->\n"
    assert main([str(document), str(results)]) == 0
    assert "| T5 | 2.88" in document.read_text()
    assert read_rows(document.with_suffix(".csv")) == [ROW]
