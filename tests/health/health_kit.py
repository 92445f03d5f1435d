"""Health files as gate and inspector would have left them, without either."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from edge.health.gate import LAYOUT as GATE
from edge.health.inspector import LAYOUT as INSPECTOR
from edge.health.ledger import Ledger
from edge.health.words import ArchiveShown, Camera, GateState, InspectorSaid, InspectorShown, Objection, Store

MS = 1_000_000
BUNDLE = "b" * 64


def gate_state(**changes: object) -> GateState:
    now_ns = time.monotonic_ns()
    said = InspectorSaid(pid=2, ready=True, backend="openvino", bundle=BUNDLE, bundle_version=3, camera_alive=True, known_answers=4)
    state = GateState(
        at_ns=now_ns,
        port="/dev/robot",
        link="handshake",
        budget_ms=200.0,
        alarm_mb=1024.0,
        config="c" * 64,
        accepting=True,
        store_healthy=True,
        store=Store(rows=1_234, live_bytes=3 << 20, free_bytes=20 << 30),
        port_open=True,
        session="0123456789abcdef",
        session_ns=now_ns - 90_000 * MS,
        robot_ns=now_ns - 40 * MS,
        inspector=said,
        inspector_alive=True,
        inspector_ns=now_ns - 20 * MS,
    )
    return msgspec.structs.replace(state, **changes)


def inspector_state(**changes: object) -> InspectorShown:
    now_ns = time.monotonic_ns()
    shown = InspectorShown(
        at_ns=now_ns,
        ready=True,
        bundle=BUNDLE,
        bundle_version=3,
        backend="openvino",
        typologies=("T2", "T5"),
        known_answers=4,
        gate_connected=True,
        cameras=(Camera(name="cam0", alive=True, heard_ns=now_ns - 100 * MS, frames=60, counter=59),),
        archive=ArchiveShown(written=7, used_bytes=1 << 20, free_bytes=9 << 30),
        rss_bytes=300 << 20,
    )
    return msgspec.structs.replace(shown, **changes)


def refused(*reasons: str, details: str = "seen", **changes: object) -> GateState:
    """A gate that accepts nothing, for these reasons."""
    objections = tuple(Objection(name="condition", reason=reason, detail=details) for reason in reasons)
    return gate_state(accepting=False, objections=objections, **changes)


class Box:
    """Both files in a folder; `close` ends their writers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        now_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        self.gate = Ledger(folder / "gate.health", GATE, release="0.1.0", now_ns=now_ns, wall_ns=wall_ns)
        self.inspector = Ledger(folder / "inspector.health", INSPECTOR, release="0.1.0", now_ns=now_ns, wall_ns=wall_ns)
        self.open = {"gate": self.gate, "inspector": self.inspector}

    def say(self, gate: GateState | None = None, inspector: InspectorShown | None = None) -> Box:
        self.gate.publish(msgspec.json.encode(gate or gate_state()))
        self.inspector.publish(msgspec.json.encode(inspector or inspector_state()))
        return self

    def work(self, welds: int = 1_000) -> Box:
        """So many verdicts with times from 1 ms on, one of them of 150 ms."""
        for number in range(welds):
            took_ns = 150 * MS if number == 7 else (1 + number % 20) * MS
            for stage in ("decided", "durable", "commit", "sent", "judged", "confirmed"):
                self.gate.histograms[stage].record(took_ns)
            for stage in ("prepared", "scored", "reported", "whole", "captured"):
                self.inspector.histograms[stage].record(took_ns // 2)
            accepted = number % 10 != 0
            self.gate.tables["verdicts"].add("ACCEPT" if accepted else "REJECT", "OK" if accepted else "DEFECT", "T2")
            self.gate.tables["dispositions"].add("ACCEPT" if accepted else "REJECT", "ACCEPTED" if accepted else "REJECTED")
            self.inspector.tables["frames"].add("cam0", "OK")
        self.gate.tables["misses"].add("NO_FRAME", count=2)
        self.gate.tables["events"].add("noise", "bad_crc", count=5)
        self.inspector.tables["events"].add("cam0", "FRAME_GAP", count=3)
        self.inspector.tables["failures"].add("EngineError")
        self.gate.add("triggers", welds)
        return self

    def end(self, *names: str) -> None:
        for name in names or tuple(self.open):
            if name in self.open:
                self.open.pop(name).close(time.time_ns())
