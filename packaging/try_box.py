"""Tries the daemons under a real systemd as the package brings them: kills, a frozen gate, reload, bundles that change, fail or are cut."""

# ruff: noqa: INP001 - as deb.py

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1]))

from box import Box, TrialError
from demonstration import PHRASE
from try_deb import lacking, parser, require, root_of, whole

STORE = "/var/lib/cordon/demonstration-bundles"
KILLS, CUTS = 50, 20
GATE_BAR_MS, WATCHDOG_S = 300.0, 5.0


def main() -> int:
    """Return 0 when every step did what it should."""
    arguments = parser(__doc__).parse_args()
    if lacking(arguments):
        return 3
    with tempfile.TemporaryDirectory(prefix="cordon-box-") as folder, Box(root_of(arguments), Path(folder)) as box:
        shutil.copy(arguments.package, box.root / "root/cordon.deb")
        shutil.copy(Path(__file__).with_name("killing.py"), box.root / "root/killing.py")
        box.run("apt-get install --yes /root/cordon.deb && cordon setup --simulators && systemctl start cordon-simulators.target")
        accepting(box)
        kills(box)
        frozen(box)
        reload(box)
        bundles(box)
        journal(box)
        whole(box, "after all of it")
    return 0


def accepting(box: Box) -> float:
    """Seconds until the line accepts."""
    return box.wait("cordon status", "line that accepts")


def kills(box: Box) -> None:
    """The bar: a killed gate serves again within 300 ms."""
    for unit, count in (("cordon-gate", KILLS), ("cordon-inspector", 5)):
        found = sorted(json.loads(box.run(f"/opt/cordon/bin/python -I /root/killing.py {unit} SIGKILL {count}"))["ms"])
        middle, high = found[len(found) // 2], found[min(len(found) - 1, round(0.99 * len(found)))]
        print(f"    {unit} killed {count} times: READY again after {middle:.0f} ms (median), {high:.0f} (p99), {found[-1]:.0f} (longest)")
    accepting(box)


def frozen(box: Box) -> None:
    """A gate that stands still is killed by the watchdog and serves again."""
    (found,) = json.loads(box.run("/opt/cordon/bin/python -I /root/killing.py cordon-gate SIGSTOP 1"))["ms"]
    said = box.run("journalctl -u cordon-gate -o cat -n 30")
    require("Watchdog timeout" in said, f"the watchdog ended the frozen gate: serving again {found / 1_000:.1f} s after SIGSTOP")
    require(found / 1_000 < WATCHDOG_S + 2.0, f"within its {WATCHDOG_S:g} s and a start")
    accepting(box)


def reload(box: Box) -> None:
    """`systemctl reload`: neither daemon starts anew."""
    before = pids(box)
    box.run("systemctl reload cordon-gate cordon-inspector")
    time.sleep(1.0)
    require(pids(box) == before, "both daemons were reloaded and are the processes that they were")
    accepting(box)


def pids(box: Box) -> list[str]:
    """Main processes of gate and inspector."""
    return box.run("systemctl show -P MainPID cordon-gate cordon-inspector").split()


def bundles(box: Box) -> None:
    """A new version takes over; one that cannot be loaded does not stop the line; a cut activation leaves the old or the new."""
    first, second, third = active(box), newer(box, 2), newer(box, 3)
    before = pids(box)
    box.run(f"cordon bundle install /root/{second}.cordon && cordon bundle activate {second[:12]} && systemctl reload cordon-inspector")
    took = box.wait(f"cordon status --json | grep -q {second}", "bundle that took over")
    require(pids(box) == before, f"bundle 2 took over {took:.1f} s after the reload, in the process that ran")
    box.run(f"cordon bundle install /root/{third}.cordon && cordon bundle activate {third[:12]}")
    # What no proof can foresee: the file is damaged after it was proved.
    box.run(f"truncate --size=-100 {STORE}/versions/{third}/bundle.cordon && systemctl restart cordon-inspector")
    accepting(box)
    require(second in box.run("cordon status --json"), "bundle 3, damaged on the disk: bundle 2 judges in its place without a person")
    require("judges in its place" in box.run("journalctl -u cordon-gate -o cat"), "and the log says so")
    box.run("cordon bundle rollback --reason 'bundle 3 is damaged' && systemctl restart cordon-inspector")
    accepting(box)
    cuts(box, {first, second, third})


def cuts(box: Box, known: set[str]) -> None:
    """SIGKILL in the middle of activations."""
    fourth = newer(box, 4)
    box.run(f"cordon bundle install /root/{fourth}.cordon")
    seen = set()
    for cut in range(CUTS):
        box.try_run(f"timeout --signal=KILL {0.05 + 0.06 * cut:.2f} cordon bundle activate {fourth[:12]}")
        now = active(box)
        seen.add(now)
        if now == fourth:
            break
    require(
        seen <= {*known, fourth},
        f"{cut + 1} activations killed after 50 ms to {50 + 60 * cut} ms: the old bundle or the new, never neither",
    )
    box.run(f"cordon bundle activate {fourth[:12]} && systemctl reload cordon-inspector")
    box.wait(f"cordon status --json | grep -q {fourth}", "bundle that took over")
    box.run("cordon bundle status")


def active(box: Box) -> str:
    """The active bundle's hash."""
    return str(json.loads(box.run("cordon bundle status --json"))["state"]["active"])


def newer(box: Box, version: int) -> str:
    """The demonstration under a higher version, signed by the key that everybody knows, as a file in the box; returns its hash."""
    import msgspec  # noqa: PLC0415 - of this checkout, as edge
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    from edge.bundle import open_bundle, sign_bundle  # noqa: PLC0415
    from edge.demonstration import KEY  # noqa: PLC0415

    bundle = open_bundle(box.root / "opt/cordon/share/demonstration/line.cordon", (KEY,))
    manifest = msgspec.structs.replace(bundle.manifest, version=version)
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(PHRASE).digest())
    file = box.root / "root/new.cordon"
    file.write_bytes(sign_bundle(manifest, {name: bytes(view) for name, view in bundle.files.items()}, key))
    name = open_bundle(file, (KEY,)).hash
    file.rename(box.root / f"root/{name}.cordon")
    return name


def journal(box: Box) -> None:
    """What the daemons say is in the journal, under their units, with a priority."""
    entries = [json.loads(line) for line in box.run("journalctl -u cordon-gate -u cordon-inspector -o json -n 400").splitlines()]
    own = [entry for entry in entries if entry.get("SYSLOG_IDENTIFIER") == "cordon"]
    found = sorted({entry["PRIORITY"] for entry in own})
    require(own, f"{len(own)} of the last 400 journal entries are the daemons' own, priorities {', '.join(found)}")
    if any(not isinstance(entry["MESSAGE"], str) for entry in own):
        raise TrialError("the journal holds what is no text")


if __name__ == "__main__":
    sys.exit(main())
