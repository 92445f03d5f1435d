"""The names that Prometheus sees: base units, `_total` for what only grows, and no label that a part or a session could make long."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["gauge", "counter", "histogram"]


class Metric(NamedTuple):
    """One family of series. Counters carry their `_total`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


METRICS = (
    Metric("cordon_up", "gauge", "1 while this process runs and keeps numbers", ("process",)),
    Metric("cordon_accepting", "gauge", "1 while a good weld would be accepted; 0 while not, and while nobody can say"),
    Metric("cordon_not_accepting", "gauge", "1 for each reason why nothing is accepted now", ("reason",)),
    Metric("cordon_info", "gauge", "1; what runs there", ("process", "release", "config", "bundle", "bundle_version", "backend", "link")),
    Metric("cordon_start_time_seconds", "gauge", "When the process started (Unix time)", ("process",)),
    Metric("cordon_step_age_seconds", "gauge", "Since the process's loop last got round", ("process",)),
    Metric("cordon_torn", "gauge", "1 if a process died while it changed its numbers", ("process",)),
    Metric("cordon_budget_seconds", "gauge", "From trigger to verdict, as configured"),
    # times
    Metric("cordon_stage_seconds", "histogram", "Time that a stage of the verdict took", ("process", "stage")),
    Metric("cordon_stage_since_start_seconds", "gauge", "Quantiles since the process started", ("process", "stage", "quantile")),
    Metric("cordon_stage_max_seconds", "gauge", "The longest time since the process started, exactly", ("process", "stage")),
    # verdicts
    Metric("cordon_triggers_total", "counter", "Triggers opened"),
    Metric("cordon_verdicts_total", "counter", "Verdicts decided", ("outcome", "reason", "typology")),
    Metric("cordon_dispositions_total", "counter", "Triggers closed: what was sent, and what the robot did", ("sent", "done")),
    Metric("cordon_deadline_misses_total", "counter", "Triggers without their verdict in time", ("kind",)),
    Metric("cordon_events_total", "counter", "Events of the record", ("kind", "reason")),
    Metric("cordon_triggers_open", "gauge", "Triggers without disposition"),
    Metric("cordon_triggers_waiting", "gauge", "Triggers without verdict"),
    Metric("cordon_trigger_oldest_age_seconds", "gauge", "Age of the oldest of them; 0 without one"),
    # the robot
    Metric("cordon_robot_port_open", "gauge", "1 while the serial port is there"),
    Metric("cordon_robot_session_open", "gauge", "1 while robot and gate have a session"),
    Metric("cordon_robot_heard_age_seconds", "gauge", "Since the robot was last heard"),
    Metric("cordon_robot_heartbeats_total", "counter", "Heartbeats of the robot"),
    Metric(
        "cordon_robot_heartbeats_missed_total",
        "counter",
        "Heartbeats that its counter skipped, or that did not come before its session ended",
    ),
    Metric("cordon_robot_resends_total", "counter", "Verdicts sent again"),
    Metric("cordon_robot_sessions_total", "counter", "Sessions begun"),
    Metric("cordon_robot_port_openings_total", "counter", "Openings of the serial port"),
    # the records
    Metric("cordon_latched", "gauge", "Reasons that a person must look at before anything is accepted"),
    Metric("cordon_records_healthy", "gauge", "1 while records can be written"),
    Metric("cordon_records_reserve_held", "gauge", "1 while the disk's reserve is held"),
    Metric("cordon_records_failures_total", "counter", "Writes that failed"),
    Metric("cordon_records_waiting", "gauge", "Submissions that wait for the recorder"),
    Metric("cordon_records_backlog_rows", "gauge", "Rows in memory because the store cannot be written"),
    Metric("cordon_records_lost_rows", "gauge", "Rows beyond what memory keeps, until they are noted in the record"),
    Metric("cordon_records_rows", "gauge", "Rows of all record files"),
    Metric("cordon_records_live_bytes", "gauge", "Size of the live record file"),
    Metric("cordon_records_free_bytes", "gauge", "Room on its disk"),
    Metric("cordon_records_alarm_bytes", "gauge", "Less room than this is an alarm, as configured"),
    Metric("cordon_log_dropped_total", "counter", "Log lines of the gate that nobody took"),
    # the inspector, as the gate hears it
    Metric("cordon_inspector_connected", "gauge", "1 while an inspector is connected and speaks"),
    Metric("cordon_inspector_ready", "gauge", "1 while it says that it is ready"),
    Metric("cordon_inspector_heard_age_seconds", "gauge", "Since the gate last heard it"),
    Metric("cordon_inspector_connections_total", "counter", "Connections of inspectors"),
    # the inspector itself
    Metric("cordon_frames_total", "counter", "Frames with a readable header, by what became of them", ("camera", "reason")),
    Metric("cordon_frame_events_total", "counter", "Frames lost (FRAME_GAP), and messages of no use", ("camera", "reason")),
    Metric("cordon_camera_alive", "gauge", "1 while the camera is heard", ("camera",)),
    Metric("cordon_camera_heard_age_seconds", "gauge", "Since it was last heard", ("camera",)),
    Metric("cordon_frames_foreign_clock_total", "counter", "Frames whose age is unknown: their camera's clock is not this box's"),
    Metric("cordon_reports_lost_total", "counter", "Reports that the gate did not take"),
    Metric("cordon_undelivered_messages", "gauge", "Messages that it did not take since it was last connected"),
    Metric("cordon_engine_failures_total", "counter", "Failures of engines and GPU", ("kind",)),
    Metric("cordon_prewarms_total", "counter", "Engines run before their frame came"),
    Metric("cordon_bundle_swaps_total", "counter", "Bundles taken into use while running"),
    Metric("cordon_archive_waiting", "gauge", "Images that wait for the archive's disk"),
    Metric("cordon_archive_written_total", "counter", "Images archived"),
    Metric("cordon_archive_lost_total", "counter", "Images that could not be"),
    Metric("cordon_archive_used_bytes", "gauge", "Size of the archive"),
    Metric("cordon_archive_free_bytes", "gauge", "Room on its disk"),
    Metric("cordon_inspector_worst_case_seconds", "gauge", "What a frame takes at worst, measured at start", ("typology",)),
    Metric("cordon_inspector_room_seconds", "gauge", "What budget, wire, record and camera leave for it"),
    Metric("cordon_inspector_resident_bytes", "gauge", "Memory of the inspector"),
    Metric("cordon_inspector_page_faults_total", "counter", "Page faults of the inspector", ("kind",)),
    # the machine
    Metric("cordon_temperature_celsius", "gauge", "Sensors of the box", ("sensor",)),
)
