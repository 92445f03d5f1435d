"""Installs the package in a fresh Debian root, looks, removes it, installs it again and purges it; needs root, debootstrap and a mirror."""

# ruff: noqa: INP001 - as deb.py

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
NEEDED = "systemd,systemd-sysv,python3,udev"
UNITS = "cordon-gate.service cordon-inspector.service cordon-engine-build.service cordon.target"
RECORD = "var/lib/cordon/records.db"


class Root:
    """A Debian root that commands run in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, command: str) -> str:
        """What it printed; a status other than 0 ends everything."""
        words = ["chroot", str(self.folder), "/usr/bin/env", "-i", PATH, "sh", "-ec", command]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"FAILED ({done.returncode}): {command}\n{done.stdout}{done.stderr}")
        print(f"ok: {command}")
        return f"{done.stdout}{done.stderr}"

    def require(self, condition: bool, fact: str) -> None:
        """End everything unless `fact` is one."""
        if not condition:
            raise SystemExit(f"FAILED: {fact}")
        print(f"ok: {fact}")

    def has(self, path: str) -> bool:
        """Is there such a file?"""
        return (self.folder / path).exists()


def main() -> int:
    """Return 0 when every step did what it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--mirror", default="http://deb.debian.org/debian")
    arguments = parser.parse_args()
    missing = [tool for tool in ("debootstrap", "chroot") if shutil.which(tool) is None]
    if missing:
        print(f"SKIPPED: {' and '.join(missing)} missing (Debian: apt install debootstrap)", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory() as folder:
        root = Root(Path(folder))
        words = ["--variant=minbase", f"--include={NEEDED}", arguments.suite, folder, arguments.mirror]
        subprocess.run(["debootstrap", *words], check=True, stdout=subprocess.DEVNULL)
        shutil.copy(arguments.package, root.folder / "cordon.deb")
        subprocess.run(["mount", "-t", "proc", "proc", f"{folder}/proc"], check=True)
        try:
            try_package(root)
        finally:
            subprocess.run(["umount", f"{folder}/proc"], check=True)
    return 0


def try_package(root: Root) -> None:
    """Install twice, remove, install, purge."""
    for _ in range(2):
        root.run("dpkg -i /cordon.deb")
    root.run("dpkg --verify cordon")
    root.run(f"systemd-analyze verify --man=no {UNITS}")
    root.run("id cordon")
    root.run("cordon --help")
    root.run("cordon keys new /etc/cordon/box.key")
    owners = root.run("stat -c '%U:%G %a %n' /etc/cordon /var/lib/cordon /var/lib/cordon/engines").splitlines()
    found = [line.rsplit(" ", 1)[0] for line in owners]
    root.require(found == ["root:cordon 750", "cordon:cordon 750", "root:cordon 750"], f"owners and rights are the tmpfiles': {owners}")
    root.run("systemctl is-enabled cordon.target cordon-gate cordon-inspector cordon-engine-build")
    (root.folder / RECORD).write_bytes(b"a record")
    (root.folder / "etc/cordon/cordon.toml").write_text("# a person wrote this\n")
    root.run("dpkg -r cordon")
    root.require(not root.has("opt/cordon") and not root.has("lib/systemd/system/cordon-gate.service"), "programs and units are gone")
    root.require(root.has(RECORD) and root.has("etc/cordon/box.key"), "records and keys stay")
    root.run("dpkg -i /cordon.deb")
    root.run("systemctl is-enabled cordon.target")
    root.run("dpkg -P cordon")
    root.require(root.has(RECORD) and root.has("etc/cordon/box.key") and root.has("etc/cordon/cordon.toml"), "and after a purge too")
    left = root.run("find / -xdev -name '*cordon*' -not -path '/proc/*' -not -path '/var/lib/cordon/*' -not -path '/var/log/*'").split()
    expected = {"/cordon.deb", "/etc/cordon", "/etc/cordon/cordon.toml", "/var/lib/cordon"}
    root.require(set(left) == expected, f"nothing else is left: {sorted(left)}")


if __name__ == "__main__":
    sys.exit(main())
