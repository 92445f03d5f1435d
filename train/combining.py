"""Several members' badness as one, exactly as the box combines it, and the weights that validation scans give them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from edge.inspector.scoring import combined_badness
from edge.manifest import MIN_WEIGHT, Combine, Member
from train.metrics import Scores, Truth

LEAST_PROBABILITY = 1e-6
"""No score is believed further than this where its logarithm is taken."""


def combine(badness: Sequence[Scores], rule: Combine, *, weights: Sequence[float] = (), thresholds: Sequence[float] = ()) -> Scores:
    """Badness [members][n] → f64 [n] by `edge.inspector.scoring`; "weighted" needs weights, "vote" thresholds, one per member."""
    members = [_member(i, weights[i] if weights else 1.0, thresholds[i] if thresholds else None) for i in range(len(badness))]
    return np.array([combined_badness(row, members, rule) for row in np.stack(badness, axis=1).tolist()])


def fit_weights(badness: Sequence[Scores], bad: Truth) -> tuple[float, ...]:
    """Weights of members' badness [members][n], none negative, in sum 1, with the least log loss of the weighted mean.

    The loss is convex in the weights, so that SLSQP from equal ones finds the least. They are rounded to four digits, and none is
    less than a bundle may hold: a useless member keeps a millionth.
    """
    columns = np.clip(np.stack(badness, axis=1), LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
    right = np.where(bad[:, None], columns, 1.0 - columns)
    count = columns.shape[1]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        mean = np.maximum(right @ weights, LEAST_PROBABILITY)
        return -float(np.log(mean).mean()), -(right / mean[:, None]).mean(axis=0)

    whole = {"type": "eq", "fun": lambda weights: weights.sum() - 1.0, "jac": lambda _: np.ones(count)}
    found = minimize(loss, np.full(count, 1.0 / count), jac=True, method="SLSQP", bounds=[(0.0, 1.0)] * count, constraints=[whole])
    weights = np.maximum(np.round(found.x / found.x.sum(), 4), MIN_WEIGHT)
    return tuple(float(weight) for weight in weights)


def _member(index: int, weight: float, threshold: float | None) -> Member:
    return Member(
        name=f"member{index}",
        file=f"member{index}.onnx",
        architecture="any",
        input="heightmap",
        output="scores",
        classes=("bad", "good"),
        weight=weight,
        threshold=threshold,
    )
