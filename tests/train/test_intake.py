import json
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from cell_kit import SESSION as CELL_SESSION
from cell_kit import Cell, make_parts, start  # noqa: F401 - the fixture
from intake_kit import DAY, SESSION, SHAPE, SPEC, START, Box, dataset, gray, label, state
from tiny import HEIGHT, WIDTH, frame_image
from tiny import SPEC as TINY_SPEC

from edge.config import ArchiveConfig
from edge.contract import Outcome, Reason, Settled, TriggerId, encode
from edge.errors import ChainError, DatasetError, RecordError
from edge.gate.rows import TriggerRow, VerdictRow
from edge.gate.store import Store
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import spec_to_json
from edge.records.cli import export_main
from nets.checkpoint import load_checkpoint
from scans.folder import find_scans, read_image
from train.cli import main as train
from train.data import PreparedScan
from train.intake.ledger import Ledger


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """Eight welds of four parts: the first rejected, the last two of another typology."""
    made = Box(tmp_path / "box")
    for number in range(8):
        made.weld(
            gray(number), outcome="REJECT" if number % 2 == 0 else "ACCEPT", part=f"P{number // 2}", weld=f"W{number % 2}",
            hours=number * 6, typology="T2" if number < 6 else "T5",
        )  # fmt: skip
    return made.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dataset(tmp_path / "T2")


def take(box: Box, root: Path, labels: Path, *options: str) -> int:
    return train(["import", str(box.export()), "--images", str(box.images), "--labels", str(labels), "--into", str(root), *options])


def ledger_of(root: Path, number: int = 1) -> Ledger:
    return msgspec.json.decode((root / "provenance" / f"{number:04d}.json").read_bytes(), type=Ledger)


