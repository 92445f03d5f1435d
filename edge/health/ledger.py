"""The writer's side of a health file: numbers changed in place in mapped memory, without a system call and without waiting for anybody.

One thread writes. Whoever reads cannot disturb it: readers hold no lock that it takes.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import zlib
from contextlib import suppress
from pathlib import Path

import msgspec

from edge.health import layout as at
from edge.health.buckets import BUCKETS, PART_BITS, UNIT_BITS
from edge.health.layout import CELL, FORMAT, HISTOGRAM_HEAD, LABEL_BYTES, MAGIC, REST, ROW_CELLS, SEPARATOR, STATE_HEAD, Layout

LONGEST_NS = 2**50
"""13 days; what claims to have taken longer counts as this."""
_SHIFT_FROM = PART_BITS + 1
MODE = 0o640


class Histogram:
    """Times of one stage: count, sum, exact maximum and buckets."""

    __slots__ = ("_base", "_cells")

    def __init__(self, cells: memoryview[int], base: int) -> None:
        self._cells, self._base = cells, base

    def record(self, time_ns: int) -> None:
        """Count one time; what is below 0 counts as 0."""
        if not 0 <= time_ns <= LONGEST_NS:
            time_ns = 0 if time_ns < 0 else LONGEST_NS
        # `edge.health.buckets.bucket_of`, written out: a call would cost as much as all of it.
        bucket = time_ns >> UNIT_BITS
        shift = bucket.bit_length() - _SHIFT_FROM
        if shift > 0:
            bucket = (shift << PART_BITS) + (bucket >> shift)
            if bucket >= BUCKETS:
                bucket = BUCKETS - 1
        cells, base = self._cells, self._base
        cells[base + HISTOGRAM_HEAD + bucket] += 1
        cells[base] = count = cells[base] + 1
        cells[base + 1] = total = cells[base + 1] + time_ns
        largest = cells[base + 2]
        if time_ns > largest:
            cells[base + 2] = largest = time_ns
        cells[base + 3] = count + total + largest


class Table:
    """Counts by label: each new one gets a row; once all but one are taken, the rest share it."""

    def __init__(self, cells: memoryview[int], base: int, rows: int) -> None:
        self._cells, self._base, self._rows = cells, base, rows
        self._row_of: dict[tuple[str, ...], int] = {}

    def add(self, *label: str, count: int = 1) -> None:
        """Count `count` more of this label."""
        row = self._row_of.get(label)
        self._cells[self._row(label) if row is None else row] += count

    def _row(self, label: tuple[str, ...]) -> int:
        used = len(self._row_of)
        text = SEPARATOR.join(word.replace(SEPARATOR, "_") for word in label).encode("utf-8", "replace")
        if used >= self._rows - 1 or len(text) > LABEL_BYTES:
            if (REST,) in self._row_of:
                return self._row_of[(REST,)]
            label, text = (REST,), REST.encode()
        first = self._base + 1 + used * ROW_CELLS
        padded = text.ljust(LABEL_BYTES, b"\0")
        for offset in range(ROW_CELLS - 1):
            self._cells[first + offset] = int.from_bytes(padded[offset * CELL : (offset + 1) * CELL], "little")
        self._cells[self._base] = used + 1
        self._row_of[label] = first + ROW_CELLS - 1
        return self._row_of[label]


class Ledger:
    """A file at `path`, made whole before it appears there, in place of whatever was. Its lock says that the writer lives.

    Where it cannot be made, the numbers go to memory that nobody sees, and `problem` says why: a daemon serves all the same.
    """

    def __init__(self, path: Path | None, layout: Layout, *, release: str, now_ns: int, wall_ns: int) -> None:
        self.problem = ""
        self._fd, self._layout = -1, layout
        self._map = mmap.mmap(-1, layout.cells * CELL)
        text = msgspec.json.encode(layout.directory(release))
        fixed = {at.AT_MAGIC: MAGIC, at.AT_FORMAT: FORMAT, at.AT_PID: os.getpid(), at.AT_STARTED: now_ns, at.AT_STARTED_WALL: wall_ns}
        fixed |= {at.AT_STEP: now_ns, at.AT_STEP_WALL: wall_ns, at.AT_DIRECTORY: len(text), at.AT_CELLS: layout.cells}
        if path is not None:
            try:
                self._fd, self._map = _published(path, fixed, text, layout.cells * CELL)
            except OSError as exc:
                self.problem = f"no numbers can be read of this process: {path}: {exc.strerror}"
        self._bytes = memoryview(self._map)
        self._cells = self._bytes.cast("Q")
        self._counters = layout.counters
        self.histograms = {name: Histogram(self._cells, base) for name, base in layout.histograms.items()}
        self.tables = {name: Table(self._cells, base, rows) for name, (base, rows) in layout.tables.items()}

    def begin(self) -> None:
        """Numbers are about to change together."""
        self._cells[at.AT_SEQUENCE] += 1

    def end(self) -> None:
        """They belong together again."""
        self._cells[at.AT_SEQUENCE] += 1

    def add(self, name: str, count: int = 1) -> None:
        """Count."""
        self._cells[self._counters[name]] += count

    def raise_to(self, name: str, value: int) -> None:
        """A count that somebody else keeps."""
        self._cells[self._counters[name]] = value

    def step(self, now_ns: int, wall_ns: int) -> None:
        """The loop got round."""
        self._cells[at.AT_STEP], self._cells[at.AT_STEP_WALL] = now_ns, wall_ns

    def publish(self, state: bytes) -> None:
        """Put this JSON in place of the state before; a reader finds one of them whole. One that is too long is an error of the program."""
        if len(state) > self._layout.state_bytes:
            raise ValueError(f"a state of {len(state)} bytes does not fit into {self._layout.state_bytes}")
        other = 1 if self._cells[at.AT_STATE] == 2 else 2
        base = self._layout.states[other - 1]
        self._cells[base], self._cells[base + 1] = len(state), zlib.crc32(state)
        start = (base + STATE_HEAD) * CELL
        self._bytes[start : start + len(state)] = state
        self._cells[at.AT_STATE] = other

    def broken(self) -> None:
        """The process lives, and these numbers will not change any more."""
        with suppress(ValueError):  # closed
            self._cells[at.AT_BROKEN] = 1

    def close(self, wall_ns: int) -> None:
        """The process ends in order; the file stays, and says so."""
        self._cells[at.AT_ENDED_WALL] = wall_ns
        self.histograms, self.tables = {}, {}
        self._cells.release()
        self._bytes.release()
        # Whoever kept a histogram of this ledger keeps the memory too, and nothing is lost but that.
        with suppress(BufferError):
            self._map.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _published(path: Path, fixed: dict[int, int], directory: bytes, size: int) -> tuple[int, mmap.mmap]:
    """The mapped file under its name. Raises OSError."""
    made = path.with_name(f"{path.name}.{os.getpid()}.new")
    made.unlink(missing_ok=True)
    descriptor = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    try:
        os.fchmod(descriptor, MODE)  # the units' UMask leaves the group out
        # Every block now: a full disk would otherwise end the process by a signal at the first number.
        os.posix_fallocate(descriptor, 0, size)
        mapped = mmap.mmap(descriptor, size)
        mapped[: at.HEADER_CELLS * CELL] = b"".join(fixed.get(cell, 0).to_bytes(CELL, "little") for cell in range(at.HEADER_CELLS))
        mapped[at.HEADER_CELLS * CELL : at.HEADER_CELLS * CELL + len(directory)] = directory
        for page in range(0, size, mmap.PAGESIZE):
            mapped[page] = mapped[page]  # no first touch later
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.replace(path)
    except OSError:
        os.close(descriptor)
        with suppress(OSError):
            made.unlink()
        raise
    return descriptor, mapped
