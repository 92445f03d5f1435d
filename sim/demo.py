"""`make demo`: end to end - export, sign, gate, inspector, camera and robot as separate processes - with known truth."""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.commands import new_key
from edge.errors import SimulationError
from scans.folder import LABEL_FOLDERS, find_scans, walk_images
from scans.split import folds_by_group
from sim.line import CORDON, Line, LineSpec
from sim.outcome import Judged, read_results, sheet_of, table_of

CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
TYPOLOGIES = ("T2", "T3", "T4", "T5", "T7", "T8", "T9", "T10", "T11")
BUDGET_MS = 100.0
PROOF_PER_LABEL = 150
PROOF_SEED, PRODUCTION_SEED = 7_001, 7_002
"""Data sets of different seeds share no weld; `make checkpoints` trains on seed 1."""
ASIDE_FOLDS = 5
DRILL_WELDS = 80


@dataclass(frozen=True)
class Production:
    """What goes through the line: the bundle that judges, and the welds with their truth."""

    bundle: Path
    key: str
    welds: Path


def main(argv: Sequence[str]) -> int:
    """Run the demo; exit status 1 when a bad weld was accepted or a verdict is missing."""
    parser = argparse.ArgumentParser(prog="cordon sim demo", description=main.__doc__)
    parser.add_argument("--welds", type=int, default=360, help="number of synthetic welds (default %(default)s)")
    parser.add_argument("--scans", type=Path, help="run this folder of scans instead; with good/ and bad/ in it a network is trained on it")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="where results go (default %(default)s)")
    parser.add_argument("--epochs", type=int, help="training length for --scans with labels")
    arguments = parser.parse_args(argv)
    started_s = time.monotonic()
    out = arguments.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    production = own_scans(out, arguments.scans.resolve(), arguments.epochs) if arguments.scans else nine_typologies(out, arguments.welds)
    # Unix socket paths are short (103 bytes); a checkout's path may not be.
    with tempfile.TemporaryDirectory(prefix="cordon-") as short:
        judged = run_line(LineSpec(folder=Path(short), bundle=production.bundle, key=production.key, budget_ms=BUDGET_MS), production, out)
    return report(judged, out, time.monotonic() - started_s)


def nine_typologies(out: Path, welds: int) -> Production:
    """Fresh synthetic welds, and a bundle exported from the checkpoints of the repository."""
    say("1/4  making synthetic welds: calibration and proof sets, and the production line-up")
    count = str(PROOF_PER_LABEL)
    data = out / "welds"
    cordon("sim", "welds", str(data), "--typology", "all", "--good", count, "--bad", count, "--seed", str(PROOF_SEED))
    cordon("sim", "welds", str(out / "production"), "--typology", "all", "--line-up", str(welds), "--seed", str(PRODUCTION_SEED))
    lines = ['name = "demo"', "version = 1", ""]
    for name in TYPOLOGIES:
        source = CHECKPOINTS / f"{name}.safetensors"
        lines += ["[[typology]]", f'name = "{name}"', f'source = "{source}"', f'scans = "{data / name}"', "held_out = 0.8", ""]
    lines += ["[router]", f'source = "{CHECKPOINTS}/router.safetensors"', f'root = "{data}"', "confidence = 0.95"]
    bundle, key = export(out, lines)
    return Production(bundle, key, out / "production" / "welds.csv")


def own_scans(out: Path, scans: Path, epochs: int | None) -> Production:
    """The user's scans: with labels, a network is trained on one part of the groups and judges the other; without, the demo's judge."""
    labelled = scans.is_dir() and {LABEL_FOLDERS.get(f.name.lower()) for f in scans.iterdir()} >= {"good", "bad"}
    if not labelled:
        production = nine_typologies(out, 1)
        return Production(production.bundle, production.key, _line_up(out, [(path, "", "") for path in walk_images(scans)]))
    say(f"1/4  training a small network on {scans}; a fifth of the groups is kept aside for the line")
    folder = find_scans(scans)
    judged = folds_by_group(folder.scans, folds=ASIDE_FOLDS, seed=42)[0][1]
    checkpoint, aside = out / "own.safetensors", out / "aside.csv"
    with aside.open("w", newline="") as file:
        csv.writer(file).writerows([("file",), *((scan.path.relative_to(folder.root).as_posix(),) for scan in judged)])
    options = ("--arch", "small", "--recipe", "real", "--keep-aside", str(aside), "--out", str(checkpoint))
    cordon("train", str(scans), *options, *(() if epochs is None else ("--epochs", str(epochs))))
    lines = ['name = "own"', "version = 1", "", "[[typology]]", 'name = "own"', f'source = "{checkpoint}"', f'scans = "{scans}"']
    # A small network on somebody's few scans: what INT8 cannot do there FP16 does, and crops of several sizes are no reason to stop.
    bundle, key = export(out, [*lines, f'keep_aside = "{aside}"', 'precision = "auto"', "mixed_sizes = true"])
    return Production(bundle, key, _line_up(out, [(scan.path, "own", scan.label) for scan in judged]))


def _line_up(out: Path, rows: Sequence[tuple[Path, str, str]]) -> Path:
    if not rows:
        raise SimulationError("there are no scans to run", remedy="Give a folder with PNG, TIFF or NPY files")
    path = out / "welds.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["part", "weld", "typology", "truth", "defect", "file"])
        for number, (scan, typology, truth) in enumerate(rows):
            writer.writerow([f"P{number // 10:04d}", f"W{number % 10}", typology, truth, scan.stem[:24], scan])
    return path


