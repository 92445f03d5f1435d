"""The one place that imports fastai: what this room uses of it, without the warnings its import makes about torch."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    import fastai.callback.progress
    import fastai.callback.schedule  # noqa: F401 - adds fit_one_cycle, fine_tune and lr_find to Learner
    from fastai.callback.core import Callback, CancelFitException, CancelValidException
    from fastai.callback.data import WeightedDL  # adds weighted_dataloaders to Datasets
    from fastai.callback.hook import hook_output
    from fastai.callback.mixup import MixUp
    from fastai.callback.progress import CSVLogger
    from fastai.callback.tracker import EarlyStoppingCallback, ReduceLROnPlateau, SaveModelCallback
    from fastai.data.core import DataLoaders, Datasets, Transform
    from fastai.data.transforms import Categorize, IntToFloatTensor, Normalize
    from fastai.learner import Learner, load_learner
    from fastai.losses import CrossEntropyLossFlat
    from fastai.metrics import error_rate
    from fastai.torch_core import TensorImageBW, no_random

__all__ = [
    "CSVLogger",
    "Callback",
    "CancelFitException",
    "CancelValidException",
    "Categorize",
    "CrossEntropyLossFlat",
    "DataLoaders",
    "Datasets",
    "EarlyStoppingCallback",
    "IntToFloatTensor",
    "Learner",
    "MixUp",
    "Normalize",
    "ReduceLROnPlateau",
    "SaveModelCallback",
    "TensorImageBW",
    "Transform",
    "WeightedDL",
    "error_rate",
    "hook_output",
    "load_learner",
    "no_random",
]
