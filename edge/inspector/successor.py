"""The thread that makes ready what is to judge next, beside what judges now, and frees what judged before."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import NamedTuple, TypeVar

from edge.bundle import Bundle
from edge.bundles.needs import require_fitting
from edge.bundles.opening import open_configured
from edge.bundles.starts import Starts
from edge.config import Config
from edge.errors import CordonError, EngineError
from edge.inspector.cuda.leave import give_up
from edge.inspector.explaining import Explainer
from edge.inspector.loader import Loaded
from edge.inspector.proving import hold_to_budget, load_proved
from edge.inspector.starting import starts_of
from edge.inspector.startup import Contract

PAUSE_S, LONGEST_PAUSE_S = 0.001, 0.05
"""Between two steps of loading a frame that is due is waited for, at most so long."""
LOCK_S = 0.0002
"""Another thread may have Python's lock after so long."""
END_S = 5.0

log = logging.getLogger("cordon.inspector")


@dataclass(frozen=True, kw_only=True)
class Successor:
    """Engines that gave every known answer, with what else a frame needs."""

    loaded: Loaded
    explainer: Explainer
    contract: Contract


class Unchanged(NamedTuple):
    """The active bundle judges already."""


class Refused(NamedTuple):
    """There is another active bundle, and it cannot be used."""

    fault: CordonError


class Restart(NamedTuple):
    """What judges now must not go on, or cannot be replaced beside itself: the process has to end, and the next one loads anew."""

    why: str
    forbidden: bool = False
    """By the configuration, which the records are to say."""


Outcome = Successor | Unchanged | Refused | Restart


class _Asked(NamedTuple):
    """What judges now."""

    bundle: str
    version: int
    signed_by: str
    made: list[Successor]
    """What was made ready before and did not take over yet; taken out by whoever looks whether it still may."""


class _EndedError(BaseException):
    """The process ends: whatever is being loaded is not worth a step more."""


class Loader:
    """One thread. `ask` and `free` hand over and return; outcomes lie in `outcomes` in their order."""

    def __init__(self, reread: Callable[[], Config], due: Callable[[], bool]) -> None:
        """`reread` gives the configuration as it is now or raises ConfigError; `due`: is a frame waited for?"""
        self._reread, self._due = reread, due
        self._ending, self._begun = False, Starts(None)
        self._jobs: SimpleQueue[_Asked | list[object] | None] = SimpleQueue()
        self.outcomes: deque[Outcome] = deque()
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)

    def ask(self, running: Loaded, made: Successor | None = None) -> None:
        """Look which bundle is active and, where it is not `running`, make it ready, or find that `made` still is it.

        Raises RuntimeError where no thread can be made.
        """
        if not self._thread.is_alive():
            self._thread.start()
        self._jobs.put(_Asked(running.bundle, running.version, running.signed_by, [] if made is None else [made]))

    def free(self, old: list[object]) -> None:
        """Drop what is in the list, of which the caller holds nothing any more: taking a network apart takes milliseconds."""
        self._jobs.put(old)

    def close(self) -> None:
        """End; a network that is being compiled is waited for as long as a service manager may be kept waiting."""
        self._ending = True
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(END_S)
        if self._thread.is_alive():
            # The bundle is not to blame, and the interpreter must not end under a compiler that is at work: it would abort.
            self._begun.through()
            give_up(self)
        self.outcomes.clear()

    def _run(self) -> None:
        with contextlib.suppress(_EndedError):
            while (job := self._jobs.get()) is not None:
                if isinstance(job, _Asked):
                    self.outcomes.append(self._outcome(job))
                else:
                    job.clear()
                del job
                # The inspector's collector is off while it judges: what loading left behind, errors above all, goes here.
                self._breathe()
                gc.collect()

    def _outcome(self, asked: _Asked) -> Outcome:
        config: Config | None = None
        try:
            config = self._reread()
            outcome = self._successor(asked, config)
        except CordonError as exc:
            outcome = Refused(_without_frames(exc))
        except Exception as exc:
            # Whatever loading dies of, what judges now goes on.
            log.exception("loading failed")
            remedy = "The bundle before it judges on; see the log, restart the inspector when the line stands still"
            outcome = Refused(EngineError("the active bundle could not be loaded", seen=repr(_without_frames(exc)), remedy=remedy))
        # Where it still is the active one, it was just admitted by that configuration, perhaps under another key's signature.
        if isinstance(outcome, Refused) and config is not None and (why := _forbidden(asked, config)):
            return Restart(f"bundle {asked.bundle[:12]}, which judges, {why}", forbidden=True)
        return outcome

    def _successor(self, asked: _Asked, config: Config) -> Outcome:
        bundle = open_configured(config.inspector)
        if bundle.hash == asked.bundle:
            return Unchanged()
        require_fitting(bundle, config)
        made = asked.made.pop() if asked.made else None
        if made is not None and (made.loaded.bundle, made.loaded.signed_by) == (bundle.hash, bundle.signed_by):
            return made
        del made
        if config.inspector.backend != "openvino":
            return Restart(f"bundle {bundle.hash[:12]} is active, and a GPU has no room for two at once")
        starts = starts_of(config)
        starts.begin(bundle.hash)
        self._begun = starts
        try:
            return self._proved(bundle, config)
        finally:
            starts.through()

    def _proved(self, bundle: Bundle, config: Config) -> Successor:
        began_s = time.monotonic()
        with _lock_given_often():
            loaded = load_proved(bundle, config, progress=self._progress)
            contract = hold_to_budget(loaded, bundle, config, say=log.info, between=self._breathe)
        log.info("bundle %s is ready to take over, after %.2f s", bundle.hash[:12], time.monotonic() - began_s)
        return Successor(loaded=loaded, explainer=Explainer(loaded, config.inspector.explain).warned(), contract=contract)

    def _progress(self, step: str) -> None:
        log.info("%s", step)
        self._breathe()

    def _breathe(self) -> None:
        if self._ending:
            raise _EndedError
        until_s = time.monotonic() + LONGEST_PAUSE_S
        while self._due() and time.monotonic() < until_s:
            time.sleep(PAUSE_S)


@contextlib.contextmanager
def _lock_given_often() -> Iterator[None]:
    """A frame asks for Python's lock a dozen times, and usually each time waits 5 ms for a thread that computes.

    No lower priority: this thread holds that lock at times, and where other programs keep it from running the frame waits as long as it
    does (a nice value of 19 on a busy machine: 240 ms and more).
    """
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(LOCK_S)
    try:
        yield
    finally:
        sys.setswitchinterval(usual_s)


def _forbidden(running: _Asked, config: Config) -> str:
    """Why what judges must not go on by this configuration; empty: it may."""
    store = config.inspector.bundles
    if store is not None and (running.bundle in store.revoked_bundles or running.signed_by in store.revoked_keys):
        return "is revoked"
    if running.signed_by not in config.inspector.trusted_keys:
        return "is signed by a key that is not trusted any more"
    if store is not None and running.version < store.min_version:
        return f"is version {running.version}, older than inspector.bundles.min_version {store.min_version}"
    return ""


E = TypeVar("E", bound=BaseException)


def _without_frames(exc: E) -> E:
    """Networks that were half made must not live on in the variables of the functions that were left."""
    error: BaseException | None = exc
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
    return exc
