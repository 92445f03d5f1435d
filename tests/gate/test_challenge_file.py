"""The challenge that was passed last, across restarts, power cuts and disks that refuse; and the rule against the recipes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import msgspec
import pytest
from cut_kit import cuts
from gate_kit import a_challenge, a_recipe

from edge.config import ChallengeConfig, ChallengePart, GateConfig
from edge.errors import ConfigError, StorageError
from edge.gate.case import Kept
from edge.gate.challenge import Passed
from edge.gate.challenge_file import ChallengeFile, ChallengeKeeper
from edge.gate.challenge_start import challenges_of
from edge.gate.records import Recorder
from edge.gate.rows import EventRow
from edge.gate.store import Stamped, Store

PASSED = Passed(boot="b", at_ns=1, wall_ns=2, bundle="c" * 64, recipe="R1", rule="0" * 16, welds=2)
CONTENT = msgspec.json.encode(PASSED)
NEWER = msgspec.json.encode(msgspec.structs.replace(PASSED, at_ns=2))


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    file = ChallengeFile(tmp_path / "records.db")
    assert file.load() is None
    file.keep(CONTENT)
    assert ChallengeFile(tmp_path / "records.db").load() == PASSED
    assert file.path.name == "records.db.challenge"
    file.keep(None)
    file.keep(None)
    assert file.load() is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", CONTENT[:-1], CONTENT[:-1] + b',"more":1}', b"[" * 100_000, CONTENT.replace(b'"b"', b'"\xff"')]
)
def test_what_cannot_be_read_counts_for_nothing(tmp_path: Path, content: bytes) -> None:
    file = ChallengeFile(tmp_path / "records.db")
    file.path.write_bytes(content)
    found = file.load()
    assert isinstance(found, str)
    assert "records.db.challenge cannot be used" in found


def test_no_more_of_it_is_read_than_64_kib(tmp_path: Path) -> None:
    file = ChallengeFile(tmp_path / "records.db")
    file.path.write_bytes(CONTENT.rjust(65_536))
    assert file.load() == PASSED
    file.path.write_bytes(CONTENT.rjust(65_537))
    assert isinstance(file.load(), str)


def test_a_folder_in_its_place_counts_for_nothing(tmp_path: Path) -> None:
    file = ChallengeFile(tmp_path / "records.db")
    file.path.mkdir()
    assert "cannot be used" in str(file.load())


CHANGING = ((os, "fsync"), (Path, "replace"), (Path, "unlink"))


@pytest.mark.parametrize(("before", "after"), [(None, CONTENT), (CONTENT, NEWER), (CONTENT, None)])
def test_a_power_cut_leaves_what_was_kept_before_or_what_is_kept_now(tmp_path: Path, before: bytes | None, after: bytes | None) -> None:
    def begin(step: int) -> ChallengeFile:
        (tmp_path / str(step)).mkdir()
        file = ChallengeFile(tmp_path / str(step) / "records.db")
        file.keep(before)
        return file

    places = list(cuts(begin, lambda file: file.keep(after), CHANGING, least=2))
    assert len(places) >= 2
    for file in places:
        found = file.load()
        assert found in [None if kept is None else msgspec.json.decode(kept, type=Passed) for kept in (before, after)]
        file.keep(after)
        assert (file.load() is None) is (after is None)


def test_what_cannot_be_written_is_told_once_and_tried_again(tmp_path: Path) -> None:
    keeper = ChallengeKeeper(ChallengeFile(tmp_path / "none" / "records.db"))
    keeper.want(Kept(CONTENT))
    assert keeper.work(passed=False) == ""
    assert "cannot be changed (No such file or directory)" in keeper.work(passed=True)
    assert keeper.work(passed=True) == ""
    assert keeper.waiting
    (tmp_path / "none").mkdir()
    assert keeper.work(passed=True) == ""
    assert not keeper.waiting
    assert ChallengeFile(tmp_path / "none" / "records.db").load() == PASSED
    (tmp_path / "none").rename(tmp_path / "away")
    keeper.want(Kept(NEWER))
    assert "cannot be changed" in keeper.work(passed=True), "told again, being another time"


def test_only_the_last_word_is_kept(tmp_path: Path) -> None:
    file = ChallengeFile(tmp_path / "records.db")
    keeper = ChallengeKeeper(file)
    keeper.want(Kept(CONTENT))
    keeper.want(Kept(None))
    assert keeper.work(passed=True) == ""
    assert keeper.work(passed=False) == ""
    assert file.load() is None
    assert not keeper.waiting


class Watched(ChallengeFile):
    """Notes how many rows were durable when something was kept."""

    def __init__(self, records: Path, store: Store) -> None:
        super().__init__(records)
        self.store, self.seen = store, list[tuple[bytes | None, int]]()

    def keep(self, content: bytes | None) -> None:
        super().keep(content)
        self.seen.append((content, self.store.number))


def _row(text: str) -> EventRow:
    return EventRow(kind="challenge", reason="", detail=text, camera="", count=1, first_ns=1, at_ns=1)


def _until(done: object) -> None:
    until = time.monotonic() + 20
    while not done():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_pass_is_durable_after_its_row_and_its_end_before_the_rows_that_follow(tmp_path: Path) -> None:
    store = Store(tmp_path / "records.db", boot="b", config="c", link="handshake")
    recorder = Recorder(store)
    file = Watched(tmp_path / "records.db", store)
    recorder._challenge = ChallengeKeeper(file)
    before = store.number
    recorder.submit((_row("passed"),))
    recorder.keep(Kept(CONTENT))
    _until(lambda: len(file.seen) == 1)
    recorder.keep(Kept(None))
    recorder.submit((_row("begun"),))
    _until(lambda: len(file.seen) == 2 and store.number == before + 2)
    assert recorder.close()
    assert file.seen == [(CONTENT, before + 1), (None, before + 1)]


def test_a_pass_whose_rows_cannot_be_written_is_not_kept_and_its_end_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "records.db", boot="b", config="c", link="handshake")
    commit, broken = store.commit, threading.Event()

    def failing(rows: list[Stamped]) -> None:
        if broken.is_set():
            raise StorageError("no row is taken", seen="a test", remedy="none")
        commit(rows)

    monkeypatch.setattr(store, "commit", failing)
    monkeypatch.setattr(store, "recover", failing)
    recorder = Recorder(store, retry_s=0.01)
    file = Watched(tmp_path / "records.db", store)
    recorder._challenge = ChallengeKeeper(file)
    broken.set()
    recorder.submit((_row("passed"),))
    recorder.keep(Kept(CONTENT))
    recorder.checkpoint()
    steps = recorder.steps
    _until(lambda: recorder.steps > steps + 20)
    assert file.seen == []
    recorder.keep(Kept(None))
    _until(lambda: [content for content, _ in file.seen] == [None])
    broken.clear()
    assert recorder.close()


def test_a_disk_that_does_not_take_it_is_an_event_and_no_fault_of_the_records(tmp_path: Path) -> None:
    store = Store(tmp_path / "records.db", boot="b", config="c", link="handshake")
    recorder = Recorder(store, retry_s=0.01)
    blocked = tmp_path / "records.db.challenge"
    blocked.mkdir()
    recorder.keep(Kept(None))
    told: list[str] = []
    _until(lambda: told.extend(str(result) for result in recorder.results()) or told)
    assert "records.db.challenge cannot be changed" in told[0]
    blocked.rmdir()
    recorder.keep(Kept(CONTENT))
    _until(lambda: ChallengeFile(tmp_path / "records.db").load() == PASSED)
    assert recorder.close()
    assert blocked.is_file()


# the rule and the recipes


def _gate(**changes: object) -> GateConfig:
    return GateConfig(port="p", records=Path("r"), socket=Path("s"), recipes=Path("recipes.toml"), **changes)


EXTRA = ChallengePart(name="BAD2", weld="W2", expect="bad", recipe="R2")


def test_without_the_table_there_is_no_rule() -> None:
    assert challenges_of(_gate(), {"R1": a_recipe("R1")}, "b") is None


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (a_challenge(*(part for part in a_challenge().part if part.name == "GOOD"), EXTRA), "recipe R1 has no known-bad challenge part"),
        (
            a_challenge(ChallengePart(name="GOOD", weld="W1", expect="good", recipe="R2"), *a_challenge().part[1:]),
            "recipe R1 has no known-good challenge part",
        ),
        (a_challenge(*a_challenge().part, ChallengePart(name="BAD3", weld="W9", expect="bad")), "recipe R1 has no weld W9"),
    ],
)
def test_a_rule_that_no_part_could_satisfy_is_refused_at_start(config: ChallengeConfig, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        challenges_of(_gate(challenge=config), {name: a_recipe(name) for name in ("R1", "R2")}, "b")


def test_a_rule_that_fits_every_recipe_is_taken() -> None:
    rule = challenges_of(_gate(challenge=a_challenge(*a_challenge().part, EXTRA)), {"R2": a_recipe("R2"), "R1": a_recipe("R1")}, "b")
    assert rule is not None
    assert not rule.status(0).accepting
