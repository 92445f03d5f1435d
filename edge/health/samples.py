"""From one look at the health files to values for the names of `edge.health.metrics`; pure, and without Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from edge.health.buckets import UNIT_BITS, end_ns
from edge.health.look import Look, answer
from edge.health.reader import Reading, Times
from edge.health.words import GateState, InspectorShown

Sample: TypeAlias = "tuple[str, tuple[str, ...], float]"
"""Name, the labels' values, value."""
NS_PER_S = 1e9
QUANTILES = (0.5, 0.99, 0.999)
FIRST_POWER, LAST_POWER = 8, 20
"""From 0.26 ms to 1.07 s there are four bounds for each power of two (units of 1.024 us), then one up to 8.6 s."""
BOUNDS_NS = tuple(
    end << UNIT_BITS
    for power in range(FIRST_POWER, 23)
    for end in ([(4 + part) << (power - 2) for part in range(1, 5)] if power < LAST_POWER else [2 << power])
)
"""Ends of buckets, so that nothing is counted on the wrong side of one."""
COUNTERS = {
    "gate": {
        "triggers": "cordon_triggers_total",
        "resends": "cordon_robot_resends_total",
        "heartbeats": "cordon_robot_heartbeats_total",
        "heartbeats_missed": "cordon_robot_heartbeats_missed_total",
        "sessions": "cordon_robot_sessions_total",
        "inspectors": "cordon_inspector_connections_total",
        "port_openings": "cordon_robot_port_openings_total",
        "record_failures": "cordon_records_failures_total",
    },
    "inspector": {
        "reports_lost": "cordon_reports_lost_total",
        "prewarms": "cordon_prewarms_total",
        "swaps": "cordon_bundle_swaps_total",
        "clock_foreign": "cordon_frames_foreign_clock_total",
    },
}
TABLES = {
    "gate": {
        "verdicts": ("cordon_verdicts_total", 3),
        "dispositions": ("cordon_dispositions_total", 2),
        "events": ("cordon_events_total", 2),
        "misses": ("cordon_deadline_misses_total", 1),
    },
    "inspector": {
        "frames": ("cordon_frames_total", 2),
        "events": ("cordon_frame_events_total", 2),
        "failures": ("cordon_engine_failures_total", 1),
    },
}
"""For each table of a health file its metric and how many words a label has; `other` fills what a label lacks."""
FROM_ZERO: dict[str, tuple[tuple[str, ...], ...]] = {
    "misses": (("NO_FRAME",), ("DEADLINE",), ("RECORD_LATE",), ("NOT_SENT",), ("SENT_LATE",)),
    "events": tuple(("noise", kind) for kind in ("bad_crc", "too_long", "garbage", "echoed", "malformed")),
    "failures": (("EngineError",), ("GpuError",)),
}
"""What an alert waits for is there before it happens: Prometheus sees no increase in a series that begins at 1."""


def samples(seen: Look, temperatures_c: Mapping[str, float]) -> Iterator[Sample]:
    """Every value but the histograms. What a process that ended has left behind is not shown: its numbers would seem to go on."""
    said, whys = answer(seen)
    yield "cordon_accepting", (), float(said == "accepting")
    for reason in dict.fromkeys(why.reason for why in whys):
        yield "cordon_not_accepting", (reason,), 1.0
    for name, reading in (("gate", seen.gate), ("inspector", seen.inspector)):
        yield from _process(seen, name, reading)
    if seen.gate.found == "alive" and seen.gate_state is not None:
        yield from _gate(seen, seen.gate_state)
    if seen.inspector.found == "alive" and seen.inspector_state is not None:
        yield from _inspector(seen, seen.inspector_state)
    for sensor, value in temperatures_c.items():
        yield "cordon_temperature_celsius", (sensor,), value


def histograms(seen: Look) -> Iterator[tuple[tuple[str, str], Times]]:
    """Process and stage of each, with its times."""
    for name, reading in (("gate", seen.gate), ("inspector", seen.inspector)):
        if reading.found == "alive":
            for stage, times in reading.times.items():
                yield (name, stage), times


def cumulative(times: Times) -> list[tuple[float, int]]:
    """For each bound in seconds how many times lie below it."""
    found, seen, bucket = [], 0, 0
    for bound_ns in BOUNDS_NS:
        while bucket < len(times.buckets) and end_ns(bucket) <= bound_ns:
            seen += times.buckets[bucket]
            bucket += 1
        found.append((bound_ns / NS_PER_S, seen))
    return found


