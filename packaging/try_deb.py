"""Tries the package in a bare Debian under its own systemd, without network: first verdict, rights, update and back, removal, purge."""

# ruff: noqa: INP001 - as deb.py

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from box import Box, TrialError, make_root, missing_tools

RECORDS = "/var/lib/cordon/demonstration.db"
FIRST_PART = "P00001"
BAR_S = 600.0


def main() -> int:
    """Return 0 when every step did what it should."""
    arguments = parser(__doc__).parse_args()
    if lacking(arguments):
        return 3
    archive = root_of(arguments)
    with tempfile.TemporaryDirectory(prefix="cordon-box-") as folder, Box(archive, Path(folder)) as box:
        shutil.copy(arguments.package, box.root / "root/cordon.deb")
        first_verdict(box)
        rights(box)
        if arguments.previous is not None:
            shutil.copy(arguments.previous, box.root / "root/previous.deb")
            exchange(box, "previous.deb", "apt-get install --yes --allow-downgrades /root/previous.deb")
            exchange(box, "cordon.deb", "apt-get install --yes /root/cordon.deb")
        removal(box)
    return 0


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options of every trial."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("package", type=Path)
    options.add_argument("--previous", type=Path, help="an older package: it is gone back to and updated from, with the line running")
    options.add_argument("--suite", default="bookworm")
    options.add_argument("--mirror", default="http://deb.debian.org/debian")
    options.add_argument("--root", type=Path, help="the bare Debian as a tar file; made where there is none (default: made anew)")
    return options


def lacking(arguments: argparse.Namespace) -> bool:
    """Say what is missing here."""
    missing = missing_tools()
    if missing:
        print(f"SKIPPED: {', '.join(missing)} missing (Debian: apt install mmdebstrap systemd-container)", file=sys.stderr)
    if not arguments.package.is_file():
        raise SystemExit(f"no such package: {arguments.package}")
    return bool(missing)


def root_of(arguments: argparse.Namespace) -> Path:
    """The bare Debian to begin with."""
    archive = arguments.root or Path(tempfile.mkdtemp(prefix="cordon-root-")) / f"{arguments.suite}.tar"
    return make_root(archive, arguments.suite, arguments.mirror)


def require(condition: object, fact: str) -> None:
    """Raises TrialError unless `fact` is one."""
    if not condition:
        raise TrialError(f"NOT SO: {fact}")
    print(f"ok: {fact}", flush=True)


def first_verdict(box: Box) -> None:
    """The five commands of the README, timed from the first to the first verdict that is in the records."""
    started = time.monotonic()
    box.run("apt-get install --yes /root/cordon.deb")
    installed = time.monotonic()
    box.run("cordon setup --simulators")
    ready = time.monotonic()
    box.run("systemctl start cordon-simulators.target")
    box.wait(f"cordon records show {FIRST_PART} | grep -q ACCEPT", "verdict")
    done = time.monotonic()
    require(done - started < BAR_S, f"first verdict {done - started:.1f} s after the first command: install {installed - started:.1f}, "
            f"setup {ready - installed:.1f}, start to verdict {done - ready:.1f}")  # fmt: skip
    box.wait("cordon status", "line that accepts")
    require("DEMONSTRATION" in box.run("cordon status"), "the status says that it is a demonstration")
    box.wait("cordon records show P00004 | grep -q W9", "last verdict of the line-up")
    welds = [line for part in range(1, 5) for line in box.run(f"cordon records show P0000{part}").splitlines() if " W" in line]
    require(len(welds) == 36, "thirty-six welds, thirty-six verdicts")
    table = csv.DictReader(box.run("cat /opt/cordon/share/demonstration/welds.csv").splitlines())
    truth = {f"{row['part']}/{row['weld']}": row["truth"] for row in table}
    said = {"/".join(line.split()[1:3]): line.split()[4] for line in welds}
    wrong = sorted(weld for weld, outcome in said.items() if (outcome == "ACCEPT") != (truth[weld] == "good"))
    require(not [weld for weld in wrong if truth[weld] == "bad"], f"no bad weld was accepted; good ones rejected: {wrong or 'none'}")
    require("DEMONSTRATION" in box.run("journalctl -u cordon-gate"), "the log says that it is a demonstration")
    require("DEMONSTRATION" in box.run(f"cordon records show {FIRST_PART} 2>&1 >/dev/null"), "so do the records")
    require(box.run("systemctl --failed --no-legend").strip() == "", "no unit failed")


def rights(box: Box) -> None:
    """Owners, rights, units, and what an operator without root may do."""
    box.run("dpkg --verify cordon")
    box.run("systemd-analyze verify --man=no $(ls /lib/systemd/system | grep '^cordon' | grep -v @)")
    owners = box.run(
        "stat -c '%U:%G %a' /etc/cordon /etc/cordon/cordon.toml /etc/cordon/keys /var/lib/cordon /var/lib/cordon/engines"
    ).split("\n")
    expected = ["root:cordon 755", "root:cordon 644", "root:cordon 750", "cordon:cordon 750", "root:cordon 750"]
    require(owners[:-1] == expected, f"owners and rights are the tmpfiles': {owners[:-1]}")
    box.run("systemd-tmpfiles --create cordon.conf")
    box.run("useradd --create-home welder; useradd --create-home stranger; usermod --append --groups cordon-read welder")
    box.run("cordon keys new /etc/cordon/keys/some.key")
    for command in ("cordon status", f"cordon records show {FIRST_PART}", "cordon records verify", "cordon bundle status"):
        status, said = box.try_run(command, user="welder")
        require(status == 0, f"an operator of the group cordon-read may: {command}" + ("" if status == 0 else said))
    for command in (
        "cat /etc/cordon/keys/some.key",
        f"touch {RECORDS}",
        f"rm -f {RECORDS}",
        "touch /run/cordon/x",
    ):
        require(box.try_run(command, user="welder")[0] != 0, f"and may not: {command}")
    for command in (f"cordon records show {FIRST_PART}", f"cat {RECORDS}"):
        require(box.try_run(command, user="stranger")[0] != 0, f"another account may not: {command}")


