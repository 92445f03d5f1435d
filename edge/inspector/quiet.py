"""When one bundle may take another's place so that no trigger notices: the gate must never have to compare the one's word with the other's.

State and reports go to the gate over one ordered socket, and a report is judged as it comes, against the state told last. So a report
for a trigger that is open there is judged before a state that follows it. Only a report that comes before its trigger (the camera was
quicker than the serial line) is kept, and is refused when the state changes meanwhile: for it one waits.
"""

from __future__ import annotations

from edge.contract import TriggerId

NS_PER_MS = 1_000_000
PATIENCE_NS = 500 * NS_PER_MS
"""So long one waits for a moment between two triggers; then the moment after a report will do. At full rate there may be no other."""
LAST_NS = 10_000 * NS_PER_MS
"""So long for anything: the gate says nothing of triggers that it rejects at once, and their reports look like early ones for ever."""


class Quiet:
    """What the gate waits for, as far as the inspector knows. CLOCK_MONOTONIC ns; what is not heard of again ends with the budget."""

    def __init__(self, budget_ms: float) -> None:
        self._budget_ns = int(budget_ms * NS_PER_MS)
        self._open: TriggerId | None = None
        self._told: TriggerId | None = None
        self._early: TriggerId | None = None
        self._open_until_ns = self._told_until_ns = self._early_until_ns = 0

    def expects(self, trigger: TriggerId, now_ns: int) -> None:
        """The gate waits for this trigger's frame."""
        self._open, self._open_until_ns = trigger, now_ns + self._budget_ns

    def reported(self, trigger: TriggerId | None, now_ns: int) -> None:
        """A report left. Without a trigger (push) the gate judges it as it comes."""
        if trigger is None:
            return
        if trigger == self._open:
            self._open = None
            self._told, self._told_until_ns = trigger, now_ns + self._budget_ns
        else:
            self._early, self._early_until_ns = trigger, now_ns + self._budget_ns

    def settled(self, trigger: TriggerId) -> None:
        """The gate closed this trigger's case."""
        if trigger == self._open:
            self._open = None
        if trigger == self._told:
            self._told = None
        if trigger == self._early:
            self._early = None

    def waited_for(self, now_ns: int) -> bool:
        """Is a frame due for a trigger that is open?"""
        return self._open is not None and now_ns < self._open_until_ns

    def allows(self, now_ns: int, *, since_ns: int) -> bool:
        """May the bundle be changed now, after waiting since then?"""
        waited_ns = now_ns - since_ns
        if waited_ns >= LAST_NS:
            return True
        if self.waited_for(now_ns) or (self._early is not None and now_ns < self._early_until_ns):
            return False
        return self._told is None or now_ns >= self._told_until_ns or waited_ns >= PATIENCE_NS
