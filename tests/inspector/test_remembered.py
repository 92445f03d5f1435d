from pathlib import Path

import pytest
from cell_kit import Cell, make_parts
from tiny import frame_image

from edge.contract import Reason
from edge.errors import ConfigError
from edge.inspector.daemon import InspectorDaemon
from edge.inspector.frame import encode_alive
from edge.inspector.remembered import REMEMBERED, Remembered


def name(number: int) -> str:
    return f"{number:032x}"


def test_a_frozen_camera_is_found_out_after_a_restart_of_the_inspector_too(cell: Cell) -> None:
    assert cell.judge(*make_parts(counter=1)).reason is Reason.OK
    cell.daemon.close()
    cell.daemon = InspectorDaemon(cell.config)
    cell.gate.messages.clear()
    for _ in range(100):
        cell.send(*encode_alive("cam", 1, 1))
        cell.tick()
        if cell.daemon.ready:
            break
    assert cell.judge(*make_parts(counter=2)).reason is Reason.FRAME_FROZEN
    assert cell.judge(*make_parts(frame_image(40, seed=8), counter=3)).reason is Reason.OK


def test_the_newest_are_known_to_the_next_process_and_older_ones_to_nobody(tmp_path: Path) -> None:
    first = Remembered(tmp_path / "run" / "cam.frames")
    for number in range(REMEMBERED + 1):
        first.add(name(number))
    assert name(0) not in first
    first.close()
    second = Remembered(tmp_path / "run" / "cam.frames")
    assert [number for number in range(REMEMBERED + 1) if name(number) in second] == list(range(1, REMEMBERED + 1))
    second.add("f" * 32)
    assert "f" * 32 in second
    second.close()


@pytest.mark.parametrize("left", [b"", b"x", b"\0" * 5000, b"F" * 512, b"\n" * 512])
def test_what_is_no_hash_is_nothing_that_was_seen(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "cam.frames"
    path.write_bytes(left)
    seen = Remembered(path)
    assert not any(text in seen for text in ("F" * 32, "\n" * 32, "\0" * 32, "x"))
    seen.add(name(1))
    seen.close()
    assert path.stat().st_size == 512


def test_a_place_that_is_a_link_or_no_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.frames").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "b.frames").mkdir()
    for path in (tmp_path / "a.frames", tmp_path / "b.frames"):
        with pytest.raises(ConfigError, match="cannot be kept"):
            Remembered(path)
    assert not (tmp_path / "elsewhere").exists()


def test_without_a_place_they_are_kept_in_this_process_alone() -> None:
    seen = Remembered(None)
    seen.add(name(1))
    assert name(1) in seen
    assert name(2) not in seen
    seen.close()
