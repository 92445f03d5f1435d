"""One look at both health files: what they say, and whether the line accepts, with the reason and what to do about it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import msgspec

from edge.contract import Reason
from edge.health.reader import Reading, read
from edge.health.words import Camera, GateState, InspectorShown, Objection

NS_PER_S = 1_000_000_000
STILL_NS = 3 * NS_PER_S // 2
"""A gate's loop gets round at least once a second, an inspector's within a frame or a heartbeat."""
IN_A_ROW = 3
"""So many welds rejected without being judged, although nothing stands against it, are no chance."""
OLD_NS = 5 * NS_PER_S
"""A state older than this does not describe the present."""
FOLDER = Path("/run/cordon")

Answer = Literal["accepting", "not_accepting", "unknown"]
S = TypeVar("S")


class Why(NamedTuple):
    """One reason not to accept."""

    reason: str
    """As a verdict would say it, or GATE_DOWN, GATE_STILL, UNREADABLE, STARTING where no verdict would say anything."""
    text: str
    remedy: str


@dataclass(frozen=True)
class Look:
    """Both files as they were at one moment, `now_ns` of CLOCK_MONOTONIC."""

    folder: Path
    now_ns: int
    gate: Reading
    gate_state: GateState | None
    inspector: Reading
    inspector_state: InspectorShown | None

    def ago_s(self, then_ns: int) -> float | None:
        """Seconds since a CLOCK_MONOTONIC time of a living writer; None: never."""
        return max(0.0, (self.now_ns - then_ns) / NS_PER_S) if then_ns else None


def look(folder: Path) -> Look:
    """Read what gate and inspector keep in `folder`. Raises nothing for what can be wrong with it."""
    gate, inspector = read(folder / "gate.health"), read(folder / "inspector.health")
    return Look(folder, time.monotonic_ns(), gate, decoded(gate, GateState), inspector, decoded(inspector, InspectorShown))


def decoded(reading: Reading, kind: type[S]) -> S | None:
    """The state as far as this release knows its words; None: there is none."""
    try:
        return msgspec.json.decode(reading.state, type=kind) if reading.state else None
    except msgspec.MsgspecError:
        return None


def answer(seen: Look) -> tuple[Answer, list[Why]]:
    """Would a good weld be accepted now? With every reason why not, the one to see to first at the front."""
    unknown = _unreadable(seen)
    if unknown is not None:
        return "unknown", [unknown]
    age_s = seen.ago_s(seen.gate.step_ns) or 0.0
    if age_s * NS_PER_S > STILL_NS:
        remedy = "The watchdog ends it within seconds; if it does not: systemctl restart cordon-gate"
        return "not_accepting", [Why("GATE_STILL", f"the gate's loop has stood still for {age_s:.1f} s", remedy)]
    state = seen.gate_state
    if state is None or seen.now_ns - state.at_ns > OLD_NS:
        return "unknown", [Why("STARTING", "the gate has not said yet how it stands", "Ask again in a second")]
    if state.accepting:
        return "accepting", []
    return "not_accepting", sorted((_why(seen, state, one) for one in _each(state)), key=_rank)


def _unreadable(seen: Look) -> Why | None:
    gate = seen.gate
    if gate.found == "absent":
        return Why("GATE_DOWN", f"no gate has run here: {gate.path} is not there", "systemctl start cordon.target, or name the folder")
    if gate.found == "dead":
        how = (
            f"ended in order at {clock(gate.ended_wall_ns)}"
            if gate.ended_wall_ns
            else f"died or was killed after {clock(gate.step_wall_ns)}"
        )
        return Why(
            "GATE_DOWN", f"no gate runs: the last one (pid {gate.pid}) {how}", "systemctl status cordon-gate; journalctl -u cordon-gate"
        )
    if gate.found == "refused":
        return Why("UNREADABLE", f"{gate.path}: {gate.note}", "Ask as root or as a member of the group cordon-read")
    if gate.found == "foreign":
        return Why("UNREADABLE", f"{gate.path}: {gate.note}", "Gate and this command are of two releases: systemctl restart cordon-gate")
    if gate.broken:
        return Why("UNREADABLE", "the gate lives, but keeps no numbers any more", "Its log says why; restart it when the line may pause")
    return None


def _each(state: GateState) -> list[Objection]:
    """The objections, with one for each reason that is latched."""
    found = []
    # While one loads there is no bundle yet, which is no fault of a bundle.
    loading = state.inspector is not None and not state.inspector.bundle and not state.inspector.fault_reason
    for one in state.objections:
        if loading and one.reason == "BUNDLE_FAULT" and len(state.objections) > 1:
            continue
        found += [msgspec.structs.replace(one, detail=why) for why in state.latched] if one.reason == "LATCHED" else [one]
    return found


def rejects_all_the_same(seen: Look) -> tuple[str, str, str] | None:
    """(reason, text, remedy) for which welds are rejected unjudged although nothing stands against each of them; None: they are not."""
    state = seen.gate_state
    if state is None or (state.unjudged < IN_A_ROW and not state.parts_full):
        return None
    if state.parts_full:
        text = "so many parts wait for their part verdict that welds of a further one are rejected"
        return Reason.PARTS_OPEN.value, text, UNJUDGED[Reason.PARTS_OPEN.value]
    text = f"the last {state.unjudged} welds were rejected without being judged, at last for {state.unjudged_reason}"
    reason = state.unjudged_reason
    return reason, text, UNJUDGED.get(reason, "cordon records show PART says what was seen; docs/robot-link.md lists the reasons")


def warnings(seen: Look) -> list[str]:
    """What does not stop the line, and should be seen to before it does."""
    state, shown = seen.gate_state, seen.inspector_state
    found = []
    if state is not None and seen.gate.found == "alive":
        store = state.store
        if state.reload:
            found.append(f"the configuration was read again: {state.reload}")
        if 0 <= store.free_bytes < state.alarm_mb * 2**20:
            found.append(f"{store.free_bytes / 2**20:.0f} MiB left for records, gate.storage.alarm_mb is {state.alarm_mb:g}")
        if store.lost:
            found.append(f"{store.lost} rows of the record are lost")
        if state.log_dropped:
            found.append(f"{state.log_dropped} lines of the gate's log were dropped: nobody took them")
    if shown is not None and seen.inspector.found == "alive":
        if shown.notice:
            found.append(shown.notice)
        if shown.archive is not None and shown.archive.lost:
            found.append(f"{shown.archive.lost} images were not archived")
    if seen.inspector.broken:
        found.append("the inspector keeps no numbers any more; its log says why")
    return found


FIRST = ("LATCHED", "RECORD_FAULT", "INSPECTOR_DOWN", "GPU_FAULT", "ENGINE_FAILED", "BUNDLE_FAULT", "TOO_SLOW", "NOT_READY")
"""What a person sees to before anything else."""


def _rank(why: Why) -> int:
    return FIRST.index(why.reason) if why.reason in FIRST else len(FIRST) + (why.reason == "SESSION_LOST")


def _why(seen: Look, state: GateState, one: Objection) -> Why:
    remedy = REMEDIES.get(one.name) or REMEDIES.get(one.reason, "docs/health.md says what the reason means")
    text = f"{one.name}: no; {one.detail}"
    if one.reason == "LATCHED":
        text = f"latched: {one.detail}"
    elif one.reason == "RECORD_FAULT":
        text = _records(state)
    elif one.reason == "SESSION_LOST":
        text = "no session with the robot" if state.port_open else f"the robot's port {state.port} is gone"
        text += f": {state.session_lost}" if state.session_lost else ""
    elif one.reason == "INSPECTOR_DOWN":
        text = _inspector_down(seen, state)
    elif one.name in OF_THE_GATE:
        text = f"gate and inspector do not belong together: {one.detail}"
    elif one.reason == "NOT_READY":
        text = _not_ready(seen, one)
    elif one.reason in ("CHALLENGE", "RECIPE"):
        text = one.detail
    elif state.inspector is not None and one.reason == state.inspector.fault_reason:
        text = f"the inspector's fault: {state.inspector.fault}"
    return Why(one.reason, text, remedy)


def _records(state: GateState) -> str:
    store = state.store
    # Asked every ten seconds only: what was free then may be gone by now.
    free = "" if store.free_bytes < 0 else f" ({store.free_bytes / 2**20:.0f} MiB were free when last asked)"
    if not store.failing and not store.reserve_held:
        return f"records are written, but the disk's reserve cannot be held{free}"
    return f"records cannot be written{free}; {store.backlog} rows wait in memory, {store.lost} are lost"


def _inspector_down(seen: Look, state: GateState) -> str:
    there, shown = seen.inspector, seen.inspector_state
    if there.found == "alive":
        doing = f": {shown.step}" if shown is not None and shown.step else ""
        still_s = seen.ago_s(there.step_ns) or 0.0
        what = f"has stood still for {still_s:.1f} s" if still_s * NS_PER_S > STILL_NS else "lives, but the gate does not hear it"
        return f"the inspector (pid {there.pid}) {what}{doing}"
    last = f"; its last word: {shown.step}" if shown is not None and shown.step else ""
    if there.found == "dead":
        how = "ended" if there.ended_wall_ns else "died or was killed"
        return f"no inspector runs: the last one (pid {there.pid}) {how} at {clock(there.ended_wall_ns or there.step_wall_ns)}{last}"
    return "the inspector is silent" if state.inspector is not None else "no inspector is connected"


def _not_ready(seen: Look, one: Objection) -> str:
    shown = seen.inspector_state if seen.inspector.found == "alive" else None
    if shown is not None and shown.step:
        return f"the inspector is not ready yet: {shown.step}"
    silent = [camera for camera in shown.cameras if not camera.alive] if shown is not None else []
    if silent:
        return "; ".join(_silent(camera, seen.ago_s(camera.heard_ns)) for camera in silent)
    return f"the inspector is not ready: {one.detail}"


def _silent(camera: Camera, age_s: float | None) -> str:
    since = "was never heard" if age_s is None else f"has been silent for {age_s:.1f} s"
    refused = f", {camera.refused} refused, the last: {camera.refusal}" if camera.refused else ""
    return f"camera {camera.name} {since}{refused}"


OF_THE_GATE = {
    "same configuration": "cordon config check; then systemctl restart cordon-inspector and systemctl reload cordon-gate",
    "inspector of this release": "Both must come from one package: systemctl restart cordon-gate cordon-inspector",
}
"""By the condition's name, for no camera and no waiting helps there."""
REMEDIES = {
    **OF_THE_GATE,
    "LATCHED": "Look at what it names; then, as somebody who answers for it: cordon records acknowledge",
    "RECORD_FAULT": "Make room on the disk of gate.records or repair it; the gate tries again every second by itself",
    "INSPECTOR_DOWN": "systemctl status cordon-inspector; journalctl -u cordon-inspector; cordon config check",
    "GPU_FAULT": "It starts again by itself; if it comes back: docs/gpu-failures.md",
    "ENGINE_FAILED": "It starts again by itself; if it comes back: cordon engine verify, memory, docs/gpu-failures.md",
    "BUNDLE_FAULT": "cordon bundle verify; install and activate a bundle that this box trusts",
    "BUNDLE_DIFFERS": "gate.bundle pins another one: activate that, or correct gate.bundle",
    "TOO_SLOW": "The networks do not fit into the budget on this box: docs/health.md, start-up",
    "NOT_READY": "Check the camera's power, network and program, and its key where one is refused; while it loads: wait",
    "CHALLENGE": "Show the known-good and the known-bad part: docs/challenge.md",
    "RECIPE": "Let the robot name its recipe, or set gate.recipe",
    "SESSION_LOST": "Start the robot's program; check cable and gate.port: docs/robot-link.md",
}


UNJUDGED = {
    "NO_FRAME": "Is the camera asked for a frame of each trigger, and does the frame name its session and sequence? docs/frames.md",
    "DEADLINE": "The times below say which stage takes so long: the camera's, the networks', another program's",
    "RECORD_LATE": "The disk of gate.records is too slow: see `commit` in cordon status --json",
    "WELD_UNKNOWN": "The active recipe lacks this weld: docs/parts.md",
    "TYPOLOGY_UNKNOWN": "The bundle lacks this typology: cordon bundle show",
    "PARTS_OPEN": "The robot asks for no part verdict: docs/parts.md",
}


def clock(wall_ns: int) -> str:
    """Local date and time of a wall clock time in ns."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_ns // NS_PER_S))