def test_relabelled_welds_become_scans_with_label_group_defect_and_provenance(
    box: Box, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {scan.path for scan in find_scans(root).scans}
    assert take(box, root, label(tmp_path / "l.csv", (1, "good"), (2, "bad"), (3, "bad"))) == 0
    told = capsys.readouterr().out
    new = {scan for scan in find_scans(root).scans if scan.path not in before}
    assert {(scan.label, scan.group, scan.defect) for scan in new} == {
        ("good", f"line-{DAY}-P0", ""), ("bad", f"line-{DAY}-P0", "cut"), ("bad", f"line-{DAY}-P1", "cut"),
    }  # fmt: skip
    table = (root / "groups.csv").read_text()
    assert table.startswith("file,group,note,label,defect\n")
    assert table.count("kept") == 8, "what stood there stays"
    ledger = ledger_of(root)
    assert {scan.file for scan in ledger.scans} == {scan.path.relative_to(root).as_posix() for scan in new}
    first = ledger.scans[0]
    assert (first.session, first.sequence, first.outcome, first.label, first.by) == (SESSION, 1, "REJECT", "good", "ana")
    assert (first.config, first.bundle, first.exact, first.payload_hash) == ("c" * 64, "tiny 1", True, first.content)
    receipt = json.loads(next((box.folder / "export").glob("*.json")).read_bytes())
    assert ledger.export[0].head == receipt["head"]
    assert [word for line in told.splitlines() if line.startswith("T2") for word in line.split()] == ["T2", "3", "0", "0", "0", "1", "1"]


def test_the_same_import_again_adds_nothing_and_says_so(box: Box, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = label(tmp_path / "l.csv", (1, "good"), (2, "bad"))
    take(box, root, labels)
    before = state(root)
    assert take(box, root, labels) == 0
    assert state(root) == before
    assert "nothing new" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(box: Box, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(root)
    assert take(box, root, label(tmp_path / "l.csv", (1, "good")), "--dry-run") == 0
    assert state(root) == before
    assert not (root / "provenance").exists()
    assert "T2" in capsys.readouterr().out


def test_an_imported_scan_is_prepared_as_the_running_inspector_prepared_it(tmp_path: Path, start: Any) -> None:  # noqa: F811
    cell: Cell = start(archive=ArchiveConfig(folder=tmp_path / "images"))
    frame = frame_image(100, seed=9, shape=(HEIGHT + 5, WIDTH - 3))
    report = cell.judge(*make_parts(frame, counter=2))
    assert cell.gate.connection is not None
    cell.gate.connection.send(encode(Settled(TriggerId(CELL_SESSION, 7), "cam", 2, Outcome.REJECT, Reason.DEFECT)))
    cell.until(lambda: any((tmp_path / "images").glob("*/*.png")))
    name = {"session": CELL_SESSION, "sequence": 7, "part": "P1", "weld": "W1", "typology": "T2"}
    store = Store(tmp_path / "records.db", boot="b", config="c", link="l")
    verdict = VerdictRow(**name, outcome="REJECT", reason="DEFECT", detail="", payload_hash=report.payload_hash, opened_ns=1, decided_ns=2)
    store.commit([store.stamp(row, START) for row in (TriggerRow(**name, opened_by="t", opened_ns=1), verdict)])
    store.close()
    export_main(["--records", str(tmp_path / "records.db"), "--to", str(tmp_path / "export"), "--live"])
    root = dataset(tmp_path / "T2")
    (root / "heightmap.json").write_bytes(spec_to_json(TINY_SPEC))
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        cv2.imwrite(str(path), gray(number, frame.shape))
    (tmp_path / "l.csv").write_text("Part;Weld;Label\np1;w1;MALA\n")
    options = ["--images", str(tmp_path / "images"), "--labels", str(tmp_path / "l.csv"), "--into", str(root)]
    assert train(["import", str(tmp_path / "export"), *options]) == 0
    expected = np.empty((HEIGHT, WIDTH), np.uint8)
    Preparer(TINY_SPEC).prepare(frame, kind="heightmap", out=expected)
    found = find_scans(root)
    (path,) = (scan.path for scan in found.scans if scan.group.startswith("line-"))
    assert np.array_equal(PreparedScan(TINY_SPEC, found.scale).encodes(path).numpy()[0], expected)


RANGE = "pitch_mm = [0.2, 0.2]\nz_scale_mm = 0.01\nz_offset_mm = -2.0\nno_data = 0.0\n"


def a_range(seed: int) -> Any:
    image = np.random.default_rng(seed).integers(200, 1200, SHAPE).astype(np.uint16)
    image[3:6, 5:9] = 0
    return image


def of_frames(root: Path, images: list[Any], suffix: str) -> Path:
    """Replace the folder's scans."""
    for path, image in zip(sorted(root.rglob("*.png")), images, strict=False):
        path.unlink()
        cv2.imwrite(str(path), image) if suffix == ".png" else np.save(path.with_suffix(suffix), image)
    for left in (p for p in root.rglob("*.png") if suffix != ".png"):
        left.unlink()
    return root


def frame_prepared(image: Any, kind: str, no_data: float) -> Any:
    out = np.empty((SPEC.height, SPEC.width), np.uint8)
    Preparer(SPEC).prepare(image, kind=kind, z_scale_mm=0.01, z_offset_mm=-2.0, no_data=no_data, out=out)
    return out


def imported(root: Path) -> tuple[Path, Any]:
    found = find_scans(root)
    (path,) = (scan.path for scan in found.scans if scan.group.startswith("line-"))
    return path, PreparedScan(SPEC, found.scale).encodes(path).numpy()[0]


def test_a_range_image_comes_back_bit_for_bit(tmp_path: Path) -> None:
    box = Box(tmp_path / "box")
    box.weld(a_range(1), kind="range", z_offset_mm=-2.0)
    root = of_frames(dataset(tmp_path / "T2", scale=RANGE), [a_range(100 + n) for n in range(8)], ".png")
    assert take(box.close(), root, label(tmp_path / "l.csv", (1, "good"))) == 0
    path, network_input = imported(root)
    assert np.array_equal(read_image(path), a_range(1))
    assert np.array_equal(network_input, frame_prepared(a_range(1), "range", 0.0))


def floats(seed: int) -> Any:
    image = a_range(seed).astype(np.float32) + np.float32(0.3)
    image[3:6, 5:9] = np.nan
    return image


@pytest.mark.parametrize("payloads", [True, False])
def test_float_heights_come_back_exactly_with_their_payload_and_within_a_step_without(
    tmp_path: Path, payloads: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    box = Box(tmp_path / "box", payloads=payloads)
    box.weld(floats(1), kind="range", z_offset_mm=-2.0, no_data="nan")
    root = of_frames(dataset(tmp_path / "T2", scale=RANGE.replace("0.0\n", "nan\n")), [floats(100 + n) for n in range(8)], ".npy")
    assert take(box.close(), root, label(tmp_path / "l.csv", (1, "bad"))) == 0
    path, network_input = imported(root)
    back, expected = read_image(path), frame_prepared(floats(1), "range", np.nan)
    assert np.array_equal(np.isnan(back), np.isnan(floats(1)))
    assert ledger_of(root).scans[0].exact is payloads
    if payloads:
        assert np.array_equal(back, floats(1), equal_nan=True)
        assert np.array_equal(network_input, expected)
    else:
        assert np.nanmax(np.abs(back - floats(1))) < 0.02
        assert np.abs(network_input.astype(int) - expected).max() <= 1
        assert "1 scans come from 16-bit steps" in capsys.readouterr().err


def test_a_damaged_image_is_left_out_named_and_counted(box: Box, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted(box.images.glob("*/*.png"))
    image = cv2.imread(str(paths[0]), cv2.IMREAD_UNCHANGED)
    image[4, 4] ^= 257
    cv2.imwrite(str(paths[0]), image)
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    image = cv2.imread(str(paths[2]), cv2.IMREAD_UNCHANGED)
    image[0, 0] += 1
    cv2.imwrite(str(paths[2]), image)
    assert take(box, root, label(tmp_path / "l.csv", (1, "good"), (2, "bad"), (3, "bad"), (4, "bad"))) == 0
    told = capsys.readouterr().err
    assert "3 images left out" in told
    assert all(path.name in told for path in paths[:3])
    assert "not the image that was judged" in told
    assert "no gray x 257" in told
    assert [scan.sequence for scan in ledger_of(root).scans] == [4]


def test_an_altered_export_is_refused(box: Box, root: Path, tmp_path: Path) -> None:
    export = box.export()
    (path,) = export.glob("*.csv")
    path.write_bytes(path.read_bytes().replace(b"REJECT", b"ACCEPT", 1))
    before = state(root)
    options = ["--images", str(box.images), "--labels", str(label(tmp_path / "l.csv", (1, "good"))), "--into", str(root)]
    with pytest.raises(ChainError, match="not the file that was exported"):
        train(["import", str(export), *options])
    (path.with_name(path.name + ".json")).unlink()
    for given, what in ((path, "no proof beside it"), (export, "holds no export"), (tmp_path / "none", "there is no export")):
        with pytest.raises(RecordError, match=what):
            train(["import", str(given), *options])
    assert state(root) == before


def test_sealed_and_live_files_of_several_exports_are_read_as_one(tmp_path: Path, root: Path) -> None:
    box = Box(tmp_path / "box")
    for number in range(1, 7):
        box.weld(gray(number), part=f"P{number}")
        if number in (2, 5):
            box.store.rotate()
        if number in (1, 4, 6):
            box.export(*(("--format", "parquet") if number == 4 else ()))
    box.close()
    assert len(list((box.folder / "export").glob("*.*[tv]"))) == 5, "two sealed files, three times the live one"
    assert take(box, root, label(tmp_path / "l.csv", *((n, "good") for n in range(1, 7)))) == 0
    ledger = ledger_of(root)
    assert len(ledger.scans) == 6
    assert [source.first for source in ledger.export[1:]] == [source.last + 1 for source in ledger.export[:-1]]
    (box.folder / "export" / ledger.export[1].file).unlink()
    with pytest.raises(ChainError, match="does not go on"):
        take(box, root, tmp_path / "l.csv")


def test_an_image_whose_record_is_about_another_is_not_believed(box: Box, root: Path, tmp_path: Path) -> None:
    entry = min(box.images.glob("*/*.json"))
    told = json.loads(entry.read_bytes())
    entry.write_text(json.dumps({**told, "payload_hash": "0" * 32}))
    with pytest.raises(DatasetError, match="no usable image"):
        take(box, root, label(tmp_path / "l.csv", (1, "good")))
    entry.write_text(json.dumps({**told, "sequence": 2}))
    with pytest.raises(DatasetError, match="no usable image"):
        take(box, root, label(tmp_path / "l.csv", (1, "good")))
    entry.unlink()
    with pytest.raises(DatasetError, match="no usable image"):
        take(box, root, label(tmp_path / "l.csv", (1, "good")))


@pytest.mark.parametrize(
    ("scale", "shape", "frame", "named"),
    [
        ("pitch_mm = [0.1, 0.2]\n", SHAPE, {}, r"pitch_mm.*\(0.2, 0.2\) from the box, \(0.1, 0.2\)"),
        ("", (40, 48), {}, r"rows and columns.*\(32, 48\) from the box, \(40, 48\)"),
        (RANGE, SHAPE, {"kind": "range"}, r"z_offset_mm.*0.0 from the box, -2.0"),
        (RANGE, SHAPE, {"kind": "range", "z_offset_mm": -2.0, "z_scale_mm": 0.02}, r"z_scale_mm.*0.02 from the box, 0.01"),
        (RANGE, SHAPE, {"kind": "range", "z_offset_mm": -2.0, "no_data": 65_535}, r"no_data.*65535.0 from the box, 0.0"),
    ],
)  # fmt: skip
def test_frames_of_another_scale_are_refused_with_both_values(tmp_path: Path, scale: str, shape: Any, frame: Any, named: str) -> None:
    box = Box(tmp_path / "box")
    box.weld(a_range(1) if frame else gray(1), **frame)
    root = dataset(tmp_path / "T2", scale=scale)
    of_frames(root, [a_range(n) if frame else gray(n, shape) for n in range(100, 108)], ".png")
    before = state(root)
    with pytest.raises(DatasetError, match=named):
        take(box.close(), root, label(tmp_path / "l.csv", (1, "good")))
    assert state(root) == before


def test_frames_of_another_kind_are_refused(tmp_path: Path, root: Path) -> None:
    box = Box(tmp_path / "box")
    box.weld(a_range(1), kind="range")
    box.weld(np.ones((4, 5, 3), np.float32) * np.arange(5, dtype=np.float32)[:, None], kind="cloud", no_data="nan")
    box.close()
    with pytest.raises(DatasetError, match=r"range uint16 from the box, heightmap uint8"):
        take(box, root, label(tmp_path / "l.csv", (1, "good")))
    assert take(box, root, label(tmp_path / "m.csv", (2, "good"))) == 0, "a cloud of which only a picture was kept is left out"


def test_a_cloud_comes_back_with_its_points(tmp_path: Path) -> None:
    cloud = np.random.default_rng(3).random((1, 60, 3)).astype(np.float32)
    box = Box(tmp_path / "box", payloads=True)
    box.weld(cloud, kind="cloud", no_data="nan", z_scale_mm=1.0)
    root = dataset(tmp_path / "T2", scale="pitch_mm = [0.2, 0.2]\nno_data = nan\n")
    of_frames(root, [np.random.default_rng(n).random((1, 50 + n, 3)).astype(np.float32) for n in range(8)], ".npy")
    spec = json.loads((root / "heightmap.json").read_bytes())
    grid = {"x_mm": [0.0, 1.0], "y_mm": [0.0, 1.0], "pitch_mm": [0.2, 0.2]}
    (root / "heightmap.json").write_text(json.dumps({**spec, "rasterise": grid}))
    assert take(box.close(), root, label(tmp_path / "l.csv", (1, "good"))) == 0
    (path,) = (scan.path for scan in find_scans(root).scans if scan.group.startswith("line-"))
    assert np.array_equal(read_image(path), cloud)


@pytest.mark.parametrize("stored", ["other numbers", "float64", "an archive", "cut"])
def test_a_payload_that_is_not_what_was_judged_is_left_out(
    stored: str, tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = Box(tmp_path / "box", payloads=True)
    box.weld(floats(1), kind="range", no_data="nan")
    (path,) = box.close().images.glob("*/*.npy")
    wrong = floats(1).astype(np.float64) if stored == "float64" else floats(2)
    with path.open("wb") as file:
        np.savez(file, wrong) if stored == "an archive" else np.save(file, wrong)
    if stored == "cut":
        path.write_bytes(path.read_bytes()[:500])
    assert take(box, root, label(tmp_path / "l.csv", (1, "good"))) == 0
    assert "1 images left out" in capsys.readouterr().err


def test_what_the_box_refuses_before_any_network_is_left_out(tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = Box(tmp_path / "box")
    box.weld(np.full(SHAPE, 90, np.uint8))
    assert take(box.close(), root, label(tmp_path / "l.csv", (1, "good"))) == 0
    assert "refused before any network" in capsys.readouterr().err
    assert not [scan for scan in find_scans(root).scans if scan.group.startswith("line-")]


def test_pixels_that_the_folder_has_are_not_taken_again_and_a_contradiction_is_named(tmp_path: Path, root: Path) -> None:
    box = Box(tmp_path / "box")
    box.weld(gray(1000))  # good/0.png
    box.weld(gray(5))
    box.weld(gray(5))
    box.close()
    assert take(box, root, label(tmp_path / "l.csv", (1, "good"), (2, "bad"), (3, "bad"))) == 0
    assert [scan.sequence for scan in ledger_of(root).scans] == [2]
    before = state(root)
    with pytest.raises(DatasetError, match=r"sequence 1 bad: the same pixels are good in good/0.png"):
        take(box, root, label(tmp_path / "m.csv", (1, "bad")))
    fresh = dataset(tmp_path / "other")
    with pytest.raises(DatasetError, match=r"1 labels contradict.*sequence 3 good: the same pixels are bad"):
        take(box, fresh, label(tmp_path / "n.csv", (2, "bad"), (3, "good")))
    assert state(root) == before


def test_a_part_judged_again_past_midnight_keeps_its_group_and_one_of_the_same_name_next_week_does_not(tmp_path: Path, root: Path) -> None:
    box = Box(tmp_path / "box")
    for number, hours in enumerate((10.0, 18.0, 26.0, 7 * 24.0)):
        box.weld(gray(number), part="P7", hours=hours)
    take(box.close(), root, label(tmp_path / "l.csv", (2, "good"), (3, "bad"), (4, "bad")))
    assert [scan.group for scan in ledger_of(root).scans] == [f"line-{DAY}-P7", f"line-{DAY}-P7", "line-2026-11-25-P7"]


@pytest.mark.parametrize(("by", "groups"), [("part", {"line-P0", "line-P2"}), ("day", {f"line-{DAY}", "line-2026-11-19"})])
def test_groups_follow_part_or_day_and_stay_as_they_were(box: Box, root: Path, tmp_path: Path, by: str, groups: set[str]) -> None:
    take(box, root, label(tmp_path / "l.csv", (1, "good"), (2, "bad"), (5, "bad")), "--group", by)
    assert {scan.group for scan in find_scans(root).scans if scan.group.startswith("line-")} == groups
    with pytest.raises(DatasetError, match=f"{by}, asked for part-day"):
        take(box, root, label(tmp_path / "m.csv", (3, "bad")), "--group", "part-day")
    take(box, root, tmp_path / "l.csv")
    take(box, root, label(tmp_path / "m.csv", (3, "bad")))
    assert ledger_of(root, 2).group_by == by


def test_one_typology_at_a_time(box: Box, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = label(tmp_path / "l.csv", (1, "good"), (7, "good"))
    with pytest.raises(DatasetError, match=r"several typologies.*'T2': 1.*'T5': 1"):
        take(box, root, labels)
    with pytest.raises(DatasetError, match="no label is about typology T9"):
        take(box, root, labels, "--typology", "T9")
    take(box, root, labels, "--typology", "T5")
    assert [scan.sequence for scan in ledger_of(root).scans] == [7]
    assert "T5" in capsys.readouterr().out


def test_the_next_training_takes_them(box: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = dataset(tmp_path / "T2", good="Soldadura_Buena", bad="Soldadura_Mala")
    take(box, root, label(tmp_path / "l.csv", (1, "good"), (2, "bad"), (3, "bad")))
    assert len(list((root / "Soldadura_Mala").glob("line_*.png"))) == 2
    assert train([str(root), "--out", str(tmp_path / "T2.safetensors"), "--epochs", "1", "--held-out", "0.25", "--threads", "1"]) == 0
    provenance = load_checkpoint(tmp_path / "T2.safetensors").provenance
    assert int(provenance["training_scans"]) + int(provenance["held_out_scans"]) == 11
    assert "AUROC" in capsys.readouterr().out


@pytest.fixture
def challenged(tmp_path: Path) -> Box:
    """Two shifts: the known-bad and the known-good part, a reserved name, and a part of production each."""
    made = Box(tmp_path / "box")
    for shift in range(2):
        for number, (part, role) in enumerate((("RED-RABBIT", "bad"), ("MASTER", "good"), ("OLD-RABBIT", "other"))):
            made.weld(gray(10 * shift + number), part=part, hours=24 * shift, opened_by=f"challenge-{role}")
        made.weld(gray(10 * shift + 9), part="P1", hours=24 * shift)
    return made.close()


def test_challenge_parts_are_left_out_counted_and_named(
    challenged: Box, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = label(tmp_path / "l.csv", (1, "bad"), (4, "bad"), (5, "bad"), (8, "good"))
    assert take(challenged, root, labels) == 0
    assert [(scan.part, scan.sequence) for scan in ledger_of(root).scans] == [("P1", 4), ("P1", 8)]
    told = capsys.readouterr().err
    assert "6 images are of challenge parts, always the same ones, and left out" in told
    assert "2 rows are about challenge parts and left out: line 2" in told


def test_a_row_that_names_a_challenge_part_without_its_trigger_is_left_out_too(
    challenged: Box, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "l.csv"
    labels.write_text("part,weld,label\nred-rabbit,W1,bad\n")
    assert take(challenged, root, labels) == 0
    assert "1 rows are about challenge parts and left out: line 2" in capsys.readouterr().err
    assert not (root / "provenance" / "0001.json").exists()


@pytest.mark.parametrize("by", ["part-day", "part", "day"])
def test_challenge_parts_that_are_asked_for_are_one_group_for_each_specimen(by: str, challenged: Box, root: Path, tmp_path: Path) -> None:
    labels = label(tmp_path / "l.csv", *((number, "bad" if number % 4 else "good") for number in range(1, 9)))
    assert take(challenged, root, labels, "--challenge-parts", "--group", by) == 0
    groups = {(scan.part, scan.group) for scan in ledger_of(root).scans}
    assert {pair for pair in groups if pair[0] != "P1"} == {(part, f"line-{part}") for part in ("RED-RABBIT", "MASTER", "OLD-RABBIT")}
    assert len([pair for pair in groups if pair[0] == "P1"]) == (1 if by == "part" else 2)


def test_a_template_asks_for_no_label_of_a_challenge_part(challenged: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    arguments = ["import", str(challenged.export()), "--images", str(challenged.images), "--template", str(table)]
    assert train(arguments) == 0
    lines, told = table.read_text(encoding="utf-8-sig").splitlines(), capsys.readouterr()
    assert [line.split(",")[2] for line in lines[1:]] == ["P1", "P1"]
    assert "2 welds in" in told.out
    assert "6 images are of challenge parts" in told.err
