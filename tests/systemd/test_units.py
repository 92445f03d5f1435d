"""The units as systemd's own tools see them: no complaint, and an exposure below the bar."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing (Debian: apt install systemd)")


def stand_alone(folder: Path) -> list[Path]:
    """Copies whose program exists here, so that only what is wrong in the units themselves is complained about."""
    for path in (*UNITS.glob("*.service"), *UNITS.glob("*.target")):
        (folder / path.name).write_text(path.read_text().replace("/opt/cordon/bin/cordon", "/bin/true"))
    return sorted(folder.iterdir())


def systemd_analyze(*words: object) -> str:
    done = subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True, check=False, timeout=60)
    return f"{done.stdout}{done.stderr}"


def exposure(unit: Path) -> float:
    """`systemd-analyze security` in tenths as it prints them."""
    text = systemd_analyze("security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", text)
    assert found is not None, text
    return float(found[1])


@analyze
def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    units = stand_alone(tmp_path)
    assert {"cordon-gate.service", "cordon-inspector.service", "cordon-sim-robot.service", "cordon-simulators.target"} <= {
        unit.name for unit in units
    }
    assert systemd_analyze("verify", "--man=no", *units) == ""


@analyze
def test_systemd_would_have_said_so(tmp_path: Path) -> None:
    (tmp_path / "wrong.service").write_text("[Service]\nExecStart=/bin/true\nProtectSistem=strict\n")
    assert "ProtectSistem" in systemd_analyze("verify", "--man=no", tmp_path / "wrong.service")


@analyze
@pytest.mark.parametrize(
    ("name", "limit"),
    [("cordon-gate", 0.4), ("cordon-inspector", 1.1), ("cordon-engine-build", 0.8), ("cordon-sim-robot", 0.4), ("cordon-sim-camera", 0.4)],
)
def test_the_exposure_stays_below_its_bar(name: str, limit: float) -> None:
    assert exposure(UNITS / f"{name}.service") <= limit


@analyze
@pytest.mark.parametrize(("drop_in", "limit"), [("gpu-pc", 1.6), ("gpu-jetson", 1.7), ("cameras", 1.1)])
def test_the_inspectors_drop_ins_stay_below_theirs(drop_in: str, limit: float, tmp_path: Path) -> None:
    folder = tmp_path / "cordon-inspector.service.d"
    folder.mkdir()
    shutil.copy(UNITS / "examples" / f"{drop_in}.conf", folder)
    unit = shutil.copy(UNITS / "cordon-inspector.service", tmp_path)
    together = tmp_path / "together.service"
    together.write_text(Path(unit).read_text() + (folder / f"{drop_in}.conf").read_text())
    assert exposure(together) <= limit
    together.write_text(together.read_text().replace("/opt/cordon/bin/cordon", "/bin/true"))
    assert [line for line in systemd_analyze("verify", "--man=no", together).splitlines() if "together" in line] == []


def settings(name: str) -> dict[str, list[str]]:
    """Every key of the unit's [Service] and [Unit] with all its values."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_the_gate_has_no_network_no_foreign_device_and_a_watchdog() -> None:
    gate = settings("cordon-gate.service")
    assert gate["PrivateNetwork"] == ["yes"]
    assert gate["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert gate["DevicePolicy"] == ["closed"]
    assert all(re.fullmatch(r"char-tty[A-Z]+ rw", device) for device in gate["DeviceAllow"])
    assert (gate["Type"], gate["NotifyAccess"], gate["CPUSchedulingPolicy"]) == (["notify"], ["main"], ["fifo"])


def test_the_gates_watchdog_outlasts_its_longest_step_and_the_inspectors_its_own_watch() -> None:
    from edge.inspector.watch import STILL_S  # noqa: PLC0415
    from edge.notify import FEEDS_PER_LIMIT  # noqa: PLC0415

    longest_wait_s = 1.0
    limit_s = float(settings("cordon-gate.service")["WatchdogSec"][0])
    assert limit_s / FEEDS_PER_LIMIT + 2 * longest_wait_s < limit_s
    assert float(settings("cordon-inspector.service")["WatchdogSec"][0]) > STILL_S + 1.0


def test_the_inspector_starts_after_gate_and_engines_and_dies_before_the_gate() -> None:
    inspector, gate = settings("cordon-inspector.service"), settings("cordon-gate.service")
    assert {"cordon-engine-build.service", "cordon-gate.service"} <= set(inspector["After"][0].split())
    assert "cordon-engine-build.service" in inspector["Wants"][0].split()
    assert int(gate["OOMScoreAdjust"][0]) < 0 < int(inspector["OOMScoreAdjust"][0])
    assert "MemoryMax" in inspector
    assert "CPUSchedulingPolicy" not in inspector, "a pool of busy threads at a real-time priority would stop the box"


@pytest.mark.parametrize("name", ["cordon-gate", "cordon-inspector"])
def test_a_daemon_that_keeps_failing_is_seen_and_tried_again(name: str) -> None:
    unit = settings(f"{name}.service")
    assert unit["Restart"] == ["always"]
    assert int(unit["StartLimitBurst"][0]) > 0
    assert unit["OnFailure"] == [f"cordon-retry@{name}.service"]


def test_both_daemons_run_as_the_account_that_is_made_and_read_the_file_that_is_documented() -> None:
    account = re.search(r"^u (\S+) ", (UNITS / "sysusers.d/cordon.conf").read_text(), re.MULTILINE)
    assert account is not None
    for name in ("gate", "inspector"):
        unit = settings(f"cordon-{name}.service")
        assert unit["User"] == [account[1]], "the gate lets nobody but its own account and root connect as inspector"
        assert unit["ExecStart"] == [f"/opt/cordon/bin/cordon run {name} --config /etc/cordon/cordon.toml"]


def test_engines_belong_to_root_so_that_the_inspector_cannot_change_them() -> None:
    rows = [line.split() for line in (UNITS / "tmpfiles.d/cordon.conf").read_text().splitlines() if line.startswith("d ")]
    owners = {path: (mode, user) for _, path, mode, user, *_ in rows}
    assert owners["/var/lib/cordon/engines"] == ("0750", "root")
    assert owners["/var/lib/cordon"] == ("0750", "cordon")
    assert owners["/etc/cordon"] == ("0755", "root")
    assert owners["/etc/cordon/keys"] == ("0750", "root")
    assert "User" not in settings("cordon-engine-build.service")


def test_the_ftdi_latency_timer_is_one_millisecond_and_the_robots_name_is_there_to_be_filled_in() -> None:
    rules = (UNITS / "udev/60-cordon-robot.rules").read_text()
    active = [line for line in rules.splitlines() if line and not line.startswith("#")]
    assert any('DRIVER=="ftdi_sio"' in line and 'ATTR{latency_timer}="1"' in line for line in active)
    assert 'SYMLINK+="robot"' in rules
    assert not any("SYMLINK" in line for line in active), "the first adapter found is not the robot's by that alone"


def test_no_unit_says_a_thing_twice() -> None:
    for path in UNITS.glob("*.service"):
        parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
        parser.read(path)
        once = {key for key, values in settings(path.name).items() if len(values) > 1}
        assert once <= {"DeviceAllow", "SystemCallFilter", "ConditionPathExists", "ExecStart"}, path
        assert set(parser.sections()) <= {"Unit", "Service", "Install"}
