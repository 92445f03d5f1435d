"""INT8 against FP32 for the thesis's four ResNets, trained on simulated welds and on the real scans: what export adds and costs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.commands import new_key
from edge.errors import SimulationError
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow, spec_to_json

DATA = Path("../shared/data/battery_weld")
TYPOLOGY = "T3"
TRAINING, PROOF = ("450", "450", "1"), ("400", "400", "12")
"""Good, bad and seed of the simulated welds that train, and of those that prove: more, because 0.3 points are 1 in 333."""
LIMIT_POINTS = 0.3
MANY_IMAGES = 256
ESCAPE_RATE = "0.01"
"""Without it a single weld that a network is sure of and wrong about would decide where good ends."""
MOST_HELD_OUT = "0.92"
"""Of the proof scans: nearly all of them prove, the rest calibrates."""


@dataclass(frozen=True)
class Trained:
    """One network to be exported: how it is trained, and the scans that prove it."""

    architecture: str
    epochs: int
    real: bool

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{'real' if self.real else 'simulated'}-{self.architecture}"


EPOCHS = {"resnet18": (10, 14), "resnet34": (10, 12), "resnet50": (6, 9), "resnet101": (5, 4)}
"""On simulated and on real scans; as many as a CPU affords, which is not enough for ResNet101."""
LEAST_RATIO, MOST_SECONDS = 4.0, 90.0
"""Speed over PyTorch FP32, and time to export ResNet18 with many calibration images."""


def main(argv: Sequence[str]) -> int:
    """Train what is missing, export everything, print a Markdown table and one line of JSON; status 1 when INT8 misses a bar."""
    parser = argparse.ArgumentParser(prog="cordon bench export", description=main.__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="real scans: folder with tiles/ and tiles.csv (default %(default)s)")
    parser.add_argument("--architectures", nargs="+", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--out", type=Path, default=Path("build/bench-export"))
    arguments = parser.parse_args(argv)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    wanted = [Trained(a, epochs, bool(real)) for a in arguments.architectures for real, epochs in enumerate(EPOCHS[a])]
    if not (arguments.data / "tiles.csv").is_file():
        print(f"{arguments.data} has no tiles.csv: only simulated welds are measured")
        wanted = [network for network in wanted if not network.real]
    _scans(out)
    if not (out / "signing.key").exists():
        new_key(out / "signing.key")
    found: dict[str, dict[str, Any]] = {}
    for network in wanted:
        _train(network, out, arguments.data)
        found[network.name] = _export(network, out, arguments.data)
        print(f"{network.name}: exported in {found[network.name]['seconds']:.0f} s", flush=True)
    many = _export(Trained("resnet18", 0, real=False), out, arguments.data, "--calibration-images", str(MANY_IMAGES), "--held-out", "0.5")
    print("\n".join(["", HEAD, "|---" * HEAD.count(" | ") + "|---|", *(_row(name, figures) for name, figures in found.items())]))
    summary = _summary(found, many)
    print(json.dumps(summary))
    return 0 if _reached(summary) else 1


HEAD = (
    "| network | shipped | held out good / bad | AUROC FP32 | INT8 | escapes FP32 / INT8 / added | overkills at own thresholds FP32 / INT8 "
    "| points added | flips | cross-fitted escapes / overkills FP32 | INT8 | largest score difference "
    "| ms PyTorch FP32 | INT8 | ratio | export s |"
)


def _row(name: str, figures: dict[str, Any]) -> str:
    own, crossfit, latency = figures["own_threshold"], figures["crossfit"], figures["latency_ms"]
    cells = [
        name,
        f"{figures['precision'][0]}, {figures['method'][0]}",
        f"{figures['good']} / {figures['bad']}",
        f"{figures['auroc']['fp32']:.4f}",
        f"{figures['auroc']['int8']:.4f}",
        f"{figures['escapes_fp32']} / {figures['escapes_int8']} / {figures['escapes_added']}",
        f"{own['fp32']['overkills']} / {own['int8']['overkills']}",
        f"{_points(figures):+.2f}",
        str(figures["flips"]),
        f"{crossfit['fp32']['escapes']} / {crossfit['fp32']['overkills']}",
        f"{crossfit['int8']['escapes']} / {crossfit['int8']['overkills']}",
        f"{figures['difference_max']:.4f}",
        f"{latency['source_fp32']:.1f}",
        f"{latency['int8']:.2f}",
        f"{latency['source_fp32'] / latency['int8']:.1f}",
        f"{figures['seconds']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _points(figures: dict[str, Any]) -> float:
    own = figures["own_threshold"]
    points: float = 100 * (own["int8"]["overkills"] - own["fp32"]["overkills"]) / figures["good"]
    return points


def _summary(found: dict[str, dict[str, Any]], many: dict[str, Any]) -> dict[str, Any]:
    ratios = [f["latency_ms"]["source_fp32"] / f["latency_ms"]["int8"] for f in found.values()]
    return {
        "networks": len(found),
        "not_int8": [name for name, f in found.items() if f["precision"] != ["int8"]],
        "escapes_added": sum(f["escapes_added"] for f in found.values()),
        "worst_overkill_points": round(max(_points(f) for f in found.values()), 3),
        "slowest_ratio": round(min(ratios), 2),
        "export_resnet18_256_images_s": many["seconds"],
    }


def _reached(summary: dict[str, Any]) -> bool:
    proved = not summary["not_int8"] and summary["escapes_added"] == 0 and summary["worst_overkill_points"] <= LIMIT_POINTS
    fast = summary["slowest_ratio"] >= LEAST_RATIO and summary["export_resnet18_256_images_s"] < MOST_SECONDS
    return proved and fast


def _scans(out: Path) -> None:
    for folder, (good, bad, seed) in (("welds", TRAINING), ("proof", PROOF)):
        if not (out / folder / "good").is_dir():
            _run("sim", "welds", out / folder, "--typology", TYPOLOGY, "--good", good, "--bad", bad, "--seed", seed)
    (out / "real.json").write_bytes(spec_to_json(HeightmapSpec(window=PercentileWindow(low=2.0, high=98.0))))


def _train(network: Trained, out: Path, data: Path) -> None:
    path = out / f"{network.name}.safetensors"
    if path.exists():
        return
    started_s = time.monotonic()
    common = ("--arch", network.architecture, "--epochs", network.epochs, "--learning-rate", "1e-3", "--threads", "1", "--out", path)
    scans: list[object] = [out / "welds", "--recipe", "synthetic"]
    if network.real:
        scans = [data / "tiles", "--table", data / "tiles.csv", "--spec", out / "real.json", "--recipe", "real", "--held-out", "0.34"]
    _run("train", *scans, *common)
    print(f"{network.name}: trained in {time.monotonic() - started_s:.0f} s", flush=True)


def _export(network: Trained, out: Path, data: Path, *more: str) -> dict[str, Any]:
    """The figures of `cordon export --json`, in a process of its own; simulated welds are proved on others than they were trained on."""
    scans: list[object] = [data / "tiles", "--table", data / "tiles.csv"] if network.real else [out / "proof", "--seed", "42"]
    if not network.real and not more:
        scans += ["--held-out", MOST_HELD_OUT]
    # What these limits would refuse is what is to be measured.
    limits = ("--added-overkill", "1", "--auroc-floor", "0.5", "--max-escape-rate", ESCAPE_RATE, "--precision", "auto")
    target = ("--key", out / "signing.key", "--out", out / f"{network.name}.cordon", "--force", "--json")
    words = (out / f"{network.name}.safetensors", "--scans", *scans, "--name", TYPOLOGY, *limits, *more)
    figures: dict[str, Any] = json.loads(_run("export", *words, *target))
    return figures


def _run(*words: object) -> str:
    command = [sys.executable, "-m", "edge", *(str(word) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SimulationError(
            f"`cordon {words[0]}` failed", seen=done.stderr.strip()[-600:], remedy="Run it by itself: " + " ".join(command[3:])
        )
    return done.stdout
