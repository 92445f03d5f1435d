import random
from pathlib import Path

import pytest

from faults.recorder.disk import Disk, Entry
from faults.recorder.powercut import power_cut_at_any_write, summary
from faults.recorder.preload import Kind
from faults.recorder.worker import run_tasks
from faults.registry import Effort


def effort(folder: Path) -> Effort:
    return Effort(name="quick", seed=3, folder=folder)


def entry(kind: Kind, data: bytes = b"", offset: int = 0, inode: int = 1) -> Entry:
    return Entry(kind=kind, inode=inode, offset=offset, data=data)


def after(entries: list[Entry], draws: int = 200) -> set[tuple[tuple[str, bytes], ...]]:
    disk = Disk()
    for each in entries:
        disk.play(each)
    draw = random.Random(1)
    return {tuple(disk.after_cut(draw)) for _ in range(draws)}


def test_no_power_cut_loses_an_acknowledged_row(tmp_path: Path) -> None:
    found = power_cut_at_any_write(effort(tmp_path))
    assert found.passed, found.why_not()
    assert found.injections >= 100


@pytest.mark.parametrize("defect", ["early", "unsynced"])
def test_a_recorder_that_acknowledges_before_the_disk_has_it_is_found_out(tmp_path: Path, defect: str) -> None:
    task = {"do": "powercut:replay", "seed": 3, "states": 60, "defect": defect}
    assert summary(run_tasks(effort(tmp_path), [task])).lost_records > 0


def test_what_was_synced_under_a_synced_name_is_certain() -> None:
    entries = [entry(Kind.CREATE, b"/f"), entry(Kind.WRITE, b"abc"), entry(Kind.SYNC), entry(Kind.SYNC_FOLDER, inode=9)]
    assert after(entries) == {(("/f", b"abc"),)}


def test_without_a_sync_of_the_folder_a_name_may_be_missing() -> None:
    entries = [entry(Kind.CREATE, b"/f"), entry(Kind.WRITE, b"abc"), entry(Kind.SYNC)]
    assert after(entries) == {(), (("/f", b"abc"),)}


def test_unsynced_writes_survive_in_any_combination_and_torn_at_sectors() -> None:
    start = [entry(Kind.CREATE, b"/f"), entry(Kind.SYNC_FOLDER, inode=9)]
    states = after([*start, entry(Kind.WRITE, b"a" * 512 + b"b" * 512), entry(Kind.WRITE, b"c", 2000)], 1000)
    contents = {dict(state)["/f"] for state in states}
    assert {b"", b"a" * 512 + b"b" * 512, b"a" * 512, bytes(512) + b"b" * 512, bytes(2000) + b"c"} <= contents


def test_a_sync_after_a_failed_one_does_not_make_the_earlier_writes_certain() -> None:
    start = [entry(Kind.CREATE, b"/f"), entry(Kind.SYNC_FOLDER, inode=9), entry(Kind.WRITE, b"a"), entry(Kind.SYNC_FAILED)]
    contents = {dict(state)["/f"] for state in after([*start, entry(Kind.WRITE, b"b", 1), entry(Kind.SYNC)])}
    assert contents == {b"ab", b"\0b"}


def test_a_renamed_file_is_under_one_of_its_names() -> None:
    start = [entry(Kind.CREATE, b"/f"), entry(Kind.WRITE, b"a"), entry(Kind.SYNC), entry(Kind.SYNC_FOLDER, inode=9)]
    assert after([*start, entry(Kind.RENAME, b"/f\0/g")]) == {(("/f", b"a"),), (("/g", b"a"),)}
    assert after([*start, entry(Kind.UNLINK, b"/f")]) == {(("/f", b"a"),), ()}
