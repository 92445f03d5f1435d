"""Probabilities that mean what they say: calibration on validation scans, how it is measured, and how it is shipped."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from torch import Tensor, nn

from edge.errors import DatasetError
from nets.checkpoint import Checkpoint
from train.learner import Fitted
from train.metrics import Scores, Truth

BAD = "bad"
BINS = 10
_CLIP = 1e-7
"""Nearest to 0 and 1 that a float32 softmax can be told from them."""
_TEMPERATURES = (0.05, 20.0)
_SAME = 1e-3
"""Relative difference from the logits wanted that a folded network may show."""


@dataclass(frozen=True, kw_only=True)
class Affine:
    """The badness logit times `scale` plus `shift`; temperature scaling is a scale of 1 / T and no shift."""

    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, badness: Scores) -> Scores:
        """Probabilities of bad f64 [n] → calibrated ones."""
        calibrated: Scores = expit(self.scale * _logits(badness) + self.shift)
        return calibrated


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Scans whose badness lies between `low` and `high`."""

    low: float
    high: float
    scans: int
    badness: float
    """Mean."""
    bad: float
    """Part that is bad."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How far probabilities can be believed."""

    ece: float
    """Expected calibration error: mean distance between badness and part bad over the bins, weighted by scans."""
    brier: float
    log_loss: float
    bins: tuple[Bin, ...]
    """Those that hold scans."""


def temperature(bad: Truth, badness: Scores) -> Affine:
    """The one temperature of least log loss (Guo et al. 2017), bool and f64 [n]; the order of the scans stays as it is.

    The targets are Platt's, a little inside 0 and 1, for otherwise separable scans would ask for the temperature 0.
    Raises DatasetError when a label is missing.
    """
    targets, logits = _targets(bad), _logits(badness)
    found = minimize_scalar(lambda t: _log_loss(targets, logits / np.exp(t)), bounds=tuple(np.log(_TEMPERATURES)), method="bounded")
    return Affine(scale=float(np.exp(-found.x)))


def platt(bad: Truth, badness: Scores) -> Affine:
    """Scale and shift of least log loss (Platt 1999): logistic regression on the logit, with his targets. Raises DatasetError."""
    targets, logits = _targets(bad), _logits(badness)
    both = np.concatenate((logits, logits))[:, None]
    truth = np.repeat([True, False], len(logits))
    model = LogisticRegression(C=np.inf).fit(both, truth, sample_weight=np.concatenate((targets, 1.0 - targets)))
    scale = float(model.coef_[0, 0])
    if scale <= 0:
        raise DatasetError("bad validation scans score below good ones", seen=f"slope {scale:.3g}", remedy="Train the network again")
    return Affine(scale=scale, shift=float(model.intercept_[0]))


def isotonic(bad: Truth, badness: Scores) -> Callable[[Scores], Scores]:
    """The best non-decreasing map (Zadrozny and Elkan 2002); for comparison only, as no layer of a network is one."""
    _targets(bad)
    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(badness, bad.astype(float))
    return lambda new: np.asarray(model.predict(new), np.float64)


def reliability(bad: Truth, badness: Scores, *, bins: int = BINS) -> Reliability:
    """ECE over equally wide bins (Naeini et al. 2015), Brier score and log loss of f64 [n] probabilities of bad."""
    place = np.minimum((badness * bins).astype(int), bins - 1)
    found = []
    for number in range(bins):
        here = place == number
        if here.any():
            edges = {"low": number / bins, "high": (number + 1) / bins}
            found.append(Bin(**edges, scans=int(here.sum()), badness=float(badness[here].mean()), bad=float(bad[here].mean())))
    return Reliability(
        ece=sum(each.scans * abs(each.badness - each.bad) for each in found) / len(bad),
        brier=float(brier_score_loss(bad, badness)),
        log_loss=_log_loss(bad.astype(np.float64), _logits(badness)),
        bins=tuple(found),
    )


def compare(validation: tuple[Truth, Scores], held_out: tuple[Truth, Scores]) -> dict[str, Reliability]:
    """Every calibration fitted on the validation scans and measured on the held-out ones; "none" is the network as it is."""
    ways: dict[str, Callable[[Scores], Scores]] = {
        "none": Affine(),
        "temperature": temperature(*validation),
        "platt": platt(*validation),
        "isotonic": isotonic(*validation),
    }
    bad, badness = held_out
    return {name: reliability(bad, way(badness)) for name, way in ways.items()}


