"""What came out of a run: verdicts beside the known truth, as a table, a summary and a contact sheet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow, Rasterise
from scans.folder import kind_of, read_image
from sim.sheet import Tile, contact_sheet
from sim.shots import scale_for

SHEET_TILES = 72


@dataclass(frozen=True)
class Judged:
    """One weld: its truth (`good`, `bad`, or empty when unknown) and what the robot was told."""

    typology: str
    truth: str
    defect: str
    file: Path
    accepted: bool
    answered: bool
    reason: str
    latency_ms: float

    @property
    def escape(self) -> bool:
        """Bad weld accepted."""
        return self.truth == "bad" and self.accepted

    @property
    def overkill(self) -> bool:
        """Good weld not accepted although a verdict came."""
        return self.truth == "good" and self.answered and not self.accepted


def read_results(welds: Sequence[dict[str, str]], results: Path) -> list[Judged]:
    """Join the line-up with the robot's JSON lines by part and weld; a weld without a line counts as not answered."""
    lines = [json.loads(text) for text in results.read_text().splitlines()] if results.exists() else []
    told = {(line["part"], line["weld"]): line for line in lines}
    judged = []
    for weld in welds:
        line = told.get((weld["part"], weld["weld"]), {})
        answered = line.get("outcome") in {"ACCEPT", "REJECT", "NO_VERDICT"}
        judged.append(
            Judged(
                typology=weld.get("typology") or "(router)",
                truth=weld.get("truth", ""),
                defect=weld.get("defect", ""),
                file=Path(weld["file"]),
                accepted=bool(line.get("accepted", False)),
                answered=answered,
                reason=str(line.get("reason", "no verdict")),
                latency_ms=float(line["latency_ms"]) if answered else float("nan"),
            )
        )
    return judged


def table_of(judged: Sequence[Judged], budget_ms: float) -> tuple[str, dict[str, float]]:
    """The table per typology, and the summary for the line of JSON (latencies in ms, NaN-free: 0 when nothing was answered)."""
    head = ("welds", "bad", "escapes", "overkills", "p50 ms", "p99 ms", "max ms")
    lines = ["{:<10}{:>6}{:>6}{:>9}{:>11}{:>9}{:>9}{:>9}".format("typology", *head) + f"   budget {budget_ms:g} ms"]
    names = list(dict.fromkeys(j.typology for j in judged))
    rows = [(name, [j for j in judged if j.typology == name]) for name in names]
    for name, part in [*rows, ("all", list(judged))]:
        p50, p99, most = latencies(part)
        bad, escapes, overkills = (sum(flags) for flags in zip(*((j.truth == "bad", j.escape, j.overkill) for j in part), strict=True))
        state = "inside" if most <= budget_ms and all(j.answered for j in part) else "EXCEEDED"
        lines.append(f"{name:<10}{len(part):>6}{bad:>6}{escapes:>9}{overkills:>11}{p50:>9.1f}{p99:>9.1f}{most:>9.1f}   {state}")
    reasons = Counter(j.reason for j in judged)
    lines.append("reasons: " + ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()))
    if not any(j.truth for j in judged):
        lines.append("the scans carry no labels: escapes and overkills are unknown")
    p50, p99, most = latencies(judged)
    summary: dict[str, float] = {
        "welds": len(judged),
        "escapes": sum(j.escape for j in judged),
        "overkills": sum(j.overkill for j in judged),
        "missing": sum(not j.answered for j in judged),
        "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2),
        "max_ms": round(most, 2),
        "budget_ms": budget_ms,
    }
    return "\n".join(lines), summary


def latencies(judged: Sequence[Judged]) -> tuple[float, float, float]:
    """Median, 99th percentile and maximum in ms over the answered welds."""
    values = [j.latency_ms for j in judged if j.answered]
    if not values:
        return 0.0, 0.0, 0.0
    return float(np.percentile(values, 50)), float(np.percentile(values, 99)), max(values)


def sheet_of(judged: Sequence[Judged], path: Path) -> None:
    """A contact sheet: every escape, overkill and missing verdict, filled up with an even choice of the rest."""
    wrong = [j for j in judged if j.escape or j.overkill or not j.answered][:SHEET_TILES]
    rest = [j for j in judged if j not in wrong]
    wanted = max(1, SHEET_TILES - len(wrong))
    step = max(1, len(rest) // wanted)
    contact_sheet([_tile(j) for j in [*wrong, *rest[::step][:wanted]]], path)


def _tile(judged: Judged) -> Tile:
    image = _gray(judged.file)
    small = cv2.resize(image, (352, 128), interpolation=cv2.INTER_AREA) if image.shape != (128, 352) else image
    verdict = "ACCEPT" if judged.accepted else f"REJECT {judged.reason}"
    return Tile(image=small, typology=judged.typology, truth=judged.truth, defect=judged.defect, verdict=verdict)


def _gray(file: Path) -> NDArray[np.uint8]:
    """The scan as something to look at: range images and clouds by their own percentiles."""
    image, scale = read_image(file), scale_for(file)
    kind = kind_of(image)
    if kind == "heightmap":
        return image
    grid = grid_around(image, scale.pitch_mm) if kind == "cloud" and image.shape[0] == 1 else None
    gray = np.empty((128, 352), np.uint8)
    spec = HeightmapSpec(window=PercentileWindow(), height=gray.shape[0], width=gray.shape[1], rasterise=grid)
    Preparer(spec).prepare(image, kind=kind, no_data=scale.no_data, out=gray)
    return gray


def grid_around(cloud: NDArray[np.float32], pitch_mm: tuple[float, float]) -> Rasterise:
    """A grid of that pitch around all finite points of f32 (rows, cols, 3). Raises ConfigError where it would be too large."""
    points = cloud.reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)].astype(float)
    (left, top, _), (right, bottom, _) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Rasterise(x_mm=(left, right), y_mm=(top, bottom), pitch_mm=pitch_mm)
