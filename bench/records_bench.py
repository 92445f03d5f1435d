"""`cordon bench records`: how long `cordon records show PART` takes over millions of rows, and how fast rows are checked and committed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.timing import summary
from edge.config import StorageConfig
from edge.errors import SimulationError
from edge.gate.audit import ChainReport, verify_chain
from edge.gate.disk import MIB
from edge.gate.listing import list_files
from edge.gate.rows import DispositionRow, EventRow, Row, TriggerRow, VerdictRow
from edge.gate.segments import segments_of
from edge.gate.store import Store

WELDS = 8
"""Of one part: triggers that share its name."""
SESSION_TRIGGERS = 60_000
EVENT_EVERY = 50
"""One event row for so many triggers."""
BATCH = 4_000
"""Triggers in one transaction of the bulk build."""
NS_PER_WELD = 2_000_000_000
START_NS = 1_760_000_000_000_000_000
"""Wall clock of the first row."""


def rows_of(trigger: int) -> list[Row]:
    """What a busy line writes for its trigger number `trigger` (from 0), as wide as in production."""
    session, sequence = f"{trigger // SESSION_TRIGGERS:016x}", trigger % SESSION_TRIGGERS + 1
    part, weld, opened = part_name(trigger // WELDS), f"W{trigger % WELDS:02}", trigger * NS_PER_WELD
    names = {"session": session, "sequence": sequence}
    score = (trigger * 2_654_435_761 % 2**32) / 2**32
    outcome, reason = ("ACCEPT", "OK") if score < 0.97 else ("REJECT", "DEFECT")
    verdict = VerdictRow(
        **names,  # type: ignore[arg-type]
        part=part,
        weld=weld,
        typology=f"T{trigger % 9 + 1}",
        outcome=outcome,
        reason=reason,
        detail="" if outcome == "ACCEPT" else "score above the threshold",
        score=score,
        threshold=0.97,
        members=f"[{score:.6f},{score / 2:.6f},{score / 3:.6f}]",
        bundle="9d41c07a" * 8,
        backend="openvino",
        camera="cam0",
        counter=trigger,
        payload_hash=f"{trigger:032x}",
        opened_ns=opened,
        captured_ns=opened + 20_000_000,
        received_ns=opened + 30_000_000,
        prepared_ns=opened + 33_000_000,
        scored_ns=opened + 48_000_000,
        decided_ns=opened + 49_000_000,
    )
    rows: list[Row] = [
        TriggerRow(**names, part=part, weld=weld, typology=verdict.typology, recipe="door-left", opened_by="trigger", opened_ns=opened),  # type: ignore[arg-type]
        verdict,
        DispositionRow(
            **names,  # type: ignore[arg-type]
            sent=outcome,
            sent_reason=reason,
            done=f"{outcome}ED",
            detail="",
            sent_ns=opened + 52_000_000,
            closed_ns=opened + 90_000_000,
        ),
    ]
    if trigger % EVENT_EVERY == 0:
        rows.append(EventRow(kind="frame", reason="FRAME_GAP", detail="1 missing", camera="cam0", count=1, first_ns=opened, at_ns=opened))
    return rows


def part_name(number: int) -> str:
    """Parts are named as they come."""
    return f"P{number:08}"


def build(path: Path, rows: int, *, segment_mb: float, say: Callable[[str], None]) -> float:
    """Write at least `rows` rows through the real store (rows, hashes, commits, rotation), the newest in the live file; seconds."""
    started_s = time.perf_counter()
    store = Store(path, boot="0" * 32, config="c" * 64, link="handshake")
    trigger, told = 0, 0
    while store.number < rows:
        stamped = [
            store.stamp(row, START_NS + number * NS_PER_WELD) for number in range(trigger, trigger + BATCH) for row in rows_of(number)
        ]
        trigger += BATCH
        store.commit(stamped)
        store.checkpoint()
        if store.used_bytes() >= segment_mb * MIB and store.number < rows:
            store.rotate()
        if store.number >= told + rows // 10:
            told = store.number
            say(f"{told:>11,} rows, {time.perf_counter() - started_s:6.1f} s")
    store.close()
    return time.perf_counter() - started_s


def show_ms(path: Path, part: str) -> float:
    """One whole `cordon records show PART`, from starting the process to its end."""
    command = [str(Path(sys.executable).with_name("cordon")), "records", "show", part, "--records", str(path), "--json"]
    started_s = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    taken_ms = (time.perf_counter() - started_s) * 1e3
    if done.returncode or len(done.stdout.splitlines()) != WELDS:
        raise SimulationError(f"`cordon records show {part}` failed", seen=done.stderr or done.stdout, remedy="Build the records again")
    return taken_ms


def forget_pages(path: Path) -> None:
    """Drop the record's files from the page cache (clean pages only: they were synced), as after a start of the box."""
    for file in (path, *(segment.path for segment in segments_of(path))):
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def commit_ms(folder: Path, count: int) -> Iterator[float]:
    """Commits of one weld's verdict into a record of its own on the same disk."""
    store = Store(folder / "commits.db", boot="0" * 32, config="c" * 64, link="handshake")
    for trigger in range(count):
        for row in rows_of(trigger)[:3]:
            stamped = [store.stamp(row, START_NS)]
            started_s = time.perf_counter()
            store.commit(stamped)
            taken_ms = (time.perf_counter() - started_s) * 1e3
            if isinstance(row, VerdictRow):
                yield taken_ms
        if trigger % 170 == 169:
            store.checkpoint()
    store.close()


