"""The configuration read again while the gate runs: in a thread, because a disk may hang; put in force between two triggers only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edge.config import Config
from edge.config.reload import Changes, changes, reread
from edge.errors import CordonError
from edge.gate.recipe import RecipeBook, load_recipes

MAX_DETAIL = 1_800
"""Longest text of one event."""


class Running(NamedTuple):
    """What rules: the whole configuration, the hash of its file, and the recipes it names."""

    config: Config
    hash: str
    recipes: RecipeBook | None


class Refused(NamedTuple):
    """Why a file was not taken."""

    why: str


class Reload:
    """`ask` from a signal handler, `step` from the loop; `take` what is ready once no trigger is open."""

    def __init__(self, path: Path | None, running: Running, wake: Callable[[], None]) -> None:
        """`wake` makes the loop take a step; it is called from the thread that reads."""
        self.running = running
        self.pending: Running | None = None
        """Read and found good, and not in force yet."""
        self.refused: Refused | None = None
        """Set until the loop has told it."""
        self._path, self._wake = path, wake
        self._asked = False
        self._thread: threading.Thread | None = None
        self._result: Running | Refused | None = None

    def ask(self) -> None:
        """Read the file again; safe in a signal handler."""
        self._asked = True

    def step(self) -> None:
        """Begin to read when asked; take what was read. A file read later takes the place of one that still waits."""
        if self._result is not None:
            result, self._result, self._thread = self._result, None, None
            self.pending, self.refused = (result, None) if isinstance(result, Running) else (None, result)
        if self._asked and self._thread is None:
            self._asked = False
            self._begin()

    def take(self) -> Changes:
        """What is pending rules from now on; returns what that changes."""
        assert self.pending is not None
        before, self.running, self.pending = self.running, self.pending, None
        return changes(before.config, self.running.config)

    @property
    def new_recipes(self) -> bool:
        """Would what is pending change the welds of parts?"""
        return self.pending is not None and self.pending.recipes != self.running.recipes

    def close(self) -> None:
        """Nothing more is taken; a thread that waits for its disk is left to the process's end."""
        if self._thread is not None:
            self._thread.join(0.2)

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._read, name="configuration", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as exc:
            self._result = Refused(f"no thread to read it with: {exc}")

    def _read(self) -> None:
        try:
            self._result = self._fresh()
        except CordonError as exc:
            self._result = Refused(str(exc))
        except Exception as exc:  # noqa: BLE001 - the edge of this thread: what rules goes on, and the records say why
            self._result = Refused(f"{type(exc).__name__}: {exc}")
        with suppress(OSError):  # the gate ended meanwhile
            self._wake()

    def _fresh(self) -> Running | Refused:
        if self._path is None:
            return Refused("this gate was not started from a file")
        config, digest = reread(self._path, self.running.config)
        recipes = load_recipes(config.gate.recipes, config.gate.recipe) if config.gate.recipes is not None else None
        return Running(config, digest, recipes)
