"""The table of kinds: which function runs an experiment, and which options it takes; each is imported when its turn comes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

import msgspec

from edge.errors import ConfigError
from train.experiments.outcome import RunKind
from train.experiments.schema import Experiment, Kind


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
"""Options of every kind that the experiment's own keys and the command line set."""


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
    known = {field.name for field in fields(made)}
    if unknown := [key for key in experiment.options if key not in known or key in SHARED]:
        raise ConfigError(f"[options] of {experiment.name}", seen=unknown, remedy=f"Choose from: {', '.join(sorted(known - set(SHARED)))}")
    try:
        return msgspec.convert({**experiment.options, **{key: value for key, value in shared.items() if key in known}}, made)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"[options] of {experiment.name} do not fit", seen=exc, remedy="Correct the value") from exc
