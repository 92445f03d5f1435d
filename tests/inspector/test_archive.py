import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from cell_kit import SESSION, Cell, make_header, make_parts, start  # noqa: F401 - the fixture
from numpy.typing import NDArray
from tiny import frame_image

from edge.config import ArchiveConfig
from edge.contract import Outcome, Reason, Settled, TriggerId, encode
from edge.errors import ConfigError
from edge.inspector.archive import HELD, WAITING, Archive, Entry, Room
from edge.inspector.archive_image import to_pixels
from edge.inspector.archive_map import PREPARERS, Drawer
from edge.inspector.camera import Arrival
from edge.inspector.frame import encode_frame, read_header
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow


def an_arrival(image: NDArray[Any] | None = None, **changes: Any) -> Arrival:
    _, text, payload = encode_frame(make_header(**changes), frame_image(40) if image is None else image)
    header = read_header(text)
    return Arrival(header, text, memoryview(payload), "f" * 32, 1, Reason.OK, "", ())


def said(counter: int, outcome: Outcome = Outcome.REJECT) -> Settled:
    reason = Reason.OK if outcome is Outcome.ACCEPT else Reason.DEFECT
    return Settled(trigger=TriggerId(SESSION, 7), camera="cam", counter=counter, outcome=outcome, reason=reason)


def images(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.png"))


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(ArchiveConfig(folder=tmp_path / "images", accepts_every=3))
    yield made
    made.close()


def test_every_reject_and_every_third_accept_is_kept_with_what_was_said_of_it(archive: Archive, tmp_path: Path) -> None:
    for counter in range(1, 9):
        archive.hold(an_arrival(counter=counter))
        archive.settle(said(counter, Outcome.REJECT if counter in (2, 5) else Outcome.ACCEPT))
        time.sleep(0.01)
    archive.close()
    kept = [msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Entry) for path in images(tmp_path / "images")]
    assert [(entry.counter, entry.outcome) for entry in kept] == [
        (2, Outcome.REJECT), (4, Outcome.ACCEPT), (5, Outcome.REJECT), (8, Outcome.ACCEPT),
    ]  # fmt: skip
    assert {(entry.part, entry.weld, entry.session, entry.sequence, entry.payload_hash) for entry in kept} == {
        ("P1", "W1", SESSION, 7, "f" * 32)
    }
    assert archive.events() == []


def test_the_thread_has_the_usual_priority_for_frames_wait_for_the_lock_it_holds(archive: Archive, tmp_path: Path) -> None:
    archive.hold(an_arrival())
    archive.settle(said(1))
    end = time.monotonic() + 20
    while not images(tmp_path / "images"):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert archive._thread.native_id is not None
    assert os.getpriority(os.PRIO_PROCESS, archive._thread.native_id) == os.getpriority(os.PRIO_PROCESS, 0)


