"""Gathers every wheel a box needs into one folder, for boxes without internet: locked, hashed, for x86-64 and aarch64."""

# ruff: noqa: INP001 - as deb.py

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from deb import ROOT, UV, own_wheel

PLATFORMS = {"x86_64": ("manylinux_2_35_x86_64", "x86_64-manylinux_2_35"), "aarch64": ("manylinux_2_35_aarch64", "aarch64-manylinux_2_35")}
"""Architecture → pip's and uv's name of the newest C library that a wheel may ask for: Ubuntu 22.04's."""
OLDEST_GLIBC, NEWEST_GLIBC = 17, 35
README = """\
Cordon for a box without internet: {machine}, Python {python}. Written by packaging/wheelhouse.py.

    sha256sum --check SHA256SUMS
    python{python} -m venv --without-pip /opt/cordon
    /opt/cordon/bin/python {pip}/pip install --no-index --find-links . --require-hashes --requirement requirements.txt

pip runs from its own wheel, because Debian's Python comes without pip and without the means to make one.

Not in here: PyCUDA, which has no wheels and is compiled on a box with an NVIDIA GPU, and TensorRT, which JetPack or NVIDIA brings
(docs/gpu.md, docs/jetson.md).
"""


def main() -> int:
    """Fill the folder and print what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machine", choices=sorted(PLATFORMS), required=True)
    parser.add_argument("--python", default="3.11", help="the box's Python, 3.10 to 3.13 (default 3.11)")
    parser.add_argument("--out", type=Path, help="default: dist/wheelhouse-MACHINE-pyVERSION")
    arguments = parser.parse_args()
    folder = arguments.out or ROOT / "dist" / f"wheelhouse-{arguments.machine}-py{arguments.python}"
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        parser.error(f"{folder} is not empty: name another, or remove it")
    locked = folder / "requirements.txt"
    locked.write_text(resolve(arguments.python, PLATFORMS[arguments.machine][1]))
    download(locked, folder, arguments.python, arguments.machine)
    add_own(folder, locked)
    (folder / "README").write_text(README.format(machine=arguments.machine, python=arguments.python, pip=add_pip(folder)))
    count = write_sums(folder)
    print(f"{folder}: {count} files, {sum(path.stat().st_size for path in folder.iterdir()) / 2**20:.0f} MiB")
    return 0


def resolve(python: str, platform: str) -> str:
    """The lines of requirements/box.txt that this box needs, with their hashes, and none of the markers."""
    words = ["--python-version", python, "--python-platform", platform, "--no-annotate", "--no-header", "--no-emit-index-url"]
    command = [UV, "pip", "compile", "--quiet", "--generate-hashes", *words, "--constraint", ROOT / "requirements/box.txt"]
    done = subprocess.run([*map(str, command), str(ROOT / "requirements/box.in")], check=True, capture_output=True, text=True)
    return done.stdout


def download(locked: Path, folder: Path, python: str, machine: str) -> None:
    """Wheels only, each checked against its hash by pip."""
    platforms = [word for minor in range(OLDEST_GLIBC, NEWEST_GLIBC + 1) for word in ("--platform", f"manylinux_2_{minor}_{machine}")]
    platforms += ["--platform", f"manylinux2014_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    command += [
        *platforms,
        "--python-version",
        python,
        "--implementation",
        "cp",
        "--require-hashes",
        "--dest",
        str(folder),
        "-r",
        str(locked),
    ]
    subprocess.run(command, check=True)


def add_own(folder: Path, locked: Path) -> None:
    """Cordon's own wheel beside them, by its hash too; the lines then name only hashes of files that are here."""
    built = own_wheel(folder)
    wheel = built.rename(folder / built.name)
    (folder / "wheel").rmdir()
    here = {digest(path) for path in folder.glob("*.whl")}
    kept = re.sub(r" \\\n    --hash=sha256:([0-9a-f]{64})", lambda found: found[0] if found[1] in here else "", locked.read_text())
    locked.write_text(f"{kept}cordon=={wheel.name.split('-')[1]} \\\n    --hash=sha256:{digest(wheel)}\n")


def add_pip(folder: Path) -> str:
    """The wheel of the pip that runs here, pure Python for every machine; returns its name."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--dest", str(folder), f"pip=={version('pip')}"], check=True)
    (wheel,) = folder.glob("pip-*.whl")
    return wheel.name


def digest(path: Path) -> str:
    """SHA-256, 64 hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_sums(folder: Path) -> int:
    """SHA256SUMS as `sha256sum --check` reads it; returns how many files it names."""
    files = sorted(path for path in folder.iterdir() if path.name != "SHA256SUMS")
    (folder / "SHA256SUMS").write_text("".join(f"{digest(path)}  {path.name}\n" for path in files))
    return len(files)


if __name__ == "__main__":
    sys.exit(main())
