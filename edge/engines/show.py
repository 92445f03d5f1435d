"""What a build looks like: a bar on a terminal, a line per engine elsewhere."""

from __future__ import annotations

import sys
import threading
from typing import Any

from edge.engines.record import EngineRecord
from edge.engines.signing import signature_fits


class Lines:
    """One line per engine, for logs and pipes."""

    def __init__(self) -> None:
        self._place = ""

    def begin(self, name: str, index: int, count: int) -> None:  # noqa: ARG002 -- the name comes with the outcome
        """Engine `index` of `count` is next."""
        self._place = f"[{index}/{count}]"

    def end(self, name: str, outcome: str, record: EngineRecord) -> None:
        """Print the engine's line."""
        print(f"{self._place} {name}: {outcome}, {describe(record)}", flush=True)
        if outcome == "built":
            for warning in record.warnings:
                print(f"      warning: {warning}", flush=True)

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase begins."""

    def step(self, phase: str, step: int) -> bool:  # noqa: ARG002 -- lines show no steps
        """Go on."""
        return True

    def finish(self, phase: str) -> None:
        """A phase ended."""


class Bars(Lines):
    """As Lines, with a bar of the running build's phases while it lasts."""

    def __init__(self, tqdm: Any) -> None:
        super().__init__()
        self._tqdm = tqdm
        self._lock = threading.Lock()
        self._bar: Any = None
        self._root = ""
        self._steps: dict[str, int] = {}

    def begin(self, name: str, index: int, count: int) -> None:
        """Open the engine's bar."""
        super().begin(name, index, count)
        self._bar = self._tqdm(desc=f"{self._place} {name}", leave=False, file=sys.stderr, bar_format="{desc} {bar} {elapsed} {postfix}")

    def end(self, name: str, outcome: str, record: EngineRecord) -> None:
        """Close the bar and print the engine's line."""
        with self._lock:
            self._bar.close()
            self._bar = None
        super().end(name, outcome, record)

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """The whole build sets the bar's length, a part of it the text behind the bar."""
        with self._lock:
            self._steps[phase] = steps
            if self._bar is not None and parent is None:
                self._root = phase
                self._bar.reset(total=steps)

    def step(self, phase: str, step: int) -> bool:
        """Move the bar or the text behind it."""
        with self._lock:
            if self._bar is None:
                return True
            if phase == self._root:
                self._bar.update(step + 1 - self._bar.n)
            else:
                self._bar.set_postfix_str(f"{phase} {step + 1}/{self._steps.get(phase, 0)}")
        return True

    def close(self) -> None:
        """Take a bar left by a stopped build off the screen."""
        with self._lock:
            if self._bar is not None:
                self._bar.close()


def describe(record: EngineRecord) -> str:
    """What an engine is, in half a line."""
    size = f"{record.engine_bytes / 1e6:.1f} MB"
    made = f"{record.box.backend} {record.box.version}, {record.seconds:.1f} s"
    return f"batch {record.batch}, {record.layers} layers, {size}, {made}, {vouched(record)}"


def vouched(record: EngineRecord) -> str:
    """Who signed an engine, in three words; whether the key is trusted is for the inspector to say."""
    if not record.signature:
        return "unsigned"
    return f"signed by {record.signed_by[:12]}" if signature_fits(record) else "altered after signing"


def reporter() -> Lines:
    """Bars on a terminal that has tqdm, otherwise lines."""
    if not sys.stderr.isatty():
        return Lines()
    try:
        from tqdm import tqdm  # noqa: PLC0415 -- only a terminal needs it
    except ModuleNotFoundError:
        return Lines()
    return Bars(tqdm)
