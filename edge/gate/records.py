"""The recorder: a thread of its own owns the store, so that a stalled disk can never delay a REJECT."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from edge.config import StorageConfig
from edge.errors import CordonError, RecordError
from edge.gate.case import Kept, Ticket
from edge.gate.challenge_file import ChallengeFile, ChallengeKeeper
from edge.gate.disk import MIB, Reserve, free_bytes
from edge.gate.keeper import LOOK_S, Keeper
from edge.gate.latch import Latch
from edge.gate.latch_watch import POLL_S, LatchWatch
from edge.gate.rows import EventRow, Row
from edge.gate.store import Stamped, Store

BACKLOG = 20_000
"""Rows kept in memory while the store cannot be written; further ones are counted as lost."""
RETRY_S = 1.0
BATCH = 256
"""Submissions written in one transaction."""
NO_STORAGE = StorageConfig(reserve_mb=0, alarm_mb=0)
"""Seals at the usual size; no reserve, no alarms, no retention."""


class Durable(NamedTuple):
    """The rows of this ticket are on disk."""

    ticket: Ticket


class Failed(NamedTuple):
    """The rows of this ticket (None: of no ticket) are not on disk; the store is latched."""

    ticket: Ticket | None
    why: str


class Back(NamedTuple):
    """The store was opened again, checked, and has written everything that was kept."""


class Noted(NamedTuple):
    """The recorder wrote an event of its own, for the log."""

    text: str


class Latched(NamedTuple):
    """Nothing may be accepted until a person acknowledged: at start (the latch of an earlier run) or after `latch()`."""

    reasons: tuple[str, ...]


class Acknowledged(NamedTuple):
    """A person acknowledged every reason, and the records name them."""


class Crashed(NamedTuple):
    """The thread ended by an error of the program; the gate must end too."""

    error: BaseException


Result = Durable | Failed | Back | Noted | Latched | Acknowledged | Crashed


class Standing(NamedTuple):
    """How the recorder stands, for whoever shows it."""

    waiting: int
    """Submissions that its thread has not taken."""
    backlog: int
    """Rows kept in memory because the store cannot be written."""
    lost: int
    """Rows beyond what memory keeps."""
    failing: bool
    reserve_held: bool
    rows: int
    """Rows ever written or kept, of all files."""
    sealed: int
    """Number of the last row that lies in a sealed file; 0: none is sealed."""
    live_bytes: int
    """Size of the live file, looked at every ten seconds; -1: unknown."""
    free_bytes: int
    """Room for records, likewise."""


class _Item(NamedTuple):
    rows: Sequence[Row]
    wall_ns: int
    ticket: Ticket | None
    config: str = ""
    """Hash of the configuration that ruled, where it is not the store's own."""


class _Freed(NamedTuple):
    """The thread found everything acknowledged that `latch` had told it until then."""

    taken: int


class _Reason(NamedTuple):
    why: str


