"""The package's papers: what is in it under which licence, what changed, and why lintian is overruled where it is."""

# ruff: noqa: INP001 - as deb.py

from __future__ import annotations

import gzip
import re
import time
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAINTAINER = "Cordon <cordon@localhost>"
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|notice|authors|third[-_]party)", re.IGNORECASE)
INTRODUCTION = """\
Cordon: weld inspection on the edge box between a 3D camera and a robot.

{own}

The package also holds these Python packages as their makers publish them (wheels), unchanged, in
/opt/cordon/lib. The licence is what each says of itself; its text, and those of the libraries inside
it, are the files named. Copyright: as each of them says. The Apache licence 2.0 is on every Debian too:
/usr/share/common-licenses/Apache-2.0.

The demonstration (/opt/cordon/share/demonstration) is made by Cordon itself: simulated welds, and
networks trained on simulated welds.
"""
NO_LICENCE = "Its repository names no licence: ask its maintainers before you pass it on."
CHANGELOG = """\
cordon ({version}) unstable; urgency=medium

  * Built from the repository; what changed is its history.

 -- {maintainer}  {date}
"""


def write_papers(tree: Path, version: str, date: int) -> None:
    """Write copyright, changelog and lintian's overrides below `tree`; raises SystemExit for a wheel without any licence."""
    documents, overrides = tree / "usr/share/doc/cordon", tree / "usr/share/lintian/overrides"
    overrides.mkdir(parents=True)
    (documents / "copyright").write_text(copyright_text(tree), encoding="utf-8")
    stamp = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(date))
    changelog = CHANGELOG.format(version=version, maintainer=MAINTAINER, date=stamp)
    (documents / "changelog.gz").write_bytes(gzip.compress(changelog.encode(), mtime=0))
    (overrides / "cordon").write_text((ROOT / "packaging/debian/lintian-overrides").read_text())


def copyright_text(tree: Path) -> str:
    """Which package is under which licence, and where its text lies."""
    own = ROOT / "LICENSE"
    text = INTRODUCTION.format(own=own.read_text().strip() if own.is_file() else NO_LICENCE)
    for information in sorted(tree.glob("opt/cordon/lib/*/site-packages/*.dist-info")):
        metadata = HeaderParser().parsestr((information / "METADATA").read_text(encoding="utf-8"))
        if metadata["Name"] == "cordon":
            continue
        files = licence_files(information)
        licence = declared(metadata.get_all("License-Expression", []), metadata["License"], metadata.get_all("Classifier", []))
        if not licence or not files:
            if not licence:
                raise SystemExit(f"{information.name} declares no licence: look before it is passed on")
            files = [information / "METADATA"]
        text += f"\n{metadata['Name']} {metadata['Version']}: {licence}\n"
        text += "".join(f"  /{path.relative_to(tree).as_posix()}\n" for path in files)
    return text


def declared(expressions: list[str], licence: str | None, classifiers: list[str]) -> str:
    """SPDX expression, or the field of old (its first line: some put the whole text there), or the classifiers."""
    words = expressions or ([licence.strip().splitlines()[0]] if licence and licence.strip() else [])
    return "; ".join(words or [line.rsplit(" :: ", 1)[1] for line in classifiers if line.startswith("License :: ")])


def licence_files(information: Path) -> list[Path]:
    """Beside the metadata, and in the folders that the wheel brings."""
    site = information.parent
    lines = (information / "RECORD").read_text(encoding="utf-8").splitlines()
    names = (line.rsplit(",", 2)[0].strip('"') for line in lines)
    return sorted(
        site / name for name in names if LICENCE_FILE.search(name.rsplit("/", 1)[-1]) and not name.endswith((".py", ".pyi", ".so"))
    )
