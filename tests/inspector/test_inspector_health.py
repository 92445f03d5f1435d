"""What the inspector says of itself in its health file, from a real one between a camera's and a gate's sockets."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cell_kit import Cell, listen, make_config, make_parts
from tiny import TinyBundle, frame_image

from edge.config import ArchiveConfig, CameraConfig
from edge.errors import CordonError
from edge.health.look import decoded
from edge.health.reader import Reading, read
from edge.health.words import InspectorShown
from edge.inspector.daemon import InspectorDaemon
from edge.inspector.frame import encode_alive

Start = Callable[..., Cell]


def shown(folder: Path) -> tuple[Reading, InspectorShown]:
    reading = read(folder / "inspector.health")
    state = decoded(reading, InspectorShown)
    assert state is not None
    return reading, state


def shown_when(cell: Cell, holds: Callable[[Reading, InspectorShown], bool]) -> tuple[Reading, InspectorShown]:
    folder = cell.config.gate.socket.parent
    cell.until(lambda: holds(*shown(folder)))
    return shown(folder)


def test_frames_and_the_time_of_each_stage_are_counted_by_what_became_of_them(cell: Cell) -> None:
    now_ns = time.time_ns()
    cell.judge(*make_parts(counter=1, captured_ns=now_ns))
    cell.judge(*make_parts(frame_image(80, seed=1), counter=2, captured_ns=1))
    cell.judge(*make_parts(frame_image(40, seed=2), counter=5, typology="T99", captured_ns=now_ns))
    reading, state = shown_when(cell, lambda _, state: state.cameras[0].frames == 3)
    assert reading.tables["frames"] == {("cam", "OK"): 2, ("cam", "TYPOLOGY_UNKNOWN"): 1}
    assert reading.tables["events"] == {("cam", "FRAME_GAP"): 2}
    assert {name: times.count for name, times in reading.times.items()} == {
        "prepared": 2, "scored": 2, "reported": 2, "whole": 2, "captured": 1,
    }  # fmt: skip
    assert reading.counters["clock_foreign"] == 1
    whole, parts = reading.times["whole"], [reading.times[name] for name in ("prepared", "scored", "reported")]
    assert whole.sum_ns == sum(part.sum_ns for part in parts)
    assert (state.ready, state.gate_connected, state.known_answers, state.cameras[0].counter) == (True, True, 6, 5)
    assert state.rss_bytes > 10 * 2**20


def test_a_camera_that_falls_silent_is_named_with_its_age(start: Start, tmp_path: Path) -> None:
    cell = start(camera=(CameraConfig(name="cam", endpoint=f"ipc://{tmp_path}/cam", heartbeat_ms=600),))
    _, state = shown_when(cell, lambda _, state: not state.ready and not state.cameras[0].alive)
    assert time.monotonic_ns() - state.cameras[0].heard_ns >= 600_000_000
    cell.send(*encode_alive("cam", 0, 1))
    shown_when(cell, lambda _, state: state.cameras[0].alive)


def test_loading_is_told_step_by_step_and_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(tmp_path)
    TinyBundle().save(config.inspector.bundle)
    gate, heard = listen(config.gate.socket), []
    from edge.health.inspector import InspectorHealth  # noqa: PLC0415

    told = InspectorHealth.loading
    monkeypatch.setattr(InspectorHealth, "loading", lambda self, text: (told(self, text), heard.append(shown(tmp_path)[1].step)))
    daemon = InspectorDaemon(config)
    assert heard[0] == "starting"
    assert any("verified" in step for step in heard)
    assert any("golden inputs agreed" in step for step in heard)
    daemon.step()
    assert shown(tmp_path)[1].step == ""
    assert shown(tmp_path)[1].bundle_version == 1
    daemon.close()
    gate.close()
    assert read(tmp_path / "inspector.health").found == "dead"


def test_a_bundle_that_is_refused_is_the_last_word(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    gate = listen(config.gate.socket)
    with pytest.raises(CordonError):
        InspectorDaemon(config)
    gate.close()
    reading, state = shown(tmp_path)
    assert reading.found == "dead"
    assert state.step.startswith("ended by a fault: ")


def test_the_archive_is_shown(start: Start, tmp_path: Path) -> None:
    cell = start(archive=ArchiveConfig(folder=tmp_path))
    _, state = shown_when(cell, lambda _, state: state.archive is not None and state.archive.free_bytes > 0)
    assert state.archive is not None
    assert (state.archive.waiting, state.archive.lost, state.archive.written) == (0, 0, 0)


def test_numbers_that_fail_cost_no_frame(cell: Cell) -> None:
    del cell.daemon._health._tables["frames"]
    assert cell.judge(*make_parts()).score < 0.5
    assert "KeyError" in cell.daemon._health.problem
    assert read(cell.config.gate.socket.with_name("inspector.health")).broken


def test_readers_know_every_word_the_inspector_writes(cell: Cell) -> None:
    reading, _ = shown_when(cell, lambda _, state: bool(state.bundle))
    assert set(msgspec.json.decode(reading.state)) == set(InspectorShown.__struct_fields__)
