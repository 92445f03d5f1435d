"""The image archive: rejected frames and a sample of accepted ones as 16-bit PNG, bounded in size, never in the way of a verdict."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue

import cv2
import msgspec

from edge.config import ArchiveConfig
from edge.contract import FrameEvent, Outcome, Reason, Settled
from edge.health.words import ArchiveShown
from edge.inspector.archive_image import Payload, Pixels, payload_of, to_pixels
from edge.inspector.archive_map import Drawer, Shown
from edge.inspector.camera import Arrival
from edge.inspector.frame import FrameHeader

HELD = 8
"""Frames that may wait to hear what became of them; the oldest goes when one more comes."""
WAITING = 8
"""Frames that may wait for the disk; with more, the newest is lost, counted and recorded."""
MAP_SUFFIX = ".map.png"
"""Of the drawn map beside an image."""
MB = 1_000_000
PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)

log = logging.getLogger("cordon.archive")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside each image, as JSON: which weld it is, what was said of it, and what its pixels mean."""

    part: str
    weld: str
    typology: str | None
    session: str
    sequence: int
    outcome: Outcome
    reason: Reason
    camera: str
    counter: int
    kind: str
    payload_hash: str
    """BLAKE2b-128 of the frame's payload as in the record; ties the image to it."""
    pitch_mm: tuple[float, float]
    pixels: Pixels
    archived_ns: int
    """Wall clock; information only."""
    dtype: str = ""
    """Of the frame: u1 and u2 are in the PNG exactly, f4 is not."""
    payload: Payload | None = None
    """There when the frame's own numbers lie beside the image."""


@dataclass(frozen=True)
class _Job:
    header: FrameHeader
    arrival: Arrival
    shown: Shown | None
    settled: Settled


