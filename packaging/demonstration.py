"""Makes the demonstration that the package brings: three networks in a bundle signed by a key everybody knows, and labelled scans."""

# ruff: noqa: INP001 - as deb.py

from __future__ import annotations

import csv
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PHRASE = b"Cordon demonstration key: known to everybody, never to be trusted"
"""The private key is its SHA-256. A secret key would have to be kept; this one only has to be refused (edge/demonstration.py)."""
TYPOLOGIES = ("T2", "T3", "T7")
SCANS_PER_LABEL, WELDS = 150, 36
PROOF_SEED, LINE_SEED = 7_001, 7_002
"""Data sets of different seeds share no weld; the checkpoints were trained on seed 1. Thirty-six welds show a line at work and prove
nothing about its networks: of T10 one weld in twelve was judged wrongly (a small pore accepted; with seed 7003 a good one rejected)."""
SOURCES = ("scans/*.py", "nets/**/*.py", "calib/**/*.py", "export/**/*.py", "sim/dataset.py", "sim/welds.py", "sim/defects.py")
CORDON = (sys.executable, "-m", "edge")


def demonstration(cache: Path = ROOT / "build/demonstration") -> Path:
    """The folder with `line.cordon`, its certificate, `welds.csv` and `line/*.png`; made again when anything it is made of changed."""
    folder = cache / fingerprint()[:16]
    if not (folder / "welds.csv").is_file():
        shutil.rmtree(cache, ignore_errors=True)
        part = cache / "part"
        part.mkdir(parents=True)
        write_bundle(part)
        write_line(part)
        part.rename(folder)
    return folder


def fingerprint() -> str:
    """SHA-256 over what the demonstration is made of, 64 hex digits."""
    files = [ROOT / "checkpoints" / f"{name}.safetensors" for name in TYPOLOGIES] + [Path(__file__), ROOT / "requirements/all.txt"]
    files += [path for pattern in SOURCES for path in ROOT.glob(pattern)]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def write_bundle(folder: Path) -> None:
    """Export, prove and sign it; only the bundle and its certificate stay."""
    work = folder / "work"
    work.mkdir()
    key = work / "demonstration.key"
    key.touch(mode=0o600)
    key.write_text(hashlib.sha256(PHRASE).hexdigest() + "\n")
    lines = ['name = "DEMONSTRATION"', "version = 1", ""]
    for name in TYPOLOGIES:
        count = str(SCANS_PER_LABEL)
        cordon("sim", "welds", str(work / name), "--typology", name, "--good", count, "--bad", count, "--seed", str(PROOF_SEED))
        source = ROOT / "checkpoints" / f"{name}.safetensors"
        lines += ["[[typology]]", f'name = "{name}"', f'source = "{source}"', f'scans = "{work / name}"', "held_out = 0.8", ""]
    (work / "line.toml").write_text("\n".join(lines))
    cordon("export", "--spec", str(work / "line.toml"), "--key", str(key), "--out", str(folder / "line.cordon"))
    shutil.rmtree(work)
    (folder / "line.certificate.json").unlink()  # it names this machine and this hour; the page for people is inside the bundle too
    (folder / "line.certificate.html").unlink()


def write_line(folder: Path) -> None:
    """Four parts of nine labelled welds, the table with paths relative to itself."""
    sys.path.insert(0, str(ROOT))
    from sim.dataset import write_line_up  # noqa: PLC0415 - OpenCV only when something is drawn

    table = write_line_up(folder, TYPOLOGIES, welds=WELDS, seed=LINE_SEED)
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "file": Path(row["file"]).relative_to(folder.resolve()).as_posix()} for row in rows)


def cordon(*words: str) -> None:
    """One command of this checkout; its output goes to standard error."""
    subprocess.run([*CORDON, *words], check=True, cwd=ROOT, stdout=sys.stderr)


if __name__ == "__main__":
    print(demonstration())
