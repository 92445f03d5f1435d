"""`cordon train run`: experiments from TOML files, one after the other, into one table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from train.experiments.reading import chosen, read_experiments


def main(argv: Sequence[str]) -> int:
    """Run experiments and write OUT/results.csv, a row per finished run, and OUT/<run>/ with its network, log and scores.

    A run that is complete is skipped with --resume; one that was killed starts again from its beginning (a search from its last
    finished trial). Everything is checked before the first training.
    """
    arguments = _parser().parse_args(argv)
    experiments = chosen(read_experiments(arguments.experiments), arguments.only)

    import torch  # noqa: PLC0415 - torch and fastai take seconds that --help should not

    from train.checks import say_device  # noqa: PLC0415
    from train.experiments.records import TABLE, only_writer  # noqa: PLC0415
    from train.experiments.runner import plan, run_all  # noqa: PLC0415

    torch.set_num_threads(arguments.threads)
    with only_writer(arguments.out):
        runs = plan(experiments, arguments.data, arguments.out)
        say_device(arguments.threads)
        records = run_all(runs, arguments.out, resume=arguments.resume)
    print("held-out scans, judged at the threshold that each run's validation scans chose:")
    width = max(len(record.experiment.name) for record in records)
    print(f"{'':{width}s} {'AUROC':>7s} {'error':>7s} {'95 %':>15s} {'escapes':>8s} {'overkills':>9s} {'seconds':>8s}")
    for record in records:
        row = record.row
        interval = f"{float(row['error_low']):.2%}-{float(row['error_high']):.2%}"
        counts = f"{row['escapes']:>8} {row['overkills']:>9} {row['seconds']:>8}"
        print(f"{record.experiment.name:{width}s} {float(row['auroc']):7.4f} {float(row['error']):7.2%} {interval:>15s} {counts}")
    print(f"written: {arguments.out / TABLE}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon train run", description=main.__doc__)
    add = parser.add_argument
    add("experiments", type=Path, nargs="+", metavar="EXPERIMENT.toml")
    add("--data", type=Path, required=True, metavar="ROOT", help="the experiments' folders of scans lie below it")
    add("--out", type=Path, required=True, metavar="DIR")
    add("--resume", action="store_true", help="keep what is finished in DIR and go on")
    add("--only", action="append", default=[], metavar="NAME", help="only runs of this name, or pattern with *; may be repeated")
    add("--threads", type=int, default=2, metavar="N", help="of the CPU; another number gives other, equally good networks (default: 2)")
    return parser
