"""The labelled real scans, 5-fold by scan: train, export to INT8, and run every scan through the running line while its fold is unseen."""

from __future__ import annotations

import argparse
import csv
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from calib.prepare import prepare_scans
from edge.commands import new_key
from edge.errors import SimulationError
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow, spec_to_json
from export.graph.write import run_torch
from export.sources.load import load_source
from scans.folder import Scan, ScanFolder, find_scans
from scans.split import folds_by_group
from sim.demo import cordon, follow
from sim.line import Line, LineSpec
from sim.outcome import Judged, latencies, read_results
from train.baseline import BASELINES, baseline_badness

DATA = Path("../shared/data/battery_weld")
SPEC = HeightmapSpec(window=PercentileWindow(low=2.0, high=98.0))
TYPOLOGY = "battery"
BUDGET_MS = 100.0
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Fold:
    """One fold's test scans with every score of them; `bad` is their truth."""

    bad: NDArray[np.bool_]
    fp32: Scores
    int8: Scores
    threshold: float
    judged: list[Judged]
    baselines: dict[str, Scores]


def main(argv: Sequence[str]) -> int:
    """Run all folds and print the table as Markdown; exit status 1 when a verdict is missing."""
    parser = argparse.ArgumentParser(prog="cordon bench real-data", description=main.__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with tiles/ and tiles.csv (default %(default)s)")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--recipe", default="real")
    parser.add_argument("--arch", default="small")
    parser.add_argument(
        "--held-out", default="0.1", help="part of each fold's training scans that chooses the threshold (default %(default)s)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="trainings side by side (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/real-data"))
    arguments = parser.parse_args(argv)
    torch.set_num_threads(2)
    arguments.out.mkdir(parents=True, exist_ok=True)
    folder = find_scans(arguments.data / "tiles", table=arguments.data / "tiles.csv")
    splits = folds_by_group(folder.scans, folds=arguments.folds, seed=arguments.seed)
    outs = [arguments.out / f"fold{number}" for number in range(len(splits))]
    # One thread each: two PyTorch threads that compete with another process spin instead of working.
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda job: train_and_export(folder, job[0][1], job[1], arguments), zip(splits, outs, strict=True)))
    folds = []
    for number, ((training, test), out) in enumerate(zip(splits, outs, strict=True)):
        started_s = time.monotonic()
        folds.append(judge(folder, training, test, out))
        print(f"fold {number + 1} of {len(splits)}: {len(test)} scans through the line, {time.monotonic() - started_s:.0f} s", flush=True)
    text, summary = report(folds)
    (arguments.out / "table.md").write_text(text + "\n")
    print(f"\n{text}\n{json.dumps(summary)}")
    return 1 if summary["missing"] else 0


def train_and_export(folder: ScanFolder, test: Sequence[Scan], out: Path, arguments: argparse.Namespace) -> None:
    """Neither training nor calibration, threshold or proof see the fold's test scans: they are kept aside from all of them."""
    out.mkdir(exist_ok=True)
    aside, spec = out / "aside.csv", out / "heightmap.json"
    spec.write_bytes(spec_to_json(SPEC))
    with aside.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("file",), *((scan.path.relative_to(folder.root).as_posix(),) for scan in test)])
    table = (arguments.data / "tiles.csv").resolve()
    checkpoint, key, bundle = out / "network.safetensors", out / "signing.key", out / "line.cordon"
    options = ("--table", str(table), "--spec", str(spec), "--keep-aside", str(aside), "--recipe", arguments.recipe, "--threads", "1")
    holding = ("--held-out", arguments.held_out)
    cordon("train", str(folder.root), *options, *holding, "--arch", arguments.arch, "--out", str(checkpoint))
    lines = ['name = "battery"', "version = 1", "[[typology]]", f'name = "{TYPOLOGY}"', f'source = "{checkpoint.resolve()}"']
    lines += [f'scans = "{folder.root.resolve()}"', f'table = "{table}"', f'keep_aside = "{aside.resolve()}"']
    (out / "line.toml").write_text("\n".join(lines) + "\n")
    key.unlink(missing_ok=True)
    (out / "public.key").write_text(new_key(key))
    cordon("export", "--spec", str(out / "line.toml"), "--key", str(key), "--out", str(bundle), "--force")


def judge(folder: ScanFolder, training: Sequence[Scan], test: Sequence[Scan], out: Path) -> Fold:
    """FP32 scores by PyTorch, baselines fitted on all other folds, and verdicts and INT8 scores as the line recorded them."""
    prepared = prepare_scans(test, SPEC, folder.scale)
    source = load_source(out / "network.safetensors")
    fp32 = run_torch(source, prepared.images)[:, source.classes.index("bad")].astype(np.float64)
    seen = prepare_scans(training, SPEC, folder.scale)
    bad = np.array([scan.label == "bad" for scan in test])
    seen_bad = np.array([scan.label == "bad" for scan in training])
    baselines = {name: baseline_badness(name, seen.images[:, 0], seen_bad, prepared.images[:, 0]) for name in BASELINES}
    judged, int8, threshold = through_the_line(test, out)
    return Fold(bad, fp32, int8, threshold, judged, baselines)


