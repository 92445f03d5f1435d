"""docs/camera-security.md: its program is run in both directions, its configuration is one, and what it quotes is what is said."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from curve_kit import Floor, new_pair, numbers
from curve_kit import floor as floor_of

from edge.config import InspectorConfig
from edge.curve_keys import new_curve_pair, read_curve_pair

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "camera-security.md").read_text()
floor = pytest.fixture(floor_of)


@pytest.fixture
def program(tmp_path: Path) -> dict[str, Any]:
    """The printed functions, with keys of their own."""
    (text,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    for name in ("cam0", "box"):
        new_curve_pair(tmp_path, name)
    found: dict[str, Any] = {}
    exec(text.replace('Path("keys")', f"Path({str(tmp_path)!r})"), found)  # noqa: S102 - the document's own program
    return found


def test_the_printed_camera_that_binds_is_heard_by_its_box_alone(floor: Floor, program: dict[str, Any], tmp_path: Path) -> None:
    box, camera = read_curve_pair(tmp_path / "box.curve"), read_curve_pair(tmp_path / "cam0.curve")
    heard = floor.hear(box, keys=(camera.public.decode(),))
    stranger = floor.hear(new_pair(), keys=(camera.public.decode(),), endpoint=heard.endpoint, name="cam2")
    with zmq.Context() as context:
        socket, guard = program["camera_that_binds"](context, heard.endpoint)
        try:
            assert socket.poll(10_000)
            socket.send_multipart(numbers(1))
            heard.until(lambda: 1 in heard.counters)
            stranger.until(lambda: stranger.feed.refused > 0)
        finally:
            guard.stop()
            socket.close(linger=0)


def test_the_printed_camera_that_connects_is_heard(floor: Floor, program: dict[str, Any], tmp_path: Path) -> None:
    heard = floor.listener(read_curve_pair(tmp_path / "cam0.curve"), box=read_curve_pair(tmp_path / "box.curve"))
    with zmq.Context() as context:
        socket = program["camera_that_connects"](context, heard.endpoint)
        heard.until(lambda: socket.poll(0) != 0)
        socket.send_multipart(numbers(1))
        heard.until(lambda: 1 in heard.counters)
        socket.close(linger=0)


def test_the_printed_configuration_is_one() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    table = tomllib.loads(text)["inspector"] | {"bundle": "b", "trusted_keys": ["ab" * 32]}
    config = msgspec.convert(table, InspectorConfig, dec_hook=lambda kind, value: kind(value))
    assert [camera.listen for camera in config.camera] == [False, True]


def test_what_the_document_quotes_is_said_by_the_code() -> None:
    said = "".join((ROOT / "edge" / "inspector" / name).read_text() for name in ("camera_link.py", "zap.py", "refusals.py"))
    (table,) = re.findall(r"\| the log and the record say.*?\n\n", DOCUMENT, re.DOTALL)
    quoted = [text.strip(". ") for text in re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)]
    assert len(quoted) >= 5
    for text in quoted:
        assert text in said, text


def test_every_option_of_the_table_is_zeromqs() -> None:
    named = set(re.findall(r"`ZMQ_([A-Z_]+)`", DOCUMENT))
    assert len(named) > 8
    assert not [name for name in named if not hasattr(zmq, name)]
