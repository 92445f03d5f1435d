"""A value of plain tables as TOML text, so that a run's folder holds the experiment as it was run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from train.experiments.schema import Experiment


def to_toml(experiment: Experiment) -> str:
    """Every key that differs from its default; `read_experiment` reads it back equal."""
    plain = Experiment(name=experiment.name, data=experiment.data or "-", kind="classifier")
    said, default = msgspec.to_builtins(experiment), msgspec.to_builtins(plain)
    kept = {key: value for key, value in said.items() if key in ("name", "kind", "data") or value != default[key]}
    lines = [f"{key} = {_value(value)}" for key, value in kept.items() if value is not None and not isinstance(value, Mapping)]
    for key, table in kept.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{key}]", *(f"{_key(name)} = {_value(value)}" for name, value in table.items() if value is not None)]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(inner) for inner in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value).lower() if isinstance(value, bool) else repr(value)
