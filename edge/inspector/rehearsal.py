"""While a trigger waits for its frame, the path the frame will take is walked with the frame before, so that it is fast when it counts.

After 20 ms of sleep the same Python and numpy code took four times as long (0.08 against 0.30 ms): caches and clock had gone
to others. A rehearsal changes nothing that a verdict depends on: pure checks, a heightmap that the next frame overwrites, a
report that is thrown away.
"""

from __future__ import annotations

import hashlib

from edge.contract import encode
from edge.errors import FrameError
from edge.inspector.camera import NS_PER_MS, Arrival
from edge.inspector.frame import check_header, check_payload, payload_image, read_header
from edge.inspector.judging import Finding
from edge.inspector.loader import Judge, Loaded
from edge.inspector.reporting import report_of
from edge.inspector.scan import Scan

EVERY_MS = 2
LONGEST_NS = 1_000 * NS_PER_MS
"""A trigger that waits longer than this is no longer rehearsed for."""
COSTLIEST_NS = 1 * NS_PER_MS
"""Frames that take longer to prepare than this are not rehearsed: the real one could come meanwhile and would wait."""


class Rehearsal:
    """Holds the last good frame and walks its path on request."""

    def __init__(self) -> None:
        self._sample: tuple[Arrival, Finding] | None = None
        self._judge: Judge | None = None
        self._until_ns = 0

    def keep(self, arrival: Arrival, finding: Finding) -> None:
        """Remember a frame that was judged; the trigger it belongs to is served."""
        cheap = finding.prepared_ns - arrival.received_ns <= COSTLIEST_NS
        self._sample, self._until_ns = (arrival, finding) if cheap else None, 0

    def begin(self, judge: Judge, now_ns: int) -> None:
        """A trigger opened for `judge`."""
        self._judge, self._until_ns = judge, now_ns + LONGEST_NS

    def change(self, loaded: Loaded) -> None:
        """Another bundle judges from now on: nothing of the one before is held, not even a frame that was cheap for it to prepare."""
        self._sample = None
        self._judge = None if self._judge is None else loaded.judges.get(self._judge.spec.name)

    def wanted(self, now_ns: int) -> bool:
        """Is a trigger waiting, and is there a frame to rehearse with?"""
        return now_ns < self._until_ns and self._sample is not None

    def walk(self, loaded: Loaded) -> None:
        """Everything between a message's arrival and its report, except the engine."""
        if self._sample is None or self._judge is None:
            return
        try:
            self._walk(*self._sample, self._judge, loaded)
        except FrameError:
            # A good frame of another typology, whose heights lie outside this one's window.
            self._sample = None

    @staticmethod
    def _walk(arrival: Arrival, finding: Finding, judge: Judge, loaded: Loaded) -> None:
        header = read_header(arrival.text)
        check_header(header)
        check_payload(header, arrival.payload)
        hashlib.blake2b(arrival.payload, digest_size=16).hexdigest()
        scan = Scan.of(header, payload_image(header, arrival.payload))
        loaded.machine.take(scan)
        judge.preparation.prepare(scan)
        encode(report_of(arrival, header, finding, loaded))
