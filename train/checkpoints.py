"""`python -m train.checkpoints`: the repository's own networks, one per typology and the router, again from data and fixed seeds."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from edge.errors import CordonError, DatasetError
from nets.checkpoint import load_checkpoint, save_checkpoint
from train.learner import Fitted
from train.metrics import Scores, measure, table
from train.options import recipe
from train.report import save_json
from train.router import train_router, typology_folders
from train.scoring import probabilities
from train.typology import CLASSES, train_typology, truth_of

ROUTER = "router"
Changes: TypeAlias = Mapping[str, int | None]
"""Options changed from the recipe; None leaves one as it is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train `small` on every DATA/<typology>/{good,bad}, then the router on all of them; write float16 checkpoints and metrics.json."""
    parser = argparse.ArgumentParser(prog="python -m train.checkpoints", description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"typologies, or {ROUTER}; others in OUT stay as they are")
    parser.add_argument("--epochs", type=int, help="fewer, for a trial")
    parser.add_argument("--threads", type=int, help="of the CPU")
    arguments = parser.parse_args(argv)
    try:
        _train_all(arguments.data, arguments.out, arguments.only, {"epochs": arguments.epochs, "threads": arguments.threads})
    except CordonError as exc:
        print(f"{type(exc).__name__}: {exc}", file=sys.stderr)
        return 1
    return 0


def _train_all(data: Path, out: Path, only: Sequence[str] | None, changes: Changes) -> None:
    jobs: dict[str, Callable[[], dict[str, object]]] = {
        folder.name: lambda folder=folder: _typology(folder, out, changes)  # type: ignore[misc]
        for folder in typology_folders(data)
    }
    jobs[ROUTER] = lambda: _router(data, out, changes)
    if unknown := set(only or ()) - set(jobs):
        raise DatasetError("no such network to train", seen=sorted(unknown), remedy=f"Choose from: {', '.join(jobs)}")
    path = out / "metrics.json"
    figures: dict[str, object] = json.loads(path.read_text(encoding="utf-8")) if only and path.is_file() else {}
    for name in only or jobs:
        started = time.monotonic()
        figures[name] = jobs[name]()
        save_json(dict(sorted(figures.items())), path)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)


def _typology(folder: Path, out: Path, changes: Changes) -> dict[str, object]:
    result = train_typology(folder, recipe("synthetic", **changes), watch=False)
    badness = _save_and_score(result.fitted, out / f"{folder.name}.safetensors")[:, CLASSES.index("bad")]
    metrics = measure(truth_of(result.fitted.held_out), badness, result.metrics.escape_rate)
    print(table([(folder.name, metrics)]))
    return {**result.as_dict(), **metrics.as_dict()}


def _router(data: Path, out: Path, changes: Changes) -> dict[str, object]:
    result = train_router(data, recipe("router", **changes), watch=False)
    save_checkpoint(result.checkpoint, out / f"{ROUTER}.safetensors", half=True)
    print(f"router: {sum(result.errors.values())} of {sum(result.held_out.values())} held-out scans misnamed")
    return result.as_dict()


def _save_and_score(fitted: Fitted, path: Path) -> Scores:
    """The held-out scans' probabilities by the file as it was written, float16 rounding included."""
    save_checkpoint(fitted.checkpoint, path, half=True)
    return probabilities(load_checkpoint(path), fitted.images)


if __name__ == "__main__":
    raise SystemExit(main())
