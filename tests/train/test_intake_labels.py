import csv
from pathlib import Path
from typing import Any

import pytest
from intake_kit import SESSION, Box, dataset, gray, label, state

from edge.errors import DatasetError
from train.cli import main as train
from train.intake.labels import read_labels


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """Weld W1 of part 0012 three times, W2 of it once, and one that was accepted."""
    made = Box(tmp_path_factory.mktemp("labels") / "box")
    for number in range(3):
        made.weld(gray(number), part="0012", weld="W1")
    made.weld(gray(3), part="0012", weld="W2")
    made.weld(gray(4), part="P9", outcome="ACCEPT")
    made.close()
    made.export()
    return made


def take(box: Box, labels: Path, root: Path, *options: str) -> int:
    source = [str(box.folder / "export"), "--images", str(box.images)]
    return train(["import", *source, "--labels", str(labels), "--into", str(root), *options])


TABLES = {
    "mark, semicolons and CRLF": f'\ufeffSession;Sequence;LABEL;comment\r\n{SESSION};4;Mala;"a;b"\r\n'.encode(),
    "tabs in UTF-16": f"session\tsequence\tlabel\n'{SESSION}\t4\tBAD\n".encode("utf-16"),
    "Windows-1252": f"session,sequence,label,comment\n{SESSION},4,Soldadura_Mala,señal baja\n".encode("cp1252"),
    "Excel's hint": f"sep=;\nsession;sequence;label\n{SESSION};4.0;soldadura mala\n".encode(),
    "part and weld": b'"part","weld","label"\n"\'0012","w2"," bad "\n',
    "columns nobody knows, empty rows": f"x,label,part,weld,x\n1,bad,0012,W2\n,,,\n,,0012,W1\n,{''},\n".encode(),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_tables_are_read_as_spreadsheets_write_them(table: bytes, box: Box, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(table)
    (row,) = read_labels(tmp_path / "l.csv").rows
    assert row.label == "bad"
    assert take(box, tmp_path / "l.csv", dataset(tmp_path / "T2")) == 0
    (added,) = (tmp_path / "T2" / "bad").glob("line_*.png")
    assert "_W2_" in added.name


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("session,sequence,label\n0123456789012345,1,perhaps\n", r"1 rows.*line 2: label 'perhaps' is none"),
        ("session,sequence,label\n1.23457E+14,1,bad\n", r"line 2: session '1.23457e\+14' is not 16 of"),
        ("session,sequence,label\n0123456789012345,,bad\n", "session and sequence go together"),
        ("session,sequence,label\n0123456789012345,1.5,bad\n", "sequence '1.5' is no number"),
        ("part,weld,label\n0012,,bad\n", "neither session and sequence nor part and weld"),
        ("part,weld\n0012,W1\n", "lacks columns"),
        ("session,label\n0012,bad\n", "lacks columns"),
        ("part,weld,label,Label\n", "column twice"),
        ("part,weld,label\n0012,W1,\n", r"no labels.*1 rows without one"),
        ('part,weld,label\n"0012,W1,bad\n', "cannot be read"),
        ("", "lacks columns"),
        ("PK\0\0", "not as a workbook"),
    ],
)
def test_a_table_that_says_nothing_usable_is_refused_with_its_lines(text: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(DatasetError, match=named):
        read_labels(tmp_path / "l.csv")


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot read the table"):
        read_labels(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (f"{SESSION},9,,,bad", "line 3: session 0123456789012345 sequence 9 bad: the export has no such trigger"),
        ("0000000000000000,1,,,bad", "the export has no such trigger"),
        (",,P1,W9,bad", "line 3: part P1 weld W9 bad: no image of such a weld"),
        (",,0012,W1,bad", r"judged 3 times \(0123456789012345/1, 0123456789012345/2, 0123456789012345/3\)"),
        (f"{SESSION},5,P8,,bad", "the table says part P8, the record P9"),
        (f"{SESSION},5,,W2,bad", "the table says weld W2, the record W1"),
    ],
)
def test_rows_that_fit_no_weld_are_named_and_nothing_is_written_unless_they_are_skipped(
    row: str, named: str, box: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, root = tmp_path / "l.csv", dataset(tmp_path / "T2")
    labels.write_text(f"session,sequence,part,weld,label\n{SESSION},4,0012,w2,good\n{row}\n")
    before = state(root)
    with pytest.raises(DatasetError, match=f"1 rows .* fit no weld.*{named}"):
        take(box, labels, root)
    assert state(root) == before
    assert take(box, labels, root, "--skip-unmatched") == 0
    assert "1 rows fit no weld" in capsys.readouterr().err
    assert len(list(root.rglob("line_*.png"))) == 1


def test_rows_that_contradict_each_other_are_named_and_nothing_is_written(box: Box, tmp_path: Path) -> None:
    labels, root = tmp_path / "l.csv", dataset(tmp_path / "T2")
    labels.write_text(f"session,sequence,part,weld,label\n{SESSION},4,,,good\n,,0012,W2,good\n,,0012,W2,bad\n")
    before = state(root)
    with pytest.raises(DatasetError, match=r"1 welds have two labels.*lines 2 and 4: part 0012 weld W2 .* is good and bad"):
        take(box, labels, root, "--skip-unmatched")
    assert state(root) == before


def test_the_template_comes_back_as_labels(box: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template = tmp_path / "l.csv"
    wanted = ["import", str(box.folder / "export"), "--images", str(box.images), "--template", str(template)]
    assert train(wanted) == 0
    assert "5 welds in" in capsys.readouterr().out
    with pytest.raises(DatasetError, match="may hold labels"):
        train(wanted)
    with template.open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    assert [line["outcome"] for line in lines] == ["REJECT"] * 4 + ["ACCEPT"]
    assert {line["session"] for line in lines} == {f"'{SESSION}"}, "no spreadsheet takes it for a number"
    assert lines[0]["part"] == "'0012"
    assert (box.images / lines[0]["image"].removeprefix("'")).is_file()
    with pytest.raises(DatasetError, match="5 rows without one"):
        read_labels(template)
    for line in lines:
        line["label"] = "Buena" if line["outcome"] == "REJECT" else ""
    with template.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(lines)
    assert take(box, template, dataset(tmp_path / "T2"), "--by", "ana") == 0
    assert len(list((tmp_path / "T2" / "good").glob("line_*.png"))) == 4


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--labels", "l.csv"], "no EXPORT and no --images and no --into"),
        (["x", "--images", "y", "--labels", "l.csv"], "no --into"),
        (["x", "--template", "l.csv"], "no --images"),
        (["--undo", "1"], "--undo needs the training folder"),
    ],
)
def test_what_is_missing_on_the_command_line_is_named(options: list[str], named: str) -> None:
    with pytest.raises(DatasetError, match=named):
        train(["import", *options])


def test_folders_that_are_no_training_folder_or_no_archive_are_refused(box: Box, tmp_path: Path) -> None:
    labels = label(tmp_path / "l.csv", (1, "good"))
    (tmp_path / "empty").mkdir()
    for root, named in ((tmp_path / "none", "no training folder"), (tmp_path / "empty", "no folder for a label")):
        with pytest.raises(DatasetError, match=named):
            take(box, labels, root)
    assert list((tmp_path / "empty").iterdir()) == []
    options: list[Any] = [box.folder / "export", "--images", tmp_path / "empty", "--template", tmp_path / "t.csv"]
    with pytest.raises(DatasetError, match="holds no images of the archive"):
        train(["import", *map(str, options)])
