"""The last gate before the robot: a pure function in which ACCEPT needs every condition to be positively true."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

import msgspec

from edge.contract import CONTRACT_VERSION, InspectorState, Outcome, Reason, Report, TriggerId


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a verdict is asked for. `by` says what opened it: the robot's trigger, (push) the frame itself, or a query for a whole part.

    A part query has no weld: its `weld` is empty. `typology` is the recipe's when the robot named none.
    """

    session: str
    sequence: int
    part: str
    weld: str
    typology: str | None
    by: Literal["trigger", "frame", "part"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the recipes say of one trigger, as things stood when it opened."""

    recipe: str | None
    """Name of the active recipe."""
    typology: str | None
    """What the recipe says this weld is; None: it has no such weld."""
    room: bool
    """The part is open already, or may be opened."""
    defect: int = 0
    """Sequence of the trigger of this part in which this weld was a DEFECT; 0: never."""


Role = Literal["", "good", "bad", "other"]
"""Of a part in the challenge rule; empty: a part of production. `other` carries a challenge part's name, and is none of them."""


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """What the challenge rule says of one trigger, as things stand when it is decided."""

    role: Role
    lack: str
    """Why nothing may be accepted for it; empty: all that the rule asks for was shown and passed."""
    bundle: str
    """Hash of the bundle that passed; meaningless for a known-bad part, which nothing needs to precede."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one decision may rest on; times are CLOCK_MONOTONIC nanoseconds."""

    now_ns: int
    cutoff_ns: int
    """An answer must be decided before this moment."""
    session: str | None
    """The link session that is open now."""
    asked: Asked | None
    """The trigger, while it is open."""
    report: Report | None
    inspector: InspectorState | None
    """Its last word, while it is connected."""
    inspector_alive: bool
    configs: tuple[str, ...] = ()
    """Hashes of the configurations that the inspector may run on: the gate's own and, while one takes the other's place, both."""
    pinned: str
    """Bundle hash the configuration insists on, or empty."""
    store_healthy: bool
    latched: tuple[str, ...]
    """Why nothing may be accepted until a person has looked; empty when nothing is latched."""
    plan: Plan | None
    """None where the cell has no recipes."""
    challenge: Duty | None
    """None where no challenge parts are configured."""


class Decision(NamedTuple):
    """The verdict, why, and the values that made it so."""

    outcome: Outcome
    reason: Reason
    detail: str


F = TypeVar("F")


@dataclass(frozen=True)
class Condition(Generic[F]):
    """One thing that must be true; `reason` may come from the facts, `detail` shows what was seen."""

    name: str
    holds: Callable[[F], bool]
    reason: Callable[[F], Reason]
    detail: Callable[[F], str]


def decide(facts: Facts) -> Decision:
    """ACCEPT only if every condition holds; the first that does not gives the reason. Never raises."""
    return judge(facts, (*BEFORE_FRAME, *AFTER_FRAME))


def finding(facts: Facts) -> bool | None:
    """What the networks found where nothing but the threshold decides: True good, False a defect. Never raises.

    None: some other condition of an ACCEPT does not hold, so that nothing was found at all.
    """
    if judge(facts, (*BEFORE_FRAME, *SOUND)).outcome is not Outcome.ACCEPT:
        return None
    return {Reason.OK: True, Reason.DEFECT: False}.get(judge(facts, (WITHIN,)).reason)


def refuse_early(facts: Facts) -> Decision | None:
    """The verdict that no frame could change any more, or None while a frame may still be accepted. Never raises."""
    decision = judge(facts, BEFORE_FRAME)
    return None if decision.outcome is Outcome.ACCEPT else decision


def judge(facts: F, conditions: tuple[Condition[F], ...]) -> Decision:
    """ACCEPT only if every condition holds; the first that does not gives the reason. Never raises."""
    for condition in conditions:
        try:
            if condition.holds(facts) is True:
                continue
            reason, detail = condition.reason(facts), condition.detail(facts)
        except Exception as exc:  # noqa: BLE001 - whatever goes wrong while deciding, the answer is REJECT
            return Decision(Outcome.REJECT, Reason.INTERNAL, f"{condition.name}: {type(exc).__name__}: {exc}")
        if reason is Reason.OK or not isinstance(reason, Reason):
            return Decision(Outcome.REJECT, Reason.INTERNAL, f"{condition.name} failed without a reason")
        outcome = Outcome.NO_VERDICT if reason is Reason.SESSION_LOST else Outcome.REJECT
        return Decision(outcome, reason, f"{condition.name}: {detail}")
    return Decision(Outcome.ACCEPT, Reason.OK, "")


def _asked(facts: Facts) -> Asked:
    assert facts.asked is not None
    return facts.asked


def _plan(facts: Facts) -> Plan:
    assert facts.plan is not None
    return facts.plan


def _duty(facts: Facts) -> Duty:
    assert facts.challenge is not None
    return facts.challenge


def _report(facts: Facts) -> Report:
    assert facts.report is not None
    return facts.report


def _inspector(facts: Facts) -> InspectorState:
    assert facts.inspector is not None
    return facts.inspector


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _bound(facts: Facts) -> bool:
    asked, trigger = _asked(facts), _report(facts).trigger
    if asked.by == "frame":
        return trigger is None
    return trigger == TriggerId(asked.session, asked.sequence)


def _named(facts: Facts) -> bool:
    """Trigger and frame do not contradict the typology that was judged."""
    report = _report(facts)
    return bool(report.typology) and all(name in (None, report.typology) for name in (_asked(facts).typology, report.typology_named))


def _routed(facts: Facts) -> bool:
    """Somebody named the typology: trigger, frame, or the router with a confidence."""
    report = _report(facts)
    if _asked(facts).typology is not None or report.typology_named is not None:
        return True
    confidence = report.router_confidence
    return confidence is not None and _number(confidence) and 0.0 < confidence <= 1.0


def _offered(facts: Facts) -> bool:
    typology = _asked(facts).typology
    return typology is None or typology in _inspector(facts).typologies


def _complete(facts: Facts) -> bool:
    report = _report(facts)
    return len(report.members) == report.members_expected >= 1 and all(_number(member) for member in report.members)


def _fault(facts: Facts) -> str:
    state = _inspector(facts)
    return state.fault or f"ready={state.ready} known answers={state.known_answers} camera alive={state.camera_alive}"


def _fault_reason(facts: Facts) -> Reason:
    reason = _inspector(facts).fault_reason
    return Reason.NOT_READY if reason in (None, Reason.OK) else reason


def _other_configuration(facts: Facts) -> str:
    return f"the inspector's is {_inspector(facts).config[:12]}, the gate's {' or '.join(known[:12] for known in facts.configs)}"


def always(reason: Reason) -> Callable[[object], Reason]:
    """The same reason whatever the facts are."""
    return lambda _: reason


BEFORE_FRAME: tuple[Condition[Facts], ...] = (
    Condition(
        "link session open",
        lambda f: f.asked is not None and f.session is not None and f.session == f.asked.session,
        always(Reason.SESSION_LOST),
        lambda f: f"open: {f.session}",
    ),
    Condition(
        "records healthy",
        lambda f: f.store_healthy,
        always(Reason.RECORD_FAULT),
        lambda _: "a write failed; latched until the store was checked",
    ),
    Condition("not latched", lambda f: f.latched == (), always(Reason.LATCHED), lambda f: "; ".join(f.latched)),
    Condition(
        "a recipe is active",
        lambda f: f.plan is None or bool(_plan(f).recipe),
        always(Reason.RECIPE),
        lambda _: "the robot must name one first",
    ),
    Condition(
        "weld in the recipe",
        lambda f: f.plan is None or bool(_plan(f).typology),
        always(Reason.WELD_UNKNOWN),
        lambda f: f"recipe {_plan(f).recipe} has no weld {_asked(f).weld}",
    ),
    Condition(
        "typology of the recipe",
        lambda f: f.plan is None or _plan(f).typology == _asked(f).typology,
        always(Reason.TYPOLOGY_DIFFERS),
        lambda f: f"recipe {_plan(f).recipe} says {_plan(f).typology}, trigger {_asked(f).typology}",
    ),
    Condition(
        "part open or room for it",
        lambda f: f.plan is None or _plan(f).room,
        always(Reason.PARTS_OPEN),
        lambda f: f"too many parts wait for their part verdict to open {_asked(f).part}",
    ),
    Condition(
        "no defect in this part before",
        lambda f: f.plan is None or _plan(f).defect == 0,
        always(Reason.DEFECT),
        lambda f: f"trigger {_plan(f).defect} found this weld defective, and that stands until the part is closed",
    ),
    Condition(
        "inspector connected and alive",
        lambda f: f.inspector is not None and f.inspector_alive,
        always(Reason.INSPECTOR_DOWN),
        lambda f: "not connected" if f.inspector is None else "silent",
    ),
    Condition(
        "inspector of this release",
        lambda f: _inspector(f).version == CONTRACT_VERSION,
        always(Reason.NOT_READY),
        lambda f: f"contract version {_inspector(f).version}, not {CONTRACT_VERSION}",
    ),
    Condition("inspector ready", lambda f: _inspector(f).ready and _inspector(f).fault_reason is None, _fault_reason, _fault),
    Condition(
        "same configuration",
        lambda f: isinstance(f.configs, tuple) and len(_inspector(f).config) == 64 and _inspector(f).config in f.configs,
        always(Reason.NOT_READY),
        lambda f: f"{_other_configuration(f)}: reload both daemons, or restart them",
    ),
    Condition("known answers agreed", lambda f: _inspector(f).known_answers > 0, always(Reason.NOT_READY), _fault),
    Condition("camera alive", lambda f: _inspector(f).camera_alive, always(Reason.NOT_READY), _fault),
    Condition(
        "bundle loaded", lambda f: len(_inspector(f).bundle) == 64, always(Reason.BUNDLE_FAULT), lambda f: repr(_inspector(f).bundle)
    ),
    Condition(
        "bundle is the pinned one",
        lambda f: f.pinned in ("", _inspector(f).bundle),
        always(Reason.BUNDLE_DIFFERS),
        lambda f: f"announced {_inspector(f).bundle[:12]}, pinned {f.pinned[:12]}",
    ),
    Condition("typology in the bundle", _offered, always(Reason.TYPOLOGY_UNKNOWN), lambda f: f"{_asked(f).typology} is not in it"),
    Condition(
        "challenge parts passed",
        lambda f: f.challenge is None or _duty(f).lack == "",
        always(Reason.CHALLENGE),
        lambda f: _duty(f).lack,
    ),
    Condition(
        "challenged bundle is the announced one",
        lambda f: f.challenge is None or _duty(f).role == "bad" or _duty(f).bundle == _inspector(f).bundle,
        always(Reason.CHALLENGE),
        lambda f: f"passed by {_duty(f).bundle[:12]}, announced {_inspector(f).bundle[:12]}",
    ),
)
"""Conditions that a trigger can fail before any frame came."""

SOUND: tuple[Condition[Facts], ...] = (
    Condition("frame judged", lambda f: f.report is not None, always(Reason.NO_FRAME), lambda _: "no frame for this trigger"),
    Condition(
        "before the deadline",
        lambda f: f.now_ns < f.cutoff_ns,
        always(Reason.DEADLINE),
        lambda f: f"{(f.now_ns - f.cutoff_ns) / 1e6:.3f} ms too late",
    ),
    Condition(
        "frame received before now",
        lambda f: 0 < _report(f).received_ns <= f.now_ns,
        always(Reason.DEADLINE),
        lambda f: f"received_ns {_report(f).received_ns} at {f.now_ns}",
    ),
    Condition("frame bound to this trigger", _bound, always(Reason.FRAME_UNBOUND), lambda f: f"frame names {_report(f).trigger}"),
    Condition(
        "frame of this part and weld",
        lambda f: (_report(f).part, _report(f).weld) == (_asked(f).part, _asked(f).weld),
        always(Reason.FRAME_PART),
        lambda f: f"frame of {_report(f).part} {_report(f).weld}",
    ),
    Condition(
        "frame usable",
        lambda f: _report(f).reason is Reason.OK,
        lambda f: _report(f).reason,
        lambda f: _report(f).detail,
    ),
    Condition(
        "typology agreed",
        _named,
        always(Reason.TYPOLOGY_DIFFERS),
        lambda f: f"judged {_report(f).typology}, trigger {_asked(f).typology}, frame {_report(f).typology_named}",
    ),
    Condition(
        "typology named by someone", _routed, always(Reason.ROUTER_UNSURE), lambda f: f"router confidence {_report(f).router_confidence}"
    ),
    Condition(
        "judged typology in the bundle",
        lambda f: _report(f).typology in _inspector(f).typologies,
        always(Reason.TYPOLOGY_UNKNOWN),
        lambda f: f"{_report(f).typology}",
    ),
    Condition(
        "judged by the announced bundle",
        lambda f: _report(f).bundle == _inspector(f).bundle,
        always(Reason.BUNDLE_DIFFERS),
        lambda f: f"judged by {_report(f).bundle[:12]}, announced {_inspector(f).bundle[:12]}",
    ),
    Condition(
        "every member answered",
        _complete,
        always(Reason.SCORE_INVALID),
        lambda f: f"{len(_report(f).members)} of {_report(f).members_expected} members: {_report(f).members}",
    ),
    Condition(
        "score valid",
        lambda f: _number(_report(f).score) and 0.0 <= _report(f).score <= 1.0,
        always(Reason.SCORE_INVALID),
        lambda f: f"score {_report(f).score}",
    ),
    Condition(
        "threshold valid",
        lambda f: _number(_report(f).threshold) and 0.0 < _report(f).threshold < 1.0,
        always(Reason.SCORE_INVALID),
        lambda f: f"threshold {_report(f).threshold}",
    ),
)
"""Conditions on the frame: it is this trigger's own, and the networks said something about it that counts."""

WITHIN: Condition[Facts] = Condition(
    "score within the threshold",
    lambda f: _report(f).score <= _report(f).threshold,
    always(Reason.DEFECT),
    lambda f: f"score {_report(f).score:.6f} above {_report(f).threshold:.6f}",
)
"""What the networks said."""

NOT_BAD: Condition[Facts] = Condition(
    "not a known-bad part",
    lambda f: f.challenge is None or _duty(f).role in ("", "good"),
    always(Reason.CHALLENGE),
    lambda f: f"it was judged good: score {_report(f).score:.6f}, threshold {_report(f).threshold:.6f}",
)
"""Last, so that whoever gets this far has found a known-bad part good."""

AFTER_FRAME: tuple[Condition[Facts], ...] = (*SOUND, WITHIN, NOT_BAD)
"""Conditions on the frame and what the networks said about it."""