def _process(seen: Look, name: str, reading: Reading) -> Iterator[Sample]:
    alive = reading.found == "alive"
    yield "cordon_up", (name,), float(alive and not reading.broken)
    yield "cordon_torn", (name,), float(bool(reading.times) and bool(reading.note))
    if not alive:
        return
    yield "cordon_start_time_seconds", (name,), reading.started_wall_ns / NS_PER_S
    yield "cordon_step_age_seconds", (name,), seen.ago_s(reading.step_ns) or 0.0
    for counter, metric in COUNTERS[name].items():
        yield metric, (), float(reading.counters.get(counter, 0))
    for table, (metric, words) in TABLES[name].items():
        zeros = dict.fromkeys(FROM_ZERO.get(table, ()) if (name, table) != ("inspector", "events") else (), 0)
        for label, count in {**zeros, **reading.tables.get(table, {})}.items():
            yield metric, (*label, *["other"] * words)[:words], float(count)
    for stage, times in reading.times.items():
        yield "cordon_stage_max_seconds", (name, stage), times.max_ns / NS_PER_S
        for quantile in QUANTILES if times.count else ():
            yield "cordon_stage_since_start_seconds", (name, stage, f"{quantile:g}"), times.quantile_ns(quantile) / NS_PER_S


def _gate(seen: Look, state: GateState) -> Iterator[Sample]:
    store, said = state.store, state.inspector
    yield "cordon_info", ("gate", seen.gate.release, state.config[:12], "", "", "", state.link), 1.0
    yield "cordon_budget_seconds", (), state.budget_ms / 1e3
    yield "cordon_triggers_open", (), float(state.open)
    yield "cordon_triggers_waiting", (), float(state.waiting)
    yield "cordon_trigger_oldest_age_seconds", (), seen.ago_s(state.oldest_ns) or 0.0
    yield "cordon_robot_port_open", (), float(state.port_open)
    yield "cordon_robot_session_open", (), float(bool(state.session))
    yield from _age("cordon_robot_heard_age_seconds", (), seen.ago_s(state.robot_ns))
    yield "cordon_latched", (), float(len(state.latched))
    yield "cordon_records_healthy", (), float(state.store_healthy)
    yield "cordon_records_reserve_held", (), float(store.reserve_held)
    yield "cordon_records_waiting", (), float(store.waiting)
    yield "cordon_records_backlog_rows", (), float(store.backlog)
    yield "cordon_records_lost_rows", (), float(store.lost)
    yield "cordon_records_rows", (), float(store.rows)
    yield from _size("cordon_records_live_bytes", store.live_bytes)
    yield from _size("cordon_records_free_bytes", store.free_bytes)
    yield "cordon_records_alarm_bytes", (), state.alarm_mb * 2**20
    yield "cordon_log_dropped_total", (), float(state.log_dropped)
    yield "cordon_inspector_connected", (), float(state.inspector_alive)
    yield "cordon_inspector_ready", (), float(said is not None and said.ready)
    yield from _age("cordon_inspector_heard_age_seconds", (), seen.ago_s(state.inspector_ns))


def _inspector(seen: Look, shown: InspectorShown) -> Iterator[Sample]:
    version = str(shown.bundle_version) if shown.bundle else ""
    yield "cordon_info", ("inspector", seen.inspector.release, "", shown.bundle[:12], version, shown.backend, ""), 1.0
    for camera in shown.cameras:
        yield "cordon_camera_alive", (camera.name,), float(camera.alive)
        if (camera.name, "FRAME_GAP") not in seen.inspector.tables.get("events", {}):
            yield "cordon_frame_events_total", (camera.name, "FRAME_GAP"), 0.0
        yield from _age("cordon_camera_heard_age_seconds", (camera.name,), seen.ago_s(camera.heard_ns))
    yield "cordon_undelivered_messages", (), float(shown.undelivered)
    for typology, worst_ms in shown.worst_ms.items():
        yield "cordon_inspector_worst_case_seconds", (typology,), worst_ms / 1e3
    if shown.worst_ms:
        yield "cordon_inspector_room_seconds", (), shown.room_ms / 1e3
    yield "cordon_inspector_resident_bytes", (), float(shown.rss_bytes)
    yield "cordon_inspector_page_faults_total", ("major",), float(shown.faults_major)
    yield "cordon_inspector_page_faults_total", ("minor",), float(shown.faults_minor)
    if shown.archive is not None:
        yield "cordon_archive_waiting", (), float(shown.archive.waiting)
        yield "cordon_archive_written_total", (), float(shown.archive.written)
        yield "cordon_archive_lost_total", (), float(shown.archive.lost)
        yield from _size("cordon_archive_used_bytes", shown.archive.used_bytes)
        yield from _size("cordon_archive_free_bytes", shown.archive.free_bytes)


def _age(name: str, labels: tuple[str, ...], seconds: float | None) -> Iterator[Sample]:
    """What never happened has no age."""
    if seconds is not None:
        yield name, labels, seconds


def _size(name: str, size: int) -> Iterator[Sample]:
    if size >= 0:
        yield name, (), float(size)
