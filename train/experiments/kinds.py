"""The table of kinds: which function runs an experiment, and which options it takes; each is imported when its turn comes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import ConfigError
from train.amounts import AUGMENTATIONS, Augmentation
from train.experiments.outcome import RunKind
from train.experiments.schema import COMMON, Experiment, Kind


@dataclass(frozen=True)
class Plug:
    """Module and function `(experiment, task, folder) -> Outcome`; and the dataclass that [options] must fit, if the kind has any."""

    module: str
    function: str
    options: tuple[str, str] | None = None


PLUGS: dict[Kind, Plug] = {
    "classifier": Plug("train.experiments.classifier", "run_classifier"),
    "siamese": Plug("train.experiments.fitted", "run_siamese", ("train.siamese", "SiameseOptions")),
    "autoencoder": Plug("train.experiments.fitted", "run_autoencoder", ("train.autoencoder", "AutoencoderOptions")),
    "anomaly": Plug("train.experiments.fitted", "run_anomaly", ("train.anomaly", "AnomalyOptions")),
    "committee": Plug("train.experiments.committee", "run_committee"),
    "search": Plug("train.experiments.search", "run_search"),
}

SHARED = ("seed", "threads")
"""Options of every kind that the experiment's own key and the command line set."""


def run_of(kind: Kind) -> RunKind:
    """The function that runs this kind."""
    plug = PLUGS[kind]
    function: RunKind = getattr(import_module(plug.module), plug.function)
    return function


def options_of(experiment: Experiment, **shared: object) -> Any:
    """The kind's options value: its defaults, [options] of the file, then `shared`. Raises ConfigError naming a key that does not fit."""
    plug = PLUGS[experiment.kind]
    if plug.options is None:
        if experiment.options:
            raise ConfigError(
                f'kind = "{experiment.kind}" takes no [options]',
                seen=list(experiment.options),
                remedy="Its options are keys of the file itself",
            )
        return None
    made = getattr(import_module(plug.options[0]), plug.options[1])
    known = {field.name for field in fields(made)} - set(SHARED)
    said = {**_changed(experiment), **experiment.options}
    if "augmentation" in said:
        said["augmentation"] = _augmentation(experiment.name, said["augmentation"])
    if unknown := [key for key in said if key not in known]:
        remedy = f"Choose from: {', '.join(sorted(known))}"
        raise ConfigError(f'{experiment.name}: kind = "{experiment.kind}" does not take these options', seen=unknown, remedy=remedy)
    try:
        return msgspec.convert({**said, **shared}, made, dec_hook=_path)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{experiment.name}: [options] do not fit", seen=exc, remedy="Correct the value") from exc


def _changed(experiment: Experiment) -> dict[str, Any]:
    """The file's own keys about training that were set, which a kind takes if its options have them."""
    defaults = dict(zip(Experiment.__struct_fields__[1:], Experiment.__struct_defaults__, strict=True))  # all but the name have one
    return {key: getattr(experiment, key) for key, default in defaults.items() if key not in COMMON and getattr(experiment, key) != default}


def _augmentation(name: str, word: str) -> Augmentation:
    if word not in AUGMENTATIONS:
        raise ConfigError(f"{name}: this augmentation is not known", seen=word, remedy=f"Choose one of: {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[word]


def _path(wanted: type, value: Any) -> Any:
    if wanted is Path and isinstance(value, str):
        return Path(value)
    # msgspec makes of it the error that names the key.
    raise ValueError(f"wanted a {wanted.__name__}, got {value!r}")
