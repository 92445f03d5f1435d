"""The ranges of every quantised activation and what each method clips, drawn as one SVG; equal figures give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calib.histogram import Method
from calib.ranges import TensorRange

_COLOURS: dict[Method, str] = {"max": "#1b6ca8", "entropy": "#d1495b", "percentile": "#2e933c"}
_SHADES = {50.0: "0.75", 99.0: "0.85", 99.99: "0.93"}
_FLOOR = 1e-8
"""Share of clipped values at which the logarithmic axis begins."""


def plot_ranges(ranges: Mapping[Method, tuple[TensorRange, ...]], title: str) -> bytes:
    """Left, per tensor: where 50, 99 and 99.99 % of the values end and each method's range, as parts of the largest value seen.
    Right: the part of its values that each method clips. SVG bytes.
    """
    first = next(iter(ranges.values()))
    figure = Figure(figsize=(11.0, 1.6 + 0.17 * len(first)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    places = np.arange(len(first))
    _draw_values(left, first, places)
    for method, found in ranges.items():
        parts = [r.amax / max(r.largest, r.amax * 1e-9) for r in found]
        left.plot(parts, places, "|", color=_COLOURS[method], markersize=8, markeredgewidth=2, label=method)
        right.plot([max(r.clipped, _FLOOR) for r in found], places, "o", color=_COLOURS[method], markersize=3, label=method)
    left.set(xlim=(0, None), xlabel="range / largest value seen", title=title)
    left.set_yticks(places, [f"{r.tensor[-40:]} → {r.consumers}" for r in first], fontsize=6)
    left.invert_yaxis()
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=7)
    right.set(xscale="log", xlim=(_FLOOR / 2, 1), xlabel="part of the values clipped (leftmost: none)")
    for axes in (left, right):
        axes.grid(visible=True, axis="x", linewidth=0.3)
    return _svg(figure)


def _draw_values(axes: Axes, ranges: tuple[TensorRange, ...], places: np.ndarray) -> None:
    for percent, shade in sorted(_SHADES.items(), reverse=True):
        ends = [r.percentiles[percent] / r.largest if r.largest > 0 else 0.0 for r in ranges]
        axes.barh(places, ends, height=0.8, color=shade, label=f"{percent:g} % of the values")


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "cordon", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
