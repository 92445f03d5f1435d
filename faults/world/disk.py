"""Recorder and disk: rows become durable later, in order, in whole transactions, or fail; what a crash leaves is what was durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge.contract import Outcome, Reason
from edge.gate.case import Ticket
from edge.gate.rows import Disposition, DispositionRow, EventRow, Row, TriggerRow, VerdictRow
from faults.world.core import MS, US, Core, Violation

RETRY_NS = 250 * MS
"""The product tries once a second; the simulation more often, to spend its cycles on faults."""
Key = tuple[str, int]
Results = Callable[[str, "Ticket | None"], None]
"""Told ("durable", ticket), ("failed", ticket or None) and ("back", None)."""
_Item = tuple[tuple[Row, ...], "Ticket | None"]


class Disk:
    """Keeps rows by trigger; `broken` writes to come will fail, `slow_ns` is added to the next one."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.triggers: dict[Key, TriggerRow] = {}
        self.verdicts: dict[Key, VerdictRow] = {}
        self.dispositions: dict[Key, DispositionRow] = {}
        self.events: dict[str, int] = {}
        self.rows = 0
        self.broken = 0
        self.slow_ns = 0
        self.failing = False
        self.latched: list[str] = []
        """Reasons of the durable latch file."""
        self.challenge: bytes | None = None
        """The durable file of the last challenge."""
        self._void = False
        """That none counts is to be made durable, before any row that follows."""
        self._pass: bytes | None = None
        """A challenge to be kept, once the rows before are durable."""
        self._results: Results = lambda _what, _ticket: None
        self._life = 0
        self._queue: list[_Item] = []
        self._kept: list[_Item] = []
        self._kept_on_disk = False
        self._later: list[_Item] = []
        self._committing: list[_Item] = []
        self._open: set[Key] = set()

    # what the gate asks

    def mount(self, results: Results) -> list[Row]:
        """A gate starts: returns the rows that close what an earlier one left open, already durable."""
        self._life += 1
        self._results = results
        self._forget()
        self.broken, self.slow_ns = 0, 0
        left = self._leftovers()
        for row in left:
            self._keep(row)
        return left

    def submit(self, rows: tuple[Row, ...], ticket: Ticket | None) -> None:
        """Write these rows after everything submitted before."""
        self._queue.append((rows, ticket))
        if self.failing:
            self._backlog()
        elif not self._committing:
            self._begin()

    def keep(self, content: bytes | None) -> None:
        """Keep what the last challenge came to."""
        if content is None and self.challenge is None and self._pass is None:
            return
        self._void, self._pass = content is None, content
        if not self._committing:
            self.core.at(self.core.now + self.core.between(MS // 10, MS), self._idle, self._life)

    def _idle(self, life: int) -> None:
        if life == self._life and not self._committing:
            self._forget_challenge()
            self._keep_challenge()

    def _forget_challenge(self) -> None:
        if self._void:
            self.challenge, self._void = None, False

    def _keep_challenge(self) -> None:
        if self._pass is not None and not self.failing and not self._queue:
            self.challenge, self._pass = self._pass, None

    def crash(self) -> None:
        """The gate died: of the transaction under way all or nothing is on disk, of the rest nothing."""
        if self._committing and not self.broken and self.core.chance() < 0.5:
            self._write(self._committing)
        elif self._void and self.core.chance() < 0.5:
            self._forget_challenge()
        self._life += 1
        self._forget()

    def finish(self) -> None:
        """The gate ends in order: everything is written; a disk that failed works again."""
        for items in ([] if self._kept_on_disk else self._kept, self._later, self._committing, self._queue):
            self._write(items)
        self._queue, self.failing = [], False
        self._forget_challenge()
        self._keep_challenge()
        self._life += 1
        self._forget()

    def _forget(self) -> None:
        self._void, self._pass = False, None
        self._queue, self._kept, self._later, self._committing, self.failing, self._kept_on_disk = [], [], [], [], False, False

    # transactions

    def _begin(self) -> None:
        self._forget_challenge()
        self._committing, self._queue = self._queue, []
        took_ns = 150 * US + int(self.core.chance() * 900 * US) + self.slow_ns
        if self.slow_ns:
            self.core.injected("slow_sync", f"{took_ns // MS} ms")
            self.slow_ns = 0
        self.core.at(self.core.now + took_ns, self._commit, self._life)

    def _commit(self, life: int) -> None:
        if life != self._life:
            return
        items, self._committing = self._committing, []
        if self.broken:
            self.broken -= 1
            self._fail(items)
            return
        self._write(items)
        self._keep_challenge()
        if self._queue:
            self._begin()
        for _, ticket in items:
            if ticket is not None and life == self._life:
                self._results("durable", ticket)

    def _fail(self, items: list[_Item]) -> None:
        """A failed sync: what was written may be on disk or not, and is only known after opening again."""
        self.core.injected("failed_sync" if self.broken == 0 else "full")
        self.failing, self._kept = True, items
        self._kept_on_disk = self.core.chance() < 0.5
        if self._kept_on_disk:
            self._write(items)
        self.core.at(self.core.now + RETRY_NS, self._recover, self._life)
        life = self._life
        self._results("failed", None)
        for _, ticket in items:
            if ticket is not None and life == self._life:
                self._results("failed", ticket)
        self._backlog()

    def _backlog(self) -> None:
        """While latched, rows are kept and their tickets fail at once."""
        for _, ticket in self._queue:
            if ticket is not None:
                self.core.at(self.core.now, self._refuse, (self._life, ticket))
        self._later += self._queue
        self._queue = []

    def _refuse(self, refused: tuple[int, Ticket]) -> None:
        if refused[0] == self._life:
            self._results("failed", refused[1])

    def _recover(self, life: int) -> None:
        if life != self._life:
            return
        if self.broken:
            self.broken -= 1
            self.core.injected("full")
            self.core.at(self.core.now + RETRY_NS, self._recover, life)
            return
        self._forget_challenge()
        if not self._kept_on_disk:
            self._write(self._kept)
        self._write(self._later)
        self._kept, self._later, self.failing, self._kept_on_disk = [], [], False, False
        self._results("back", None)

    # what is durable

    def _write(self, items: Sequence[_Item]) -> None:
        for rows, _ in items:
            for row in rows:
                self._keep(row)

    def _keep(self, row: Row) -> None:
        self.rows += 1
        if isinstance(row, EventRow):
            self.events[row.kind] = self.events.get(row.kind, 0) + row.count
            return
        key = (row.session, row.sequence)
        if isinstance(row, TriggerRow):
            _once(key, row, known=key in self.triggers)
            self.triggers[key] = row
            self._open.add(key)
        elif key not in self.triggers:
            raise Violation("broken rule", f"I5: a {type(row).__name__} of {key} without its trigger row")
        elif isinstance(row, VerdictRow):
            _once(key, row, known=key in self.verdicts)
            self.verdicts[key] = row
        elif key not in self.verdicts:
            raise Violation("broken rule", f"I5: the disposition of {key} stands before its verdict")
        else:
            _once(key, row, known=key in self.dispositions)
            self.dispositions[key] = row
            self._open.discard(key)

    def _leftovers(self) -> list[Row]:
        """As `Store.leftovers`: triggers without verdict, verdicts without disposition."""
        left: list[Row] = []
        for key in sorted(self._open):
            asked = self.triggers[key]
            if key not in self.verdicts:
                left.append(_late_verdict(asked, self.core.now))
        return [*left, *(_late_disposition(key, self.core.now) for key in sorted(self._open))]


def _once(key: Key, row: Row, *, known: bool) -> None:
    if known:
        raise Violation("broken rule", f"I5: a second {type(row).__name__} of {key}: {row}")


def _late_verdict(asked: TriggerRow, now_ns: int) -> VerdictRow:
    return VerdictRow(
        session=asked.session,
        sequence=asked.sequence,
        part=asked.part,
        weld=asked.weld,
        typology=asked.typology,
        outcome=Outcome.NO_VERDICT.value,
        reason=Reason.GATE_RESTARTED.value,
        detail="found open when the gate started",
        opened_ns=asked.opened_ns,
        decided_ns=now_ns,
    )


def _late_disposition(key: Key, now_ns: int) -> DispositionRow:
    return DispositionRow(
        session=key[0],
        sequence=key[1],
        sent="",
        sent_reason="",
        done=Disposition.GATE_RESTARTED.value,
        detail="what was sent is not known: the gate ended first",
        sent_ns=None,
        closed_ns=now_ns,
    )