def main(argv: Sequence[str]) -> int:
    """Build records with so many rows, ask for random parts in new processes, check the chain; the last line printed is JSON."""
    parser = argparse.ArgumentParser(prog="cordon bench records", description=main.__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="default %(default)s: about 3.5 GB")
    parser.add_argument("--shows", type=int, default=40, help="random parts asked for, each warm and cold (default %(default)s)")
    parser.add_argument("--commits", type=int, default=2_000, help="commits measured (default %(default)s)")
    parser.add_argument("--segment-mb", type=float, default=StorageConfig().segment_mb, help="default %(default)s")
    parser.add_argument("--out", type=Path, default=Path("build/bench-records"), help="emptied, unless it already holds as many rows")
    parser.add_argument("--keep", action="store_true", help="leave the files for the next run")
    arguments = parser.parse_args(argv)
    path = arguments.out / "records.db"
    build_s = _built(path, arguments)
    files = list_files(path)
    rows, size = files[-1].last, sum(file.bytes for file in files)
    print(f"{rows:,} rows of {rows // (3 * WELDS):,} parts in {len(files)} files, {size / MIB:,.0f} MiB; live {files[-1].rows:,} rows")
    chance = random.Random(5)  # noqa: S311 - which parts are asked for is no secret
    asked = [part_name(chance.randrange(rows // (3 * WELDS) - BATCH // WELDS)) for _ in range(arguments.shows)]
    warm, cold = [], []
    for part in asked:
        forget_pages(path)
        cold.append(show_ms(path, part))
        warm.append(show_ms(path, part))
    report, verify_s = _verified(path)
    commits = summary("commit", list(commit_ms(arguments.out, arguments.commits)))
    for name, values in (("show, files not in memory", cold), ("show", warm)):
        print(f"{name:<28}{statistics.median(values):8.0f} ms median {max(values):8.0f} ms longest of {len(values)}")
    print(f"{'verify':<28}{report.rows / verify_s:8,.0f} rows/s ({verify_s:.1f} s)")
    print(f"{'commit of one verdict':<28}{commits.p50_ms:8.2f} ms median {commits.p99_ms:8.2f} ms p99 of {commits.count}")
    print(
        json.dumps(
            {
                "machine": platform.machine(),
                "rows": rows,
                "files": len(files),
                "mib": round(size / MIB),
                "build_s": round(build_s, 1),
                "show_p50_ms": round(statistics.median(warm), 1),
                "show_max_ms": round(max(warm), 1),
                "show_cold_p50_ms": round(statistics.median(cold), 1),
                "show_cold_max_ms": round(max(cold), 1),
                "verify_rows_per_s": round(report.rows / verify_s),
                "commit_p50_ms": round(commits.p50_ms, 3),
                "commit_p99_ms": round(commits.p99_ms, 3),
            }
        )
    )
    if not arguments.keep:
        shutil.rmtree(arguments.out)
    return 0


def _built(path: Path, arguments: argparse.Namespace) -> float:
    if path.exists() and list_files(path)[-1].last >= arguments.rows:
        print(f"taking the records in {path.parent} as they are")
        for file in path.parent.glob("commits*"):
            file.unlink()
        return 0.0
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir(parents=True)
    return build(path, arguments.rows, segment_mb=arguments.segment_mb, say=lambda text: print(text, flush=True))


def _verified(path: Path) -> tuple[ChainReport, float]:
    started_s = time.perf_counter()
    report = verify_chain(path)
    return report, time.perf_counter() - started_s


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
