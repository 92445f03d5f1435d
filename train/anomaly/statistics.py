"""What good welds look like, patch by patch: a Gaussian per position, or a memory of patches that lie far from each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus
from sklearn.covariance import ledoit_wolf

Features = NDArray[np.float32]
"""[scans, channels, height, width], one feature map of every scan."""
INT8_STEPS = 127.0


def gaussians(features: Features, *, reach: int = 1) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean f32 [1, C, h, w] and whitening f32 [1, C, C, h, w]: |whitening (x - mean)|² is Mahalanobis' distance squared over C.

    Welds shift a little, so each position learns from the patches up to `reach` positions away as well. The covariance is Ledoit
    and Wolf's (2004), plus the variance of rounding to INT8, (range / 127)² / 12, so that no direction is judged finer than the box
    can see it; that also keeps it positive.
    """
    _, depth, height, width = features.shape
    step = np.abs(features).max(axis=(0, 2, 3)) / INT8_STEPS
    rounding = np.diag(np.maximum(step**2 / 12, 1e-9)).astype(np.float64)
    mean = np.empty((1, depth, height, width), np.float32)
    whitening = np.empty((1, depth, depth, height, width), np.float32)
    for row in range(height):
        for column in range(width):
            rows, columns = slice(max(0, row - reach), row + reach + 1), slice(max(0, column - reach), column + reach + 1)
            patches = features[:, :, rows, columns].transpose(0, 2, 3, 1).reshape(-1, depth).astype(np.float64)
            covariance, _ = ledoit_wolf(patches)
            mean[0, :, row, column] = patches.mean(axis=0)
            whitening[0, :, :, row, column] = np.linalg.inv(np.linalg.cholesky((covariance + rounding) * depth))
    return mean, whitening


def coreset(patches: NDArray[np.float32], count: int, *, seed: int, limit: int = 20_000) -> NDArray[np.float32]:
    """f32 [count, C] of f32 [n, C], spread out by k-means++ seeding; of more than `limit` a random part is looked at.

    Where there are fewer than `count`, they repeat.
    """
    random = np.random.default_rng(seed)
    if len(patches) > limit:
        patches = patches[random.choice(len(patches), limit, replace=False)]
    if len(patches) <= count:
        repeated: NDArray[np.float32] = np.resize(patches, (count, patches.shape[1]))
        return repeated
    chosen, _ = kmeans_plusplus(patches, count, random_state=seed)
    spread: NDArray[np.float32] = chosen.astype(np.float32)
    return spread
