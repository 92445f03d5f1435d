"""What lies where in a health file: a header of fixed cells, a directory that names the rest, counters, histograms, tables, two states.

Cells are 64-bit unsigned integers, little-endian as both machines are. Numbers only ever grow, apart from the header's times. A reader
needs nothing but FORMAT to find everything by its name, so that one of another release can read what it knows.

header      cells 0..15, see the names below
directory   JSON: `Layout.directory`
counter     one cell
histogram   count, sum in ns, maximum in ns, their sum as a guard, then one cell per bucket (`edge.health.buckets`)
table       cells in use, then rows of 8 cells: the label's UTF-8 text in 7 of them, the count in the last
state       two of them: length, CRC-32, JSON; the header names the one that is whole
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge.health.buckets import BUCKETS

MAGIC = int.from_bytes(b"CORDONHL", "little")
FORMAT = 1
CELL = 8
HEADER_CELLS = 16
AT_MAGIC, AT_FORMAT, AT_SEQUENCE, AT_PID, AT_STARTED, AT_STARTED_WALL, AT_STEP, AT_STEP_WALL = range(8)
"""AT_SEQUENCE is odd while numbers are being changed; AT_STEP is when the loop last got round (CLOCK_MONOTONIC and wall clock)."""
AT_DIRECTORY, AT_STATE, AT_BROKEN, AT_ENDED_WALL, AT_CELLS = range(8, 13)
"""Directory: its length in bytes. State: 0 none, 1 the first, 2 the second. Broken: the numbers stand still although the process lives."""
HISTOGRAM_HEAD = 4
ROW_CELLS = 8
LABEL_BYTES = (ROW_CELLS - 1) * CELL
STATE_HEAD = 2
SEPARATOR = "|"
"""Between the words of a label."""
REST = "other"
"""The row of everything that found no row of its own."""


class Layout:
    """The numbers that one daemon keeps, and where each has its place."""

    def __init__(
        self, who: str, *, counters: Sequence[str], histograms: Sequence[str], tables: Mapping[str, int], state_bytes: int = 16 * 1024
    ) -> None:
        """`who` is `gate` or `inspector`; `tables` says how many rows each may have, one of which is `other`."""
        self.who, self.state_bytes = who, state_bytes
        # The directory stands before them: room for what it says of each name is set aside.
        at = HEADER_CELLS + 64 + 8 * (len(counters) + len(histograms) + len(tables))
        self.counters = {name: at + number for number, name in enumerate(counters)}
        at += len(counters)
        self.histograms = {name: at + number * (HISTOGRAM_HEAD + BUCKETS) for number, name in enumerate(histograms)}
        at += len(histograms) * (HISTOGRAM_HEAD + BUCKETS)
        self.tables: dict[str, tuple[int, int]] = {}
        for name, rows in tables.items():
            self.tables[name] = (at, rows)
            at += 1 + rows * ROW_CELLS
        state_cells = STATE_HEAD + state_bytes // CELL
        self.states = (at, at + state_cells)
        self.cells = at + 2 * state_cells

    def directory(self, release: str) -> dict[str, object]:
        """What a reader needs to know: each name's first cell, for tables and states with their number of rows, or of bytes."""
        return {
            "who": self.who,
            "release": release,
            "counters": self.counters,
            "histograms": self.histograms,
            "buckets": BUCKETS,
            "tables": self.tables,
            "states": self.states,
            "state_bytes": self.state_bytes,
        }
