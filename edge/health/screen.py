"""The operator's page: the first line says whether the line accepts and why not, the rest what everything rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge.health.report import Counted, Gate, Inspector, Process, Report, Stage
from edge.health.words import ChallengeShown

TITLES = {"accepting": "ACCEPTING", "not_accepting": "NOT ACCEPTING", "unknown": "UNKNOWN"}
STAGES = {
    "gate": (
        ("decided", "trigger to decision"),
        ("durable", "trigger to durable record"),
        ("sent", "trigger to verdict sent"),
        ("judged", "  of them on a scored frame"),
        ("confirmed", "verdict to confirmation"),
    ),
    "inspector": (("prepared", "frame to heightmap"), ("scored", "heightmap to score"), ("whole", "frame to report")),
}
MIB, GIB = 2**20, 2**30
SHOWN = 6
"""Reasons of verdicts that get their own word on the page."""


def page(report: Report) -> str:
    """The whole page, without a newline at its end."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    more = f" (and {len(report.why) - 1} more)" if len(report.why) > 1 else ""
    but = f", but {report.but.text}" if report.but is not None else ""
    yield f"{TITLES[report.answer]}" + (f": {report.why[0].text}{more}" if report.why else but)
    if report.but is not None:
        yield f"  do:   {report.but.remedy}"
    for number, why in enumerate(report.why):
        if number:
            yield f"  also: {why.text}"
        yield f"  do:   {why.remedy}"
    for text in report.warnings:
        yield f"  note: {text}"
    if report.gate is not None and report.gate_process.found == "alive":
        yield ""
        yield from _gate(report.gate, report.gate_process)
    if report.inspector_process.found in ("alive", "dead"):
        yield from _inspector(report.inspector, report.inspector_process)
    if report.temperatures_c:
        hottest = sorted(report.temperatures_c.items(), key=lambda sensor: -sensor[1])[:3]
        yield _row("heat", ", ".join(f"{name} {value:.0f} °C" for name, value in hottest))
    yield from _latencies(report)
    for process in (report.gate_process, report.inspector_process):
        if process.note and process.found in ("alive", "dead"):
            yield _row("note", process.note)


def _gate(gate: Gate, process: Process) -> Iterator[str]:
    robot, store, counters = gate.robot, gate.store, process.counters
    link = (
        f"session {robot.session} for {_ago(robot.session_s or 0.0)}" if robot.session else "no session" if robot.port_open else "port gone"
    )
    events = process.tables.get("events", ())
    noise = sum(row.count for row in events if row.label[0] == "noise")
    missed, resends = counters.get("heartbeats_missed", 0), counters.get("resends", 0)
    yield _row("gate", f"pid {process.pid} since {process.started}, configuration {gate.config[:12]}, release {process.release}")
    yield _row("robot", f"{robot.port} {robot.link}, {link}, {_heard(robot.heard_s)}")
    yield _row(
        "", f"{missed} heartbeats missed, {noise} broken frames, {resends} resends, {counters.get('port_openings', 0)} port openings"
    )
    held = "" if store.reserve_held else ", RESERVE NOT HELD"
    healthy = "healthy" if gate.store_healthy else "FAILING"
    rows = f"{store.rows} rows, live file {_bytes(store.live_bytes)}, {_bytes(store.free_bytes)} free"
    yield _row("records", f"{healthy}{held}, {rows}, {store.waiting} waiting")
    for why in gate.latched:
        yield _row("LATCHED", why)
    if gate.challenge is not None:
        yield _row("challenge", _challenge(gate.challenge))
    oldest = f", the oldest {_ago(gate.oldest_s or 0.0)} old" if gate.triggers_waiting else ""
    recipe = "" if gate.recipe is None else f", recipe {gate.recipe or 'none'}"
    yield _row("triggers", f"{counters.get('triggers', 0)}, {gate.triggers_waiting} waiting{oldest}{recipe}")
    yield _row("verdicts", _verdicts(process.tables.get("verdicts", ())))
    misses = ", ".join(f"{row.label[0]} {row.count}" for row in process.tables.get("misses", ()))
    yield _row("missed", misses or "none")


