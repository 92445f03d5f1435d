"""Stores with one planted defect each: the checks of this package must find every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.gate.rows import Row
from edge.gate.store import Stamped, Store
from faults.recorder.workload import Open, open_store


class EarlyStore(Store):
    """Says that rows are durable before they are: each commit writes what the one before was given."""

    _waiting: tuple[Stamped, ...] = ()

    def commit(self, rows: Sequence[Stamped]) -> None:
        """Write late."""
        waiting, self._waiting = self._waiting, tuple(rows)
        if waiting:
            super().commit(waiting)

    def close(self) -> None:
        """Write the rest."""
        self.commit([])
        super().close()


class UnsyncedStore(Store):
    """Commits without waiting for the disk, as SQLite does by default in WAL mode of many packages."""

    def commit(self, rows: Sequence[Stamped]) -> None:
        """Commit with synchronous = NORMAL."""
        self._connected().execute("PRAGMA synchronous = NORMAL")
        super().commit(rows)


class ForgetfulStore(Store):
    """Does not close what an earlier gate left open."""

    def leftovers(self, now_ns: int) -> list[Row]:
        """Nothing."""
        super().leftovers(now_ns)
        return []


class CarelessStore(Store):
    """Takes a failed write for a good one."""

    def commit(self, rows: Sequence[Stamped]) -> None:
        """Commit, and hide what went wrong."""
        try:
            super().commit(rows)
        except Exception:  # noqa: BLE001 - the planted defect
            self.careless = True


_KINDS: dict[str, type[Store]] = {"early": EarlyStore, "unsynced": UnsyncedStore, "forgetful": ForgetfulStore, "careless": CarelessStore}


def opener(defect: str) -> Open:
    """How to open a store with this defect; "" opens the product's."""
    if not defect:
        return open_store
    kind = _KINDS[defect]

    def opened(path: Path) -> Store:
        store = kind(path, boot="boot", config="c" * 64, link="handshake")
        store.commit([store.stamp(row, 1) for row in store.leftovers(99)])
        return store

    return opened
