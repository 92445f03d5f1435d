"""Writing an import so that the folder trains as before or as after, whatever happens in between; and taking one back."""

from __future__ import annotations

import io
import os
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import DatasetError
from edge.gate.latch import sync_folder
from scans.folder import read_image
from train.intake.images import content_hash
from train.intake.ledger import Ledger, LineScan, SourceFile, finish, ledgers, read_ledger, reopen, roll_back, write_pending
from train.intake.plan import Addition, file_pixels
from train.intake.progress import shown
from train.intake.records import ProvenExport
from train.intake.table import add_rows
from train.intake.target import Target

PNG = (cv2.IMWRITE_PNG_COMPRESSION, 3)


def write(target: Target, added: list[Addition], export: ProvenExport, *, labels: str, group_by: str, by: str) -> Path:
    """Write ledger, files and rows; the ledger's last rename makes all of it count at once. Returns the ledger's path.

    `labels` is the SHA-256 of the operators' table, `by` who labelled where it does not say.

    Raises DatasetError; what was written so far then does not count, and the next import removes it.
    """
    ledger = Ledger(
        cordon=version("cordon"),
        imported=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        group_by=group_by,
        export=tuple(SourceFile(file=f.file, sha256=f.sha256, first=f.first, last=f.last, head=f.head) for f in export.files),
        labels=labels,
        scans=tuple(_line_scan(addition, by) for addition in added),
    )
    _require_free(target, added)
    try:
        pending = write_pending(target.root, ledger)
        for addition in shown(added, "writing"):
            _write_scan(target, addition)
        for folder in {target.root / addition.file for addition in added}:
            sync_folder(folder.parent)
        sync_folder(target.root)
        add_rows(target.root, [{"file": s.file, "label": s.label, "group": s.group, "defect": s.defect} for s in ledger.scans])
        return finish(pending)
    except OSError as exc:
        remedy = "Check free space and rights, then run the import again; nothing of it counts yet"
        raise DatasetError(f"the import into {target.root} could not be written", seen=exc.strerror, remedy=remedy) from exc


def take_back(root: Path, number: int) -> int:
    """Remove the scans of import `number`; returns how many. Raises DatasetError: no such import, or files changed or moved since."""
    known = dict(ledgers(root))
    if number not in known:
        raise DatasetError(
            f"{root} has no import {number}", seen=sorted(known) or "none", remedy="Give the number of a ledger in provenance/"
        )
    scans = read_ledger(known[number]).scans
    changed = [scan.file for scan in scans if not _unchanged(root / scan.file, scan.content)]
    if changed:
        remedy = "Undo what was done to them first, or remove the others by hand"
        raise DatasetError(f"{len(changed)} files of import {number} were changed, moved or removed since", seen=changed[:5], remedy=remedy)
    reopen(root, number)
    return roll_back(root)


def _unchanged(path: Path, content: str) -> bool:
    return path.is_file() and content_hash(read_image(path)) == content


def _require_free(target: Target, added: list[Addition]) -> None:
    taken = [addition.file for addition in added if (target.root / addition.file).exists()]
    if taken:
        remedy = "Remove these files: they have the names of imported scans and other pixels"
        raise DatasetError(f"{target.root} already has files of these names", seen=taken[:5], remedy=remedy)


def _write_scan(target: Target, addition: Addition) -> None:
    image = file_pixels(target, addition.relabelled)
    if content_hash(image) != addition.content:
        seen = addition.relabelled.weld.image.path.name
        raise DatasetError("an image changed while it was imported", seen=seen, remedy="Run the import again")
    path = target.root / addition.file
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(exist_ok=True)
    with part.open("wb") as file:
        file.write(_encoded(path, image))
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def _encoded(path: Path, image: NDArray[Any]) -> bytes:
    if path.suffix == ".npy":
        stored = io.BytesIO()
        np.save(stored, image, allow_pickle=False)
        return stored.getvalue()
    whole, png = cv2.imencode(".png", image, PNG)
    if not whole:
        raise DatasetError(f"an image of {image.shape} cannot be written as PNG", remedy="Bring it to the project's issues")
    return png.tobytes()


def _line_scan(addition: Addition, by: str) -> LineScan:
    judged, said = addition.relabelled.weld.judged, addition.relabelled.said
    return LineScan(
        file=addition.file,
        label=said.label,
        group=addition.group,
        defect=said.defect,
        content=addition.content,
        exact=addition.exact,
        session=judged.session,
        sequence=judged.sequence,
        part=judged.part,
        weld=judged.weld,
        typology=addition.relabelled.weld.typology,
        time=judged.time,
        outcome=judged.outcome,
        reason=judged.reason,
        score=judged.score,
        threshold=judged.threshold,
        bundle=judged.bundle,
        config=judged.config,
        payload_hash=judged.payload_hash,
        by=said.by or by,
        when=said.when,
        comment=said.comment,
    )
