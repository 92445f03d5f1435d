"""Builds the Debian package: one environment under /opt/cordon with the locked wheels, and units, account, rules and documents."""

# ruff: noqa: INP001 - scripts: a package of this folder's name would hide the library `packaging`

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from demonstration import demonstration
from paperwork import write_papers

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")
PLATFORM = {"amd64": "x86_64-manylinux_2_35", "arm64": "aarch64-manylinux_2_35"}
"""Ubuntu 22.04's C library, the oldest that OpenVINO's wheels for aarch64 run with."""
CONTROL = """\
Package: cordon
Version: {version}
Architecture: {arch}
Maintainer: Cordon <cordon@localhost>
Section: science
Priority: optional
Installed-Size: {size}
Depends: python{python}, libc6 (>= 2.35), libstdc++6, libgcc-s1, systemd (>= 249), udev
Description: weld inspection on the edge box between a 3D camera and a robot
 A scan comes in, ACCEPT or REJECT goes out, and never ACCEPT unless
 everything proved that it may be. For Python {python} of this distribution.
"""
LAUNCHER = """\
#!/opt/cordon/bin/python -I
import sys

from edge.cli import main

sys.exit(main())
"""
TARGET = "cordon.target"
DAEMONS = ("cordon-gate.service", "cordon-inspector.service")
EXECUTABLE = ("opt/cordon/bin/cordon", "DEBIAN/postinst", "DEBIAN/prerm", "DEBIAN/postrm")


