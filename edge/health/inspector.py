"""What the inspector counts and shows: frames and their stages, cameras, engines, memory; after the report has left."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from edge import __version__
from edge.contract import FrameEvent, Reason, Report
from edge.health.harmless import harmless
from edge.health.layout import Layout
from edge.health.ledger import Ledger
from edge.health.words import ArchiveShown, Camera, InspectorShown

LAYOUT = Layout(
    "inspector",
    counters=("frames", "reports_lost", "prewarms", "swaps", "clock_foreign"),
    histograms=("prepared", "scored", "reported", "whole", "captured"),
    tables={"frames": 512, "events": 256, "failures": 16},
)
NS_PER_MS = 1_000_000
EVERY_NS = 250 * NS_PER_MS
"""The state is put together anew this often,"""
LATEST_NS = 1_000 * NS_PER_MS
"""and this often while a frame is expected."""
OLDEST_NS = 60_000 * NS_PER_MS
"""A frame that claims to be older, or not yet exposed, comes from a camera whose clock is not this box's."""
PAGE = os.sysconf("SC_PAGE_SIZE")


class Loaded(Protocol):
    """What of the loaded bundle is shown."""

    @property
    def bundle(self) -> str:
        """Its hash."""

    @property
    def version(self) -> int:
        """As the manifest says."""

    @property
    def backend(self) -> str:
        """Runtime and processor."""

    @property
    def known_answers(self) -> int:
        """Golden inputs that agreed."""


class Feed(Protocol):
    """A camera's socket."""

    name: str

    @property
    def heard_ns(self) -> int:
        """When anything was last heard of it."""

    @property
    def refused(self) -> int:
        """Connections and messages that were not let in."""

    @property
    def refusal(self) -> str:
        """The last of them."""

    def alive(self, now_ns: int) -> bool:
        """Is that recent enough?"""


