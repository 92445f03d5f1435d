"""A Debian box for trials: a root made with mmdebstrap, booted under its own systemd in a container without any network."""

# ruff: noqa: INP001 - as deb.py

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

NEEDED = "systemd,systemd-sysv,dbus,udev,apt,ca-certificates,python3"
"""What every Debian with systemd has, beyond the essential packages of mmdebstrap's `minbase`."""
TOOLS = ("mmdebstrap", "systemd-nspawn", "nsenter", "tar")
ENVIRONMENT = ("/usr/bin/env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")
BOOT_S = 120.0


class TrialError(Exception):
    """Something in the box was not as it should be."""


def make_root(archive: Path, suite: str, mirror: str) -> Path:
    """A bare Debian as a tar file, made once."""
    if not archive.exists():
        part = archive.with_name(f"{archive.name}.part.tar")
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={NEEDED}", suite, str(part), mirror], check=True)
        part.rename(archive)
    return archive


def missing_tools() -> list[str]:
    """What this machine lacks for a box."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


class Box:
    """A context manager: unpacks, boots, and in the end powers off and deletes. Raises TrialError when it does not come up."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.root = folder / "root"
        self._archive, self._log = archive, folder / "console.log"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Box:
        self.root.mkdir(parents=True)
        subprocess.run(["tar", "-C", str(self.root), "-xf", str(self._archive)], check=True)
        self.boot()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.power_off()
        shutil.rmtree(self.root, ignore_errors=True)

    def boot(self) -> None:
        """Start systemd as process 1 of the container, and wait until it has started what it should."""
        words = [
            "systemd-nspawn",
            f"--directory={self.root}",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--private-network",
            "--console=pipe",
        ]
        with self._log.open("ab") as log:
            self._nspawn = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        until = time.monotonic() + BOOT_S
        while self.try_run("systemctl is-system-running --wait")[1].strip() not in ("running", "degraded"):
            if time.monotonic() > until or self._nspawn.poll() is not None:
                raise TrialError(f"the box did not boot:\n{self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)

    def power_off(self) -> None:
        """As the button does it."""
        if self._nspawn is None:
            return
        self.try_run("systemctl poweroff")
        try:
            self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait(10)
        self._nspawn, self._leader = None, 0

    def try_run(self, command: str, *, user: str = "root", limit_s: float = 600.0) -> tuple[int, str]:
        """Exit status, and standard output and error together, of a shell command in the box."""
        leader = self._find_leader()
        if not leader:
            return 255, ""
        shell = (
            ["sh", "-c", command]
            if user == "root"
            else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "sh", "-c", command]
        )
        words = ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", *ENVIRONMENT, *shell]
        done = subprocess.run(
            words, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit_s
        )
        return done.returncode, done.stdout.decode(errors="replace")

    def run(self, command: str, *, user: str = "root", limit_s: float = 600.0) -> str:
        """What it printed. Raises TrialError for a status other than 0."""
        status, said = self.try_run(command, user=user, limit_s=limit_s)
        if status:
            raise TrialError(f"{command}: status {status}\n{said}")
        return said

    def wait(self, command: str, what: str, limit_s: float = 120.0) -> float:
        """Seconds until `command` ended with status 0. Raises TrialError after `limit_s`."""
        started = time.monotonic()
        while True:
            status, said = self.try_run(command)
            if status == 0:
                return time.monotonic() - started
            if time.monotonic() - started > limit_s:
                raise TrialError(f"no {what} within {limit_s:g} s: {command}\n{said}\n{self.try_run('journalctl --no-pager -n 60')[1]}")
            time.sleep(0.05)

    def _find_leader(self) -> int:
        """The container's process 1: the one child of systemd-nspawn."""
        if self._leader == 0 and self._nspawn is not None:
            try:
                children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
                if children and "systemd" in Path(f"/proc/{children[0]}/comm").read_text():
                    self._leader = int(children[0])
            except OSError:
                return 0
        return self._leader