def table(found: dict[str, Reliability]) -> str:
    """The comparison as text, one line per calibration."""
    lines = [f"{'':12s} {'ECE':>8s} {'Brier':>8s} {'log loss':>9s}"]
    lines += [f"{name:12s} {one.ece:8.4f} {one.brier:8.4f} {one.log_loss:9.4f}" for name, one in found.items()]
    return "\n".join(lines)


def bins_table(found: Reliability) -> str:
    """The reliability table as text, one line per bin that holds scans."""
    lines = [f"{'badness':>11s} {'scans':>6s} {'mean':>7s} {'bad':>7s}"]
    lines += [f"{one.low:.2f} - {one.high:.2f} {one.scans:6d} {one.badness:7.3f} {one.bad:7.3f}" for one in found.bins]
    return "\n".join(lines)


def calibrated(fitted: Fitted, how: Affine) -> Fitted:
    """`fitted` with the calibration inside its network and its probabilities. Raises DatasetError as `folded`."""
    column = fitted.checkpoint.classes.index(BAD)
    return replace(
        fitted,
        checkpoint=folded(fitted.checkpoint, how),
        probabilities=_both(how(fitted.probabilities[:, column]), column),
        validation_probabilities=_both(how(fitted.validation_probabilities[:, column]), column)
        if len(fitted.validation)
        else fitted.validation_probabilities,
    )


def folded(checkpoint: Checkpoint, how: Affine) -> Checkpoint:
    """The checkpoint whose own last layer does the calibration, so that export and box need nothing new; the given one stays.

    The new network is run beside the old one before it is returned. Raises DatasetError for networks other than two-class
    classifiers, and where the last layer's answer is not the logits themselves (a shift behind a ReLU, for instance).
    """
    if sorted(checkpoint.classes) != [BAD, "good"]:
        raise DatasetError("only a network that tells good from bad is calibrated", seen=checkpoint.classes, remedy="Leave it as it is")
    model = copy.deepcopy(checkpoint.model).eval()
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d) and layer.weight.shape[0] == 2]
    if not layers:
        raise DatasetError("the network has no last layer for two classes", seen=checkpoint.architecture, remedy="Leave it as it is")
    last, bad = layers[-1], checkpoint.classes.index(BAD)
    with torch.no_grad():
        last.weight *= how.scale
        if last.bias is None:
            last.bias = nn.Parameter(torch.zeros(2))
        last.bias *= how.scale
        last.bias[bad] += how.shift / 2
        last.bias[1 - bad] -= how.shift / 2
    made = replace(checkpoint, model=model, provenance={**checkpoint.provenance, **_facts(how)})
    _require_same(checkpoint, made, how, bad)
    return made


def _require_same(before: Checkpoint, after: Checkpoint, how: Affine, bad: int) -> None:
    size = (before.heightmap.height, before.heightmap.width)
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    training = before.model.training
    with torch.inference_mode():
        old, new = (_difference(each.model.eval()(images), bad) for each in (before, after))
    before.model.train(training)
    wanted = how.scale * old + how.shift
    away = float(((new - wanted).abs() / (1.0 + wanted.abs())).max())
    if not away <= _SAME:
        raise DatasetError(
            f"the calibration cannot be put into the last layer of {before.architecture}",
            seen=f"logits differ by {away:.3g}",
            remedy="Ship the network as it is: thresholds do not need calibrated scores",
        )


def _difference(logits: Tensor, bad: int) -> Tensor:
    return logits[:, bad] - logits[:, 1 - bad]


def _facts(how: Affine) -> dict[str, str]:
    return {"calibration_scale": repr(how.scale), "calibration_shift": repr(how.shift)}


def _both(badness: Scores, column: int) -> Scores:
    pair = (badness, 1.0 - badness) if column == 0 else (1.0 - badness, badness)
    return np.stack(pair, axis=1)


def _logits(badness: Scores) -> Scores:
    values: Scores = logit(np.clip(badness, _CLIP, 1.0 - _CLIP))
    return values


def _targets(bad: Truth) -> Scores:
    many, few = int(bad.sum()), int((~bad).sum())
    if not many or not few:
        raise DatasetError(
            "calibration needs good and bad validation scans", seen=f"{many} bad, {few} good", remedy="Validate on more scans"
        )
    return np.where(bad, (many + 1) / (many + 2), 1 / (few + 2))


def _log_loss(targets: Scores, logits: Scores) -> float:
    return float(np.mean(np.logaddexp(0.0, logits) - targets * logits))
