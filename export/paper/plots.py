"""A typology's held-out scores as plots: where they lie, how far INT8 moves them, and what every threshold would do."""

from __future__ import annotations

import io

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from export.paper.certificate import TypologyCertificate

GOOD, BAD, FULL, SHIPPED = "#2f7d4f", "#b3372f", "#8a8f98", "#1f4e9c"
STYLE = {"svg.hashsalt": "cordon", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
Values = NDArray[np.float64]


def plots(typology: TypologyCertificate) -> str:
    """Four panels as one inline SVG element; equal certificates give equal text."""
    bad = np.array(typology.scores.bad)
    fp32, shipped = np.array(typology.scores.fp32), np.array(typology.scores.shipped)
    # A fixed salt instead of random identifiers, and text as text: the page stays small and searchable.
    with rc_context(STYLE):
        figure = Figure(figsize=(13, 3.1), layout="constrained")
        panels = figure.subplots(1, 4)
        _scores(panels[0], shipped, bad, typology.result.threshold)
        _differences(panels[1], fp32, shipped, bad)
        _roc(panels[2], fp32, shipped, bad)
        _precision_recall(panels[3], fp32, shipped, bad)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]


def _scores(axes: Axes, shipped: Values, bad: NDArray[np.bool_], threshold: float) -> None:
    edges = np.linspace(0, 1, 41)
    for label, colour, values in (("good", GOOD, shipped[~bad]), ("bad", BAD, shipped[bad])):
        axes.hist(values, bins=edges.tolist(), color=colour, alpha=0.7, label=f"{label} ({len(values)})")
    axes.axvline(threshold, color="black", linewidth=1, linestyle="--", label=f"threshold {threshold:.4f}")
    axes.set(title="Badness of held-out scans", xlabel="score", ylabel="scans", yscale="symlog", xlim=(0, 1))
    axes.legend(frameon=False, fontsize=8)


def _differences(axes: Axes, fp32: Values, shipped: Values, bad: NDArray[np.bool_]) -> None:
    widest = max(1e-3, float(np.abs(shipped - fp32).max()))
    edges = np.linspace(-widest, widest, 41)
    for label, colour, which in (("good", GOOD, ~bad), ("bad", BAD, bad)):
        axes.hist((shipped - fp32)[which], bins=edges.tolist(), color=colour, alpha=0.7, label=label)
    axes.set(title="Shipped score minus FP32 score", xlabel="difference", ylabel="scans", yscale="symlog")
    axes.legend(frameon=False, fontsize=8)


def _roc(axes: Axes, fp32: Values, shipped: Values, bad: NDArray[np.bool_]) -> None:
    for label, colour, scores in (("FP32", FULL, fp32), ("shipped", SHIPPED, shipped)):
        false, true, _ = roc_curve(bad, scores)
        axes.plot(false, true, color=colour, linewidth=2.5 if label == "FP32" else 1.2, label=label, drawstyle="steps-post")
    axes.set(title="ROC", xlabel="overkill rate", ylabel="bad welds caught", xlim=(-0.02, 1), ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=8)


def _precision_recall(axes: Axes, fp32: Values, shipped: Values, bad: NDArray[np.bool_]) -> None:
    for label, colour, scores in (("FP32", FULL, fp32), ("shipped", SHIPPED, shipped)):
        precision, recall, _ = precision_recall_curve(bad, scores)
        axes.plot(recall, precision, color=colour, linewidth=2.5 if label == "FP32" else 1.2, label=label, drawstyle="steps-pre")
    axes.set(title="Precision and recall of bad", xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=8)