def exchange(box: Box, name: str, command: str) -> None:
    """Another version in the place of this one while the robot welds: one restart, the configuration as it was, no record lost."""
    before, config = box.run("journalctl -u cordon-gate -o cat").count("Started cordon-gate"), box.run("sha256sum /etc/cordon/cordon.toml")
    slow_robot(box)
    box.run("systemctl restart cordon-sim-robot")
    box.wait("journalctl -u cordon-sim-robot -n 3 | grep -q P00001", "welding robot")
    started = time.monotonic()
    said = box.run(command)
    print(f"    {command}: {time.monotonic() - started:.1f} s; gate away {gate_away_ms(box):.0f} ms")
    box.wait("cordon status", "line that accepts")
    require(
        box.run("journalctl -u cordon-gate -o cat").count("Started cordon-gate") == before + 1, f"{name}: the gate was started once more"
    )
    require("?" not in said.split("Unpacking")[-1], f"{name}: nothing was asked")
    require(box.run("sha256sum /etc/cordon/cordon.toml") == config, f"{name}: the configuration is as it was")
    box.wait("journalctl -u cordon-sim-robot -n 3 | grep -q 'P00004.*W9'", "robot that ended its work")
    robot = box.run("journalctl -u cordon-sim-robot -o cat -n 36").splitlines()
    answers = Counter(" ".join(line.split()[3:5]) for line in robot)
    print(f"    robot: {dict(answers)}")
    whole(box, name)


def slow_robot(box: Box) -> None:
    """A weld every two seconds, so that the robot's work outlasts the exchange."""
    unit = (box.root / "lib/systemd/system/cordon-sim-robot.service").read_text()
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    folder = box.root / "etc/systemd/system/cordon-sim-robot.service.d"
    folder.mkdir(exist_ok=True)
    (folder / "slow.conf").write_text("[Service]\nExecStart=\n" + line.replace("--interval-ms 250", "--interval-ms 2000") + "\n")
    box.run("systemctl daemon-reload")


def gate_away_ms(box: Box) -> float:
    """From the gate's last stop to the next READY."""
    words = box.run("systemctl show cordon-gate -p InactiveEnterTimestampMonotonic -p ActiveEnterTimestampMonotonic --value").split()
    return abs(int(words[0]) - int(words[1])) / 1_000


WHOLE = """
import json, sys
from pathlib import Path
from edge.gate.snapshot import snapshot
with snapshot(Path(sys.argv[1])) as db:
    print(json.dumps([db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("triggers", "verdicts", "dispositions")]))
"""


def whole(box: Box, what: str) -> None:
    """The chain holds, and every trigger has one verdict and one disposition."""
    box.run("cordon records verify")
    (box.root / "root/whole.py").write_text(WHOLE)
    counts = json.loads(box.run(f"/opt/cordon/bin/python -I /root/whole.py {RECORDS}"))
    require(len(set(counts)) == 1, f"{what}: every trigger has one verdict and one disposition: {counts}")


def removal(box: Box) -> None:
    """Remove, install again, purge: programs and units go, records, keys and configuration never do."""
    box.run("apt-get remove --yes cordon")
    require(box.try_run("test -e /opt/cordon -o -e /lib/systemd/system/cordon-gate.service")[0] != 0, "programs and units are gone")
    require(box.try_run("pgrep -u cordon")[0] != 0, "nothing of it runs any more")
    kept = f"test -e {RECORDS} -a -e /etc/cordon/keys/some.key -a -e /etc/cordon/cordon.toml"
    box.run(kept)
    box.run("apt-get install --yes /root/cordon.deb")
    box.run("systemctl is-enabled cordon.target")
    box.run("systemctl start cordon-simulators.target")
    box.wait("cordon status", "line that accepts")
    shutil.rmtree(box.root / "etc/systemd/system/cordon-sim-robot.service.d", ignore_errors=True)
    box.run("apt-get purge --yes cordon")
    box.run(kept)
    left = box.run("find / -xdev -name '*cordon*' -not -path '/proc/*' -not -path '/var/lib/cordon/*' -not -path '/var/log/*'").split()
    expected = {"/etc/cordon", "/etc/cordon/cordon.toml", "/var/lib/cordon", "/root/cordon.deb"}
    require(set(left) == expected, f"after a purge too, and nothing else is left: {sorted(left)}")
    require(box.run("systemctl --failed --no-legend").strip() == "", "no unit failed")


if __name__ == "__main__":
    sys.exit(main())
