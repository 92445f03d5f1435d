"""What `cordon status --json` prints: one stable shape, whose schema is docs/status.schema.json; fields are only ever added."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.health.look import Answer, Look, answer, rejects_all_the_same, warnings
from edge.health.reader import Found, Reading, Times
from edge.health.words import ArchiveShown, ChallengeShown, GateState, InspectorShown, Store

SCHEMA: Literal[1] = 1
NS_PER_S, NS_PER_MS = 1e9, 1e6
Seconds = Annotated[float | None, Meta(description="Seconds ago; null: never, or not known")]


class WhyNot(msgspec.Struct, frozen=True, kw_only=True):
    """One reason not to accept, and what to do about it."""

    reason: str
    text: str
    remedy: str


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """Times of one stage since the process started, in ms; quantiles at most 3.1 % above the true ones, the maximum exact."""

    count: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    whole: bool
    """False: the process died while it changed these numbers."""


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """So many of these: `label` as the document lists for each table."""

    label: tuple[str, ...]
    count: int


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two daemons, and its numbers since it started."""

    found: Found
    note: str
    release: str
    pid: int
    started: str
    """Local time, ISO 8601; empty: not known."""
    step_s: Seconds
    counters: dict[str, int]
    stages: dict[str, Stage]
    tables: dict[str, tuple[Counted, ...]]


class Robot(msgspec.Struct, frozen=True, kw_only=True):
    """The serial link."""

    port: str
    link: str
    port_open: bool
    session: str | None
    session_s: Seconds
    session_lost: str
    heard_s: Seconds


class InspectorHeard(msgspec.Struct, frozen=True, kw_only=True):
    """The inspector as the gate hears it."""

    connected: bool
    alive: bool
    heard_s: Seconds
    ready: bool
    bundle: str
    bundle_version: int
    backend: str
    fault_reason: str | None
    fault: str


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate shows besides its counts."""

    budget_ms: float
    config: str
    boot: str
    robot: Robot
    store_healthy: bool
    latched: tuple[str, ...]
    challenge: ChallengeShown | None
    store: Store
    alarm_mb: float
    inspector: InspectorHeard
    recipe: str | None
    triggers_open: int
    triggers_waiting: int
    oldest_s: Seconds
    log_dropped: int
    unjudged: int
    unjudged_reason: str
    reload: str


class CameraHeard(msgspec.Struct, frozen=True, kw_only=True):
    """One camera."""

    name: str
    alive: bool
    heard_s: Seconds
    frames: int
    counter: int
    refused: int
    refusal: str


class Inspector(msgspec.Struct, frozen=True, kw_only=True):
    """What the inspector shows besides its counts."""

    ready: bool
    doing: str
    bundle: str
    bundle_version: int
    backend: str
    typologies: tuple[str, ...]
    known_answers: int
    gate_connected: bool
    undelivered: int
    notice: str
    cameras: tuple[CameraHeard, ...]
    archive: ArchiveShown | None
    worst_ms: dict[str, float]
    """What a frame takes at worst, by typology, as measured at start,"""
    room_ms: float
    """and what there is for it; 0: not measured yet."""
    rss_bytes: int
    faults_major: int
    faults_minor: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. `answer` is what the exit status says: accepting 0, not_accepting 1, unknown 2."""

    schema: Literal[1]
    at: str
    answer: Answer
    why: tuple[WhyNot, ...]
    but: WhyNot | None
    """While it accepts: why the last welds were rejected all the same, without being judged."""
    warnings: tuple[str, ...]
    """What does not stop the line, and should be seen to before it does."""
    gate_process: Process
    gate: Gate | None
    inspector_process: Process
    inspector: Inspector | None
    temperatures_c: dict[str, float]


