"""Every reason for which the gate would refuse a trigger now, in the words of the conditions that decide."""

from __future__ import annotations

from edge.contract import Outcome, Reason
from edge.gate.verdict import BEFORE_FRAME, Facts, judge

Objection = dict[str, str]
"""`name` of the condition, `reason` as a verdict would say it, `detail`: what was seen."""
MAX_DETAIL = 600
_ALL = tuple((condition,) for condition in BEFORE_FRAME)


def objections(facts: Facts, *, without_recipe: bool) -> list[Objection]:
    """All conditions that fail, one for each reason; empty: a frame may be accepted.

    `facts` are those of a trigger that opened now; `without_recipe`: recipes are configured and none is active.
    """
    found: dict[Reason, Objection] = {}
    unread: Objection | None = None
    for condition in _ALL:
        decision = judge(facts, condition)
        if decision.outcome is Outcome.ACCEPT:
            continue
        entry = {"name": condition[0].name, "reason": decision.reason.value, "detail": decision.detail.partition(": ")[2][:MAX_DETAIL]}
        if decision.reason is Reason.INTERNAL:
            # It rests on a condition before it: on what an inspector says that is not there.
            unread = unread or entry
        else:
            found.setdefault(decision.reason, entry)
    if without_recipe:
        what = "recipes are configured, and the robot has named none"
        found.setdefault(Reason.RECIPE, {"name": "a recipe is active", "reason": Reason.RECIPE.value, "detail": what})
    return list(found.values()) if found or unread is None else [unread]
