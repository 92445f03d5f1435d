"""Which modules are the safety core, and which tests answer for each."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """A module and the test files that must find every change of it, the quickest first."""

    module: str
    tests: tuple[str, ...]
    """Files, and what else pytest is to be told."""

    @property
    def path(self) -> str:
        """The module's file, from the repository's root."""
        return self.module.replace(".", "/") + ".py"


VALUES = "tests/edge/test_values.py"


def _gate(name: str, *tests: str, values: bool = False) -> Target:
    return Target(f"edge.gate.{name}", (*(f"tests/gate/test_{test}.py" for test in tests), *([VALUES] if values else [])))


def _session(name: str, *tests: str) -> Target:
    """Without the tests that take long because they try much at random."""
    return Target(f"edge.gate.{name}", (*_gate(name, *tests).tests, "-k", "not Machine and not random and not without_proof and not 999"))


_RECORDS = ("records", "records_segments", "records_storage", "records_latch")
TARGETS = (
    _gate("verdict", "verdict", values=True),
    _gate("codec", "codec", "robot_link_document", values=True),
    _gate("fields", "codec"),
    _gate("messages", "codec", "robot_link_document", values=True),
    _gate("parts", "parts", values=True),
    _gate("recipe", "recipe", values=True),
    _gate("latches", "latches"),
    _gate("case", "session_case", "session_sides"),
    _gate("events", "session_events"),
    _gate("settings", "session_settings"),
    _gate("push", "session_push", "push", "latches"),
    _session("casework", "session_sides", "session_time", "session_robot", "session_push", "latches", "handshake", "parts"),
    _session("session", "session_sides", "session_time", "latches", "handshake", "standing"),
    _session("robot_session", "session_robot", "session_time", "session_sides", "handshake", "parts", "standing"),
    _session("handshake", "session_robot", "session_time", "session_sides", "latches", "handshake", "handshake_early", "parts"),
    _gate("challenge", "challenge_proofs", "challenge_times", "challenge", "challenge_file", values=True),
    _gate("shifts", "shifts"),
    _gate("challenge_file", "challenge_file"),
    _gate("challenge_start", "challenge_file"),
    Target("edge.notify", ("tests/edge/test_notify.py",)),
    Target("edge.bundle", ("tests/edge/test_bundle.py", VALUES)),
    Target("edge.manifest", ("tests/edge/test_manifest_limits.py", VALUES)),
    _gate("modbus_map", "modbus_map", "modbus_document"),
    _gate("modbus_answer", "modbus_map"),
    _gate("rows", "records_rows", "records"),
    _gate("chain", "records_chain"),
    _gate("store", "records_store"),
    _gate("newest", "records_segment_files"),
    _gate("segments", "records_segment_files"),
    _gate("records", "records_recorder", "standing"),
    _gate("leftovers", "records_segment_files"),
    _gate("latch", "records_latch_file"),
    _gate("latch_watch", "records_recorder"),
    _gate("audit", "records_reading"),
    _gate("database", "records_segment_files"),
    _gate("retention", "records_disk_file"),
    _gate("exported", "records_disk_file"),
    _gate("snapshot", "records_reading"),
    _gate("quarantine", "records_reading"),
    _gate("keeper", "records_disk_file", "standing"),
    _gate("disk", "records_disk_file", "standing"),
    _gate("reader_lock", "records_disk_file"),
)