def through_the_line(test: Sequence[Scan], out: Path) -> tuple[list[Judged], Scores, float]:
    """ZeroMQ in, pseudo-terminal out: verdicts at the robot, scores and threshold from the durable record."""
    welds = out / "welds.csv"
    rows = [(f"P{n:04d}", "W1", TYPOLOGY, scan.label, scan.group, str(scan.path.resolve())) for n, scan in enumerate(test)]
    with welds.open("w", newline="") as file:
        csv.writer(file).writerows([("part", "weld", "typology", "truth", "defect", "file"), *rows])
    results = out / "results.jsonl"
    results.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="cordon-") as short:
        key = (out / "public.key").read_text().strip()
        spec = LineSpec(folder=Path(short), bundle=(out / "line.cordon").resolve(), key=key, budget_ms=BUDGET_MS)
        with Line(spec) as line:
            line.start_camera(welds)
            robot = line.start_robot(welds, results)
            line.start_daemons()
            follow(line, robot.name, results, len(rows))
        recorded = read_scores(spec.folder / "records.db")
    with welds.open(newline="") as file:
        judged = read_results(list(csv.DictReader(file)), results)
    missing = [part for part, *_ in rows if part not in recorded]
    if missing:
        raise SimulationError("the record has no score for some scans", seen=missing[:5], remedy=f"See {results} for the reasons")
    return judged, np.array([recorded[part][0] for part, *_ in rows]), recorded[rows[0][0]][1]


def read_scores(records: Path) -> dict[str, tuple[float, float]]:
    """Score and threshold by part; to be called when the gate has closed the file."""
    connection = sqlite3.connect(f"file:{records}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT part, score, threshold FROM verdicts WHERE score IS NOT NULL").fetchall()
    finally:
        connection.close()
    return {part: (score, threshold) for part, score, threshold in rows}


def report(folds: Sequence[Fold]) -> tuple[str, dict[str, float]]:
    """A Markdown table per fold and over all folds, and the figures for the line of JSON."""
    head = (
        "| fold | scans | bad | AUROC trivial three | AUROC gradient histogram | AUROC FP32 | AUROC INT8 | threshold | escapes | overkills "
        "| FP32 escapes / overkills | flips | p50 / p99 / max ms |"
    )
    lines = [head, "|---" * 13 + "|"]
    lines += [_row(str(number + 1), [fold]) for number, fold in enumerate(folds)]
    lines.append(_row("all", folds))
    judged = [j for fold in folds for j in fold.judged]
    p50, p99, most = latencies(judged)
    summary = {
        "scans": len(judged),
        "auroc_trivial": _mean_auroc(folds, _baseline("trivial three")),
        "auroc_fp32": _mean_auroc(folds, lambda f: f.fp32),
        "auroc_int8": _mean_auroc(folds, lambda f: f.int8),
        "escapes": sum(j.escape for j in judged),
        "overkills": sum(j.overkill for j in judged),
        "missing": sum(not j.answered for j in judged),
        "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2),
        "max_ms": round(most, 2),
    }
    return "\n".join(lines), summary


def _mean_auroc(folds: Sequence[Fold], scores: Callable[[Fold], Scores]) -> float:
    return round(float(np.mean([roc_auc_score(fold.bad, scores(fold)) for fold in folds])), 4)


def _baseline(name: str) -> Callable[[Fold], Scores]:
    return lambda fold: fold.baselines[name]


def _row(name: str, folds: Sequence[Fold]) -> str:
    """Over several folds AUROC is their mean, since scores of different networks are not comparable."""
    judged = [j for fold in folds for j in fold.judged]
    bad = sum(int(fold.bad.sum()) for fold in folds)
    aurocs = [_mean_auroc(folds, _baseline(baseline)) for baseline in BASELINES]
    aurocs += [_mean_auroc(folds, lambda f: f.fp32), _mean_auroc(folds, lambda f: f.int8)]
    fp32_escapes = sum(int((fold.bad & (fold.fp32 <= fold.threshold)).sum()) for fold in folds)
    fp32_overkills = sum(int((~fold.bad & (fold.fp32 > fold.threshold)).sum()) for fold in folds)
    flips = sum(int(((fold.fp32 <= fold.threshold) != (fold.int8 <= fold.threshold)).sum()) for fold in folds)
    threshold = f"{folds[0].threshold:.3f}" if len(folds) == 1 else ""
    escapes, overkills = sum(j.escape for j in judged), sum(j.overkill for j in judged)
    times = " / ".join(f"{value:.1f}" for value in latencies(judged))
    figures = " | ".join(f"{value:.4f}" for value in aurocs)
    return (
        f"| {name} | {len(judged)} | {bad} | {figures} | {threshold} | {escapes} | {overkills} "
        f"| {fp32_escapes} / {fp32_overkills} | {flips} | {times} |"
    )
