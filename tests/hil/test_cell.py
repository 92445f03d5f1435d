"""The running cell, with its real robot and camera: only watched, through its records and /proc (`--config /etc/cordon/cordon.toml`)."""

from itertools import pairwise
from pathlib import Path

import pytest
from budget_kit import Budgets
from equipment_kit import Equipment
from process_kit import Usage
from records_kit import stages, watch

from edge.config import load_config

WAIT_S = 3_000.0
TECHNICAL = {"OK", "DEFECT"}
"""Reasons that say something about the weld; all others are technical."""


def _daemon(name: str, config: Path) -> int | None:
    """Process id of `cordon run NAME` with this configuration, or with the usual one."""
    found: dict[bool, int] = {}
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if (b"run", name.encode()) in pairwise(words):
            ours = str(config).encode() in words
            if ours or b"--config" not in words:
                found[ours] = int(folder.name)
    return found.get(True, found.get(False))


@pytest.mark.timeout(3_600)
def test_the_running_cell_keeps_its_budgets(equipment: Equipment, budgets: Budgets) -> None:
    if equipment.config is None:
        pytest.skip("no running cell: give --config /etc/cordon/cordon.toml on a box where robot and camera are at work")
    config = load_config(equipment.config)
    usages = {name: Usage(pid) for name in ("gate", "inspector") if (pid := _daemon(name, equipment.config)) is not None}
    seen = watch(config.gate.records, equipment.verdicts, WAIT_S)
    for usage in usages.values():
        usage.look()
    assert len(seen.rows) >= equipment.verdicts, f"only {len(seen.rows)} verdicts within {WAIT_S:g} s: is the robot at work?"
    figures = stages(seen.rows) | {"missing": seen.unaccounted, "rejected_technical": sum(row[7] not in TECHNICAL for row in seen.rows)}
    for name, usage in usages.items():
        figures |= {f"{name}_mb": usage.mb, f"{name}_files": usage.files, f"{name}_cpu_percent": usage.cpu_percent}
    assert not budgets.hold(**figures)