def report(seen: Look, temperatures_c: dict[str, float]) -> Report:
    """Put one look into that shape."""
    said, whys = answer(seen)
    gate, inspector = seen.gate_state, seen.inspector_state
    return Report(
        schema=SCHEMA,
        at=_iso(time.time_ns()),
        answer=said,
        why=tuple(WhyNot(reason=why.reason, text=why.text, remedy=why.remedy) for why in whys),
        but=_but(seen) if said == "accepting" else None,
        warnings=tuple(warnings(seen)),
        gate_process=_process(seen, seen.gate),
        gate=None if gate is None else _gate(seen, gate),
        inspector_process=_process(seen, seen.inspector),
        inspector=None if inspector is None else _inspector(seen, inspector),
        temperatures_c=temperatures_c,
    )


def _but(seen: Look) -> WhyNot | None:
    found = rejects_all_the_same(seen)
    return None if found is None else WhyNot(reason=found[0], text=found[1], remedy=found[2])


def _process(seen: Look, reading: Reading) -> Process:
    return Process(
        found=reading.found,
        note=reading.note,
        release=reading.release,
        pid=reading.pid,
        started=_iso(reading.started_wall_ns),
        step_s=seen.ago_s(reading.step_ns) if reading.found == "alive" else None,
        counters=dict(reading.counters),
        stages={name: stage(times) for name, times in reading.times.items()},
        tables={name: tuple(Counted(label=label, count=count) for label, count in rows.items()) for name, rows in reading.tables.items()},
    )


def stage(times: Times) -> Stage:
    """The quantiles of one histogram."""
    p50, p99, p999 = (times.quantile_ns(quantile) / NS_PER_MS for quantile in (0.5, 0.99, 0.999))
    return Stage(count=times.count, p50_ms=p50, p99_ms=p99, p999_ms=p999, max_ms=times.max_ns / NS_PER_MS, whole=times.whole)


def _gate(seen: Look, state: GateState) -> Gate:
    said = state.inspector
    return Gate(
        budget_ms=state.budget_ms,
        config=state.config,
        boot=state.boot,
        robot=Robot(
            port=state.port,
            link=state.link,
            port_open=state.port_open,
            session=state.session,
            session_s=seen.ago_s(state.session_ns),
            session_lost=state.session_lost,
            heard_s=seen.ago_s(state.robot_ns),
        ),
        store_healthy=state.store_healthy,
        latched=state.latched,
        challenge=state.challenge,
        store=state.store,
        alarm_mb=state.alarm_mb,
        inspector=InspectorHeard(
            connected=said is not None or state.inspector_alive,
            alive=state.inspector_alive,
            heard_s=seen.ago_s(state.inspector_ns),
            ready=said is not None and said.ready,
            bundle="" if said is None else said.bundle,
            bundle_version=0 if said is None else said.bundle_version,
            backend="" if said is None else said.backend,
            fault_reason=None if said is None else said.fault_reason,
            fault="" if said is None else said.fault,
        ),
        recipe=state.recipe,
        triggers_open=state.open,
        triggers_waiting=state.waiting,
        oldest_s=seen.ago_s(state.oldest_ns),
        log_dropped=state.log_dropped,
        unjudged=state.unjudged,
        unjudged_reason=state.unjudged_reason,
        reload=state.reload,
    )


def _inspector(seen: Look, shown: InspectorShown) -> Inspector:
    cameras = (
        CameraHeard(
            name=one.name,
            alive=one.alive,
            heard_s=seen.ago_s(one.heard_ns),
            frames=one.frames,
            counter=one.counter,
            refused=one.refused,
            refusal=one.refusal,
        )
        for one in shown.cameras
    )
    return Inspector(
        ready=shown.ready,
        doing=shown.step,
        bundle=shown.bundle,
        bundle_version=shown.bundle_version,
        backend=shown.backend,
        typologies=shown.typologies,
        known_answers=shown.known_answers,
        gate_connected=shown.gate_connected,
        undelivered=shown.undelivered,
        notice=shown.notice,
        cameras=tuple(cameras),
        archive=shown.archive,
        worst_ms=shown.worst_ms,
        room_ms=shown.room_ms,
        rss_bytes=shown.rss_bytes,
        faults_major=shown.faults_major,
        faults_minor=shown.faults_minor,
    )


def _iso(wall_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(wall_ns / NS_PER_S)) if wall_ns else ""
