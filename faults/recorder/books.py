"""What is really on disk, read with plain SQLite and none of the product's code, against what was acknowledged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

TABLES = ("triggers", "verdicts", "dispositions", "events")
Acknowledged = dict[int, str]
"""Row number to its hash in hexadecimal digits."""


@dataclass(frozen=True, kw_only=True)
class Books:
    """All rows of the record files of a folder: number to hash, and per (session, sequence) how often it is in each table."""

    hashes: Mapping[int, str]
    cases: Mapping[tuple[str, int], tuple[int, int, int]]
    events: tuple[str, ...] = ()
    outcomes: Mapping[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    """Verdict's outcome and disposition's `done`."""

    def lost(self, acknowledged: Mapping[int, str]) -> list[int]:
        """Numbers of acknowledged rows that are not there, or not as they were."""
        return sorted(number for number, digest in acknowledged.items() if self.hashes.get(number) != digest)

    def unbalanced(self) -> list[tuple[str, int]]:
        """Cases without exactly one trigger, verdict and disposition."""
        return sorted(key for key, counts in self.cases.items() if counts != (1, 1, 1))


def record_files(path: Path) -> list[Path]:
    """The live file and its sealed segments, oldest first; files put aside are not among them."""
    sealed = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))
    return [*sealed, path] if path.exists() else sealed


def read_books(path: Path) -> Books:
    """Read all files of `path`; nobody may have them open. Raises sqlite3.Error when one cannot be read."""
    hashes: dict[int, str] = {}
    counts: dict[tuple[str, int], list[int]] = {}
    outcomes: dict[tuple[str, int], list[str]] = {}
    events: list[str] = []
    for file in record_files(path):
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            for place, table in enumerate(TABLES):
                hashes |= {number: digest.hex() for number, digest in connection.execute(f"SELECT id, hash FROM {table}")}  # noqa: S608
                if table != "events":
                    _count(connection.execute(f"SELECT session, sequence FROM {table}"), place, counts)  # noqa: S608
            events += [
                f"{kind} {reason} {detail}" for kind, reason, detail in connection.execute("SELECT kind, reason, detail FROM events")
            ]
            for place, query in enumerate(_OUTCOMES):
                for session, sequence, value in connection.execute(query):
                    outcomes.setdefault((session, sequence), ["", ""])[place] = value
    return Books(
        hashes=hashes,
        cases={key: (found[0], found[1], found[2]) for key, found in counts.items()},
        events=tuple(events),
        outcomes={key: (found[0], found[1]) for key, found in outcomes.items()},
    )


_OUTCOMES = ("SELECT session, sequence, outcome FROM verdicts", "SELECT session, sequence, done FROM dispositions")


def _count(rows: Iterable[tuple[str, int]], place: int, counts: dict[tuple[str, int], list[int]]) -> None:
    for key in rows:
        counts.setdefault(key, [0, 0, 0])[place] += 1
