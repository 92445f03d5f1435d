import errno
from pathlib import Path

import pytest

from faults.recorder.gate_disk import disk_fails_under_the_gate, slow_sync, watched
from faults.recorder.preload import FOREVER, Action, Call
from faults.registry import Effort

pytestmark = pytest.mark.nightly  # `make faults` injects it, with far more injections


def effort(folder: Path) -> Effort:
    return Effort(name="quick", seed=3, folder=folder)


def test_nothing_is_accepted_while_the_disk_refuses_and_all_rows_are_there_afterwards(tmp_path: Path) -> None:
    found = disk_fails_under_the_gate(effort(tmp_path))
    assert found.passed, found.why_not()


def test_no_accept_leaves_before_its_sync_is_over(tmp_path: Path) -> None:
    found = slow_sync(effort(tmp_path))
    assert found.passed, found.why_not()


def test_the_fault_reaches_the_gate(tmp_path: Path) -> None:
    with watched(tmp_path) as (cell, control):
        assert cell.cycle(bad=False).accepted
        control.arm(Action.FAIL, Call.SYNC, times=FOREVER, error=errno.EIO)
        refused = cell.cycle(bad=False)
        assert (refused.accepted, refused.reason) == (False, "RECORD_FAULT")
        assert control.struck > 0