def test_a_heightmap_comes_back_exactly(archive: Archive, tmp_path: Path) -> None:
    archive.hold(an_arrival(frame_image(40)))
    archive.settle(said(1))
    archive.close()
    (path,) = images(tmp_path / "images")
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint16
    assert np.array_equal(image // 257, frame_image(40))
    assert path.name.endswith("_P1_W1_REJECT.png")


@pytest.mark.parametrize("no_data", [0, 65_535])
def test_a_range_image_is_kept_as_the_camera_sent_it(no_data: int) -> None:
    z = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    arrival = an_arrival(z, kind="range", no_data=no_data, z_scale_mm=0.01, z_offset_mm=-5.0)
    assert arrival.header is not None
    image, pixels = to_pixels(arrival.header, arrival.payload)
    assert np.array_equal(image, z)
    assert (pixels.scale_mm, pixels.offset_mm, pixels.no_data) == (0.01, -5.0, no_data)


def test_float_heights_are_kept_within_half_a_step() -> None:
    generator = np.random.default_rng(1)
    z = generator.normal(10, 3, (20, 30)).astype(np.float32)
    z[3, 4] = np.nan
    arrival = an_arrival(z, kind="range", no_data="nan", z_scale_mm=2.0, z_offset_mm=1.0)
    assert arrival.header is not None
    image, pixels = to_pixels(arrival.header, arrival.payload)
    assert image[3, 4] == 0
    back = image * pixels.scale_mm + pixels.offset_mm
    known = np.isfinite(z)
    assert np.abs(back - (z * 2.0 + 1.0))[known].max() <= pixels.scale_mm * 0.501
    assert image[known].min() == 1


def test_a_flat_or_empty_image_is_kept_too() -> None:
    for value, expected in ((5.0, 1), (np.nan, 0)):
        arrival = an_arrival(np.full((4, 5), value, np.float32), kind="range", no_data="nan")
        assert arrival.header is not None
        image, _ = to_pixels(arrival.header, arrival.payload)
        assert (image == expected).all()


def test_a_cloud_is_seen_from_above_whether_in_order_or_not() -> None:
    y, x = np.mgrid[0:6, 0:8].astype(np.float32) * np.float32(0.2)
    cloud = np.stack([x, y, x + 10 * y], axis=-1).astype(np.float32)
    ordered = an_arrival(cloud, kind="cloud", no_data="nan", z_scale_mm=1.0)
    shuffled = cloud.reshape(1, -1, 3)[:, np.random.default_rng(2).permutation(48)]
    loose = an_arrival(np.ascontiguousarray(shuffled), kind="cloud", no_data="nan", z_scale_mm=1.0, pitch_mm=(0.1999, 0.1999))
    assert ordered.header is not None
    assert loose.header is not None
    first, pixels = to_pixels(ordered.header, ordered.payload)
    second, _ = to_pixels(loose.header, loose.payload)
    assert first.shape == (6, 8)
    assert np.array_equal(first, second)
    assert np.allclose(first * pixels.scale_mm + pixels.offset_mm, cloud[..., 2], atol=pixels.scale_mm)


def test_a_cloud_without_a_point_is_counted_not_kept(archive: Archive, tmp_path: Path) -> None:
    archive.hold(an_arrival(np.full((1, 9, 3), np.nan, np.float32), kind="cloud", no_data="nan"))
    archive.settle(said(1))
    archive.close()
    assert images(tmp_path / "images") == []
    assert [(event.reason, event.count) for event in archive.events()] == [(Reason.ARCHIVE, 1)]


def test_the_oldest_images_make_room(tmp_path: Path) -> None:
    room = Room(tmp_path, 1_000)
    for number in range(20):
        room.put(f"2026-11-{number // 4 + 10}/{number:02d}", b"x" * 180, b"y" * 20)
        assert room.used_bytes <= 1_000
    assert [path.stem for path in images(tmp_path)] == ["15", "16", "17", "18", "19"]
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["2026-11-13", "2026-11-14"]
    again = Room(tmp_path, 1_000)
    assert again.used_bytes == 1_000, "a new start knows what is there"
    with pytest.raises(ValueError, match="larger than the whole archive"):
        again.put("2026-11-20/20", b"x" * 2_000, b"")
    assert len(images(tmp_path)) == 5


def test_float_payloads_are_kept_beside_their_image_when_asked_and_go_with_it(tmp_path: Path) -> None:
    archive = Archive(ArchiveConfig(folder=tmp_path / "images", payloads=True))
    cloud = np.random.default_rng(1).random((1, 50, 3)).astype(np.float32)
    archive.hold(an_arrival(cloud, counter=1, kind="cloud", no_data="nan", z_scale_mm=2.0))
    archive.settle(said(1))
    archive.hold(an_arrival(counter=2))
    archive.settle(said(2))
    archive.close()
    first, second = images(tmp_path / "images")
    entry = msgspec.json.decode(first.with_suffix(".json").read_bytes(), type=Entry)
    assert np.array_equal(np.load(first.with_suffix(".npy")), cloud)
    assert entry.payload is not None
    assert (entry.dtype, entry.payload.z_scale_mm, entry.payload.no_data) == ("f4", 2.0, "nan")
    assert not second.with_suffix(".npy").exists(), "integers are in the PNG exactly"
    kept = [path for path in (tmp_path / "images").rglob("*") if path.is_file()]
    room = Room(tmp_path / "images", 10_000)
    assert room.used_bytes == sum(path.stat().st_size for path in kept)
    room.put("2027-01-01/a", b"x" * 9_900, b"y", b"z" * 99)
    assert sorted(path.name for path in (tmp_path / "images").rglob("*") if path.is_file()) == ["a.json", "a.npy", "a.png"]


def test_half_written_files_of_a_killed_inspector_are_removed(tmp_path: Path) -> None:
    (tmp_path / "2026-11-20").mkdir()
    half = tmp_path / "2026-11-20" / "1.png.part"
    half.write_bytes(b"x")
    Room(tmp_path, 1_000)
    assert not half.exists()


def test_a_full_disk_loses_images_and_says_so_but_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file stands where the folder should be")
    archive = Archive(ArchiveConfig(folder=tmp_path / "images"))
    for counter in (1, 2):
        archive.hold(an_arrival(counter=counter))
        archive.settle(said(counter))
    archive.close()
    (event,) = archive.events()
    assert (event.reason, event.camera, event.count) == (Reason.ARCHIVE, "cam", 2)
    assert archive.events() == []


def test_a_stuck_disk_delays_nobody_and_bounds_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = threading.Event()
    monkeypatch.setattr(Room, "put", lambda *_: stuck.wait())
    archive = Archive(ArchiveConfig(folder=tmp_path))
    started = time.monotonic()
    for counter in range(1, 41):
        archive.hold(an_arrival(counter=counter))
        archive.settle(said(counter))
    assert time.monotonic() - started < 1.0
    assert sum(event.count for event in archive.events()) in (40 - WAITING - 1, 40 - WAITING)
    stuck.set()
    archive.close()


def test_frames_nobody_settles_do_not_pile_up(archive: Archive) -> None:
    for counter in range(1, 100):
        archive.hold(an_arrival(counter=counter))
    assert len(archive._held) == HELD


def test_the_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_mb"):
        ArchiveConfig(folder=tmp_path, max_mb=0)
    with pytest.raises(ConfigError, match="accepts_every"):
        ArchiveConfig(folder=tmp_path, accepts_every=-1)


def test_the_running_inspector_archives_what_the_gate_settles(start: Callable[..., Cell], tmp_path: Path) -> None:  # noqa: F811
    cell = start(archive=ArchiveConfig(folder=tmp_path / "images"))
    cell.judge(*make_parts(counter=2))
    assert cell.gate.connection is not None
    cell.gate.connection.send(encode(said(2)))
    cell.until(lambda: bool(images(tmp_path / "images")))
    (path,) = images(tmp_path / "images")
    entry = json.loads(path.with_suffix(".json").read_bytes())
    assert entry["payload_hash"] == cell.gate.reports[-1].payload_hash


def test_a_lost_image_is_told_to_the_gate(start: Callable[..., Cell], tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "images").write_text("a file stands where the folder should be")
    cell = start(archive=ArchiveConfig(folder=tmp_path / "images"))
    cell.judge(*make_parts(counter=2))
    assert cell.gate.connection is not None
    cell.gate.connection.send(encode(said(2)))
    cell.until(lambda: any(event.reason is Reason.ARCHIVE for event in cell.gate.events))


def test_what_draws_maps_forgets_the_bundles_of_long_ago() -> None:
    drawer = Drawer()
    specs = [HeightmapSpec(window=PercentileWindow(low=0.01 * number), height=8, width=8) for number in range(PREPARERS + 3)]
    kept = [drawer._preparer(spec) for spec in specs]
    assert [drawer._preparer(spec) for spec in specs[3:]] == kept[3:]
    assert len(drawer._preparers) == PREPARERS
