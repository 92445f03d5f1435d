"""The one place that imports fastai: what this room uses of it, without the warnings its import makes about torch."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    import fastai.callback.progress
    import fastai.callback.schedule  # noqa: F401 - adds fit_one_cycle to Learner
    from fastai.callback.core import Callback, CancelValidException
    from fastai.data.core import DataLoaders, Datasets, Transform
    from fastai.data.transforms import Categorize, IntToFloatTensor, Normalize
    from fastai.learner import Learner, load_learner
    from fastai.losses import CrossEntropyLossFlat
    from fastai.metrics import error_rate
    from fastai.torch_core import TensorImageBW, no_random

__all__ = [
    "Callback",
    "CancelValidException",
    "Categorize",
    "CrossEntropyLossFlat",
    "DataLoaders",
    "Datasets",
    "IntToFloatTensor",
    "Learner",
    "Normalize",
    "TensorImageBW",
    "Transform",
    "error_rate",
    "load_learner",
    "no_random",
]
