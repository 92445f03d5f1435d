"""How session, recorder and keeper say that they stand, for whoever shows it: without a disk's answer, and without changing anything."""

import time
from pathlib import Path

import pytest
from gate_kit import Driven, a_recipe, a_state

from edge.config import StorageConfig
from edge.contract import Outcome, Reason
from edge.gate.disk import file_bytes, free_bytes
from edge.gate.keeper import Keeper
from edge.gate.records import Recorder
from edge.gate.rows import EventRow
from edge.gate.store import Store
from edge.gate.verdict import BEFORE_FRAME, judge


def row(detail: str = "x") -> EventRow:
    return EventRow(kind="k", reason="", detail=detail, camera="", count=1, first_ns=1, at_ns=1)


@pytest.mark.parametrize(("profile", "by"), [("handshake", "trigger"), ("push", "frame")])
def test_a_session_that_would_accept_stands_so_and_nothing_is_opened_by_asking(profile: str, by: str) -> None:
    driven = Driven(profile).ready()
    if profile == "push":
        driven.tell(a_state())
    facts = driven.session.standing(driven.now)
    assert judge(facts, BEFORE_FRAME).outcome is Outcome.ACCEPT
    assert facts.asked is not None
    assert (facts.asked.by, facts.asked.session, facts.asked.sequence) == (by, driven.session.session, 0)
    assert (facts.report, facts.plan, facts.now_ns, facts.cutoff_ns) == (None, None, driven.now, driven.now)
    assert driven.session.idle
    assert driven.session.take() == []


def test_without_a_session_it_says_that_first() -> None:
    driven = Driven()
    assert judge(driven.session.standing(driven.now), BEFORE_FRAME).reason is Reason.SESSION_LOST


def test_the_recipe_is_named_empty_or_none_at_all() -> None:
    assert Driven().ready().session.recipe is None
    assert Driven("push").session.recipe is None
    driven = Driven(recipes=[a_recipe("R1"), a_recipe("R2")]).ready()
    assert driven.session.recipe == ""
    driven.change_over(1, "R2")
    assert driven.session.recipe == "R2"


def test_a_recorder_at_rest_has_nothing_waiting_and_counts_its_rows(tmp_path: Path) -> None:
    recorder = Recorder(Store(tmp_path / "records.db", boot="b", config="c"), storage=StorageConfig(reserve_mb=1, alarm_mb=0))
    recorder.submit([row(), row()])
    until_s = time.monotonic() + 20
    while recorder.standing().rows < 2 or recorder.standing().live_bytes < 0:
        assert time.monotonic() < until_s
        time.sleep(0.01)
    standing = recorder.standing()
    assert (standing.waiting, standing.backlog, standing.lost, standing.failing, standing.reserve_held) == (0, 0, 0, False, True)
    assert (standing.rows, standing.sealed) == (2, 0)
    assert standing.live_bytes > 0
    assert standing.free_bytes > 0
    assert recorder.close()


def test_a_recorder_that_cannot_write_says_what_it_keeps(tmp_path: Path) -> None:
    store = Store(tmp_path / "records.db", boot="b", config="c")
    recorder = Recorder(store, storage=StorageConfig(reserve_mb=0, alarm_mb=0), retry_s=60.0)
    store._disconnect()
    recorder.submit([row()])
    recorder.submit([row(), row()])
    until_s = time.monotonic() + 20
    while recorder.standing().backlog < 3:
        assert time.monotonic() < until_s
        time.sleep(0.01)
    assert (recorder.standing().failing, recorder.standing().reserve_held) == (True, True)
    recorder.close()


def test_a_reserve_that_cannot_be_held_is_said(tmp_path: Path) -> None:
    (tmp_path / "records.db.reserve").mkdir()
    recorder = Recorder(Store(tmp_path / "records.db", boot="b", config="c"), storage=StorageConfig(reserve_mb=1, alarm_mb=0))
    assert not recorder.standing().reserve_held
    recorder.close()


def test_the_keeper_looks_at_room_and_size_and_knows_neither_before(tmp_path: Path) -> None:
    store = Store(tmp_path / "records.db", boot="b", config="c")
    keeper = Keeper(store, StorageConfig(alarm_mb=0), lambda _: True)
    assert (keeper.free_bytes, keeper.live_bytes) == (-1, -1)
    keeper.look()
    assert keeper.live_bytes == (tmp_path / "records.db").stat().st_size
    assert keeper.free_bytes == pytest.approx(free_bytes(tmp_path), rel=0.2)
    store.close()


def test_a_file_that_is_not_there_has_no_size(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"abc")
    assert (file_bytes(tmp_path / "there"), file_bytes(tmp_path / "none")) == (3, -1)