class Archive:
    """Holds frames until the gate says what became of them, and hands the chosen ones to a thread that writes.

    `hold` and `settle` only move references. Failures of the disk never raise: the lost images are counted and told by `events`.
    """

    def __init__(self, config: ArchiveConfig) -> None:
        self._config = config
        self._held: OrderedDict[tuple[str, int], tuple[FrameHeader, Arrival, Shown | None]] = OrderedDict()
        self._accepts = 0
        self._queue: Queue[_Job | None] = Queue(WAITING)
        self._lost: dict[str, int] = {}
        self._lost_ever = self._written = 0
        self._used_bytes = self._free_bytes = -1
        """Looked at by the thread after every image; -1: not yet, or nobody can say."""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)
        self._thread.start()

    def hold(self, arrival: Arrival, shown: Shown | None = None) -> None:
        """Keep a checked frame until it is settled, with the map to be drawn over it where there is one."""
        if arrival.header is None or arrival.reason is not Reason.OK:
            return
        self._held[arrival.header.camera, arrival.header.counter] = (arrival.header, arrival, shown)
        if len(self._held) > HELD:
            self._held.popitem(last=False)

    def settle(self, settled: Settled) -> None:
        """The case of this frame is closed: archive it, if it was rejected or is the next accepted one to keep."""
        found = self._held.pop((settled.camera, settled.counter), None)
        if found is None or not self._chosen(settled):
            return
        try:
            self._queue.put_nowait(_Job(*found, settled))
        except Full:
            self._lose(settled.camera, "the disk does not keep up")

    def events(self) -> list[FrameEvent]:
        """What was lost since the last call, for the records."""
        if not self._lost:
            return []
        with self._lock:
            lost, self._lost = self._lost, {}
        return [FrameEvent(camera, None, Reason.ARCHIVE, "images were not archived", count) for camera, count in lost.items()]

    def standing(self) -> ArchiveShown:
        """How it stands, for whoever shows it; asks no disk."""
        return ArchiveShown(
            waiting=self._queue.qsize(),
            lost=self._lost_ever,
            written=self._written,
            used_bytes=self._used_bytes,
            free_bytes=self._free_bytes,
        )

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, unless the disk is stuck."""
        with contextlib.suppress(Full):
            self._queue.put(None, timeout=timeout_s)
        self._thread.join(timeout_s)

    def _chosen(self, settled: Settled) -> bool:
        if settled.outcome is not Outcome.ACCEPT:
            return True
        self._accepts += 1
        return self._config.accepts_every > 0 and self._accepts % self._config.accepts_every == 0

    def _lose(self, camera: str, why: str) -> None:
        with self._lock:
            first = camera not in self._lost
            self._lost[camera] = self._lost.get(camera, 0) + 1
            self._lost_ever += 1
        if first:
            log.warning("an image of %s was not archived: %s", camera, why)

    def _run(self) -> None:
        # At the usual priority: it holds Python's lock at times, and at the lowest one a busy machine kept both it and the frames waiting.
        room, drawer = Room(self._config.folder, int(self._config.max_mb * MB)), Drawer()
        self._look(room)
        while (job := self._next()) is not None:
            try:
                drawn = drawer.draw(job.header, job.arrival.payload, job.shown)
                room.put(*_encoded(job, payloads=self._config.payloads), drawn)
                self._written += 1
            except (OSError, ValueError, cv2.error) as exc:
                self._lose(job.settled.camera, str(exc))
            self._look(room)

    def _look(self, room: Room) -> None:
        self._used_bytes, self._free_bytes = room.used_bytes, -1
        with contextlib.suppress(OSError):
            found = os.statvfs(self._config.folder)
            self._free_bytes = found.f_bavail * found.f_frsize

    def _next(self) -> _Job | None:
        while True:
            with contextlib.suppress(Empty):
                return self._queue.get(timeout=60.0)


def _encoded(job: _Job, *, payloads: bool) -> tuple[str, bytes, bytes, bytes | None]:
    header, settled = job.header, job.settled
    image, pixels = to_pixels(header, job.arrival.payload)
    whole, png = cv2.imencode(".png", image, PNG)
    if not whole:
        raise ValueError(f"an image of {image.shape} cannot be written as PNG")
    numbers = payload_of(header, job.arrival.payload) if payloads else None
    now_ns = time.time_ns()
    entry = Entry(
        part=header.part,
        weld=header.weld,
        typology=header.typology,
        session=settled.trigger.session,
        sequence=settled.trigger.sequence,
        outcome=settled.outcome,
        reason=settled.reason,
        camera=header.camera,
        counter=header.counter,
        kind=header.kind,
        payload_hash=job.arrival.payload_hash,
        pitch_mm=header.pitch_mm,
        pixels=pixels,
        archived_ns=now_ns,
        dtype=header.dtype,
        payload=None if numbers is None else numbers[0],
    )
    stamp = time.strftime("%Y-%m-%d/%H%M%S", time.gmtime(now_ns // 10**9)) + f".{now_ns % 10**9:09d}"
    name = f"{stamp}_{header.part}_{header.weld}_{settled.outcome.value}"
    return name, png.tobytes(), msgspec.json.encode(entry), None if numbers is None else numbers[1]


class Room:
    """The archive's folder and how full it is; the oldest images make room for new ones. Used by one thread."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._images: OrderedDict[Path, int] = OrderedDict()
        """Oldest first, with the bytes of image and what lies beside it."""
        self._bytes = 0
        for path in sorted(folder.glob("*/*.png")):
            if not path.name.endswith(MAP_SUFFIX):
                self._remember(path)
        for half in folder.glob("*/*.part"):
            half.unlink(missing_ok=True)

    @property
    def used_bytes(self) -> int:
        """Bytes of all images and of what lies beside them."""
        return self._bytes

    def put(self, name: str, png: bytes, entry: bytes, numbers: bytes | None = None, drawn: bytes | None = None) -> None:
        """Write image, entry, the frame's own `numbers` and the `drawn` map under `name`; the image last, so that none is there alone.

        Raises OSError.
        """
        size = len(png) + len(entry) + len(numbers or b"") + len(drawn or b"")
        if size > self._max_bytes:
            raise ValueError(f"one image of {size} bytes is larger than the whole archive may be")
        while self._images and self._bytes + size > self._max_bytes:
            self._remove_oldest()
        path = self._folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if numbers is not None:
            _write(path.with_suffix(".npy"), numbers)
        if drawn is not None:
            _write(path.with_suffix(MAP_SUFFIX), drawn)
        _write(path.with_suffix(".json"), entry)
        _write(path, png)
        self._remember(path)

    def _remember(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size + sum(beside.stat().st_size for beside in _beside(path) if beside.exists())
            self._images[path] = size
            self._bytes += size

    def _remove_oldest(self) -> None:
        path, size = self._images.popitem(last=False)
        self._bytes -= size
        path.unlink(missing_ok=True)
        for beside in _beside(path):
            beside.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # other images of that day are left
            path.parent.rmdir()


def _beside(image: Path) -> tuple[Path, ...]:
    return tuple(image.with_suffix(suffix) for suffix in (".json", ".npy", MAP_SUFFIX))


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
