import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_records import SESSION, a_store, a_trigger, an_event

import edge.gate.records as records_module
from edge.config import StorageConfig
from edge.contract import TriggerId
from edge.errors import ChainError, StorageError
from edge.gate.case import Ticket
from edge.gate.disk import MIB, Reserve
from edge.gate.keeper import Keeper, event
from edge.gate.latch import Latch
from edge.gate.latch_watch import POLL_S, LatchWatch
from edge.gate.records import (
    BACKLOG,
    BATCH,
    NO_STORAGE,
    RETRY_S,
    Acknowledged,
    Back,
    Crashed,
    Durable,
    Failed,
    Latched,
    Noted,
    Recorder,
    Result,
)
from edge.gate.store import Stamped

FULL = StorageError("it failed", seen="database or disk is full", remedy="none")
OTHER = StorageError("it failed", seen="disk I/O error", remedy="none")


def a_ticket(number: int) -> Ticket:
    return Ticket("trigger", TriggerId(SESSION, number))


class Bench:
    """A recorder whose thread is not started, a clock that stands still, and a store that fails when told to."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.fails, self.house = 1_000.0, None, []
        self.store, self.commits = a_store(path), []
        self.patch = monkeypatch
        commit = self.store.commit

        def seen_commit(rows: list[Stamped]) -> None:
            if self.fails is not None:
                raise self.fails
            self.commits.append(len(rows))
            commit(rows)

        monkeypatch.setattr(self.store, "commit", seen_commit)
        monkeypatch.setattr(threading.Thread, "start", lambda _self: None)
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(Keeper, "tidy", lambda _self, *, quiet: self.house.append(f"tidy {quiet}"))
        monkeypatch.setattr(Keeper, "seal", lambda _self: self.house.append("seal"))
        monkeypatch.setattr(Keeper, "look", lambda _self: self.house.append("look"))

    fails: StorageError | None
    house: list[str]
    commits: list[int]

    def recorder(self, storage: StorageConfig = NO_STORAGE) -> Recorder:
        self.made = Recorder(self.store, storage=storage, retry_s=7.0)
        return self.made

    def step(self) -> list[Result]:
        """One round of the thread; what it posted."""
        self.made._queue.put("go on")
        assert self.made._step()
        return self.made.results()

    def fail(self, error: StorageError = OTHER) -> Recorder:
        """A recorder whose first row failed."""
        recorder = self.recorder()
        self.fails = error
        recorder.submit((an_event(1),))
        assert self.step() == [Failed(None, str(error))]
        return recorder


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """With an empty store."""
    bench = Bench(tmp_path / "r.db", monkeypatch)
    yield bench
    bench.store.abandon()
    os.close(bench.made.fd)


def counts(path: Path) -> list[int]:
    """Of all events, in order."""
    store = a_store(path)
    found = [row[0] for row in store._connected().execute("SELECT count FROM events ORDER BY id")]
    store.close()
    return found


def test_the_limits_are_those_that_are_documented() -> None:
    assert (BACKLOG, RETRY_S, BATCH) == (20_000, 1.0, 256)
    assert (NO_STORAGE.reserve_mb, NO_STORAGE.alarm_mb, NO_STORAGE.keep_mb, NO_STORAGE.keep_days) == (0, 0, 0, 0)


def test_results_wake_a_poll_and_nobody_inherits_them(bench: Bench) -> None:
    recorder = bench.recorder()
    assert recorder._retry_s == 7.0
    assert fcntl.fcntl(recorder.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK
    assert not os.get_inheritable(recorder.fileno())
    assert not select.select([recorder], [], [], 0)[0]
    assert recorder.results() == []
    recorder.latch("why")
    assert select.select([recorder], [], [], 0)[0]
    assert os.eventfd_read(recorder.fd) == 1
    os.eventfd_write(recorder.fd, 1)
    assert recorder.results() == [Latched(("why",))]
    assert not select.select([recorder], [], [], 0)[0]
    assert recorder._thread.daemon


def test_rows_are_durable_in_one_transaction_before_their_tickets_are_answered(bench: Bench) -> None:
    recorder = bench.recorder()
    before_ns = time.time_ns()
    recorder.submit((a_trigger(1), an_event(1)), a_ticket(1))
    recorder.submit((an_event(2),))
    recorder.submit((a_trigger(2),), a_ticket(2))
    assert bench.step() == [Durable(a_ticket(1)), Durable(a_ticket(2))]
    assert bench.commits == [4]
    ((wall_ns,),) = bench.store._connected().execute("SELECT wall_ns FROM triggers WHERE sequence = 1")
    assert before_ns <= wall_ns <= time.time_ns()
    assert bench.house == ["seal", "look"]
    assert bench.step() == []
    assert bench.commits == [4]
    assert not select.select([recorder], [], [], 0)[0]


def test_a_batch_is_bounded_and_housekeeping_waits_until_nothing_waits(bench: Bench) -> None:
    recorder = bench.recorder()
    for number in range(BATCH + 1):
        recorder.submit((an_event(number),))
    bench.step()
    assert (bench.commits, bench.house) == ([BATCH], [])
    bench.step()
    assert (bench.commits, bench.house) == ([BATCH, 1], ["seal", "look"])


@pytest.mark.parametrize(("quiet", "done"), [(False, "tidy False"), (True, "tidy True")])
def test_a_checkpoint_tidies(bench: Bench, quiet: bool, done: str) -> None:
    bench.recorder().checkpoint(quiet=quiet)
    bench.step()
    assert bench.house == [done, "look"]
    bench.step()
    assert bench.house[2:] == ["seal", "look"]


def test_a_checkpoint_is_not_quiet_unless_said_so(bench: Bench) -> None:
    bench.recorder().checkpoint()
    bench.step()
    assert bench.house[0] == "tidy False"


def test_a_failed_commit_fails_its_tickets_and_keeps_its_rows(bench: Bench) -> None:
    recorder = bench.recorder()
    bench.fails = OTHER
    recorder.submit((a_trigger(1),), a_ticket(1))
    recorder.submit((an_event(5),))
    recorder.submit((a_trigger(2),), a_ticket(2))
    recorder.checkpoint()
    why = str(OTHER)
    assert bench.step() == [Failed(None, why), Failed(a_ticket(1), why), Failed(a_ticket(2), why)]
    assert bench.house == []
    recorder.submit((a_trigger(3),), a_ticket(3))
    assert bench.step() == [Failed(a_ticket(3), "the store is latched")]
    bench.fails = None
    bench.now_s += 6.99
    assert bench.step() == []
    bench.now_s += 0.01
    assert bench.step() == [Back()]
    assert recorder._kept == []
    # Back does not mean that rows of failed tickets are acknowledged; they are on disk all the same.
    assert bench.commits == [3, 1]
    assert bench.store.number == 4
    assert bench.step() == []
    recorder.submit((a_trigger(4),), a_ticket(4))
    assert bench.step() == [Durable(a_ticket(4))]


def test_a_recovery_that_fails_is_tried_again_after_the_pause(bench: Bench) -> None:
    recorder = bench.fail()
    tries: list[float] = []

    def recover(_kept: list[Stamped]) -> None:
        tries.append(bench.now_s)
        raise ChainError("broken", seen="row 1", remedy="none")

    bench.patch.setattr(bench.store, "recover", recover)
    for _ in range(30):
        bench.now_s += 1.0
        assert bench.step() == []
    assert tries == [1_007.0, 1_014.0, 1_021.0, 1_028.0]
    assert len(recorder._kept) == 1


def test_with_a_reserve_given_back_a_full_disk_is_tried_again_at_once(bench: Bench) -> None:
    recorder = bench.recorder(StorageConfig(reserve_mb=0.5, alarm_mb=0))
    assert Reserve(bench.store.path, MIB // 2).held
    bench.fails = FULL
    recorder.submit((an_event(1),))
    bench.step()
    assert not recorder._reserve.held
    assert recorder._retry_at == bench.now_s
    bench.fails = None
    assert bench.step() == [Back()]
    assert recorder._reserve.held
    assert recorder._kept == []


def test_a_recovery_on_a_full_disk_gives_the_reserve_back_too(bench: Bench) -> None:
    recorder = bench.recorder(StorageConfig(reserve_mb=0.5, alarm_mb=0))
    bench.fails = OTHER
    recorder.submit((an_event(1),))
    bench.step()
    assert recorder._reserve.held
    bench.fails = FULL
    bench.now_s += 7.0
    bench.step()
    assert not recorder._reserve.held


def test_without_its_reserve_nothing_is_accepted_and_figures_say_why(bench: Bench) -> None:
    free = [int(1.25 * MIB)]
    bench.patch.setattr("edge.gate.disk.free_bytes", lambda _folder: free[0])
    bench.patch.setattr(records_module, "free_bytes", lambda _folder: free[0])
    recorder = bench.recorder(StorageConfig(reserve_mb=1.5, alarm_mb=0))
    (failed,) = recorder.results()
    assert isinstance(failed, Failed)
    assert failed.ticket is None
    assert "of 1.5 MiB cannot be held: 1.2 MiB free" in failed.why
    assert recorder._pause_s() == 7.0
    assert bench.step() == []
    free[0] = 3 * MIB
    assert bench.step() == [Back()]
    assert bench.step() == []
    assert recorder._pause_s() == 10.0


def test_the_reserve_is_not_asked_for_while_the_store_fails(bench: Bench) -> None:
    recorder = bench.recorder()
    recorder._short = True

    def fail(_self: Keeper) -> None:
        bench.fails = OTHER
        recorder._note(event("disk", "ALARM", "x"))

    bench.patch.setattr(Keeper, "look", fail)
    found = bench.step()
    assert not any(isinstance(result, Back) for result in found)
    assert recorder._failing


def test_after_a_failure_the_reserve_must_be_held_before_anything_is_accepted(bench: Bench) -> None:
    recorder = bench.fail()
    made = [False]
    bench.patch.setattr(Reserve, "make", lambda _self: made[0])
    bench.fails, bench.now_s = None, 1_007.0
    assert bench.step() == []
    assert not recorder._failing
    made[0] = True
    assert bench.step() == [Back()]


def test_rows_beyond_the_memory_for_rows_are_counted_and_the_count_is_recorded(bench: Bench) -> None:
    bench.patch.setattr(records_module, "BACKLOG", 4)
    bench.fail().submit([an_event(number) for number in (10, 11, 12)])
    bench.made.submit([an_event(number) for number in (13, 14, 15)])
    bench.step()
    bench.made.submit((an_event(16),))
    bench.step()
    bench.fails, bench.now_s = None, 1_007.0
    assert bench.step() == [Back()]
    assert bench.commits == [1, 5]
    bench.fails = OTHER
    bench.made.submit((an_event(17),))
    bench.step()
    bench.fails, bench.now_s = None, 1_014.0
    assert bench.step() == [Back()]
    bench.store.close()
    assert counts(bench.store.path) == [1, 10, 11, 12, 13, 3, 17]


def test_what_was_kept_is_written_in_batches_and_none_twice_when_one_fails(bench: Bench) -> None:
    bench.patch.setattr(records_module, "BATCH", 3)
    bench.fail().submit([an_event(number) for number in range(2, 10)])
    bench.step()
    bench.fails, bench.now_s = None, 1_007.0
    commit = bench.store.commit

    def fourth_fails(rows: list[Stamped]) -> None:
        commit(rows)
        if len(bench.commits) == 3:
            raise OTHER

    bench.patch.setattr(bench.store, "commit", fourth_fails)
    assert bench.step() == []
    assert bench.commits == [1, 3, 3]
    assert bench.made._failing
    bench.now_s = 1_014.0
    assert bench.step() == [Back()]
    assert bench.commits == [1, 3, 3, 2]
    assert bench.made._kept == []
    bench.store.close()
    assert counts(bench.store.path) == list(range(1, 10))


@pytest.mark.parametrize("name", ["tidy", "seal"])
def test_housekeeping_that_fails_latches(bench: Bench, name: str) -> None:
    def fail(_self: Keeper, **_named: bool) -> None:
        raise OTHER

    bench.patch.setattr(Keeper, name, fail)
    if name == "tidy":
        bench.recorder().checkpoint()
    else:
        bench.recorder()
    assert bench.step() == [Failed(None, str(OTHER))]
    assert bench.house == []
    assert bench.made._failing
    bench.patch.setattr(Keeper, name, lambda _self, **_named: None)
    bench.now_s += 7.0
    assert bench.step() == [Back()]


def test_no_housekeeping_while_the_store_fails(bench: Bench) -> None:
    bench.fail().checkpoint(quiet=True)
    bench.step()
    assert bench.house == []


def test_an_event_of_its_own_is_written_and_noted(bench: Bench) -> None:
    recorder = bench.recorder()
    assert recorder._note(event("disk", "", "it is over"))
    assert recorder.results() == [Noted("disk it is over")]
    bench.fails = OTHER
    assert not recorder._note(event("disk", "ALARM", "x"))
    assert recorder.results() == [Failed(None, str(OTHER)), Noted("disk ALARM x")]


def test_a_pause_is_as_short_as_the_next_thing_to_look_at(bench: Bench) -> None:
    recorder = bench.recorder()
    assert recorder._pause_s() == 10.0
    recorder._failing = True
    assert recorder._pause_s() == 7.0
    recorder._short = True
    assert recorder._pause_s() == 7.0
    recorder._watch.add("why")
    assert recorder._pause_s() == POLL_S == 0.5


def test_without_work_the_thread_waits_for_the_pause_and_goes_on(bench: Bench) -> None:
    recorder = bench.recorder()
    bench.patch.setattr(recorder, "_pause_s", lambda: 0.01)
    assert recorder._step()
    assert bench.house == ["seal", "look"]


def test_a_latch_holds_at_once_and_its_file_follows(bench: Bench) -> None:
    recorder = bench.recorder()
    recorder.latch("first")
    assert recorder.results() == [Latched(("first",))]
    latch = Latch(bench.store.path)
    assert latch.reasons() == []
    bench.step()
    assert latch.reasons() == ["first"]
    recorder.latch("second")
    bench.step()
    assert latch.reasons() == ["first", "second"]
    latch.acknowledge("uid 7")
    bench.now_s += 1.0
    assert bench.step() == [Noted("latch LATCHED acknowledged by uid 7: first; second"), Acknowledged()]
    bench.now_s += 1.0
    assert bench.step() == []
    assert recorder._pause_s() == 10.0


def test_the_latch_of_an_earlier_run_is_told_at_the_start(bench: Bench) -> None:
    Latch(bench.store.path).set("noise")
    recorder = bench.recorder()
    assert recorder.results() == [Latched(("noise",))]
    assert recorder._pause_s() == 0.5


def test_an_acknowledgement_frees_nothing_that_was_latched_after_it(bench: Bench) -> None:
    recorder = bench.recorder()
    recorder.latch("first")
    bench.step()
    Latch(bench.store.path).acknowledge("uid 7")
    bench.now_s += 1.0
    recorder._queue.put("go on")
    recorder._step()
    recorder.latch("second")
    assert [type(result) for result in recorder.results()] == [Noted, Latched]


@pytest.mark.parametrize("when", ["failing before", "failing at it"])
def test_an_acknowledgement_frees_nothing_before_its_row_is_durable(bench: Bench, when: str) -> None:
    recorder = bench.recorder()
    recorder.latch("first")
    bench.step()
    bench.fails = OTHER
    if when == "failing before":
        recorder.submit((an_event(1),))
        bench.step()
    Latch(bench.store.path).acknowledge("uid 7")
    bench.now_s += 1.0
    assert not any(isinstance(result, Acknowledged) for result in bench.step())
    bench.fails = None
    bench.now_s += 7.0
    assert bench.step() == [Back(), Noted("latch LATCHED acknowledged by uid 7: first"), Acknowledged()]


def ended(recorder: Recorder) -> bool:
    recorder._queue.put("stop")
    return not recorder._step()


def test_the_end_writes_what_was_submitted_before_it_and_closes(bench: Bench) -> None:
    recorder = bench.recorder()
    recorder.submit((an_event(1),))
    recorder._queue.put("stop")
    recorder.submit((an_event(2),))
    assert not recorder._step()
    assert (bench.commits, bench.house) == ([1], [])
    with pytest.raises(StorageError, match="not open"):
        bench.store.leftovers(1)


def test_the_end_tries_once_more_without_waiting_and_once_only(bench: Bench) -> None:
    recorder = bench.fail()
    bench.fails = None
    assert ended(recorder)
    assert recorder.results() == [Back()]
    bench.store.abandon()
    assert counts(bench.store.path) == [1]


def test_the_end_of_a_recorder_that_works_tries_nothing(bench: Bench) -> None:
    recorder = bench.recorder()
    bench.patch.setattr(bench.store, "recover", pytest.fail)
    assert ended(recorder)


def test_an_error_of_the_program_ends_the_thread_and_is_told(bench: Bench) -> None:
    recorder, error = bench.recorder(), KeyError("x")

    def fail() -> bool:
        raise error

    bench.patch.setattr(recorder, "_step", fail)
    recorder._run()
    assert recorder.results() == [Crashed(error)]


def test_the_thread_goes_on_until_a_step_says_that_it_is_over(bench: Bench) -> None:
    recorder, steps = bench.recorder(), [True, True, False]
    assert recorder.steps == 0
    bench.patch.setattr(recorder, "_step", lambda: steps.pop(0))
    recorder._run()
    assert steps == []
    assert recorder.steps == 2


def test_closing_says_whether_everything_was_written(tmp_path: Path) -> None:
    recorder = Recorder(a_store(tmp_path / "r.db"))
    assert recorder._thread.name == "recorder"
    recorder.submit((an_event(1),))
    assert recorder.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(recorder.fd)
    recorder = Recorder(a_store(tmp_path / "r.db"))
    recorder._failing = True
    recorder._store.recover = lambda _kept: (_ for _ in ()).throw(OTHER)  # type: ignore[method-assign]
    assert not recorder.close()


def test_closing_waits_five_seconds_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, waits = Recorder(a_store(tmp_path / "r.db")), []
    join = recorder._thread.join
    monkeypatch.setattr(recorder._thread, "join", lambda timeout_s: waits.append(timeout_s) or join())
    assert recorder.close()
    assert waits == [5.0]


def test_closing_does_not_wait_for_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, go_on = a_store(tmp_path / "r.db"), threading.Event()
    monkeypatch.setattr(store, "commit", lambda _rows: go_on.wait(10) and None)
    recorder = Recorder(store)
    recorder.submit((an_event(1),))
    assert not recorder.close(timeout_s=0.05)
    os.fstat(recorder.fd)
    go_on.set()
    recorder._thread.join()
    assert recorder.close()


@pytest.fixture
def latch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Latch:
    """A latch whose watch looks at every time it is asked (clock: five seconds a look)."""
    clock = iter(range(1_000, 100_000, 5))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    return Latch(tmp_path / "r.db")


def test_a_watch_knows_the_reasons_and_the_note_of_an_earlier_run(latch: Latch) -> None:
    watch = LatchWatch(latch)
    assert watch.start() == ()
    assert not watch.latched
    assert watch.removed() is None
    latch.set("noise")
    assert watch.start() == ("noise",)
    assert watch.latched
    latch.acknowledge("uid 7")
    watch = LatchWatch(latch)
    assert watch.start() == ()
    assert watch.latched
    row = watch.removed()
    assert row is not None
    assert (row.kind, row.reason, row.detail, row.camera, row.count) == ("latch", "LATCHED", "acknowledged by uid 7: noise", "", 1)
    assert 0 < row.first_ns == row.at_ns <= time.monotonic_ns()
    assert not watch.finish()
    assert not watch.latched
    assert latch.acknowledged() is None


def test_a_watch_that_was_not_started_holds_nothing(latch: Latch) -> None:
    watch = LatchWatch(latch)
    assert not watch.latched
    assert not watch.finish()


def test_a_note_beside_a_latch_is_not_that_latchs(latch: Latch) -> None:
    latch.set("noise")
    latch.acknowledge("uid 7")
    latch.set("again")
    watch = LatchWatch(latch)
    watch.start()
    assert watch.removed() is None
    assert not watch._note_left


def test_reasons_that_cannot_be_written_are_kept_in_order_and_hold(latch: Latch) -> None:
    watch = LatchWatch(latch)
    watch.start()
    latch.path.mkdir()
    watch.add("first")
    watch.add("second")
    watch.store()
    assert watch.latched
    latch.path.rmdir()
    assert watch.removed() is None
    watch.store()
    assert latch.reasons() == ["first", "second"]
    watch.store()
    assert latch.reasons() == ["first", "second"]
    assert watch.removed() is None


def test_somebody_who_removes_the_file_by_hand_is_somebody(latch: Latch) -> None:
    watch = LatchWatch(latch)
    watch.add("first")
    watch.store()
    latch.path.unlink()
    row = watch.removed()
    assert row is not None
    assert row.detail.startswith("acknowledged by somebody who removed the file")
    assert row.detail.endswith(": first")
    assert watch.finish()
    assert not watch.latched
    assert watch.removed() is None


def test_a_reason_nobody_read_goes_back_as_it_was(latch: Latch) -> None:
    watch = LatchWatch(latch)
    watch.add("first")
    watch.add("sécond\n")
    watch.store()
    latch.path.write_text("first\n")
    latch.acknowledge("uid 7")
    row = watch.removed()
    assert row is not None
    assert row.detail == "acknowledged by uid 7: first"
    watch.add("third")
    assert not watch.finish()
    assert latch.reasons() == ["s\\xe9cond\\n", "third"]
    assert watch.latched
    latch.acknowledge("uid 8")
    row = watch.removed()
    assert row is not None
    assert row.detail == "acknowledged by uid 8: s\\xe9cond\\n; third"
    assert watch.finish()


def test_a_note_that_cannot_be_removed_is_no_error(latch: Latch) -> None:
    watch = LatchWatch(latch)
    watch.add("first")
    watch.store()
    latch.path.unlink()
    latch.note_path.mkdir()
    assert watch.removed() is not None
    assert watch.finish()


def test_a_watch_looks_only_so_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, latch = [0.0], Latch(tmp_path / "r.db")
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    watch = LatchWatch(latch)
    watch.add("first")
    watch.store()
    looks: list[float] = []
    reasons: Callable[[], list[str]] = latch.reasons
    monkeypatch.setattr(latch, "reasons", lambda: looks.append(now_s[0]) or reasons())
    for at_s in (0.0, 0.39, 0.4, 0.41, 0.79, 0.8):
        now_s[0] = at_s
        watch.removed()
    assert looks == [0.0, 0.4, 0.8]
