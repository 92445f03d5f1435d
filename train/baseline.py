"""What a network must beat: logistic regression on three trivial numbers, and on histograms of gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from train.metrics import Scores, Truth

Images = NDArray[np.uint8]
"""[n, height, width], prepared heightmaps, 0 = no data."""
Features = NDArray[np.float64]
CELLS = (8, 11)
"""Rows and columns of cells for the histograms of gradients."""
ORIENTATIONS = 8


def trivial_features(images: Images) -> Features:
    """f64 [n, 3]: fraction without data, mean and standard deviation of the gray values."""
    pixels = images.reshape(len(images), -1)
    return np.stack([(pixels == 0).mean(axis=1), pixels.mean(axis=1), pixels.std(axis=1)], axis=1)


def gradient_features(images: Images) -> Features:
    """f64 [n, 8 * 11 * 8]: per cell, gradient magnitude by unsigned orientation, each cell normalised to length one."""
    return np.stack([_gradient_histogram(image.astype(np.float64)) for image in images])


BASELINES: dict[str, tuple[Callable[[Images], Features], float]] = {
    "trivial three": (trivial_features, 1.0),
    "gradient histogram": (gradient_features, 0.01),
}
"""Features and the inverse regularisation of the regression on them."""


def baseline_badness(name: str, images: Images, bad: Truth, new: Images) -> Scores:
    """f64 [new]: the probability of `bad` for `new`, from a balanced regression fitted on `images` and their truth."""
    features, strength = BASELINES[name]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=1000))
    model.fit(features(images), bad)
    badness: Scores = model.predict_proba(features(new))[:, 1]
    return badness


def _gradient_histogram(image: NDArray[np.float64]) -> Features:
    down, right = np.gradient(image)
    magnitude = np.hypot(down, right)
    orientation = (np.arctan2(down, right) % np.pi / np.pi * ORIENTATIONS).astype(int) % ORIENTATIONS
    height, width = image.shape
    row = np.arange(height)[:, None] * CELLS[0] // height
    column = np.arange(width)[None, :] * CELLS[1] // width
    place = ((row * CELLS[1] + column) * ORIENTATIONS + orientation).ravel()
    cells = np.bincount(place, magnitude.ravel(), CELLS[0] * CELLS[1] * ORIENTATIONS).reshape(-1, ORIENTATIONS)
    normalised: Features = (cells / (np.linalg.norm(cells, axis=1, keepdims=True) + 1.0)).ravel()
    return normalised
