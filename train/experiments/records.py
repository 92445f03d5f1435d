"""What proves that a run is finished: its record, written last, with the digests of its files; the table is made of records only."""

from __future__ import annotations

import csv
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from io import StringIO
from pathlib import Path

import msgspec

from edge.errors import DatasetError
from train.experiments.rows import COLUMNS, Row
from train.experiments.schema import Experiment

RECORD, TABLE, LOCK = "run.json", "results.csv", ".lock"
EXPERIMENT, SCORES, NETWORK = "experiment.toml", "scores.csv", "network.safetensors"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One finished run."""

    key: str
    """SHA-256 of the experiment and of all that it read."""
    experiment: Experiment
    row: Row
    files: dict[str, str]
    """Name in the run's folder → SHA-256."""
    versions: dict[str, str] = {}


def key_of(experiment: Experiment, *read: str) -> str:
    """The same for the same experiment (what `why` says apart) and the same inputs, given as their digests."""
    said = msgspec.json.encode(msgspec.structs.replace(experiment, why=""))
    return sha256(b"\n".join([said, *(part.encode() for part in read)])).hexdigest()


def save_record(folder: Path, key: str, experiment: Experiment, row: Row, versions: dict[str, str]) -> Record:
    """Write the record over the files that lie in `folder` now. Raises DatasetError."""
    files = {name: _digest(folder / name) for name in (EXPERIMENT, SCORES, NETWORK) if (folder / name).is_file()}
    record = Record(key=key, experiment=experiment, row=row, files=files, versions=versions)
    replace_file(folder / RECORD, msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    return record


def load_record(folder: Path) -> Record | None:
    """The record, if there is one, it can be read and every file is as it says."""
    try:
        record = msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
        whole = all(_digest(folder / name) == digest for name, digest in record.files.items())
    except (OSError, msgspec.MsgspecError):
        return None
    return record if whole and {EXPERIMENT, SCORES} <= set(record.files) else None


def write_table(out: Path) -> list[Record]:
    """OUT/results.csv again from the records below OUT, sorted by name. Raises DatasetError."""
    folders = sorted(path.parent for path in out.glob(f"*/{RECORD}"))
    records = [record for folder in folders if (record := load_record(folder)) is not None]
    text = StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(record.row for record in records)
    replace_file(out / TABLE, text.getvalue().encode())
    return records


def replace_file(path: Path, data: bytes) -> None:
    """All or nothing, even when the power goes. Raises DatasetError."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as exc:
        raise DatasetError(f"cannot write {path}", seen=exc.strerror, remedy="Check the folder's rights and free space") from exc


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Hold OUT for this process. Raises DatasetError when another one has it, or it cannot be made."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / LOCK).open("w")
    except OSError as exc:
        raise DatasetError(f"cannot write to {out}", seen=exc.strerror, remedy="Check --out") from exc
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise DatasetError(f"another process writes experiments to {out}", remedy="Wait for it, or choose another --out") from exc
        yield


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
