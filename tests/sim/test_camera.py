"""The simulated camera on real sockets: what it publishes is what the inspector takes, and its faults are what they say."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zmq

from edge.config import CameraConfig
from edge.contract import Reason, TriggerId
from edge.errors import FrameError, SimulationError
from edge.inspector.camera import Arrival, CameraFeed
from edge.inspector.frame import payload_image
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow
from edge.inspector.scan import Scan
from scans.folder import Scale
from sim.camera import Camera, CaptureRequests, answer, main, publish_folder
from sim.shots import CaptureRequest, Shot, WeldTable
from sim.welds import cloud_spec, make_weld, spec_of, to_cloud

SESSION = "0123456789abcdef"


def image(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(1, 255, (8, 12)).astype(np.uint8)


def shot(seed: int, **changes: Any) -> Shot:
    fields: dict[str, Any] = {"image": image(seed), "scale": Scale(), "part": "P1", "weld": "W1", "typology": "T2"}
    return Shot(**(fields | changes))


class Receiver:
    """The inspector's own camera feed."""

    def __init__(self, endpoint: str) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        config = CameraConfig(name="cam0", endpoint=endpoint)
        self.feed = CameraFeed(config, self.context, max_frame_bytes=1 << 20, receive_queue=100)

    def take(self, seconds: float = 0.3) -> list[Arrival]:
        """Every arrival until nothing came for `seconds`."""
        arrivals = []
        while self.feed.socket.poll(int(seconds * 1000)):
            if (arrival := self.feed.receive()) is not None:
                arrivals.append(arrival)
        return arrivals

    def close(self) -> None:
        self.feed.socket.close()
        self.context.term()


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/camera"


@pytest.fixture
def receiver(endpoint: str) -> Iterator[Receiver]:
    receiver = Receiver(endpoint)
    yield receiver
    receiver.close()


def exposed(endpoint: str, receiver: Receiver, shots: int = 4, **options: Any) -> list[Arrival]:
    camera = Camera(endpoint, "cam0", **options)
    camera.wait_for_subscriber(5)
    for seed in range(shots):
        camera.expose(shot(seed))
    arrivals = receiver.take(0.1)
    camera.close()
    return arrivals


def test_frames_arrive_as_they_were_exposed(endpoint: str, receiver: Receiver) -> None:
    arrivals = exposed(endpoint, receiver)
    assert [arrival.reason for arrival in arrivals] == [Reason.OK] * 4
    assert [arrival.header.counter for arrival in arrivals if arrival.header] == [1, 2, 3, 4]
    assert (payload_image(arrivals[2].header, arrivals[2].payload) == image(2)).all()


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        ("truncate", ["OK", "FRAME_SIZE", "OK", "FRAME_SIZE"]),
        ("crc", ["OK", "FRAME_CRC", "OK", "FRAME_CRC"]),
        ("duplicate", ["OK", "OK", "FRAME_DUPLICATE", "OK", "OK", "FRAME_DUPLICATE"]),
        ("skip", ["OK", "OK"]),
        ("frozen", ["OK", "FRAME_FROZEN", "OK", "FRAME_FROZEN"]),
    ],
)
def test_a_fault_comes_with_every_second_frame(endpoint: str, receiver: Receiver, fault: Any, reasons: list[str]) -> None:
    arrivals = [arrival for arrival in exposed(endpoint, receiver, fault=fault, every=2) if arrival.header is not None]
    assert [arrival.reason.value for arrival in arrivals] == reasons


def test_a_skipped_frame_is_a_gap(endpoint: str, receiver: Receiver) -> None:
    events = [event for arrival in exposed(endpoint, receiver, shots=3, fault="skip", every=2) for event in arrival.events]
    assert [(event.reason, event.count) for event in events] == [(Reason.FRAME_GAP, 1)]


def test_the_nan_fault_is_a_finite_header_with_a_nan_height(endpoint: str, receiver: Receiver) -> None:
    arrival = exposed(endpoint, receiver, shots=1, fault="nan")[0]
    assert arrival.header is not None
    heights = payload_image(arrival.header, arrival.payload)
    assert (arrival.header.kind, np.isnan(heights).sum()) == ("range", 1)
    preparer = Preparer(HeightmapSpec(window=MillimetreWindow(low_mm=0, high_mm=9), height=8, width=12))
    with pytest.raises(FrameError, match="NaN"):
        preparer.prepare(heights, kind="range", out=np.zeros((8, 12), np.uint8))


