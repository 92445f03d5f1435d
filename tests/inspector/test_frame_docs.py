"""The publisher printed in docs/frames.md is run as it stands, against the inspector's own camera feed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import zmq

from edge.config import CameraConfig
from edge.contract import Reason, TriggerId
from edge.inspector.camera import CameraFeed
from edge.inspector.heightmap.spec import spec_from_json

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "frames.md"


def test_the_printed_publisher_is_understood(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    endpoint = f"ipc://{tmp_path}/camera"
    assert "tcp://*:5555" in program
    publisher = subprocess.Popen([sys.executable, "-c", program.replace("tcp://*:5555", endpoint)])
    with zmq.Context() as context:
        feed = CameraFeed(CameraConfig(name="cam0", endpoint=endpoint), context, max_frame_bytes=1 << 20, receive_queue=8)
        arrival = None
        while arrival is None and feed.socket.poll(10_000):
            arrival = feed.receive()
        feed.socket.close()
    publisher.wait(10)
    assert arrival is not None
    assert arrival.header is not None
    assert (arrival.reason, arrival.header.trigger_id) == (Reason.OK, TriggerId("0123456789abcdef", 1))
    assert (arrival.header.shape, arrival.header.dtype, arrival.header.counter) == ((128, 352), "u2", 1)


def test_every_reason_in_the_table_exists() -> None:
    named = re.findall(r"\b(?:FRAME|TYPOLOGY)_[A-Z]+\b", DOCUMENT.read_text())
    assert {Reason(name) for name in named}


def test_the_heightmap_spec_printed_with_its_grid_is_understood() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", (DOCUMENT.parent / "heightmap.md").read_text(), re.DOTALL)
    spec = spec_from_json(text.encode())
    assert spec.rasterise is not None
    assert spec.rasterise.shape == (spec.height, spec.width)