class InspectorHealth:
    """Counts into `inspector.health` beside the gate's socket. No method raises: see `edge.health.harmless`."""

    def __init__(self, socket: Path) -> None:
        """`socket` is the gate's: the file lies beside it."""
        now_ns = time.monotonic_ns()
        path = socket.with_name("inspector.health")
        self._ledger = Ledger(path, LAYOUT, release=__version__, now_ns=now_ns, wall_ns=time.time_ns())
        self.problem = self._ledger.problem
        self._times, self._tables = self._ledger.histograms, self._ledger.tables
        self._seen: dict[str, tuple[int, int]] = {}
        """Of each camera, its frames and the last one's counter."""
        self._shown_ns = 0
        self._closed = False
        self._bundle = ""
        self._doing = "starting"
        self._worst_ms: dict[str, float] = {}
        self._room_ms = 0.0
        self._statm = _statm()
        self.loading("starting")

    def stand_still(self) -> None:
        """Nothing is counted any more, and readers see that."""
        self._ledger.broken()

    # what happens

    @harmless
    def loading(self, doing: str) -> None:
        """Nothing is judged yet, and this is why; later milestones are none of loading."""
        if self._bundle:
            return
        self._doing, now_ns = doing[:400], time.monotonic_ns()
        self._ledger.step(now_ns, time.time_ns())
        self._publish(self._common(now_ns))

    @harmless
    def measured(self, worst_ms: dict[str, float], room_ms: float) -> None:
        """What the bundle that judges from now on takes at worst, by case, and what there is for it."""
        self._worst_ms, self._room_ms = dict(worst_ms), room_ms

    @harmless
    def reported(self, report: Report, *, delivered: bool, sent_ns: int) -> None:
        """The report of a frame was handed to the gate, or could not be."""
        frames, _ = self._seen.get(report.camera, (0, 0))
        self._seen[report.camera] = (frames + 1, report.counter)
        self._ledger.begin()
        self._ledger.add("frames")
        self._ledger.add("reports_lost", int(not delivered))
        self._tables["frames"].add(report.camera, report.reason.value)
        if report.reason is Reason.OK:
            times = self._times
            times["prepared"].record(report.prepared_ns - report.received_ns)
            times["scored"].record(report.scored_ns - report.prepared_ns)
            times["reported"].record(sent_ns - report.scored_ns)
            times["whole"].record(sent_ns - report.received_ns)
            self._age(report)
        self._ledger.end()

    def _age(self, report: Report) -> None:
        """From exposure to arrival, where the camera's clock is this box's."""
        age_ns = time.time_ns() - report.captured_ns - (time.monotonic_ns() - report.received_ns)
        if 0 <= age_ns <= OLDEST_NS:
            self._times["captured"].record(age_ns)
        else:
            self._ledger.add("clock_foreign")

    @harmless
    def event(self, event: FrameEvent) -> None:
        """Frames were lost, or a message was of no use."""
        self._tables["events"].add(event.camera, event.reason.value, count=max(1, event.count))

    @harmless
    def warmed(self) -> None:
        """The expected engine was run before its frame came."""
        self._ledger.add("prewarms")

    @harmless
    def failed(self, error: BaseException) -> None:
        """An engine, or the GPU, failed."""
        self._tables["failures"].add(type(error).__name__)

    @harmless
    def step(
        self,
        *,
        busy: bool,
        ready: bool,
        loaded: Loaded,
        typologies: Sequence[str],
        feeds: Sequence[Feed],
        connected: bool,
        undelivered: int,
        notice: BaseException | None,
        archive: ArchiveShown | None,
    ) -> None:
        """The loop got round; the state follows when it is due, or a little later where a frame is expected any moment (`busy`)."""
        now_ns = time.monotonic_ns()
        self._ledger.step(now_ns, time.time_ns())
        if self._bundle and now_ns - self._shown_ns < (LATEST_NS if busy else EVERY_NS):
            return
        if self._bundle not in ("", loaded.bundle):
            self._ledger.add("swaps")
        self._bundle, self._doing = loaded.bundle, ""
        self._publish(
            msgspec.structs.replace(
                self._common(now_ns),
                ready=ready,
                bundle=loaded.bundle,
                bundle_version=loaded.version,
                backend=loaded.backend,
                typologies=tuple(typologies),
                known_answers=loaded.known_answers,
                gate_connected=connected,
                undelivered=undelivered,
                notice="" if notice is None else str(notice)[:400],
                cameras=tuple(self._camera(feed, now_ns) for feed in feeds),
                archive=archive,
            )
        )

    def ended(self, fault: BaseException) -> None:
        """The process is about to end for this."""
        self._bundle = ""
        self.loading(f"ended by a fault: {fault}")

    def close(self) -> None:
        """The process ends."""
        if self._closed:
            return
        self._closed, self.problem = True, self.problem or "closed"
        self._ledger.close(time.time_ns())
        if self._statm >= 0:
            os.close(self._statm)

    # what it means

    def _camera(self, feed: Feed, now_ns: int) -> Camera:
        frames, counter = self._seen.get(feed.name, (0, -1))
        return Camera(
            name=feed.name,
            alive=feed.alive(now_ns),
            heard_ns=feed.heard_ns,
            frames=frames,
            counter=counter,
            refused=feed.refused,
            refusal=feed.refusal[:200],
        )

    def _common(self, now_ns: int) -> InspectorShown:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        resident = int(os.pread(self._statm, 128, 0).split()[1]) * PAGE if self._statm >= 0 else 0
        return InspectorShown(
            at_ns=now_ns,
            step=self._doing,
            worst_ms=self._worst_ms,
            room_ms=self._room_ms,
            rss_bytes=resident,
            faults_major=usage.ru_majflt,
            faults_minor=usage.ru_minflt,
            problem=self.problem,
        )

    def _publish(self, shown: InspectorShown) -> None:
        self._shown_ns = shown.at_ns
        self._ledger.publish(msgspec.json.encode(shown))


def _statm() -> int:
    """The kernel's page about this process's memory, opened once; -1 where there is none to be had."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
