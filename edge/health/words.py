"""What the states in the health files say, for readers: every value has a default, so that another release's state can be read too."""

from __future__ import annotations

import msgspec


class Objection(msgspec.Struct, frozen=True, kw_only=True):
    """Why the gate would refuse a trigger now."""

    name: str = ""
    """The condition that fails."""
    reason: str = ""
    """As a verdict would say it (`edge.contract.Reason`)."""
    detail: str = ""


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """As `edge.gate.records.Standing`."""

    waiting: int = 0
    backlog: int = 0
    lost: int = 0
    failing: bool = False
    reserve_held: bool = True
    rows: int = 0
    sealed: int = 0
    live_bytes: int = -1
    free_bytes: int = -1


class InspectorSaid(msgspec.Struct, frozen=True, kw_only=True):
    """The inspector's last word to the gate: what of `edge.contract.InspectorState` is shown."""

    pid: int = 0
    ready: bool = False
    backend: str = ""
    bundle: str = ""
    bundle_version: int = 0
    typologies: tuple[str, ...] = ()
    known_answers: int = 0
    camera_alive: bool = False
    fault_reason: str | None = None
    fault: str = ""


class ChallengeShown(msgspec.Struct, frozen=True, kw_only=True):
    """How the challenge parts stand: `docs/challenge.md`."""

    accepting: bool = False
    why: str = ""
    """Why nothing is accepted for them; empty: they passed."""
    missing: tuple[str, ...]
    """What is to be shown next, in this order."""
    passed_wall_ns: int | None = None
    bundle: str = ""
    due_in_s: float | None = None
    """Until the next ones are due by time; negative: within the grace."""


class GateState(msgspec.Struct, frozen=True, kw_only=True):
    """Times are CLOCK_MONOTONIC ns, 0: never."""

    at_ns: int = 0
    port: str = ""
    link: str = ""
    """The link profile, as the records name it."""
    budget_ms: float = 0.0
    alarm_mb: float = 0.0
    """Less room for records than this is an alarm."""
    config: str = ""
    """SHA-256 of the configuration."""
    boot: str = ""
    accepting: bool = False
    objections: tuple[Objection, ...] = ()
    latched: tuple[str, ...] = ()
    challenge: ChallengeShown | None = None
    """None: no challenge parts are configured."""
    store_healthy: bool = False
    store: Store = Store()
    port_open: bool = False
    session: str | None = None
    session_ns: int = 0
    session_lost: str = ""
    """Without a session: why the last one ended, and what the robot has sent since."""
    robot_ns: int = 0
    """When the robot was last heard; a heartbeat that repeats the one before is none."""
    inspector: InspectorSaid | None = None
    """None: none is connected."""
    inspector_alive: bool = False
    inspector_ns: int = 0
    """When it was last heard."""
    recipe: str | None = None
    """None: there are no recipes; empty: none is active."""
    parts_full: bool = False
    """So many parts wait for their verdict that a weld of a further one would be refused."""
    open: int = 0
    """Triggers without disposition,"""
    waiting: int = 0
    """and of them without verdict;"""
    oldest_ns: int = 0
    """the first of these was opened then."""
    log_dropped: int = 0
    unjudged: int = 0
    """So many welds in a row were rejected without being judged, although nothing stood against it;"""
    unjudged_reason: str = ""
    """the last of them for this."""
    reload: str = ""
    """What was refused, or waits, when the configuration was last read again; empty: nothing."""


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """One camera as the inspector hears it."""

    name: str = ""
    alive: bool = False
    heard_ns: int = 0
    frames: int = 0
    counter: int = -1
    """Of its last frame; -1: none came."""
    refused: int = 0
    """Connections and messages under its name that proved nothing,"""
    refusal: str = ""
    """and the last of them."""


class ArchiveShown(msgspec.Struct, frozen=True, kw_only=True):
    """The image archive."""

    waiting: int = 0
    lost: int = 0
    written: int = 0
    used_bytes: int = -1
    free_bytes: int = -1


class InspectorShown(msgspec.Struct, frozen=True, kw_only=True):
    """Times are CLOCK_MONOTONIC ns, 0: never."""

    at_ns: int = 0
    step: str = ""
    """What it is doing while it is not ready."""
    ready: bool = False
    bundle: str = ""
    bundle_name: str = ""
    bundle_version: int = 0
    backend: str = ""
    typologies: tuple[str, ...] = ()
    known_answers: int = 0
    fault: str = ""
    gate_connected: bool = False
    undelivered: int = 0
    """Messages that the gate did not take since it was last connected."""
    notice: str = ""
    """Why another bundle judges than the active one."""
    cameras: tuple[Camera, ...] = ()
    archive: ArchiveShown | None = None
    worst_ms: dict[str, float] = {}
    """What a frame takes at worst, by typology, as it was measured at start (docs/start-up.md),"""
    room_ms: float = 0.0
    """and what there is for it."""
    rss_bytes: int = 0
    faults_major: int = 0
    faults_minor: int = 0
    problem: str = ""