def _challenge(challenge: ChallengeShown) -> str:
    if not challenge.accepting:
        return f"DUE: {challenge.why}"
    due_s = challenge.due_in_s
    when = "not due again by time" if due_s is None else f"due in {_ago(due_s)}" if due_s > 0 else f"due since {_ago(-due_s)}"
    return f"passed by bundle {challenge.bundle[:12]}, {when}"


def _verdicts(rows: Sequence[Counted]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        name = row.label[0] if row.label[0] == "ACCEPT" or len(row.label) < 2 else row.label[1]
        counts[name] = counts.get(name, 0) + row.count
    most = sorted(counts.items(), key=lambda item: (item[0] != "ACCEPT", -item[1]))
    rest = sum(count for _, count in most[SHOWN:])
    return ", ".join([f"{name} {count}" for name, count in most[:SHOWN]] + ([f"others {rest}"] if rest else [])) or "none yet"


def _inspector(inspector: Inspector | None, process: Process) -> Iterator[str]:
    if process.found == "dead":
        last = f": {inspector.doing}" if inspector is not None and inspector.doing else ""
        yield _row("inspector", f"does not run (the last one was pid {process.pid}){last}")
        return
    if inspector is None:
        yield _row("inspector", f"pid {process.pid}, its state cannot be read")
        return
    state = "ready" if inspector.ready else inspector.doing or "not ready"
    bundle = (
        f"bundle {inspector.bundle[:12]} version {inspector.bundle_version}, {inspector.backend}" if inspector.bundle else "no bundle yet"
    )
    yield _row("inspector", f"pid {process.pid}, {state}, {bundle}")
    yield _row("", f"{_bytes(inspector.rss_bytes)} of memory, {inspector.undelivered} messages not delivered")
    if inspector.worst_ms:
        worst, name = max((ms, name) for name, ms in inspector.worst_ms.items())
        yield _row("", f"{name}: {worst:.1f} ms at worst of {inspector.room_ms:.1f} ms, measured at start")
    for camera in inspector.cameras:
        alive = "alive" if camera.alive else "SILENT"
        lost, refused = _of_camera(process, camera.name)
        text = f"{alive}, {_heard(camera.heard_s)}, {camera.frames} frames, {refused} refused, {lost} lost"
        yield _row(camera.name, text)
    if inspector.archive is not None:
        archive = inspector.archive
        yield _row(
            "archive", f"{archive.written} written, {archive.lost} lost, {archive.waiting} waiting, {_bytes(archive.free_bytes)} free"
        )


def _of_camera(process: Process, name: str) -> tuple[int, int]:
    """Frames lost, and frames or messages refused."""
    events = [row for row in process.tables.get("events", ()) if row.label[0] == name and row.label[1:] != ("CAMERA_OPEN",)]
    lost = sum(row.count for row in events if row.label[1:] == ("FRAME_GAP",))
    frames = [row for row in process.tables.get("frames", ()) if row.label[0] == name and row.label[1:] != ("OK",)]
    return lost, sum(row.count for row in events) - lost + sum(row.count for row in frames)


def _latencies(report: Report) -> Iterator[str]:
    rows = []
    for who, process in (("gate", report.gate_process), ("inspector", report.inspector_process)):
        for name, title in STAGES[who]:
            times = process.stages.get(name)
            if times is not None and times.count:
                rows.append(_times(title, times))
    if rows:
        budget = f"budget {report.gate.budget_ms:g} ms" if report.gate is not None else ""
        yield ""
        yield f"{'ms since start':<28}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}{'count':>10}   {budget}".rstrip()
        yield from rows


def _times(title: str, times: Stage) -> str:
    torn = "" if times.whole else "   (torn)"
    return f"{title:<28}{times.p50_ms:9.2f}{times.p99_ms:9.2f}{times.p999_ms:9.2f}{times.max_ms:9.2f}{times.count:10d}{torn}"


def _row(name: str, text: str) -> str:
    return f"{name:<10} {text}"


def _heard(seconds: float | None) -> str:
    return "never heard" if seconds is None else f"heard {_ago(seconds)} ago"


def _ago(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.0f} h"


def _bytes(count: int) -> str:
    if count < 0:
        return "?"
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"
