"""A camera the injectors hold in their hand: every part of every message is theirs to make and to send."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import zmq
from numpy.typing import NDArray

from edge.inspector.frame import FrameHeader, FrameTrigger, encode_alive, encode_frame

NAME = "cam0"
Parts = tuple[bytes, bytes, bytes]


def make_header(counter: int, *, session: str, sequence: int, part: str, weld: str, typology: str | None) -> FrameHeader:
    """A header as a good camera makes it; shape, dtype and checksum are filled in with the image."""
    return FrameHeader(
        version=1,
        camera=NAME,
        counter=counter,
        trigger=FrameTrigger(session=session, sequence=sequence),
        part=part,
        weld=weld,
        typology=typology,
        kind="heightmap",
        shape=(0, 0),
        dtype="u1",
        pitch_mm=(0.2, 0.2),
        z_scale_mm=1.0,
        z_offset_mm=0.0,
        no_data=0,
        captured_ns=time.time_ns(),
        crc32=0,
    )


class Camera:
    """Publishes under NAME on `endpoint`; counts its frames as a camera must, unless told otherwise."""

    def __init__(self, endpoint: str, counter: int = 0) -> None:
        self.endpoint, self.counter = endpoint, counter
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 100_000)
        self._socket.bind(endpoint)
        self._subscribers = 0

    def heard(self) -> bool:
        """Does anybody subscribe now?"""
        while self._socket.poll(0):
            self._subscribers += 1 if self._socket.recv()[:1] == b"\x01" else -1
        return self._subscribers > 0

    def alive(self) -> None:
        """Say that the camera is there."""
        self.heard()
        self._socket.send_multipart(encode_alive(NAME, self.counter, time.time_ns()))

    def parts(self, header: FrameHeader, image: NDArray[Any], **changes: Any) -> Parts:
        """The message for `image`; `changes` are fields of the header, set after shape, dtype and checksum were filled in."""
        topic, text, payload = encode_frame(header, image)
        if changes:
            text = msgspec.json.encode(msgspec.structs.replace(msgspec.json.decode(text, type=FrameHeader), **changes))
        return topic, text, payload

    def send(self, *parts: bytes, copy: bool = True) -> None:
        """Publish these parts, whatever they are; without `copy`, equal parts share their memory here."""
        self._socket.send_multipart(parts, copy=copy)

    def count(self) -> int:
        """The next frame's number."""
        self.counter += 1
        return self.counter

    def close(self) -> None:
        """Go away, and free the endpoint."""
        self._socket.close()
        self._context.term()