class Recorder:
    """Takes rows from any thread, answers tickets through `results()`; poll `fileno()` to know when there are some."""

    def __init__(self, store: Store, *, storage: StorageConfig = NO_STORAGE, retry_s: float = RETRY_S) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._store = store
        self._retry_s = retry_s
        self.steps = 0
        """Steps its thread has ended: it stands still while the disk does."""
        self._config = ""
        self._queue: SimpleQueue[_Item | _Reason | Kept | StorageConfig | str] = SimpleQueue()
        self._results: deque[Result | _Freed] = deque()
        self._asked = self._taken = 0
        """Calls of `latch`, and how many of them the thread has seen."""
        self._kept: list[Stamped] = []
        self._backlog: deque[tuple[Row, int, str]] = deque()
        self._lost = 0
        self._failing = False
        self._retry_at = time.monotonic()
        self._keeper = Keeper(store, storage, self._note)
        self._reserve = Reserve(store.path, int(storage.reserve_mb * MIB))
        self._short = not self._reserve.make()
        """Rows are written, but the reserve is not held: nothing may be accepted."""
        if self._short:
            self._post(Failed(None, self._no_reserve()))
        self._challenge = ChallengeKeeper(ChallengeFile(store.path))
        self._watch = LatchWatch(Latch(store.path))
        if reasons := self._watch.start():
            self._post(Latched(reasons))
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Readable when `results()` has something."""
        return self.fd

    def submit(self, rows: Sequence[Row], ticket: Ticket | None = None) -> None:
        """Write these rows in one transaction, after everything submitted before."""
        self._queue.put(_Item(rows, time.time_ns(), ticket, self._config))

    def configured(self, config: str, storage: StorageConfig) -> None:
        """What is submitted from now on names this configuration (its hash); all of `storage` counts but `reserve_mb`."""
        self._config = config
        self._queue.put(storage)

    def latch(self, why: str) -> None:
        """Nothing may be accepted until a person acknowledged this: `Latched` is posted at once, the file follows in the thread."""
        self._asked += 1
        self._post(Latched((why,)))
        self._queue.put(_Reason(why))

    def keep(self, kept: Kept) -> None:
        """Keep what the last challenge came to: after the rows submitted before; that none counts any more, before those that follow."""
        self._queue.put(kept)

    def checkpoint(self, *, quiet: bool = False) -> None:
        """Checkpoint once nothing waits, and seal a full file; only ask while no trigger is open (`quiet`: for a while already)."""
        self._queue.put("quiet" if quiet else "checkpoint")

    def results(self) -> list[Result]:
        """What happened since the last call."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        found: list[Result] = []
        while self._results:
            result = self._results.popleft()
            if not isinstance(result, _Freed):
                found.append(result)
            elif result.taken == self._asked:
                # Otherwise a reason came meanwhile that nobody has seen, and freeing the gate would lose it.
                found.append(Acknowledged())
        return found

    def standing(self) -> Standing:
        """Asks nobody and waits for nobody: the thread's own numbers, as they are at this moment."""
        store, keeper = self._store, self._keeper
        return Standing(
            waiting=self._queue.qsize(),
            backlog=len(self._backlog) + len(self._kept),
            lost=self._lost,
            failing=self._failing,
            reserve_held=not self._short,
            rows=store.number,
            sealed=store.anchor.number,
            live_bytes=keeper.live_bytes,
            free_bytes=keeper.free_bytes,
        )

    def close(self, timeout_s: float = 5.0) -> bool:
        """Write what is queued and close the store; False when the disk did not let it finish in time."""
        self._queue.put("stop")
        self._thread.join(timeout_s)
        done = not self._thread.is_alive()
        if done:
            os.close(self.fd)
        return done and not self._failing

    def _run(self) -> None:
        try:
            while self._step():
                self.steps += 1
        except BaseException as exc:  # noqa: BLE001 - the edge of this thread: the gate raises it again
            self._post(Crashed(exc))

    def _step(self) -> bool:
        items, commands = self._take()
        self._mind_challenge(passed=False)
        if self._failing:
            self._keep(items)
            self._try_again()
        elif items:
            self._write(items)
        self._mind_challenge(passed=True)
        self._mind_latch()
        if "stop" in commands:
            self._finish()
            return False
        if not self._failing and self._queue.empty():
            self._keep_house(commands)
        return True

    def _take(self) -> tuple[list[_Item], set[str]]:
        items: list[_Item] = []
        commands: set[str] = set()
        try:
            entry = self._queue.get(timeout=self._pause_s())
            while True:
                if isinstance(entry, str):
                    commands.add(entry)
                elif isinstance(entry, Kept):
                    self._challenge.want(entry)
                elif isinstance(entry, _Reason):
                    self._taken += 1
                    self._watch.add(entry.why)
                elif isinstance(entry, StorageConfig):
                    self._keeper.configured(entry)
                else:
                    items.append(entry)
                if len(items) >= BATCH or "stop" in commands:
                    break
                entry = self._queue.get_nowait()
        except Empty:
            pass
        return items, commands

    def _pause_s(self) -> float:
        """How long to wait for work before something must be tried or looked at again."""
        pauses = [LOOK_S] + [self._retry_s] * (self._failing or self._short or self._challenge.waiting) + [POLL_S] * self._watch.latched
        return min(pauses)

    def _mind_challenge(self, *, passed: bool) -> None:
        """That none counts is durable before any row that follows, that one was passed only after the rows that say so."""
        if passed and self._failing:
            return
        why = self._challenge.work(passed=passed)
        if why and not self._failing:
            now_ns = time.monotonic_ns()
            row = EventRow(kind="challenge", reason="RECORD_FAULT", detail=why, camera="", count=1, first_ns=now_ns, at_ns=now_ns)
            self._note(row)

    def _mind_latch(self) -> None:
        """Make reasons durable; once somebody removed the latch, say so in the records, and only then accept again."""
        self._watch.store()
        if self._failing or (row := self._watch.removed()) is None:
            return
        if self._note(row) and self._watch.finish():
            self._post(_Freed(self._taken))

    def _note(self, row: EventRow) -> bool:
        """Write a row of the recorder's own; False when the store failed at it."""
        self._write([_Item((row,), time.time_ns(), None)])
        self._post(Noted(" ".join(word for word in (row.kind, row.reason, row.detail) if word)))
        return not self._failing

    def _write(self, items: list[_Item]) -> None:
        stamped = [self._store.stamp(row, item.wall_ns, item.config) for item in items for row in item.rows]
        try:
            self._store.commit(stamped)
        except RecordError as exc:
            self._kept = stamped
            self._latch(exc, [item.ticket for item in items if item.ticket is not None])
            return
        self._post(*(Durable(item.ticket) for item in items if item.ticket is not None))

    def _latch(self, exc: CordonError, tickets: Sequence[Ticket]) -> None:
        self._failing = True
        # With the reserve given back there is room at once; anything else may need time to heal.
        self._retry_at = time.monotonic() + (0.0 if self._reserve.release_for(exc) else self._retry_s)
        self._post(Failed(None, str(exc)), *(Failed(ticket, str(exc)) for ticket in tickets))

    def _keep(self, items: list[_Item]) -> None:
        for item in items:
            room = BACKLOG - len(self._backlog)
            self._backlog.extend((row, item.wall_ns, item.config) for row in item.rows[:room])
            self._lost += max(0, len(item.rows) - room)
        self._post(*(Failed(item.ticket, "the store is latched") for item in items if item.ticket is not None))

    def _try_again(self) -> None:
        """Open, check and write everything kept; stays latched when anything of it fails."""
        if time.monotonic() < self._retry_at:
            return
        self._retry_at = time.monotonic() + self._retry_s
        try:
            self._store.recover(self._kept)
            self._kept = []
            self._flush_backlog()
        except RecordError as exc:
            self._reserve.release_for(exc)
            return
        self._failing = False
        self._short = True
        self._restore()

    def _restore(self) -> None:
        """Rows can be written; ACCEPT may leave again once the reserve is held as well."""
        if self._reserve.make():
            self._short = False
            self._post(Back())

    def _no_reserve(self) -> str:
        free_mib = free_bytes(self._reserve.path.parent) / MIB
        return f"the disk reserve of {self._reserve.bytes / MIB:g} MiB cannot be held: {free_mib:.1f} MiB free, twice the reserve is needed"

    def _flush_backlog(self) -> None:
        if self._lost:
            now_ns = time.monotonic_ns()
            text = f"{self._lost} rows were lost: the memory for rows was full while the store could not be written"
            row = EventRow(kind="records", reason="RECORD_FAULT", detail=text, camera="", count=self._lost, first_ns=now_ns, at_ns=now_ns)
            self._backlog.append((row, time.time_ns(), ""))
            self._lost = 0
        while self._backlog:
            part = [self._backlog.popleft() for _ in range(min(BATCH, len(self._backlog)))]
            self._kept = [self._store.stamp(row, wall_ns, config) for row, wall_ns, config in part]
            self._store.commit(self._kept)
            self._kept = []

    def _keep_house(self, commands: set[str]) -> None:
        try:
            if {"checkpoint", "quiet"} & commands:
                self._keeper.tidy(quiet="quiet" in commands)
            else:
                self._keeper.seal()
        except RecordError as exc:
            self._latch(exc, [])
            return
        self._keeper.look()
        if self._short and not self._failing:
            self._restore()

    def _finish(self) -> None:
        if self._failing:
            self._retry_at = time.monotonic()
            self._try_again()
        self._store.close()

    def _post(self, *results: Result | _Freed) -> None:
        if results:
            self._results.extend(results)
            os.eventfd_write(self.fd, 1)
