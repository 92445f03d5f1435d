"""What the inspector tells the gate, put together in one place: reports of frames, and its own state with the counts."""

from __future__ import annotations

import os
import time

from edge.contract import CONTRACT_VERSION, FrameEvent, InspectorState, Reason, Report
from edge.errors import BudgetError, CordonError, EngineError, FrameError, GpuError
from edge.inspector.camera import Arrival
from edge.inspector.explaining import NOTHING, Explained
from edge.inspector.frame import FrameHeader
from edge.inspector.judging import Finding
from edge.inspector.loader import Loaded

MAX_DETAIL = 400
"""Characters of an explanation that travel; the longest named values fit, a hostile header does not."""


class Status:
    """Counts frames, gaps and refusals, and describes the inspector."""

    def __init__(self) -> None:
        self.loaded: Loaded | None = None
        self.config = ""
        """SHA-256 of the configuration file that rules."""
        self._frames = self._gaps = self._refused = 0

    def frame(self, finding: Finding) -> None:
        """One frame with a readable header was judged or refused."""
        self._frames += 1
        self._refused += finding.reason is not Reason.OK

    def event(self, event: FrameEvent) -> None:
        """Frames were lost, or a message without a readable header came."""
        if event.reason is Reason.FRAME_GAP:
            self._gaps += event.count
        else:
            self._refused += 1

    def state(self, *, ready: bool, camera_alive: bool, fault: CordonError | None = None) -> InspectorState:
        """The message for the gate; with a `fault` nothing is ready."""
        loaded = self.loaded
        return InspectorState(
            version=CONTRACT_VERSION,
            pid=os.getpid(),
            ready=ready and fault is None,
            backend="" if loaded is None else loaded.backend,
            bundle="" if loaded is None else loaded.bundle,
            bundle_version=0 if loaded is None else loaded.version,
            typologies=() if loaded is None else tuple(loaded.judges),
            known_answers=0 if loaded is None else loaded.known_answers,
            camera_alive=camera_alive,
            frames=self._frames,
            gaps=self._gaps,
            refused=self._refused,
            sent_ns=time.monotonic_ns(),
            fault_reason=None if fault is None else reason_of(fault),
            fault="" if fault is None else str(fault)[:MAX_DETAIL],
            config=self.config,
        )


def reason_of(fault: CordonError) -> Reason:
    """What a verdict says when `fault` is why there is none."""
    if isinstance(fault, FrameError):
        return fault.reason
    if isinstance(fault, GpuError):
        return Reason.GPU_FAULT
    if isinstance(fault, BudgetError):
        return Reason.TOO_SLOW
    return Reason.ENGINE_FAILED if isinstance(fault, EngineError) else Reason.BUNDLE_FAULT


def refusal(reason: Reason, detail: str) -> Finding:
    """The finding for a frame that no engine judged; its score is bad whatever is done with it."""
    return Finding(reason=reason, detail=detail, typology=None, prepared_ns=time.monotonic_ns())


def report_of(arrival: Arrival, header: FrameHeader, finding: Finding, loaded: Loaded, explained: Explained = NOTHING) -> Report:
    """The one report a frame gets."""
    return Report(
        camera=header.camera,
        counter=header.counter,
        trigger=header.trigger_id,
        part=header.part,
        weld=header.weld,
        typology_named=header.typology,
        typology=finding.typology,
        reason=finding.reason,
        detail=finding.detail[:MAX_DETAIL],
        score=finding.score,
        threshold=finding.threshold,
        members=finding.members,
        members_expected=finding.members_expected,
        router_confidence=finding.router_confidence,
        bundle=loaded.bundle,
        backend=loaded.backend,
        payload_hash=arrival.payload_hash,
        captured_ns=header.captured_ns,
        received_ns=arrival.received_ns,
        prepared_ns=finding.prepared_ns,
        scored_ns=time.monotonic_ns(),
        map=explained.text,
        map_note=explained.note,
    )
