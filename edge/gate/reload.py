"""The configuration read again while the gate runs: in a thread, because a disk may hang; put in force between two triggers only."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edge.config import Config
from edge.errors import CordonError
from edge.gate.challenge_start import challenges_of
from edge.gate.recipe import RecipeBook, load_recipes
from edge.gate.records import Recorder
from edge.gate.session import GateSession
from edge.gate.settings import settings_from

NS_PER_S = 1_000_000_000
BOTH_NS = 10 * NS_PER_S
"""So long after a change the inspector may still run on the file before it; then the two no longer agree, and nothing is accepted."""
PATIENCE_NS = 50_000_000
"""So long an open trigger puts off the reading; no longer, for the inspector reads too and is not believed what the gate has not read."""
LOCK_S = 0.0002
"""A trigger that comes while the file is read asks for Python's lock a dozen times; usually each time may take 5 ms."""
TAKEN = " rules instead of "
"""In the event that tells of a file in force; those about files that are refused, or wait, lack it."""
MAX_DETAIL = 1_800
"""Longest text of one event."""


class Running(NamedTuple):
    """What rules: the whole configuration, the hash of its file, and the recipes it names."""

    config: Config
    hash: str
    recipes: RecipeBook | None


class Reload:
    """`ask` from a signal handler, `step` from the loop. Until another file is in force, the one before it rules."""

    def __init__(
        self,
        path: Path | None,
        running: Running,
        session: GateSession,
        recorder: Recorder,
        *,
        wake: Callable[[], None],
        taken: Callable[[Running], None],
    ) -> None:
        """`wake` makes the loop take a step (it is called from the thread that reads); `taken` hears of what rules from then on."""
        self.running = running
        self._path, self._session, self._recorder = path, session, recorder
        self._wake, self._taken = wake, taken
        self._asked, self._begin_ns = False, 0
        self._thread: threading.Thread | None = None
        self._result: Running | str | None = None
        """What the thread has read, or why it is refused."""
        self._pending: Running | None = None
        self._hindrance = ""
        self._both_until_ns = 0
        session.configs = (running.hash,)

    def ask(self) -> None:
        """Read the file again; safe in a signal handler."""
        self._asked = True

    def step(self, now_ns: int) -> None:
        """Go on with what was asked; costs four comparisons where nothing was."""
        if self._result is not None:
            self._look(now_ns)
        if self._asked and self._thread is None:
            self._begin_ns = self._begin_ns or now_ns + PATIENCE_NS
            if self._session.idle or now_ns >= self._begin_ns:
                self._begin_ns, self._asked = 0, False
                self._begin()
        if self._pending is not None:
            self._try(self._pending, now_ns)
        if self._both_until_ns and now_ns >= self._both_until_ns:
            self._both_until_ns, self._session.configs = 0, self._session.configs[:1]

    def close(self) -> None:
        """Nothing more is taken; a thread that waits for its disk is left to the end of the process."""
        if self._thread is not None:
            self._thread.join(0.2)

    # reading

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._read, name="configuration", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as exc:
            self._result = f"no thread to read it with: {exc}"

    def _read(self) -> None:
        usual_s = sys.getswitchinterval()
        sys.setswitchinterval(LOCK_S)
        try:
            self._result = self._fresh()
        except CordonError as exc:
            self._result = str(exc)
        except Exception as exc:  # noqa: BLE001 - the edge of this thread: what rules goes on, and the records say why
            self._result = f"{type(exc).__name__}: {exc}"
        finally:
            sys.setswitchinterval(usual_s)
        with suppress(OSError):  # the gate has ended meanwhile
            self._wake()

    def _fresh(self) -> Running | str:
        from edge.config.reload import reread  # noqa: PLC0415 - a millisecond that the gate's start need not spend

        if self._path is None:
            return "this gate was not started from a file"
        inspector = self._session.inspector
        config, digest = reread(self._path, self.running.config, inspector_on="" if inspector is None else inspector.config)
        recipes = load_recipes(config.gate.recipes, config.gate.recipe) if config.gate.recipes is not None else None
        challenges_of(config.gate, None if recipes is None else recipes.recipes, boot="")
        return Running(config, digest, recipes)

    # taking

    def _look(self, now_ns: int) -> None:
        """A file read later takes the place of one that still waits; so does one that is refused."""
        result, self._result, self._thread, self._hindrance = self._result, None, None, ""
        self._pending = result if isinstance(result, Running) else None
        if isinstance(result, Running):
            self._allow(result.hash)
        else:
            self._allow()
            why = " ".join(str(result).split())  # several mistakes are several lines
            self._session.note("config", None, f"refused, {self.running.hash[:12]} rules on: {why}"[:MAX_DETAIL], now_ns)

    def _allow(self, *other: str) -> None:
        """The inspector may run on the gate's own configuration, or on these."""
        self._session.configs = tuple(dict.fromkeys((self.running.hash, *other)))
        self._both_until_ns = 0

    def _try(self, new: Running, now_ns: int) -> None:
        new_recipes = new.recipes != self.running.recipes
        hindrance = self._session.hindrance(new_recipes=new_recipes)
        if hindrance:
            if hindrance != self._hindrance and new_recipes:
                self._session.note("config", None, f"{new.hash[:12]} waits: {hindrance}"[:MAX_DETAIL], now_ns)
            self._hindrance = hindrance
            return
        self._take(new, now_ns)

    def _take(self, new: Running, now_ns: int) -> None:
        from edge.config.reload import changes  # noqa: PLC0415 - loaded by now

        before, self.running, self._pending, self._hindrance = self.running, new, None, ""
        book, gate = new.recipes, new.config.gate
        self._recorder.configured(new.hash, gate.storage)
        self._session.configured(settings_from(gate), None if book is None else book.recipes, now_ns)
        self._allow(before.hash)
        self._both_until_ns = now_ns + BOTH_NS
        self._taken(new)
        found = changes(before.config, new.config)
        changed = "; ".join(str(change) for change in (*found.safe, *found.restart)) or "no key differs"
        self._session.note("config", None, f"{new.hash}{TAKEN}{before.hash}: {changed}"[:MAX_DETAIL], now_ns)
        if book is not None and book != before.recipes:
            self._session.note("recipe", None, f"{len(book.recipes)} recipes, file {book.sha256}", now_ns)