def export(out: Path, lines: Sequence[str]) -> tuple[Path, str]:
    """Write the line's description, make a key, export and sign; returns bundle and public key."""
    say("2/4  exporting: FP32 to INT8, proof on held-out scans, signature")
    (out / "line.toml").write_text("\n".join(lines) + "\n")
    key = new_key(out / "signing.key")
    bundle = out / "line.cordon"
    cordon("export", "--spec", str(out / "line.toml"), "--key", str(out / "signing.key"), "--out", str(bundle))
    cordon("bundle", "verify", str(bundle), "--key", key)
    return bundle, key


def run_line(spec: LineSpec, production: Production, out: Path) -> list[Judged]:
    """Robot, gate, inspector and camera as processes; then the same again with the inspector killed in the middle."""
    with production.welds.open(newline="") as file:
        welds = list(csv.DictReader(file))
    say(f"3/4  {len(welds)} welds through the running line (budget {spec.budget_ms:g} ms from trigger to verdict)")
    with Line(spec) as line:
        line.start_camera(production.welds)
        results = out / "results.jsonl"
        robot = line.start_robot(production.welds, results)
        line.start_daemons()
        follow(line, robot.name, results, len(welds))
        if welds[0].get("truth"):
            kill_drill(line, welds, out)
    judged = read_results(welds, results)
    say("4/4  records")
    shutil.copy(spec.folder / "records.db", out / "records.db")
    cordon("records", "verify", str(out / "records.db"))
    for log in spec.folder.glob("*.log"):
        shutil.copy(log, out / log.name)
    return judged


def follow(line: Line, robot: str, results: Path, total: int) -> None:
    """Show progress until the robot has worked through its list. Raises SimulationError when the robot fails."""
    child = line.children[robot]
    tty = os.isatty(1)
    shown_s = 0.0
    while child.running:
        line.step()
        time.sleep(0.05)
        if tty and time.monotonic() - shown_s > 0.25:
            shown_s = time.monotonic()
            done = results.read_bytes().count(b"\n") if results.exists() else 0
            print(f"\r     {done:>5} / {total} welds  {'#' * (40 * done // total):<40}", end="", flush=True)
    if tty:
        print()
    if child.process.returncode != 0:
        raise SimulationError("the robot stopped", seen=f"exit {child.process.returncode}:\n{child.tail()}\n", remedy=f"See {child.log}")


def kill_drill(line: Line, welds: list[dict[str, str]], out: Path) -> None:
    """SIGKILL the inspector while a robot works: the gate must answer REJECT inside the budget, and the inspector must come back."""
    good = [weld for weld in welds if weld["truth"] == "good"]
    drill, results = out / "drill.csv", out / "drill.jsonl"
    with drill.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(good[0]))
        writer.writeheader()
        writer.writerows(good[number % len(good)] for number in range(DRILL_WELDS))
    line.spec.port.unlink(missing_ok=True)
    robot = line.start_robot(drill, results, "--interval-ms", "100", name="robot-drill")
    inspector = line.children["inspector"]
    line.wait(lambda: results.exists() and results.read_bytes().count(b"\n") >= 5, robot, seconds=30, what="the drill's first verdicts")
    inspector.process.send_signal(signal.SIGKILL)
    killed_ns = time.monotonic_ns()
    line.wait(lambda: inspector.restarts > 0, inspector, seconds=10, what="the inspector after SIGKILL")
    follow(line, robot.name, results, DRILL_WELDS)
    after = [v for v in (json.loads(text) for text in results.read_text().splitlines()) if v["trigger_ns"] > killed_ns]
    rejected = [v for v in after if not v["accepted"] and v["reason"] != "DEFECT"]  # a network's own overkill is not the kill's
    back = [v["verdict_ns"] for v in after if v["accepted"]]
    if not back:
        raise SimulationError("the inspector did not come back after SIGKILL", seen=inspector.tail(), remedy=f"See {inspector.log}")
    reasons = ", ".join(sorted({v["reason"] for v in rejected}))
    answered = [v["latency_ms"] for v in rejected if v["latency_ms"] is not None]
    silent = len(rejected) - len(answered)
    print(f"     drill: inspector killed with SIGKILL; {len(rejected)} good welds rejected meanwhile ({reasons}), the slowest after")
    print(f"     {max(answered, default=0.0):.1f} ms; first ACCEPT again {(min(back) - killed_ns) / 1e9:.1f} s after the kill")
    if silent:
        print(f"     {silent} of them got no verdict in time: the robot takes silence for REJECT")


def report(judged: list[Judged], out: Path, seconds: float) -> int:
    """Print the table and the JSON line, write the contact sheet."""
    sheet_of(judged, out / "contact-sheet.png")
    text, summary = table_of(judged, BUDGET_MS)
    print(f"\n{text}\n\ncontact sheet {out / 'contact-sheet.png'}\nrecords       {out / 'records.db'}\ntime          {seconds:.0f} s")
    print(json.dumps(summary))
    return 1 if summary["escapes"] or summary["missing"] else 0


def cordon(*arguments: str) -> None:
    """Run one `cordon` command of its own process, its output shown. Raises SimulationError when it fails."""
    done = subprocess.run([*CORDON, *arguments], check=False)
    if done.returncode != 0:
        raise SimulationError(f"`cordon {' '.join(arguments[:2])}` failed", seen=f"exit {done.returncode}", remedy="See its message above")


def say(text: str) -> None:
    """One line per milestone."""
    print(text, flush=True)