@pytest.mark.parametrize(("organised", "shape"), [(True, (128, 352)), (False, None)])
def test_a_cloud_arrives_with_nan_for_missing_points(
    endpoint: str, receiver: Receiver, organised: bool, shape: tuple[int, int] | None
) -> None:
    cloud = to_cloud(make_weld("T4", "none", 3), organised=organised)
    camera = Camera(endpoint, "cam0")
    camera.wait_for_subscriber(5)
    camera.expose(shot(0, image=cloud, scale=Scale(no_data=math.nan)))
    (arrival,) = receiver.take(0.1)
    camera.close()
    header = arrival.header
    assert header is not None
    assert (arrival.reason, header.kind, header.no_data, header.shape) == (Reason.OK, "cloud", "nan", shape or (1, cloud.shape[1]))
    np.testing.assert_array_equal(payload_image(header, arrival.payload), cloud)
    out = np.zeros((128, 352), np.uint8)
    Preparer(cloud_spec("T4")).prepare(payload_image(header, arrival.payload), kind="cloud", no_data=header.no_data_value, out=out)
    assert out.any()


@pytest.mark.parametrize("picture", [to_cloud(make_weld("T4", "none", 3)), make_weld("T4", "none", 3).height_mm])
def test_the_nan_fault_is_one_where_nan_marks_missing_points_too(endpoint: str, receiver: Receiver, picture: Any) -> None:
    camera = Camera(endpoint, "cam0", fault="nan")
    camera.wait_for_subscriber(5)
    camera.expose(shot(0, image=picture, scale=Scale(no_data=math.nan)))
    (arrival,) = receiver.take(0.1)
    camera.close()
    assert arrival.header is not None
    scan = Scan.of(arrival.header, payload_image(arrival.header, arrival.payload))
    with pytest.raises(FrameError) as caught:
        Preparer(spec_of("T4")).prepare(scan.image, kind=scan.kind, no_data=scan.no_data, out=np.zeros((128, 352), np.uint8))
    assert caught.value.reason is Reason.FRAME_NONFINITE


def test_the_wrong_typology_is_another_one_of_the_table(endpoint: str, receiver: Receiver) -> None:
    arrival = exposed(endpoint, receiver, shots=1, fault="wrong-typology", typologies=("T2", "T5"))[0]
    assert arrival.header is not None
    assert arrival.header.typology == "T5"


def test_a_late_frame_comes_late_and_says_alive_meanwhile(endpoint: str, receiver: Receiver) -> None:
    started = time.monotonic()
    assert exposed(endpoint, receiver, shots=1, fault="late")[0].reason is Reason.OK
    assert time.monotonic() - started > 0.9
    assert receiver.feed.alive(time.monotonic_ns())


def test_a_new_subscriber_hears_at_once_that_the_camera_is_alive(endpoint: str, receiver: Receiver) -> None:
    camera = Camera(endpoint, "cam0")
    camera.wait_for_subscriber(5)
    assert receiver.take(0.1) == []
    assert receiver.feed.alive(time.monotonic_ns())
    camera.close()


def test_nobody_subscribing_is_an_error(endpoint: str) -> None:
    camera = Camera(endpoint, "cam0")
    with pytest.raises(SimulationError, match="nobody subscribed"):
        camera.wait_for_subscriber(0.05)
    camera.close()


def test_two_cameras_on_one_address_are_refused() -> None:
    camera = Camera("tcp://127.0.0.1:*", "cam0")
    address = camera._socket.getsockopt_string(zmq.LAST_ENDPOINT)
    with pytest.raises(SimulationError, match="cannot bind"):
        Camera(address, "cam1")
    camera.close()


# -- on request


@pytest.fixture
def table(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "one.png"), image(1))
    cv2.imwrite(str(tmp_path / "two.png"), image(2).astype(np.uint16) * 100)
    (tmp_path / "scan.toml").write_text("pitch_mm = [0.2, 0.3]\nz_scale_mm = 0.01\n")
    with (tmp_path / "welds.csv").open("w", newline="") as file:
        rows = [("part", "weld", "typology", "truth", "file"), ("P1", "W1", "T2", "good", "one.png"), ("P1", "W2", "", "bad", "two.png")]
        csv.writer(file).writerows(rows)
    return tmp_path / "welds.csv"


def request(weld: str, sequence: int = 9, typology: str | None = None) -> CaptureRequest:
    return CaptureRequest(session=SESSION, sequence=sequence, part="P1", weld=weld, typology=typology)


