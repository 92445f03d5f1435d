"""A box in small for the import's tests: real records, the real archive, frames through the camera's own codec."""

from __future__ import annotations

import csv
import hashlib
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from cell_kit import make_header
from numpy.typing import NDArray

from edge.config import ArchiveConfig
from edge.contract import Outcome, Reason, Settled, TriggerId
from edge.gate.rows import DispositionRow, TriggerRow, VerdictRow
from edge.gate.store import Store
from edge.inspector.archive import Archive
from edge.inspector.camera import Arrival
from edge.inspector.frame import FrameTrigger, encode_frame, read_header
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, spec_to_json
from edge.records.cli import export_main

SESSION = "0123456789012345"
"""Nothing but digits, which is what spreadsheets spoil."""
START = 1_795_000_000 * 10**9
"""18 November 2026."""
DAY = "2026-11-18"
SPEC = HeightmapSpec(window=MillimetreWindow(low_mm=0.0, high_mm=10.0), height=32, width=48)
SHAPE = (32, 48)


def gray(number: int, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint8]:
    """A heightmap; no two numbers give the same."""
    return np.random.default_rng(number).integers(1, 256, shape).astype(np.uint8)


class Box:
    """Judges what it is told to judge; `close` before its folders are read."""

    def __init__(self, folder: Path, **archive: Any) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.store = Store(folder / "records.db", boot="boot", config="c" * 64, link="handshake")
        self.archive = Archive(ArchiveConfig(folder=folder / "images", accepts_every=1, **archive))
        self.judged = 0

    @property
    def images(self) -> Path:
        return self.folder / "images"

    def weld(
        self, image: NDArray[Any], *, outcome: str = "REJECT", part: str = "P1", weld: str = "W1", hours: float = 0.0, **header: Any
    ) -> int:
        """One weld through archive and records; returns its sequence."""
        self.judged += 1
        number, typology, opened_by = self.judged, header.pop("typology", "T2"), header.pop("opened_by", "trigger")
        trigger = FrameTrigger(session=SESSION, sequence=number)
        made = make_header(trigger=trigger, counter=number, part=part, weld=weld, typology=typology, **header)
        _, text, payload = encode_frame(made, image)
        digest = hashlib.blake2b(payload, digest_size=16).hexdigest()
        reason = Reason.OK if outcome == "ACCEPT" else Reason.DEFECT
        self.archive.hold(Arrival(read_header(text), text, memoryview(payload), digest, 1, Reason.OK, "", ()))
        self.archive.settle(Settled(TriggerId(SESSION, number), "cam", number, Outcome(outcome), reason))
        key = {"session": SESSION, "sequence": number}
        name = {**key, "part": part, "weld": weld, "typology": typology}
        rows = (
            TriggerRow(**name, opened_by=opened_by, opened_ns=1),
            VerdictRow(
                **name, outcome=outcome, reason=reason.value, detail="", score=0.7, threshold=0.5, bundle="tiny 1", camera="cam",
                counter=number, payload_hash=digest, opened_ns=1, decided_ns=2,
            ),
            DispositionRow(**key, sent=outcome, sent_reason=reason.value, done=f"{outcome}ED", detail="", sent_ns=3, closed_ns=4),
        )  # fmt: skip
        self.store.commit([self.store.stamp(row, START + int(hours * 3600e9)) for row in rows])
        end = time.monotonic() + 10
        while self.archive._queue.qsize() and time.monotonic() < end:
            time.sleep(0.001)
        return number

    def close(self) -> Box:
        self.archive.close(10.0)
        self.store.close()
        return self

    def export(self, *options: str) -> Path:
        """The record as `cordon records export` writes it."""
        out = self.folder / "export"
        assert export_main(["--records", str(self.folder / "records.db"), "--to", str(out), "--live", *options]) == 0
        return out


def dataset(root: Path, *, good: str = "good", bad: str = "bad", scale: str = "pitch_mm = [0.2, 0.2]\n", count: int = 4) -> Path:
    """A training folder of SPEC's heightmaps with groups of two."""
    rows = []
    for number, label in enumerate((good, bad) * count):
        (root / label).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / label / f"{number}.png"), gray(1000 + number))
        rows.append(f"{label}/{number}.png,part{number // 2},kept")
    (root / "groups.csv").write_text("\n".join(["file,group,note", *rows]) + "\n", encoding="utf-8")
    (root / "heightmap.json").write_bytes(spec_to_json(SPEC))
    (root / "scan.toml").write_text(scale, encoding="utf-8")
    return root


def label(path: Path, *rows: tuple[int, str]) -> Path:
    """The operators' table: sequence and label of each weld."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["session", "sequence", "label", "defect", "by"])
        writer.writerows([f"'{SESSION}", number, said, "cut" if said == "bad" else "", "ana"] for number, said in rows)
    return path


def state(root: Path) -> dict[str, bytes]:
    """Every file of a folder, less the import's lock."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file() and p.name != ".lock"}
