"""`cordon train`: one typology, a router, or a cross-validation, from folders of labelled scans; and the tools around it."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ConfigError, DatasetError
from train.options import RECIPES, TrainingOptions, recipe
from train.report import metrics_path, save_json

if TYPE_CHECKING:
    from edge.inspector.heightmap.spec import HeightmapSpec
    from train.fast import Learner

TOOLS = {
    "defects": ("train.defects.cli", "make labelled defects from good scans"),
    "run": ("train.experiments.cli", "run experiments, one TOML file each, into one table"),
    "clean": ("train.cleaning.cli", "find wrong labels and near-duplicates; apply or undo decisions"),
    "explain": ("train.explain.cli", "show where a network looked"),
    "import": ("train.intake.cli", "take relabelled welds from a box's record export"),
}
"""Word after `cordon train` → module with `main(argv)`, and what it does. A scan folder of such a name is given as ./NAME."""


def main(argv: Sequence[str]) -> int:
    """Train and write a checkpoint (and its figures beside it); with --folds one checkpoint per fold."""
    if argv and argv[0] in TOOLS:
        return int(import_module(TOOLS[argv[0]][0]).main(argv[1:]))
    arguments = _parser().parse_args(argv)
    options = recipe(
        arguments.recipe,
        architecture=arguments.arch,
        epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        held_out=arguments.held_out,
        escape_rate=arguments.escape_rate,
        seed=arguments.seed,
        threads=arguments.threads,
    )
    if arguments.keep_aside is not None and (arguments.router or arguments.folds is not None):
        raise DatasetError("--keep-aside is for one typology", seen="--router or --folds", remedy="Leave it out")
    _require_classifier(options.architecture)
    from scans.folder import read_spec  # noqa: PLC0415 - OpenCV, PyTorch, fastai and scikit-learn take seconds that --help should not
    from train.checks import say_device  # noqa: PLC0415

    spec = None if arguments.spec is None else read_spec(arguments.spec)
    say_device(options.threads)
    if arguments.folds is not None:
        _cross_validate(arguments, options, spec)
    elif arguments.router:
        _train_router(arguments, options, spec)
    else:
        _train_typology(arguments, options, spec)
    return 0


def _parser() -> argparse.ArgumentParser:
    tools = "\n".join(f"  cordon train {word:9s}{what}" for word, (_, what) in TOOLS.items())
    parser = argparse.ArgumentParser(
        prog="cordon train",
        description=main.__doc__,
        epilog=f"other commands, each with its own --help:\n{tools}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="has good/ and bad/ (or Soldadura_Buena/ and Soldadura_Mala/)")
    add("--out", type=Path, required=True, metavar="FILE", help="the checkpoint, NAME.safetensors; with --folds a folder")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--router", action="store_true", help="FOLDER has a folder per typology; learn to name the typology")
    kind.add_argument("--folds", type=int, metavar="N", help="cross-validate with N folds of whole groups, next to the baselines")
    add("--table", type=Path, metavar="CSV", help="columns file and group (or scan); default: the one CSV in FOLDER that has them")
    add("--keep-aside", type=Path, metavar="CSV", help="column file: scans that take no part, for a judgement later")
    add("--spec", type=Path, metavar="JSON", help="heightmap spec; default: FOLDER/heightmap.json, else 2nd to 98th percentile")
    add("--recipe", choices=list(RECIPES), default="default", help="set of options to start from (default: %(default)s)")
    add("--arch", metavar="NAME", help="the network: small, resnet18, ...; docs/networks.md has all (default: small)")
    add("--epochs", type=int, help="times that training sees every scan (default: the recipe's)")
    add("--learning-rate", type=float, help="the schedule's highest; deep networks from scratch want about 1e-3")
    add("--held-out", type=float, metavar="FRACTION", help="of the groups, kept for the figures")
    add("--escape-rate", type=float, metavar="FRACTION", help="that the reported threshold may let through (default: 0)")
    add("--seed", type=int, help="of the split, the weights and the order; equal seeds give equal networks (default: the recipe's)")
    add("--threads", type=int, help="of the CPU (default: the recipe's, 1 or 2)")
    add("--half", action="store_true", help="store kernels as float16: half the size")
    add("--learner", type=Path, metavar="PKL", help="also write fastai's Learner.export()")
    return parser


def _require_classifier(architecture: str) -> None:
    from nets.architectures import CLASSIFIERS  # noqa: PLC0415 - PyTorch takes seconds that --help should not

    if architecture not in CLASSIFIERS:
        known = ", ".join(sorted(CLASSIFIERS))
        remedy = f"Choose one of: {known}. Siamese networks, autoencoders and anomaly networks: `cordon train run`"
        raise ConfigError("this command trains no network of this name", seen=architecture, remedy=remedy)


def _train_typology(arguments: argparse.Namespace, options: TrainingOptions, spec: HeightmapSpec | None) -> None:
    from nets.checkpoint import save_checkpoint  # noqa: PLC0415 - as above
    from train.metrics import table  # noqa: PLC0415
    from train.typology import train_typology  # noqa: PLC0415

    result = train_typology(arguments.folder, options, table=arguments.table, keep_aside=arguments.keep_aside, spec=spec)
    save_checkpoint(result.checkpoint, arguments.out, half=arguments.half)
    save_json(result.as_dict(), metrics_path(arguments.out))
    _save_learner(result.learner, arguments.learner)
    print(table([(arguments.folder.name, result.metrics)]))
    for name in result.mistakes():
        print(f"misjudged at 0.5: {name}")
    _print_written(arguments.out, result.fitted.refused)


def _train_router(arguments: argparse.Namespace, options: TrainingOptions, spec: HeightmapSpec | None) -> None:
    from nets.checkpoint import save_checkpoint  # noqa: PLC0415 - as above
    from train.router import train_router  # noqa: PLC0415

    result = train_router(arguments.folder, options, spec=spec)
    save_checkpoint(result.checkpoint, arguments.out, half=arguments.half)
    save_json(result.as_dict(), metrics_path(arguments.out))
    _save_learner(result.learner, arguments.learner)
    print(f"{'typology':24s} {'held out':>8s} {'misnamed':>8s}")
    for name, count in result.held_out.items():
        print(f"{name:24s} {count:8d} {result.errors[name]:8d}")
    _print_written(arguments.out, result.refused)


def _cross_validate(arguments: argparse.Namespace, options: TrainingOptions, spec: HeightmapSpec | None) -> None:
    from train.crossval import cross_validate  # noqa: PLC0415 - as above

    if arguments.learner is not None:
        raise DatasetError("a cross-validation gives one network per fold", seen="--learner", remedy="Leave --learner out")
    result = cross_validate(
        arguments.folder, options, folds=arguments.folds, out=arguments.out, table=arguments.table, spec=spec, half=arguments.half
    )
    save_json(result.as_dict(), arguments.out / "metrics.json")
    print(result.table())
    print(f"written: {arguments.out}/fold0.safetensors ... and folds.csv, metrics.json")


def _save_learner(learner: Learner, path: Path | None) -> None:
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # fastai says that pickle is unsafe to load; --help and the documentation say so too
        learner.export(path.resolve())


def _print_written(path: Path, refused: int) -> None:
    if refused:
        print(f"{refused} bad scans took no part: the box refuses them before any network (constant or empty)")
    print(f"written: {path} and {metrics_path(path).name}")
