"""Where the networks saw what they call bad, made small enough for a report; whatever goes wrong here, the report leaves without it.

A typology's map is that of its members on one grid, averaged as their scores are: by weight where they are weighted, else plainly (for
a vote too: what the members saw, not who won). A cell holds what it adds to the log-odds of the bad label, on average over the members.
"""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config import Explain
from edge.contract import Reason
from edge.inspector.judging import Finding
from edge.inspector.loader import Judge, Loaded
from edge.manifest import TypologySpec
from edge.map_text import MAX_COLUMNS, MAX_ROWS, RecordedMap, pack

Grid = NDArray[np.float32]
log = logging.getLogger("cordon.inspector")


class Explained(NamedTuple):
    """A verdict's map as the record carries it, or why there is none (empty: nobody asked)."""

    text: str | None = None
    note: str = ""
    spec: TypologySpec | None = None
    """Of the typology judged, where there is a map: how its heightmap is made."""


NOTHING = Explained()


class Explainer:
    """Makes the maps that were asked for: of no frame, of those above their threshold, or of every judged one."""

    def __init__(self, loaded: Loaded, asked: Explain) -> None:
        self._asked = asked
        self._makers = {name: _Maker(judge) for name, judge in loaded.judges.items() if asked != "none" and _has_maps(judge)}
        self.without = tuple(name for name in loaded.judges if asked != "none" and name not in self._makers)
        """Typologies whose networks give no map: their verdicts carry none."""

    def warned(self) -> Explainer:
        """Itself, after the log was told of the typologies `without`."""
        if self.without:
            log.warning("explain is on, but these typologies' networks give no map: %s", ", ".join(self.without))
        return self

    def of(self, finding: Finding) -> Explained:
        """The map of the frame that the engines ran on last. Never raises."""
        maker = self._makers.get(finding.typology or "")
        wanted = finding.reason is Reason.OK and (self._asked == "all" or not finding.score <= finding.threshold)
        if maker is None or not wanted:
            return NOTHING
        try:
            return Explained(pack(maker.make()), spec=maker.spec)
        except Exception as exc:  # noqa: BLE001 - a map is never worth a verdict
            return Explained(note=f"no map of {finding.typology}: {exc}"[:200])


def _has_maps(judge: Judge) -> bool:
    return all(engine.map is not None for engine in judge.engines)


class _Maker:
    """One typology's members, the grid their maps are put on, and the memory for it."""

    def __init__(self, judge: Judge) -> None:
        self.spec, self._engines = judge.spec, judge.engines
        shapes = [engine.map.shape for engine in judge.engines if engine.map is not None]
        self._rows = min(MAX_ROWS, max(shape[0] for shape in shapes))
        self._columns = min(MAX_COLUMNS, max(shape[1] for shape in shapes))
        weights = [member.weight if judge.spec.combine == "weighted" else 1.0 for member in judge.spec.members]
        self._weights = [np.float32(weight / sum(weights)) for weight in weights]
        self._total: Grid = np.zeros((self._rows, self._columns), np.float32)
        self._bytes = np.zeros((self._rows, self._columns), np.uint8)

    def make(self) -> RecordedMap:
        """From the engines' last maps. Raises ValueError where one is missing or not finite, or cv2.error."""
        total = self._total
        for number, (engine, weight) in enumerate(zip(self._engines, self._weights, strict=True)):
            if engine.map is None:
                raise ValueError(f"{engine.member.name} gave none")
            cells = self._on_grid(engine.map)
            if number == 0:
                np.multiply(cells, weight, out=total)
            else:
                total += cells * weight
        peak, least = float(total.max()), float(total.min())
        # The greatest is NaN where any value is, and infinities of either sign are one of the two.
        if not (math.isfinite(peak) and math.isfinite(least)):
            raise ValueError("it is not finite")
        if peak <= 0.0:
            return RecordedMap(self._rows, self._columns, 0.0, bytes(total.size))
        np.multiply(total, np.float32(255.0 / peak), out=total)
        np.maximum(total, 0.0, out=total)
        np.rint(total, out=total)
        np.copyto(self._bytes, total, casting="unsafe")
        return RecordedMap(self._rows, self._columns, peak, self._bytes.tobytes())

    def _on_grid(self, cells: Grid) -> Grid:
        """The same total on this typology's grid."""
        rows, columns = cells.shape
        if (rows, columns) == (self._rows, self._columns):
            return cells
        how = cv2.INTER_AREA if rows >= self._rows and columns >= self._columns else cv2.INTER_NEAREST
        resized = cv2.resize(cells, (self._columns, self._rows), interpolation=how)
        return np.asarray(resized * np.float32(cells.size / self._total.size), np.float32)
