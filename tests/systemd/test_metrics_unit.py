"""The exporter's unit: what it may not do, and that systemd agrees."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd/cordon-metrics.service"
analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing (Debian: apt install systemd)")


def systemd_analyze(*words: object) -> str:
    done = subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True, check=False, timeout=60)
    return f"{done.stdout}{done.stderr}"


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        key, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@analyze
def test_systemd_has_nothing_to_say_about_it(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/cordon/bin/cordon", "/bin/true"))
    assert systemd_analyze("verify", "--man=no", copy) == ""


@analyze
def test_its_exposure_stays_below_the_inspectors() -> None:
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", systemd_analyze("security", "--offline=true", "--no-pager", UNIT))
    assert found is not None
    assert float(found[1]) <= 1.0


def test_it_cannot_reach_the_gate_nor_write_anywhere() -> None:
    unit = settings()
    assert unit["RestrictAddressFamilies"] == ["AF_INET AF_INET6"], "without AF_UNIX there is no way to the gate's socket"
    assert unit["ProtectSystem"] == ["strict"]
    assert not {"ReadWritePaths", "StateDirectory", "CacheDirectory", "RuntimeDirectory", "LogsDirectory", "DeviceAllow"} & set(unit)
    assert {"/var/lib/cordon", "/etc/cordon/keys"} <= {path.removeprefix("-") for path in unit["InaccessiblePaths"][0].split()}


def test_it_is_nobody_the_daemons_know_and_serves_this_machine_alone() -> None:
    unit = settings()
    assert unit["DynamicUser"] == ["yes"]
    assert unit["SupplementaryGroups"] == ["cordon-read"]
    assert "User" not in unit
    assert (unit["IPAddressDeny"], unit["IPAddressAllow"]) == (["any"], ["localhost"])


def test_it_goes_on_when_the_gate_is_stopped_so_that_somebody_says_so() -> None:
    unit = settings()
    assert not {"PartOf", "BindsTo", "Requires", "Requisite"} & set(unit)
    assert unit["WantedBy"] == ["multi-user.target"]
    assert unit["Restart"] == ["always"]
