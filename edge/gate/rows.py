"""The rows of the durable record, one table each, and the hash that chains them; order is the row id, never a clock."""

from __future__ import annotations

import enum
import hashlib
import math
from typing import Any, TypeAlias

import msgspec

MAX_TEXT = 2_000
"""Longest text a row keeps; longer ones are cut, so that no peer can make a row large."""
GENESIS = bytes(32)
"""Hash before the first row."""
Value: TypeAlias = "int | float | str | None"


class Disposition(str, enum.Enum):
    """What became of a verdict."""

    ACCEPTED = "ACCEPTED"  # the robot confirmed that it let the part pass
    REJECTED = "REJECTED"  # the robot confirmed that it did not
    TIMEOUT = "TIMEOUT"  # no confirmation in time: by the protocol the robot rejects
    MISMATCH = "MISMATCH"  # the confirmation contradicts the verdict
    SUPERSEDED = "SUPERSEDED"  # the next trigger came before the confirmation
    SESSION_LOST = "SESSION_LOST"  # link or session went first
    UNCONFIRMED = "UNCONFIRMED"  # push profile: the robot only listens
    REFUSED = "REFUSED"  # a trigger while another was open; answered with NAK
    GATE_RESTARTED = "GATE_RESTARTED"  # the gate ended before the confirmation


class TriggerRow(msgspec.Struct, frozen=True, kw_only=True, tag="triggers"):
    """Written when a trigger opens; times in all rows are CLOCK_MONOTONIC nanoseconds of the boot named in the verdict."""

    session: str
    sequence: int
    part: str
    weld: str
    typology: str | None
    recipe: str = ""
    opened_by: str
    opened_ns: int


class VerdictRow(msgspec.Struct, frozen=True, kw_only=True, tag="verdicts"):
    """The one verdict of a trigger and everything it rests on; fields of a frame are None when no frame was judged."""

    session: str
    sequence: int
    part: str
    weld: str
    typology: str | None
    outcome: str
    reason: str
    detail: str
    score: float | None = None
    threshold: float | None = None
    members: str = "[]"
    """JSON list of the members' scores."""
    bundle: str = ""
    backend: str = ""
    camera: str = ""
    counter: int | None = None
    payload_hash: str = ""
    opened_ns: int
    captured_ns: int | None = None
    received_ns: int | None = None
    prepared_ns: int | None = None
    scored_ns: int | None = None
    decided_ns: int
    map: str | None = None
    """Where the networks saw what they call bad, as `edge.map_text` packs it; None unless asked for."""


class DispositionRow(msgspec.Struct, frozen=True, kw_only=True, tag="dispositions"):
    """What was really sent, and what the robot said it did; `sent` is empty when nothing was handed to the port."""

    session: str
    sequence: int
    sent: str
    sent_reason: str
    done: str
    detail: str
    sent_ns: int | None
    closed_ns: int


class EventRow(msgspec.Struct, frozen=True, kw_only=True, tag="events"):
    """Something that belongs to no verdict; `count` equal events between `first_ns` and `at_ns` share one row."""

    kind: str
    reason: str
    detail: str
    camera: str
    count: int
    first_ns: int
    at_ns: int


Row: TypeAlias = TriggerRow | VerdictRow | DispositionRow | EventRow
TABLES: dict[str, type[Row]] = {"triggers": TriggerRow, "verdicts": VerdictRow, "dispositions": DispositionRow, "events": EventRow}
STAMPS = {
    "triggers": ("wall_ns", "link"),
    "verdicts": ("wall_ns", "link", "boot", "config"),
    "dispositions": ("wall_ns", "link"),
    "events": ("wall_ns", "link"),
}
"""Columns the store adds to the fields above: wall clock (information only), link profile, boot id and configuration hash."""
LATER: dict[str, tuple[str, ...]] = {"verdicts": ("map",)}
"""Fields that came after schema 2: last in the table, under the hash only where they hold something, so that older rows hash as ever."""


def columns_of(table: str) -> tuple[str, ...]:
    """Columns under the hash, in order, without `id` and `hash`."""
    return (*_first_fields(table), *STAMPS[table], *later_columns(table))


def later_columns(table: str) -> tuple[str, ...]:
    """Those of them that files of schema 2 do not have."""
    return LATER.get(table, ())


def _first_fields(table: str) -> tuple[str, ...]:
    return tuple(name for name in TABLES[table].__struct_fields__ if name not in later_columns(table))


def table_of(row: Row) -> str:
    """Name of the table this row belongs to."""
    return str(type(row).__struct_config__.tag)


def values_of(row: Row) -> tuple[Value, ...]:
    """The row's own values in column order, without those of later columns, in a form that SQLite gives back exactly."""
    kinds = type(row).__annotations__
    return tuple(
        float(value) if isinstance(value, int) and kinds[name].startswith("float") else value
        for name, value in ((name, clean(getattr(row, name))) for name in _first_fields(table_of(row)))
    )


def later_values(row: Row) -> tuple[Value, ...]:
    """The same of later columns, which stand behind the stamps."""
    return tuple(clean(getattr(row, name)) for name in later_columns(table_of(row)))


def clean(value: Any) -> Value:
    """A value SQLite gives back exactly as it took it: text cut, integers inside 64 bit, non-finite numbers as None."""
    if isinstance(value, str):
        text = value[:MAX_TEXT]
        return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, float):
        # Adding zero turns -0.0, which SQLite does not keep, into 0.0.
        return value + 0.0 if math.isfinite(value) else None
    return max(-(2**63), min(2**63 - 1, value)) if isinstance(value, int) else None


def chained(previous: bytes, table: str, number: int, values: tuple[Value, ...]) -> bytes:
    """SHA-256 over the hash before and this row in canonical form (a JSON list: table, id, columns in order; empty later ones left out)."""
    for _ in later_columns(table):
        if values[-1] is not None:
            break
        values = values[:-1]
    return hashlib.sha256(previous + msgspec.json.encode([table, number, *values])).digest()


_COLUMN_TYPES = {"int": "INTEGER", "float": "REAL"}


def _column(name: str, annotation: str) -> str:
    kind = _COLUMN_TYPES.get(annotation.partition(" ")[0], "TEXT")
    return f"{name} {kind}{'' if 'None' in annotation or kind == 'REAL' else ' NOT NULL'}"


def schema_of(table: str, *, later: bool = True) -> str:
    """The CREATE TABLE statement; without `later` that of schema 2."""
    columns = [_declared(table, name) for name in _first_fields(table)]
    columns += [_column(name, "int" if name == "wall_ns" else "str") for name in STAMPS[table]]
    columns += ["hash BLOB NOT NULL", *(_declared(table, name) for name in later_columns(table) if later)]
    unique = "" if table == "events" else ", UNIQUE (session, sequence)"
    return f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {', '.join(columns)}{unique})"


def additions() -> tuple[str, ...]:
    """What makes the tables of schema 2 these ones, with the very text of `schema_of`."""
    return tuple(f"ALTER TABLE {table} ADD COLUMN {_declared(table, name)}" for table in LATER for name in LATER[table])


def _declared(table: str, name: str) -> str:
    return _column(name, str(TABLES[table].__annotations__[name]))
