"""A record export, proved before anything in it is believed: which trigger got which verdict, from which image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias, cast

from edge.errors import ChainError, RecordError
from edge.gate.rows import columns_of
from edge.records.columns import CHAIN, chain_row
from edge.records.export import Receipt, read_receipt, receipt_path, require_follows, verify_export
from edge.records.formats import READERS
from train.intake.progress import shown

Key: TypeAlias = "tuple[str, int]"
"""Session and sequence: one trigger, for ever."""
STAY_NS = 12 * 3600 * 10**9
"""A part that comes again within half a day is the same part, judged again."""
REMEDY = "Export with `cordon records export --to FOLDER` and bring FOLDER whole, with the .json beside each file"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """One trigger with its verdict; `outcome` and `reason` are what was sent, or decided where nothing was sent."""

    session: str
    sequence: int
    part: str
    weld: str
    typology: str | None
    wall_ns: int
    """The box's wall clock when the trigger came; information only, in the record as here."""
    outcome: str
    reason: str
    score: float | None
    threshold: float | None
    bundle: str
    config: str
    payload_hash: str
    challenge: bool
    """A specimen of the challenge parts, shown again and again, and no part of production."""

    @property
    def key(self) -> Key:
        """Session and sequence."""
        return self.session, self.sequence

    @property
    def time(self) -> str:
        """UTC, to the second, as ISO 8601."""
        return datetime.fromtimestamp(self.wall_ns // 10**9, timezone.utc).isoformat()

    @property
    def name(self) -> str:
        """How a message names it."""
        return f"part {self.part} weld {self.weld} (session {self.session}, sequence {self.sequence})"


@dataclass(frozen=True, kw_only=True)
class ProvenExport:
    """An export whose every hash was computed again."""

    files: tuple[Receipt, ...]
    welds: dict[Key, Judged]
    days: dict[Key, str]
    """UTC day on which the part of each trigger came, as `days_of` finds it."""


def read_export(path: Path) -> ProvenExport:
    """Prove the exported file or folder of files `path`, then read it.

    Of files that hold the same rows (a live file exported twice, and again when it was sealed) the one with most rows counts.
    Raises RecordError (no export, a receipt is missing) or ChainError (altered, cut, or files that do not fit together).
    """
    files = _whole(_exported_files(path))
    welds: dict[Key, Judged] = {}
    for file, _ in shown(files, "reading the export"):
        _read_into(welds, file)
    return ProvenExport(files=tuple(receipt for _, receipt in files), welds=welds, days=days_of(welds))


def days_of(welds: dict[Key, Judged]) -> dict[Key, str]:
    """The UTC day of each trigger; triggers of a part that follow within `STAY_NS` count to the day of the first, also past midnight."""
    days: dict[Key, str] = {}
    last: dict[str, Judged] = {}
    for judged in sorted(welds.values(), key=lambda judged: judged.wall_ns):
        before = last.get(judged.part)
        stays = before is not None and judged.wall_ns - before.wall_ns <= STAY_NS
        days[judged.key] = days[before.key] if before is not None and stays else judged.time[:10]
        last[judged.part] = judged
    return days


def _exported_files(path: Path) -> list[Path]:
    if not path.exists():
        raise RecordError(f"there is no export {path}", remedy=REMEDY)
    found = (
        [path] if path.is_file() else sorted(f for f in path.iterdir() if f.suffix in (".csv", ".parquet") and receipt_path(f).is_file())
    )
    if not found:
        raise RecordError(f"{path} holds no export with its proof", seen=_seen(path), remedy=REMEDY)
    if path.is_file() and not receipt_path(path).is_file():
        raise RecordError(f"{path} has no proof beside it; a table of triggers (--triggers) never has", remedy=REMEDY)
    return found


def _seen(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())[:5]


def _whole(paths: Sequence[Path]) -> list[tuple[Path, Receipt]]:
    proved = [(path, verify_export(path), read_receipt(path)) for path in shown(paths, "proving the export")]
    proved.sort(key=lambda file: (file[2].first, -file[2].last))
    kept: list[tuple[Path, Receipt]] = []
    before = None
    for path, report, receipt in proved:
        if before is not None and receipt.last <= kept[-1][1].last:
            continue
        if before is not None:
            require_follows(*before, path, report)
        kept.append((path, receipt))
        before = (path, report)
    return kept


def _read_into(welds: dict[Key, Judged], path: Path) -> None:
    tables: dict[str, dict[Key, dict[str, Any]]] = {"triggers": {}, "verdicts": {}, "dispositions": {}}
    for cells in READERS[path.suffix.removeprefix(".")](path, CHAIN):
        _, table, values, _ = chain_row(cells)
        if table in tables:
            row = dict(zip(columns_of(table), values, strict=True))
            tables[table][str(row["session"]), cast("int", row["sequence"])] = row
    for key, verdict in tables["verdicts"].items():
        trigger = tables["triggers"].get(key)
        if trigger is None:
            raise ChainError(
                "a verdict has no trigger before it", seen=f"session {key[0]}, sequence {key[1]} in {path.name}", remedy=REMEDY
            )
        welds[key] = _judged(trigger, verdict, tables["dispositions"].get(key, {}))


def _judged(trigger: dict[str, Any], verdict: dict[str, Any], disposition: dict[str, Any]) -> Judged:
    sent = bool(disposition.get("sent"))
    return Judged(
        session=trigger["session"],
        sequence=trigger["sequence"],
        part=trigger["part"],
        weld=trigger["weld"],
        typology=verdict["typology"] or trigger["typology"],
        wall_ns=trigger["wall_ns"],
        outcome=disposition["sent"] if sent else verdict["outcome"],
        reason=disposition["sent_reason"] if sent else verdict["reason"],
        score=verdict["score"],
        threshold=verdict["threshold"],
        bundle=verdict["bundle"],
        config=verdict["config"],
        payload_hash=verdict["payload_hash"],
        challenge=trigger["opened_by"].startswith("challenge-"),
    )
