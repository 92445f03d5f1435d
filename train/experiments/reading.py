"""Experiment files to a list of named runs: strict keys, a matrix spread out, names that occur once."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import ConfigError
from edge.toml import parse_toml
from train.experiments.schema import COMMON, KINDS_WITH_OPTIONS, Experiment

MAX_RUNS = 10_000


def read_experiments(paths: Sequence[Path]) -> list[Experiment]:
    """Every run of these files, committees last. Raises ConfigError naming the file for what does not fit."""
    named: dict[str, Path] = {}
    runs = []
    for path in paths:
        for experiment in read_experiment(path):
            if experiment.name in named:
                both = f"{named[experiment.name]} and {path}"
                raise ConfigError("two runs have the same name", seen=f"{experiment.name} in {both}", remedy="Rename one")
            named[experiment.name] = path
            runs.append(experiment)
    return sorted(runs, key=lambda run: run.kind == "committee")


def read_experiment(path: Path) -> list[Experiment]:
    """The runs of one file. Raises ConfigError."""
    try:
        tables = parse_toml(path.read_bytes())
        return [_converted(table) for table in spread(tables)]
    except OSError as exc:
        raise ConfigError(f"cannot read the experiment {path}", seen=exc.strerror, remedy="Give an experiment's TOML file") from exc
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path} is not an experiment", seen=exc, remedy=_remedy(exc)) from exc
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc.what}", seen=exc.seen, remedy=exc.remedy) from exc


def spread(tables: dict[str, Any]) -> list[dict[str, Any]]:
    """One table per combination of `over`'s values, each named after them; a file without `over` is one run. Raises ConfigError."""
    over = tables.get("over", {})
    if not over:
        return [tables]
    msgspec.convert(tables, Experiment)  # says what does not fit before the names below hide it
    single = sorted(set(Experiment.__struct_fields__) - {"name", "over", "kind"})
    for key, values in over.items():
        if key not in single or not values:
            raise ConfigError("over", seen=f"{key} = {values}", remedy=f"Give at least one value for one of: {', '.join(single)}")
    combinations = list(product(*over.values()))
    if len(combinations) > MAX_RUNS:
        raise ConfigError("over makes too many runs", seen=len(combinations), remedy=f"At most {MAX_RUNS}")
    base = {key: value for key, value in tables.items() if key != "over"}
    made = []
    for values in combinations:
        pairs = dict(zip(over, values, strict=True))
        name = "-".join([str(tables["name"]), *(_word(key, value) for key, value in pairs.items())])
        made.append({**base, **pairs, "name": name})
    return made


def chosen(runs: Sequence[Experiment], only: Sequence[str]) -> list[Experiment]:
    """The runs whose names fit one of the patterns (all without any). Raises ConfigError for a pattern that fits none."""
    for pattern in only:
        if not any(fnmatch(run.name, pattern) for run in runs):
            raise ConfigError("no run has this name", seen=pattern, remedy=f"Choose from: {', '.join(run.name for run in runs)}")
    return [run for run in runs if not only or any(fnmatch(run.name, pattern) for pattern in only)]


def _converted(table: dict[str, Any]) -> Experiment:
    """Kinds with options of their own have other defaults, so that what the file says about training must go there, not beside them."""
    if table.get("kind") not in KINDS_WITH_OPTIONS:
        return msgspec.convert(table, Experiment)
    own = [key for key in table if key in Experiment.__struct_fields__ and key not in ("name", *COMMON)]
    kept = {key: value for key, value in table.items() if key not in own}
    said = {key: table[key] for key in own}
    msgspec.convert({**kept, **said}, Experiment)
    return msgspec.convert({**kept, "options": {**said, **table.get("options", {})}}, Experiment)


def _word(key: str, value: object) -> str:
    text = "x".join(str(part) for part in value) if isinstance(value, list) else str(value)
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in text)
    return plain if isinstance(value, str) and key in ("architecture", "data") else f"{key}_{plain}"


def _remedy(exc: Exception) -> str:
    if "unknown field" in str(exc):
        return f"Known keys: {', '.join(Experiment.__struct_fields__)}"
    return "Correct the key or value; docs/training.md lists all of them"
