"""`cordon records show PART --map FILE.png`."""

from contextlib import closing
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from test_records_export import TIME, a_trigger

from edge.commands import records as command
from edge.errors import RecordError, StorageError
from edge.gate.rows import VerdictRow
from edge.gate.store import Store
from edge.map_text import RecordedMap, pack

CELLS = np.zeros((4, 11), np.uint8)
CELLS[3, 10] = 255
MAP = pack(RecordedMap(4, 11, 2.5, CELLS.tobytes()))


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Part P1 has one map, P2 two, P0 none."""
    path = tmp_path / "records.db"
    with closing(Store(path, boot="boot", config="c" * 64, link="handshake")) as store:
        for number in (1, 2, 3, 5):
            rows = a_trigger(number)
            if number != 3:
                rows = [msgspec.structs.replace(row, map=MAP) if isinstance(row, VerdictRow) else row for row in rows]
            store.commit([store.stamp(row, TIME) for row in rows])
    return path


def test_a_map_is_drawn_where_its_strongest_cell_lies(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "map.png"
    assert command(["show", "P1", "--records", str(records), "--map", str(target)]) == 0
    assert "score 0.1429 threshold 0.5000" in capsys.readouterr().out
    picture = cv2.imread(str(target))
    body = picture[40:-38].astype(int)
    colour = body.max(axis=2) - body.min(axis=2)
    assert np.unravel_index(int(cv2.resize(colour.astype(np.float32), (11, 4), interpolation=cv2.INTER_AREA).argmax()), (4, 11)) == (3, 10)
    assert colour[:10, :10].max() == 0


def test_several_maps_make_a_sheet_and_one_can_be_chosen(records: Path, tmp_path: Path) -> None:
    assert command(["show", "P2", "--records", str(records), f"--map={tmp_path / 'sheet.png'}"]) == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[1] > 1_400
    cv2.imwrite(str(tmp_path / "gray.png"), np.full((64, 96), 30_000, np.uint16))
    over = ["show", "P2", "--records", str(records), "--map", str(tmp_path / "one.png"), "--image", str(tmp_path / "gray.png")]
    with pytest.raises(RecordError, match="2 maps"):
        command(over)
    over[1] = "P1"
    assert command(over) == 0


def test_no_data_of_the_image_stays_black(records: Path, tmp_path: Path) -> None:
    gray = np.full((64, 176), 120, np.uint8)
    gray[:, 150:] = 0
    cv2.imwrite(str(tmp_path / "gray.png"), gray)
    target = tmp_path / "map.png"
    assert command(["show", "P1", "--records", str(records), "--map", str(target), "--image", str(tmp_path / "gray.png")]) == 0
    picture = cv2.imread(str(target))
    assert picture.shape == (64 * 4 + 40 + 38, 704, 3)
    assert not picture[40:-38, 604:].any()
    assert picture[40:-38, :590].any()


def test_a_part_without_maps_says_so(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["show", "P0", "--records", str(records), "--map", str(tmp_path / "map.png")]) == 1
    assert "no verdict of part P0 carries a map" in capsys.readouterr().out
    assert not (tmp_path / "map.png").exists()


def test_a_picture_that_cannot_be_written_or_read_is_a_clear_error(records: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        command(["show", "P1", "--records", str(records), "--map", str(tmp_path / "none" / "map.png")])
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(RecordError, match="one channel"):
        command(["show", "P1", "--records", str(records), "--map", str(tmp_path / "a.png"), "--image", str(tmp_path / "text.png")])
