"""Row D13: the image archive is full, too small or no folder at all; verdicts go on as before, and lost images are recorded."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from edge.contract import Reason
from faults.line.cell import FaultLine, Setup
from faults.line.trial import Trial
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_line_images.py"
MAX_BYTES = 1_000_000


def _archiving(folder: Path) -> Setup:
    return Setup(inspector_lines=f'archive = {{ folder = "{folder}", max_mb = 1, accepts_every = 1 }}')


@injects("D13", test=TEST)
def archive_unusable(effort: Effort) -> Result:
    """A file lies where the archive's folder should be: no image can be kept."""
    with tempfile.TemporaryDirectory(prefix="cordon-images-") as scratch:
        blocked = Path(scratch) / "images"
        blocked.write_text("this is no folder")
        result, lost = _run(effort, _archiving(blocked), effort.times(60))
        if not lost:
            return _failing(result, "no lost image was recorded")
        return result


@injects("D13", test=TEST)
def archive_small(effort: Effort) -> Result:
    """An archive of one megabyte that is full from the start: new images push out old ones and never exceed it."""
    with tempfile.TemporaryDirectory(prefix="cordon-images-") as scratch:
        folder = Path(scratch) / "images"
        (folder / "2020-01-01").mkdir(parents=True)
        for number in range(20):
            (folder / "2020-01-01" / f"{number:02d}.png").write_bytes(bytes(60_000))
        result, _ = _run(effort, _archiving(folder), effort.times(60))
        used = sum(path.stat().st_size for path in folder.rglob("*.*") if path.is_file())
        fresh = [path for path in folder.glob("*/*.png") if path.parent.name != "2020-01-01"]
        if used > MAX_BYTES:
            return _failing(result, f"{used} bytes are in an archive of {MAX_BYTES}")
        return result if fresh else _failing(result, "no image was archived")


def _failing(result: Result, why: str) -> Result:
    return replace(result, failures=(*result.failures, why))


def _run(effort: Effort, setup: Setup, count: int) -> tuple[Result, int]:
    line = FaultLine(setup)
    try:
        line.settle()
        trial = Trial(line, effort, "D13")
        for number in range(count):
            if number % 2:
                trial.refused(trial.sending(trial.bad), "DEFECT")
            else:
                trial.injections += 1
                trial.accepted()
        line.idle(1.5)
        result = trial.finish(note="an image is lost when the disk does not take it, a verdict never")
        return result, line.events()[f"frame {Reason.ARCHIVE.value}"]
    finally:
        line.close()
