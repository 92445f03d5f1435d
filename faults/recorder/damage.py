"""Files damaged while no gate ran: a start finds everything acknowledged, or puts the file aside, says so and latches."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from edge.errors import CordonError
from edge.gate.audit import verify_chain
from edge.gate.latch import Latch
from edge.gate.quarantine import open_records
from edge.gate.rows import Row
from faults.recorder.books import read_books
from faults.recorder.disk import SECTOR
from faults.recorder.worker import Place, Task, run_tasks
from faults.recorder.workload import disposition, event, open_store, trigger, verdict
from faults.registry import Effort, Result, injects

Harm = Callable[[Path, random.Random, int], None]
"""Damages a file; the number goes from 0 up, for harms that walk through the file."""


def template(folder: Path, records: Path) -> dict[int, str]:
    """Fill records with a sealed file and a WAL in use, and copy them into `folder` as they lie; returns what was acknowledged."""
    known: dict[int, str] = {}
    store = open_store(records)
    for sequence in range(1, 13):
        rows: list[Row] = [trigger("a" * 16, sequence), verdict("a" * 16, sequence), disposition("a" * 16, sequence), event(sequence)]
        stamped = [store.stamp(row, 1) for row in rows]
        store.commit(stamped)
        known |= {row.number: row.hash.hex() for row in stamped}
        if sequence == 5:
            store.rotate()
        elif sequence == 9:
            store.checkpoint()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(records.parent, folder)
    store.close()
    return known


def flip(path: Path, draw: random.Random, _: int) -> None:
    """One bit somewhere."""
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def flip_in_page(path: Path, draw: random.Random, number: int) -> None:
    """One byte of one page after the other, half of them in the first hundred bytes, where the structure is."""
    content = bytearray(path.read_bytes())
    page = number % max(1, len(content) // 4096)
    content[min(len(content) - 1, page * 4096 + draw.randrange(100 if number % 2 else 4096))] ^= draw.randrange(1, 256)
    path.write_bytes(content)


def cut(path: Path, _: random.Random, number: int) -> None:
    """The file ends at a sector."""
    size = path.stat().st_size
    os.truncate(path, (number * SECTOR) % size)


def blank(path: Path, draw: random.Random, _: int) -> None:
    """Some sectors read as zero."""
    content = bytearray(path.read_bytes())
    place = draw.randrange(len(content)) // SECTOR * SECTOR
    content[place : place + SECTOR * draw.randint(1, 8)] = bytes(len(content[place : place + SECTOR * draw.randint(1, 8)]))
    path.write_bytes(content)


def header(path: Path, draw: random.Random, number: int) -> None:
    """One byte of the header after the other takes any other value."""
    content = bytearray(path.read_bytes())
    content[number % 100] ^= draw.randrange(1, 256)
    path.write_bytes(content)


def other(path: Path, draw: random.Random, _: int) -> None:
    """Something else lies in its place."""
    path.write_bytes(draw.choice([b"", b"\0", b"SQLite format 3\0", b"this is no database\n" * 300, draw.randbytes(40_000)]))


HARMS: dict[str, Harm] = {"flip": flip, "page": flip_in_page, "cut": cut, "blank": blank, "header": header, "other": other}


def starts(place: Place, *, harm: str, name: str, numbers: list[int], seed: int) -> Task:
    """Damage copies of the template's file `name` ("" is the live file, "-wal" its log) and start a gate on each.

    Returns started (how many), found (put aside), refused, failures (words).
    """
    folder, records = place.folder / "template", place.records
    _fresh(records.parent)
    known = template(folder, records)
    found: Task = {"started": 0, "found": 0, "refused": 0, "failures": []}
    for number in numbers:
        _fresh(records.parent)
        shutil.copytree(folder, records.parent, dirs_exist_ok=True)
        draw = random.Random(f"{seed} {harm} {name} {number}")  # noqa: S311 - seeded, not secret
        HARMS[harm](records.with_name(records.name + name), draw, number)
        found["started"] += 1
        try:
            failures = _start(records, known, found)
        except CordonError:
            found["refused"] += 1
            failures = []
        except Exception as exc:  # noqa: BLE001 - what the operator would see as a traceback
            failures = [f"{exc!r} is no error of Cordon's"]
        found["failures"] += [f"{harm}{name} {number}: {text}" for text in failures]
    return found


def _start(records: Path, known: dict[int, str], found: Task) -> list[str]:
    opened = open_records(records, boot="boot", config="c" * 64)
    opened.store.close()
    if opened.damage:
        found["found"] += 1
        return _put_aside(records, opened.damage)
    books = read_books(records)
    verify_chain(records)
    lost = books.lost(known)
    return [f"lost row {number} without a word" for number in lost]


def _put_aside(records: Path, damage: str) -> list[str]:
    said = [text for text in read_books(records).events if "RECORD_FAULT" in text]
    checks = {
        "the new file does not begin by saying so": bool(said),
        "it is not latched": any(damage[:40] in text for text in Latch(records).reasons()),
        "nothing was put aside": any(records.parent.glob(f"{records.name}.quarantined-*")),
    }
    return [text for text, right in checks.items() if not right]


def _fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


@injects("D07", test="tests/faults/test_recorder_damage.py")
def damaged_at_start(effort: Effort) -> Result:
    """Flipped bits, damaged pages and headers, cut, blank and foreign files, in the live file and in its log."""
    answers = run_tasks(effort, plan(effort))
    total = {name: sum(answer[name] for answer in answers) for name in ("started", "found", "refused")}
    return Result(
        injections=total["started"],
        lost_records=sum("lost row" in text for answer in answers for text in answer["failures"]),
        failures=tuple(text for answer in answers for text in answer["failures"])[:20],
        counter=f"put aside and latched {total['found']}, refused to start {total['refused']}",
    )


def plan(effort: Effort, *, ci: int = 1_200) -> list[Task]:
    """Tasks for so many starts, shared by every harm to both files."""
    kinds = [(harm, name) for name in ("", "-wal") for harm in HARMS]
    each = max(2, effort.times(ci) // len(kinds))
    return [
        {"do": "damage:starts", "harm": harm, "name": name, "numbers": _spread(effort, each), "seed": effort.seed} for harm, name in kinds
    ]


def _spread(effort: Effort, count: int) -> list[int]:
    """Numbers that reach every part of the file, also when there are few."""
    return [number * 13 + effort.seed for number in range(count)]


@injects("D08", test="tests/faults/test_recorder_damage.py")
def edited_rows(effort: Effort) -> Result:
    """Every column of every table in several rows, rows removed and exchanged, in the live and in the sealed file."""
    (answer,) = run_tasks(effort, [{"do": "damage:edits", "rows": 1 if effort.name == "quick" else 4, "seed": effort.seed}])
    return Result(
        injections=answer["edits"], failures=tuple(answer["failures"][:20]), counter=f"ChainError naming the row: {answer['named']}"
    )


def edits(place: Place, *, rows: int, seed: int) -> Task:
    """Edit, verify, restore; returns edits, named (how often the row was named), failures."""
    draw = random.Random(seed)  # noqa: S311 - seeded, not secret
    folder, records = place.folder / "template", place.records
    _fresh(records.parent)
    known = template(folder, records)
    found: Task = {"edits": 0, "named": 0, "failures": []}
    for file in (records, *sorted(records.parent.glob("records-*.db"))):
        clean = file.read_bytes()
        for sql, row in _edits(file, draw, rows):
            found["edits"] += 1
            _execute(file, sql)
            error = _verify(records)
            found["named"] += f"row {row} " in error + " "
            if f"row {row} " not in error + " ":
                found["failures"].append(f"{file.name}: {sql}: {error or 'not found'}")
            file.write_bytes(clean)
    found["failures"] += _cut_tail(records, known)
    found["edits"] += 1
    return found


def _edits(file: Path, draw: random.Random, rows: int) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    connection = sqlite3.connect(file)
    for table in ("triggers", "verdicts", "dispositions", "events"):
        numbers = [number for (number,) in connection.execute(f"SELECT id FROM {table} ORDER BY id")]  # noqa: S608
        columns = [(name, kind) for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})")]
        for number in draw.sample(numbers[:-1], min(rows, len(numbers) - 1)):
            where = f"WHERE id = {number}"
            found += [(f"UPDATE {table} SET {name} = {_changed(name, kind)} {where}", number) for name, kind in columns if name != "id"]  # noqa: S608
            found += [(f"UPDATE {table} SET id = -1 {where}", number), (f"DELETE FROM {table} {where}", number)]  # noqa: S608
            following = numbers[numbers.index(number) + 1]
            swap = f"UPDATE {table} SET id = CASE id WHEN {number} THEN -{following} ELSE -{number} END WHERE id IN ({number}, {following})"  # noqa: S608
            found.append((f"{swap}; UPDATE {table} SET id = -id WHERE id < 0", number))  # noqa: S608
    connection.close()
    return found


def _changed(name: str, kind: str) -> str:
    if kind == "TEXT":
        return f"coalesce({name}, '') || 'x'"
    return "zeroblob(32)" if kind == "BLOB" else f"coalesce({name}, 0) + 1000"


def _execute(file: Path, sql: str) -> None:
    connection = sqlite3.connect(file)
    connection.executescript(sql)
    connection.commit()
    connection.close()


def _verify(records: Path) -> str:
    try:
        verify_chain(records)
    except CordonError as exc:
        return str(exc)
    return ""


def _cut_tail(records: Path, known: dict[int, str]) -> list[str]:
    """Rows cut off the end leave a whole chain: the head that was noted elsewhere tells."""
    last = max(known)
    for table in ("triggers", "verdicts", "dispositions", "events"):
        _execute(records, f"DELETE FROM {table} WHERE id > {last - 2}")  # noqa: S608
    report = verify_chain(records)
    return [] if report.head != known[last] and report.rows == last - 2 else ["a cut tail does not show in the head"]
