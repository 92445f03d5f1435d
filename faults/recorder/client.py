"""The gate's side of a real recorder: submits a case row by row, waits for the answers, and knows what was said to be durable."""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.contract import TriggerId
from edge.gate.case import Ticket
from edge.gate.records import Back, Crashed, Durable, Failed, Latched, Recorder
from edge.gate.rows import EventRow, Row, table_of
from edge.gate.store import Store
from faults.recorder.books import Books
from faults.recorder.workload import Open, disposition, event, open_store, trigger, verdict

Key = tuple[str, str, int]
"""Table, session, sequence."""
RETRY_S = 0.002
PATIENCE_S = 10.0
"""A recorder that says nothing for so long has hung."""
_PLACES = {"triggers": 0, "verdicts": 1, "dispositions": 2}


class Client:
    """One recorder and the conversation with it; `durable` are keys it vouched for, `wrong` what it must never have said."""

    def __init__(self, records: Path, *, opened: Open = open_store, acknowledge: Callable[[Sequence[Key]], None] | None = None) -> None:
        """Open the records and start the recorder. Raises StorageError, ChainError."""
        self.store: Store = opened(records)
        self.recorder = Recorder(self.store, retry_s=RETRY_S)
        self.durable: set[Key] = set()
        self.submitted: list[Key] = []
        self.wrong: list[str] = []
        self._kept: list[Key] = []
        self.failing = False
        self.crashed = False
        self.failures = 0
        """How often the recorder latched."""
        self._acknowledge = acknowledge

    def cycles(self, seed: int, count: int) -> None:
        """So many cases, with events and checkpoints between them."""
        draw = random.Random(seed)  # noqa: S311 - seeded, not secret
        session = f"{draw.getrandbits(64):016x}"
        for sequence in range(1, count + 1):
            self.say((trigger(session, sequence),))
            self.say((verdict(session, sequence),))
            self.say((disposition(session, sequence), *[event(sequence)] * (sequence % 2)))
            if sequence % 2 == 0:
                self.recorder.checkpoint()

    def say(self, rows: Sequence[Row]) -> None:
        """Submit and wait for the answer."""
        keys = [(table_of(row), row.session, row.sequence) for row in rows if not isinstance(row, EventRow)]
        ticket = Ticket("fault", TriggerId(keys[0][1], keys[0][2]))
        self.submitted += keys
        self.recorder.submit(rows, ticket)
        if self._answer(ticket):
            self._vouch(keys)
        else:
            self._kept += keys

    def settle(self) -> bool:
        """Wait until a latched recorder has recovered; False when it does not."""
        until_s = time.monotonic() + PATIENCE_S
        while self.failing and not self.crashed and time.monotonic() < until_s:
            self._listen(None, 0.05)
        return not self.failing

    def close(self) -> bool:
        """Stop it; True when everything was written."""
        whole = self.recorder.close(PATIENCE_S) and not self.crashed
        if self.crashed:
            self.store.abandon()
        if whole:
            self._vouch([key for key in self.submitted if key not in self.durable])
        return whole

    def missing(self, books: Books) -> list[str]:
        """Everything vouched for that the books do not have, in words."""
        return [f"lost row {key}" for key in sorted(self.durable) if not present(books, key)]

    def _vouch(self, keys: Sequence[Key]) -> None:
        self.durable.update(keys)
        if self._acknowledge is not None and keys:
            self._acknowledge(keys)

    def _answer(self, ticket: Ticket) -> bool:
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s and not self.crashed:
            answer = self._listen(ticket, 0.05)
            if answer is not None:
                return answer
        if not self.crashed:
            self.wrong.append(f"no answer within {PATIENCE_S:.0f} s")
        return False

    def _listen(self, ticket: Ticket | None, timeout_s: float) -> bool | None:
        """Take what there is; whether this ticket's rows are durable, None when nothing was said about them."""
        select.select([self.recorder], [], [], timeout_s)
        answer = None
        for result in self.recorder.results():
            if isinstance(result, Durable):
                if self.failing:
                    self.wrong.append("said durable while latched")
                answer = True if result.ticket == ticket else answer
            elif isinstance(result, Failed):
                self.failures += result.ticket is None and not self.failing
                self.failing = True
                answer = False if result.ticket == ticket else answer
            elif isinstance(result, Back):
                self.failing = False
                # What was submitted since is not among what is written by now.
                self._vouch(self._kept)
                self._kept = []
            elif isinstance(result, Crashed):
                self.crashed = True
                self.wrong.append(f"the recorder crashed: {result.error!r}")
            elif isinstance(result, Latched) and not all("cannot be read" in why for why in result.reasons):
                # Where the disk is gone the latch's own file cannot be read either, which rightly counts as latched.
                self.wrong.append(f"unexpected: {result}")
        return answer


def present(books: Books, key: Key) -> bool:
    """Whether the books hold this row."""
    table, session, sequence = key
    return bool(books.cases.get((session, sequence), (0, 0, 0))[_PLACES[table]])
