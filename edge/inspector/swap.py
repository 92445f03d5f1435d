"""The change from one bundle to the next while the line runs: asked for by a signal, made ready beside, done between two triggers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edge.config import Config
from edge.contract import FrameEvent, Reason
from edge.errors import BundlePolicyError, ConfigError, CordonError, KnownAnswerError
from edge.inspector.announcing import Announcer
from edge.inspector.loader import Loaded
from edge.inspector.quiet import Quiet
from edge.inspector.reporting import MAX_DETAIL
from edge.inspector.successor import Loader, Outcome, Refused, Restart, Successor, Unchanged
from edge.notify import Notifier

NS_PER_S = 1_000_000_000
LONGEST_S = 300.0
"""Loading that takes longer is told of; it cannot be broken off."""

log = logging.getLogger("cordon.inspector")


class Swap:
    """`step` costs a few comparisons where nobody asked. What judges goes on until it is replaced, whatever becomes of the next."""

    def __init__(self, config: Config, announcer: Announcer, notifier: Notifier | None, reread: Callable[[], Config] | None) -> None:
        store = config.inspector.bundles
        self._limit_ns = int((LONGEST_S if store is None else store.proof_s) * NS_PER_S)
        self._announcer, self._notifier = announcer, notifier
        self.quiet = Quiet(config.gate.budget_ms)
        self._loader = Loader(reread or (lambda: config), lambda: self.quiet.waited_for(time.monotonic_ns()))
        self._asked = self._loading = False
        self._since_ns = 0
        """When loading began or, after it, when the outcome came."""
        self._pending: Successor | Restart | None = None
        self._event: FrameEvent | None = None
        """What the gate has not taken yet."""

    def ask(self) -> None:
        """Look for another active bundle; safe in a signal handler."""
        self._asked = True

    def step(self, running: Loaded, now_ns: int) -> Successor | Restart | None:
        """Go on with it, once everything that came was handled; a successor that is returned was announced and judges from now on."""
        if self._asked and not self._loading:
            self._begin(running, now_ns)
        elif self._loading:
            self._look(running, now_ns)
        if self._event is not None and self._announcer.tell_event(self._event):
            self._event = None
        # What was made ready before somebody asked again may not be what is active now, or be revoked: it is looked at once more.
        return None if self._pending is None or self._asked else self._change(self._pending, now_ns)

    def free(self, old: list[object]) -> None:
        """What judged before, of which the caller holds nothing any more."""
        self._loader.free(old)

    def close(self) -> None:
        """End the thread."""
        self._loader.close()

    def _begin(self, running: Loaded, now_ns: int) -> None:
        self._asked, self._loading, self._since_ns = False, True, now_ns
        log.info("asked to look for another bundle; %s judges meanwhile", running.bundle[:12])
        if self._notifier is not None:
            self._notifier.reloading("judging, and loading the active bundle", now_ns)
        made, self._pending = self._pending, None
        try:
            self._loader.ask(running, made if isinstance(made, Successor) else None)
        except RuntimeError as exc:
            remedy = "Give the inspector more threads or memory, or restart it"
            self._refuse(BundlePolicyError("no thread to load the active bundle with", seen=exc, remedy=remedy), running)
            self._loading = False
            self._tell_ready()

    def _look(self, running: Loaded, now_ns: int) -> None:
        if self._loader.outcomes:
            self._since_ns = now_ns
            self._loading = False
            self._take(self._loader.outcomes.popleft(), running)
            if self._pending is None:
                self._tell_ready()
        elif now_ns - self._since_ns > self._limit_ns:
            self._since_ns = now_ns
            remedy = "Look at the log and the box's load; restart the inspector when the line stands still"
            fault = KnownAnswerError("the active bundle is still being loaded", seen=f"{self._limit_ns / NS_PER_S:g} s", remedy=remedy)
            self._refuse(fault, running)

    def _take(self, outcome: Outcome, running: Loaded) -> None:
        if isinstance(outcome, Unchanged):
            log.info("the active bundle judges already: %s", running.bundle[:12])
            self._announcer.notice = None
        elif isinstance(outcome, Refused):
            self._refuse(outcome.fault, running)
        else:
            self._pending = outcome

    def _tell_ready(self) -> None:
        if self._notifier is not None:
            self._notifier.ready("judging" if self._announcer.ready else "engines proved, waiting for a camera")

    def _refuse(self, fault: CordonError, running: Loaded) -> None:
        """As an event, for a fault in the state would reject; a gate that connects later hears it as it hears of a fallback."""
        what = "the configuration cannot be read again" if isinstance(fault, ConfigError) else "the active bundle cannot be used"
        told = f"{what}, {running.bundle[:12]}, version {running.version}, goes on judging"
        seen = f"{type(fault).__name__}: {fault}"
        log.error("%s: %s", told, seen)
        self._event = FrameEvent("", None, Reason.BUNDLE_FAULT, f"{told}: {seen}"[:MAX_DETAIL])
        if not isinstance(fault, ConfigError):
            self._announcer.notice = BundlePolicyError(told, seen=seen, remedy="Activate one that works, then reload the inspector")

    def _change(self, pending: Successor | Restart, now_ns: int) -> Successor | Restart | None:
        if not self.quiet.allows(now_ns, since_ns=self._since_ns):
            return None
        if isinstance(pending, Successor) and not self._announcer.announce(pending.loaded, now_ns):
            return None
        self._pending = None
        if isinstance(pending, Successor):
            waited_ms = (now_ns - self._since_ns) / 1e6
            self._announcer.milestone(f"bundle {pending.loaded.bundle[:12]} judges from here on, {waited_ms:.1f} ms after it was ready")
            self._announcer.notice = None
            self._tell_ready()
        elif pending.forbidden:
            self._announcer.tell_event(FrameEvent("", None, Reason.BUNDLE_FAULT, f"the inspector ends, to be started anew: {pending.why}"))
        return pending