def main() -> int:
    """Build it and print where it lies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=f"3.{sys.version_info[1]}", help="the box's: 3.11 in Debian 12 (default: this one)")
    parser.add_argument("--arch", choices=sorted(PLATFORM), default="arm64" if os.uname().machine == "aarch64" else "amd64")
    parser.add_argument("--system-site-packages", action="store_true", help="see the system's packages too: JetPack's TensorRT")
    parser.add_argument("--version", default=release(), help="of the package (default: the project's)")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    version = f"{arguments.version}+py{arguments.python}"
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        environment(tree / "opt/cordon", arguments.python, arguments.arch, system=arguments.system_site_packages)
        system_files(tree)
        shutil.copytree(demonstration(), tree / "opt/cordon/share/demonstration")
        write_papers(tree, version, source_date())
        control(tree, arguments.python, arguments.arch, version)
        settle(tree, source_date())
        print(pack(tree, arguments.out / f"cordon_{version}_{arguments.arch}.deb"))
    return 0


def release() -> str:
    """The version in pyproject.toml."""
    found = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit("pyproject.toml has no version")
    return found[1]


def environment(prefix: Path, python: str, arch: str, *, system: bool) -> None:
    """A virtual environment for `/usr/bin/pythonX.Y` with the locked wheels and Cordon's own."""
    site = prefix / "lib" / f"python{python}" / "site-packages"
    install(site, python, PLATFORM[arch])
    with zipfile.ZipFile(own_wheel(prefix.parent)) as wheel:
        wheel.extractall(site)
    shutil.rmtree(prefix.parent / "wheel")
    (prefix / "bin").mkdir()
    (prefix / "bin/cordon").write_text(LAUNCHER)
    for name in ("python", "python3", f"python{python}"):
        (prefix / "bin" / name).symlink_to(f"/usr/bin/python{python}")
    seen = str(system).lower()
    (prefix / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = {seen}\nversion = {python}\n")


def install(site: Path, python: str, platform: str) -> None:
    """The wheels of requirements/box.txt, each by its hash; nothing is compiled, so that another machine's can be put together here."""
    words = ["--target", site, "--python-version", python, "--python-platform", platform, "--only-binary", ":all:", "--no-deps"]
    command = [UV, "pip", "install", "--quiet", "--require-hashes", "--link-mode", "copy", *words, "-r", ROOT / "requirements/box.txt"]
    subprocess.run([str(word) for word in command], check=True)
    shutil.rmtree(site / "bin", ignore_errors=True)
    (site / ".lock").unlink(missing_ok=True)
    for name in ("uv_cache.json", "direct_url.json", "REQUESTED"):
        for path in site.glob(f"*.dist-info/{name}"):
            path.unlink()
    for record in site.glob("*.dist-info/RECORD"):
        record.write_text("".join(sorted(line for line in record.read_text().splitlines(keepends=True) if exists(site, line))))


def exists(site: Path, line: str) -> bool:
    """Is the file that this line of a RECORD names there?"""
    return (site / line.rsplit(",", 2)[0].strip('"')).exists()


def own_wheel(folder: Path) -> Path:
    """Cordon's wheel, built here."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "wheel")]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": str(source_date())})
    (wheel,) = (folder / "wheel").glob("*.whl")
    return wheel


def system_files(tree: Path) -> None:
    """Units, account, folders, rules, configuration and documents, where Debian keeps them."""
    systemd, documents = ROOT / "systemd", tree / "usr/share/doc/cordon"
    copies = [(path, tree / "lib/systemd/system" / path.name) for kind in ("*.service", "*.target") for path in systemd.glob(kind)]
    copies += [(path, documents / "examples" / path.name) for path in (systemd / "examples").iterdir()]
    copies += [(path, documents / path.name) for path in (ROOT / "docs").glob("*.md")]
    copies += [
        (systemd / "sysusers.d/cordon.conf", tree / "usr/lib/sysusers.d/cordon.conf"),
        (systemd / "tmpfiles.d/cordon.conf", tree / "usr/lib/tmpfiles.d/cordon.conf"),
        (systemd / "udev/60-cordon-robot.rules", tree / "lib/udev/rules.d/60-cordon-robot.rules"),
        (ROOT / "packaging/cordon.example.toml", documents / "examples/cordon.example.toml"),
    ]
    for source, target in copies:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/cordon").symlink_to("/opt/cordon/bin/cordon")


def control(tree: Path, python: str, arch: str, version: str) -> None:
    """The package's own files: what it is, what it needs, what is done at install and removal."""
    folder = tree / "DEBIAN"
    folder.mkdir()
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    size = sum(path.stat().st_size for path in files) // 1024
    sums = [f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(tree)}\n" for path in files]
    (folder / "md5sums").write_text("".join(sums))
    (folder / "control").write_text(CONTROL.format(version=version, python=python, arch=arch, size=size))
    # No conffiles: the example belongs to the package, cordon.toml to the box, so that no update ever stops to ask.
    for name, text in scripts().items():
        (folder / name).write_text(text)


def scripts() -> dict[str, str]:
    """The maintainer scripts with the units' names; what cordon.target wants starts at boot, all else when somebody enables it."""
    texts = {path.name: path.read_text() for kind in ("*.service", "*.target") for path in (ROOT / "systemd").glob(kind)}
    units = sorted(name for name, text in texts.items() if "\n[Install]\n" in text)
    services = [name for name in units if name.endswith(".service")]
    others = [name for name in services if name not in (*DAEMONS, "cordon-engine-build.service")]
    words = {
        "@ENABLED@": " ".join(name for name in units if name == TARGET or f"\nWantedBy={TARGET}\n" in texts[name]),
        "@UNITS@": " ".join(units),
        "@SERVICES@": " ".join(services),
        "@RESTARTED@": " ".join((*DAEMONS, *others)),
    }
    texts = {name: (ROOT / "packaging/debian" / name).read_text() for name in ("postinst", "prerm", "postrm")}
    for placeholder, value in words.items():
        texts = {name: text.replace(placeholder, value) for name, text in texts.items()}
    return texts


def source_date() -> int:
    """SOURCE_DATE_EPOCH, or when the last commit was made."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def settle(tree: Path, date: int) -> None:
    """The same rights and times whoever builds it."""
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            plain = 0o755 if str(path.relative_to(tree)) in EXECUTABLE else 0o644
            path.chmod(0o755 if path.is_dir() else plain)
        os.utime(path, (date, date), follow_symlinks=False)


def pack(tree: Path, package: Path) -> Path:
    """One thread and one date: the same tree gives the same bytes."""
    words = ["-Zzstd", "-z10", "--threads-max=1", "--root-owner-group", "--build", str(tree), str(package)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(source_date())}
    subprocess.run(["dpkg-deb", *words], check=True, stdout=subprocess.DEVNULL, env=environment)
    return package


if __name__ == "__main__":
    sys.exit(main())
