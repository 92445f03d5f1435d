"""Exporting the chain file by file, each proved by reading it back before it counts, and proving such a file later."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from edge.errors import ChainError, RecordError, StorageError
from edge.gate.audit import ChainReport, open_for_reading
from edge.gate.chain import Anchor, anchor_of, last_row
from edge.gate.exported import is_exported, mark_exported
from edge.gate.latch import sync_folder
from edge.gate.rows import chained
from edge.gate.segments import Segment, read_segment
from edge.records.columns import CHAIN, REMEDY, TRIGGERS, Cells, chain_cells, chain_row, trigger_cells
from edge.records.formats import READERS, put


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Stands beside an exported file as JSON: what is in it, and where in the chain it belongs."""

    file: str
    sha256: str
    first: int
    last: int
    anchor: str
    """Hash of the row before the first, 64 hex digits: what the first row is chained to."""
    head: str
    """Hash of the last row."""


def export_sealed(path: Path, to: Path, suffix: str) -> Iterator[tuple[Segment, Receipt]]:
    """Export every sealed file that was not exported yet, and mark it, so that retention may delete it.

    Raises StorageError, ChainError (the records themselves are broken: nothing is marked), ConfigError without pyarrow.
    """
    with open_for_reading(path) as records:
        for segment in records.sealed:
            if is_exported(segment):
                continue
            target = to / f"{segment.path.stem}.{suffix}"
            with closing(read_segment(segment.path)) as connection:
                receipt = _written(target, chain_cells(connection, segment.first - 1), anchor_of(connection), last_row(connection))
            mark_exported(segment, [target, receipt_path(target)])
            yield segment, receipt


def export_live(path: Path, to: Path, suffix: str) -> Receipt | None:
    """Export what the live file holds now, unmarked; None when it is empty. Raises as `export_sealed`."""
    with open_for_reading(path) as records:
        if records.live is None:
            return None
        anchor, last = anchor_of(records.live), last_row(records.live)
        if last.number == anchor.number:
            return None
        target = to / f"{path.stem}-{anchor.number + 1:012d}-{last.number:012d}-live.{suffix}"
        return _written(target, chain_cells(records.live, anchor.number), anchor, last)


def export_triggers(path: Path, target: Path, *, since_ns: int = 0, until_ns: int = 2**63 - 1) -> int:
    """One line for every trigger of the wall-clock time asked for, over all files; returns their number. Raises as `export_sealed`."""

    def rows() -> Iterator[Cells]:
        for segment in records.sealed:
            with closing(read_segment(segment.path)) as connection:
                yield from trigger_cells(connection, since_ns=since_ns, until_ns=until_ns)
        if records.live is not None:
            yield from trigger_cells(records.live, since_ns=since_ns, until_ns=until_ns)

    with open_for_reading(path) as records:
        return put(target, TRIGGERS, rows())


def verify_export(path: Path) -> ChainReport:
    """Compute every hash of an exported file again, from what stands in it. Raises ChainError or RecordError."""
    receipt = read_receipt(path)
    if (suffix := path.suffix.removeprefix(".")) not in READERS:
        raise RecordError(f"{path.name} is no exported file", seen=path.suffix or "no suffix", remedy="Name a .csv or .parquet file")
    if _sha256(path) != receipt.sha256:
        raise ChainError(f"{path.name} is not the file that was exported", seen="another SHA-256", remedy=REMEDY)
    number, head = _proved(READERS[suffix](path, CHAIN), Anchor(receipt.first - 1, bytes.fromhex(receipt.anchor)))
    if (number, head.hex()) != (receipt.last, receipt.head):
        raise ChainError(f"{path.name} does not end where its receipt says", seen=f"row {number}", remedy=REMEDY)
    return ChainReport(number - receipt.first + 1, receipt.head, receipt.first)


def require_follows(earlier: Path, last: ChainReport, later: Path, report: ChainReport) -> None:
    """Two proved files belong together, without a gap. Raises ChainError."""
    if report.first != last.first + last.rows or read_receipt(later).anchor != last.head:
        seen = f"{earlier.name} ends with row {last.first + last.rows - 1}, hash {last.head[:16]}"
        remedy = "Name all files of one record, without gaps; or check files that do not belong together one by one"
        raise ChainError(f"{later.name} does not go on where the file before it ends", seen=seen, remedy=remedy)


def receipt_path(path: Path) -> Path:
    """Where the receipt of an exported file lies."""
    return path.with_name(path.name + ".json")


def read_receipt(path: Path) -> Receipt:
    """The receipt beside an exported file. Raises RecordError."""
    try:
        return msgspec.json.decode(receipt_path(path).read_bytes(), type=Receipt)
    except (OSError, msgspec.MsgspecError) as exc:
        remedy = "Keep each exported file together with its .json"
        raise RecordError(f"the receipt {receipt_path(path)} cannot be read", seen=exc, remedy=remedy) from exc


def _written(target: Path, rows: Iterable[Cells], anchor: Anchor, last: Anchor) -> Receipt:
    put(target, CHAIN, rows)
    receipt = Receipt(
        file=target.name,
        sha256=_sha256(target),
        first=anchor.number + 1,
        last=last.number,
        anchor=anchor.hash.hex(),
        head=last.hash.hex(),
    )
    part = target.with_name(target.name + ".json.part")
    try:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(receipt)))
        part.replace(receipt_path(target))
        sync_folder(target.parent)
    except OSError as exc:
        remedy = "Check free space and rights"
        raise StorageError(f"the receipt of {target} could not be written", seen=exc.strerror, remedy=remedy) from exc
    verify_export(target)
    return receipt


def _proved(rows: Iterable[Cells], anchor: Anchor) -> Anchor:
    number, previous = anchor
    for cells in rows:
        found, table, values, stored = chain_row(cells)
        number += 1
        if found != number:
            raise ChainError("a record is missing", seen=f"row {number}, next is {found}", remedy=REMEDY)
        previous = chained(previous, table, number, values)
        if previous != stored:
            raise ChainError("a record was changed", seen=f"row {number} in {table}", remedy=REMEDY)
    return Anchor(number, previous)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            return digest.hexdigest()
    except OSError as exc:
        raise RecordError(f"{path} cannot be read", seen=exc.strerror, remedy="Check the path and its rights") from exc
