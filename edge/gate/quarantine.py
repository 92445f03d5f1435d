"""A damaged record file is put aside as it is, a new one begins by saying so, and nothing is accepted until a person looked."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edge.config import StorageConfig
from edge.contract import Reason
from edge.errors import ChainError, DamagedError, StorageError
from edge.gate.disk import MIB, Reserve
from edge.gate.latch import Latch
from edge.gate.newest import NewestRow
from edge.gate.rows import EventRow
from edge.gate.segments import SIDES, begin, rename_durably, segments_of
from edge.gate.store import Store, lock


class Opened(NamedTuple):
    """The store, how many triggers of a dead gate were closed, and why nothing may be accepted yet ("": no damage found)."""

    store: Store
    left: int
    damage: str


def open_records(path: Path, *, boot: str, config: str, link: str = "", storage: StorageConfig | None = None) -> Opened:
    """Open the records, close what a dead gate left open, and put a damaged file aside first.

    Damaged is: not a database, a corrupt one, a broken chain, another release's tables, or a live file that is gone,
    empty, older than the sealed ones or without the newest row that was durable. Everything else stops the gate, because
    a new file would hide it or fare no better: StorageError for a file in use, without rights, on a failing disk, or of
    another program. On a full disk the reserve of `storage` is given back and used up; the recorder then accepts nothing
    until it is held again.
    """
    try:
        return _whole(path, boot, config, link)
    except StorageError as exc:
        if storage is None or not Reserve(path, int(storage.reserve_mb * MIB)).release_for(exc):
            raise
    return _whole(path, boot, config, link)


def _whole(path: Path, boot: str, config: str, link: str) -> Opened:
    with suppress(DamagedError, ChainError):
        return _opened(path, boot, config, link)
    try:
        # A disk that failed to read once looks like damage to SQLite: only what is damaged twice is put aside.
        return _opened(path, boot, config, link)
    except (DamagedError, ChainError) as exc:
        damage, aside = f"{exc.what} ({exc.seen})", _aside(path)
        # The latch first: if the power goes now, the gate still knows at its next start that somebody must look.
        Latch(path).set(f"records: {damage}; put aside as {aside.name}")
        quarantine(path, boot=boot, config=config, link=link, why=damage, aside=aside)
    return _opened(path, boot, config, link)._replace(damage=damage)


def _opened(path: Path, boot: str, config: str, link: str) -> Opened:
    store = Store(path, boot=boot, config=config, link=link)
    try:
        left = store.leftovers(time.monotonic_ns())
        if left:
            store.commit([store.stamp(row, time.time_ns()) for row in left])
    except BaseException:
        store.abandon()
        raise
    return Opened(store, len(left), "")


def quarantine(path: Path, *, boot: str, config: str, link: str = "", why: str = "", aside: Path | None = None) -> Path:
    """Rename a damaged file (with its WAL) and start a new one whose first row says so; returns the new name of the old file."""
    aside = aside or _aside(path)
    with lock(path):
        parts = [suffix for suffix in ("", *SIDES) if path.with_name(path.name + suffix).exists()]
        if not parts and not segments_of(path):
            raise StorageError(f"there is no record file {path}", remedy="Give --config or --records of the gate that refused to start")
        # The WAL goes last: a file without its WAL might be taken for a whole one, a WAL without its file never is.
        for suffix in parts:
            rename_durably(path.with_name(path.name + suffix), aside.with_name(aside.name + suffix))
        NewestRow.path_for(path).unlink(missing_ok=True)
        begin(path)
    store = Store(path, boot=boot, config=config, link=link)
    now_ns = time.monotonic_ns()
    text = f"the records before this are in {aside.name}" + (f": {why}" if why else "")
    row = EventRow(kind="records", reason=Reason.RECORD_FAULT.value, detail=text, camera="", count=1, first_ns=now_ns, at_ns=now_ns)
    store.commit([store.stamp(row, time.time_ns())])
    store.close()
    return aside


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.quarantined-{time.strftime('%Y%m%dT%H%M%S')}-{os.urandom(4).hex()}")
