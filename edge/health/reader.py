"""The reader's side of a health file: one consistent copy of the numbers, and whether their writer lives. Needs read access only."""

from __future__ import annotations

import fcntl
import mmap
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from edge.health import layout as at
from edge.health.buckets import BUCKETS, quantile_ns
from edge.health.layout import CELL, FORMAT, HEADER_CELLS, HISTOGRAM_HEAD, LABEL_BYTES, MAGIC, ROW_CELLS, SEPARATOR, STATE_HEAD

ATTEMPTS = 200
"""Copies taken until one is consistent: each takes about 20 us, a writer changes numbers for about 10 us at a time."""
LARGEST = 16 * 1024 * 1024

Found = Literal["alive", "dead", "absent", "foreign", "refused"]
"""Of the writer: it lives, it ended and left the file, there is no file, the file is another release's, it may not be read."""


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """As `edge.health.layout.Layout.directory` writes it."""

    who: str
    release: str
    counters: dict[str, int]
    histograms: dict[str, int]
    buckets: int
    tables: dict[str, tuple[int, int]]
    states: tuple[int, int]
    state_bytes: int


@dataclass(frozen=True)
class Times:
    """A histogram as it was copied; times in ns."""

    count: int
    sum_ns: int
    max_ns: int
    buckets: tuple[int, ...]
    whole: bool
    """Its numbers belong together."""

    def quantile_ns(self, quantile: float) -> int:
        """As `edge.health.buckets.quantile_ns`."""
        return quantile_ns(self.buckets, quantile, self.max_ns)


class Reading(NamedTuple):
    """What one look at a health file found; everything but `found`, `path` and `note` is empty unless it is `alive` or `dead`."""

    found: Found
    path: Path
    note: str = ""
    """Why nothing can be said, or what is wrong with the numbers."""
    release: str = ""
    pid: int = 0
    started_ns: int = 0
    started_wall_ns: int = 0
    step_ns: int = 0
    """CLOCK_MONOTONIC when the writer's loop last got round."""
    step_wall_ns: int = 0
    ended_wall_ns: int = 0
    """When it ended in order; 0: it did not, or lives."""
    broken: bool = False
    """The writer lives and does not keep numbers any more."""
    counters: Mapping[str, int] = {}
    times: Mapping[str, Times] = {}
    tables: Mapping[str, Mapping[tuple[str, ...], int]] = {}
    state: bytes = b""
    """JSON; empty while there is none."""


def read(path: Path) -> Reading:
    """Look at a health file. Raises nothing for what can be wrong with it."""
    try:
        with _opened(path) as descriptor:
            return _read(path, descriptor)
    except FileNotFoundError:
        return Reading("absent", path, "there is no such file")
    except OSError as exc:
        return Reading("refused", path, exc.strerror or str(exc))
    except (ValueError, IndexError, UnicodeDecodeError, msgspec.MsgspecError) as exc:
        return Reading("foreign", path, f"not a health file of a release that is known here: {exc}")


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(path: Path, descriptor: int) -> Reading:
    size = os.fstat(descriptor).st_size
    if not HEADER_CELLS * CELL <= size <= LARGEST:
        raise ValueError(f"{size} bytes")
    # Asked before the copy: a writer that dies meanwhile was alive when its numbers were true.
    alive = _locked(descriptor)
    with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as mapped:
        for attempt in range(ATTEMPTS):
            before = _sequence(mapped)
            copy = mapped[:]
            quiet = before % 2 == 0 and before == _sequence(mapped)
            reading = _parsed(path, copy, alive=alive)
            torn = [name for name, times in reading.times.items() if not times.whole]
            if quiet and not torn and (reading.state or not _has_state(copy)):
                return reading
            if not alive and attempt:
                break
            time.sleep(0.0002)
    note = "the writer ended in the middle of a change" if not alive else "the numbers changed all the time"
    return reading._replace(note=f"{note}; they may not belong together{': ' if torn else ''}{', '.join(torn)}")


def _locked(descriptor: int) -> bool:
    """Does the writer hold its lock? Two readers may ask at the same time without seeing each other."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _sequence(mapped: mmap.mmap) -> int:
    return int.from_bytes(mapped[at.AT_SEQUENCE * CELL : (at.AT_SEQUENCE + 1) * CELL], "little")


def _has_state(copy: bytes) -> bool:
    return bool(memoryview(copy)[: HEADER_CELLS * CELL].cast("Q")[at.AT_STATE])


def _parsed(path: Path, copy: bytes, *, alive: bool) -> Reading:
    cells = memoryview(copy)[: len(copy) // CELL * CELL].cast("Q")
    if cells[at.AT_MAGIC] != MAGIC or cells[at.AT_FORMAT] != FORMAT:
        raise ValueError(f"format {cells[at.AT_FORMAT]}, this release knows {FORMAT}")
    if cells[at.AT_CELLS] > len(cells):
        raise ValueError(f"{len(cells)} cells of {cells[at.AT_CELLS]}")
    start = HEADER_CELLS * CELL
    directory = msgspec.json.decode(copy[start : start + cells[at.AT_DIRECTORY]], type=Directory)
    if directory.buckets != BUCKETS:
        raise ValueError(f"{directory.buckets} buckets, this release has {BUCKETS}")
    return Reading(
        "alive" if alive else "dead",
        path,
        release=directory.release,
        pid=cells[at.AT_PID],
        started_ns=cells[at.AT_STARTED],
        started_wall_ns=cells[at.AT_STARTED_WALL],
        step_ns=cells[at.AT_STEP],
        step_wall_ns=cells[at.AT_STEP_WALL],
        ended_wall_ns=cells[at.AT_ENDED_WALL],
        broken=bool(cells[at.AT_BROKEN]),
        counters={name: cells[base] for name, base in directory.counters.items()},
        times={name: _times(cells, base) for name, base in directory.histograms.items()},
        tables={name: _table(cells, base, rows) for name, (base, rows) in directory.tables.items()},
        state=_state(copy, cells, directory),
    )


def _times(cells: memoryview[int], base: int) -> Times:
    count, total, largest, guard = cells[base : base + HISTOGRAM_HEAD]
    buckets = tuple(cells[base + HISTOGRAM_HEAD : base + HISTOGRAM_HEAD + BUCKETS])
    whole = len(buckets) == BUCKETS and sum(buckets) == count and guard == count + total + largest
    return Times(count, total, largest, buckets, whole)


def _table(cells: memoryview[int], base: int, rows: int) -> dict[tuple[str, ...], int]:
    found = {}
    for row in range(min(cells[base], rows)):
        first = base + 1 + row * ROW_CELLS
        text = bytes(cells[first : first + ROW_CELLS - 1].cast("B"))[:LABEL_BYTES].rstrip(b"\0")
        found[tuple(text.decode("utf-8", "replace").split(SEPARATOR))] = cells[first + ROW_CELLS - 1]
    return found


def _state(copy: bytes, cells: memoryview[int], directory: Directory) -> bytes:
    """The state that the header names, if it is whole; empty otherwise."""
    active = cells[at.AT_STATE]
    if active not in (1, 2):
        return b""
    base = directory.states[active - 1]
    start = (base + STATE_HEAD) * CELL
    text = copy[start : start + min(cells[base], directory.state_bytes)]
    return text if zlib.crc32(text) == cells[base + 1] else b""
