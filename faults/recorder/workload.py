"""A small recorder's day, the same for the same seed: cycles, events, checkpoints, and a mark for everything acknowledged."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import edge.gate.store as store_module
from edge.errors import DamagedError
from edge.gate.quarantine import open_records
from edge.gate.rows import DispositionRow, EventRow, Row, TriggerRow, VerdictRow
from edge.gate.store import Stamped, Store

RECORDS = "records.db"
RESERVE_BYTES = 16 * 1024
"""What the WAL is grown to here, instead of megabytes: the number of crash points should come from the steps, not from filler."""
Acknowledge = Callable[[Sequence[Stamped]], None]
Open = Callable[[Path], Store]


def shrink(modules: Sequence[ModuleType] = (store_module,)) -> None:
    """Let this process's stores reserve little room; only speed depends on it."""
    for module in modules:
        if hasattr(module, "RESERVE_BYTES"):
            module.RESERVE_BYTES = RESERVE_BYTES  # type: ignore[attr-defined]


def open_store(path: Path) -> Store:
    """The product's store, opened as a starting gate does; raises DamagedError where the gate would put the file aside."""
    opened = open_records(path, boot="boot", config="c" * 64, link="handshake")
    if opened.damage:
        opened.store.close()
        raise DamagedError("the records were put aside", seen=opened.damage, remedy="Look at the file that was put aside")
    return opened.store


def trigger(session: str, sequence: int) -> TriggerRow:
    """A row that opens a case."""
    return TriggerRow(
        session=session, sequence=sequence, part=f"P{sequence}", weld="W1", typology="T2", opened_by="trigger", opened_ns=sequence
    )


def verdict(session: str, sequence: int) -> VerdictRow:
    """An ACCEPT on a frame, all columns filled."""
    return VerdictRow(
        session=session,
        sequence=sequence,
        part=f"P{sequence}",
        weld="W1",
        typology="T2",
        outcome="ACCEPT",
        reason="OK",
        detail="fault suite",
        score=0.25,
        threshold=0.5,
        members="[0.25]",
        bundle="b" * 64,
        backend="openvino",
        camera="cam0",
        counter=sequence,
        payload_hash="0" * 32,
        opened_ns=sequence,
        captured_ns=1,
        received_ns=2,
        prepared_ns=3,
        scored_ns=4,
        decided_ns=5,
    )


def disposition(session: str, sequence: int) -> DispositionRow:
    """What the robot confirmed."""
    return DispositionRow(
        session=session, sequence=sequence, sent="ACCEPT", sent_reason="OK", done="ACCEPTED", detail="", sent_ns=6, closed_ns=7
    )


def event(number: int) -> EventRow:
    """Something outside a case, of some size."""
    return EventRow(kind="frame", reason="FRAME_GAP", detail="x" * 300, camera="cam0", count=number, first_ns=1, at_ns=2)


def live(path: Path, seed: int, acknowledge: Acknowledge, *, opened: Open = open_store, cycles: int = 5) -> None:
    """Open, run some cycles with everything that happens between them, close."""
    draw = random.Random(seed)  # noqa: S311 - seeded, not secret
    store = opened(path)
    session = f"{draw.getrandbits(64):016x}"
    for sequence in range(1, cycles + 1):
        for rows in _cycle(draw, session, sequence, last=sequence == cycles):
            stamped = [store.stamp(row, 1) for row in rows]
            store.commit(stamped)
            acknowledge(stamped)
        _between(draw, store, last=sequence == cycles)
    store.close()


def _cycle(draw: random.Random, session: str, sequence: int, *, last: bool) -> list[list[Row]]:
    """One case's rows as transactions, as the gate batches them; the last one may stay open, as in a gate that dies."""
    first, second, third = trigger(session, sequence), verdict(session, sequence), disposition(session, sequence)
    shapes: list[list[list[Row]]] = [
        [[first], [second], [third]],
        [[first, second], [third]],
        [[first], [second, third, event(sequence)]],
    ]
    unfinished: list[list[list[Row]]] = [[[first], [second]], [[first]]]
    return draw.choice(shapes + unfinished if last else shapes)


def _between(draw: random.Random, store: Store, *, last: bool) -> None:
    if last or draw.random() < 0.5:
        store.checkpoint()
    if draw.random() < 0.3:
        store.rotate()