def test_a_request_is_answered_with_its_weld_bound_to_its_trigger(table: Path, endpoint: str, receiver: Receiver, tmp_path: Path) -> None:
    camera, requests = Camera(endpoint, "cam0"), CaptureRequests(f"ipc://{tmp_path}/capture")
    camera.wait_for_subscriber(5)
    with zmq.Context() as context, context.socket(zmq.PUSH) as robot:
        robot.connect(f"ipc://{tmp_path}/capture")
        robot.send(b"{nonsense")
        robot.send_json({"session": SESSION, "sequence": 9, "part": "P1", "weld": "W9", "typology": None})
        robot.send_json({"session": SESSION, "sequence": 10, "part": "P1", "weld": "W2", "typology": "T7"})
        for _ in range(12):
            answer(camera, requests, WeldTable(table), capture_s=0.0, name_typology=True)
    (arrival,) = receiver.take(0.1)
    header = arrival.header
    assert header is not None
    assert (header.trigger_id, header.part, header.weld, header.typology) == (TriggerId(SESSION, 10), "P1", "W2", "T7")
    assert (header.kind, header.pitch_mm, header.z_scale_mm) == ("range", (0.2, 0.3), 0.01)
    assert (payload_image(header, arrival.payload) == image(2).astype(np.uint16) * 100).all()
    camera.close()
    requests.close()


def test_the_typology_is_the_robots_else_the_tables_else_none(table: Path) -> None:
    welds = WeldTable(table)
    assert welds.shot(request("W1", typology="T3"), name_typology=True).typology == "T3"
    assert welds.shot(request("W1"), name_typology=True).typology == "T2"
    assert welds.shot(request("W2"), name_typology=True).typology is None
    assert welds.shot(request("W1"), name_typology=False).typology is None


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "welds.csv").write_text("part,file\nP1,x.png\n")
    with pytest.raises(SimulationError, match="part, weld, typology, file"):
        WeldTable(tmp_path / "welds.csv")


def test_the_exposure_takes_its_time(table: Path, endpoint: str, receiver: Receiver, tmp_path: Path) -> None:
    camera, requests = Camera(endpoint, "cam0"), CaptureRequests(f"ipc://{tmp_path}/capture")
    camera.wait_for_subscriber(5)
    receiver.take(0.05)
    with zmq.Context() as context, context.socket(zmq.PUSH) as robot:
        robot.connect(f"ipc://{tmp_path}/capture")
        robot.send_json({"session": SESSION, "sequence": 1, "part": "P1", "weld": "W1"})
        time.sleep(0.1)
        started = time.monotonic()
        answer(camera, requests, WeldTable(table), capture_s=0.15, name_typology=True)
        assert time.monotonic() - started >= 0.149
    camera.close()
    requests.close()


# -- a folder


def test_a_folder_is_published_in_order_with_nothing_lost(
    tmp_path: Path, endpoint: str, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, folder in enumerate(("good", "bad", "good")):
        (tmp_path / "scans" / folder).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "scans" / folder / f"weld {number}.npy", image(number))
    camera = Camera(endpoint, "cam0")
    publish_folder(camera, tmp_path / "scans", rate=200, typology="T5")
    arrivals = receiver.take(0.1)
    assert [arrival.header.part for arrival in arrivals if arrival.header] == ["weld_1", "weld_0", "weld_2"]
    assert {arrival.reason for arrival in arrivals} == {Reason.OK}
    assert capsys.readouterr().out.splitlines()[0].startswith("1 ")
    camera.close()


def test_the_command_publishes_a_folder_and_ends(tmp_path: Path, endpoint: str, receiver: Receiver) -> None:
    (tmp_path / "scans").mkdir()
    for seed in range(3):
        cv2.imwrite(str(tmp_path / "scans" / f"{seed}.tiff"), image(seed))
    program = "import sys; from sim.camera import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, str(tmp_path / "scans"), "--endpoint", endpoint, "--rate", "50"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)
    assert len(receiver.take(0.1)) == 3


@pytest.mark.parametrize("words", [[], ["--capture", "ipc:///tmp/x"], ["folder", "--capture", "ipc:///tmp/x", "--welds", "w.csv"]])
def test_a_folder_or_requests_but_not_both(words: list[str], endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--endpoint", endpoint]) == 2
    assert "FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--rate", "0"], ["--rate", "nan"], ["--every", "0"]])
def test_a_rate_of_nothing_is_refused(words: list[str], endpoint: str) -> None:
    with pytest.raises(SystemExit):
        main(["folder", "--endpoint", endpoint, *words])
