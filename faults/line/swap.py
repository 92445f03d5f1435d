"""Rows F07 and F12: a bundle swapped between check and use, and swapped again and again under a running line."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from edge.bundle import Bundle, open_bundle, save_bundle
from edge.errors import BundleError
from faults.line.bundles import CENTRES, PUBLIC, TinyBundle, network, weld_image
from faults.line.cell import FaultLine, Setup
from faults.line.trial import Asked, Trial
from faults.registry import Effort, Result, injects
from sim.line import Child

TEST = "tests/faults/test_line_swap.py"
BETWEEN = CENTRES["T2"] + 10
"""A gray that is bad for the first bundle and good for the second, whose limit lies 20 higher."""
_ANNOUNCED = re.compile(r"ready, .*, bundle ([0-9a-f]{12})")
_CHANGED = "judges from here on"
"""What the inspector's log says of a change without a restart."""


@injects("F07", test=TEST)
def swapped_between_check_and_use(effort: Effort) -> Result:
    """Good, forged and half-written bundles take each other's place, by renaming and by writing into the file, while it is opened."""
    folder, failures = effort.folder, list[str]()
    good = [TinyBundle(version=version).signed() for version in (1, 2)]
    forged = bytearray(good[0])
    forged[-1] ^= 1
    contents = (*good, bytes(forged), good[1][:-7], good[0] + b"x", b"")
    target, ending = folder / "bundle", threading.Event()
    save_bundle(good[0], target)
    thread = threading.Thread(target=_replace_for_ever, args=(folder, target, contents, ending), daemon=True)
    thread.start()
    taken = refused = 0
    hashes = {hashlib.sha256(data).hexdigest() for data in good}
    try:
        for _ in range(effort.times(8_000)):
            try:
                bundle = open_bundle(target, (PUBLIC,))
            except BundleError:
                refused += 1
                continue
            taken += 1
            failures += _not_one(bundle, hashes, good)
    finally:
        ending.set()
        thread.join()
    if effort.name != "quick" and not (taken and refused):
        failures.append(f"the race was always won by the same side: {taken} taken, {refused} refused")
    return Result(
        injections=taken + refused, failures=tuple(failures[:8]), counter=f"BundleError {refused}", note=f"{taken} taken, each whole"
    )


def _replace_for_ever(folder: Path, target: Path, contents: tuple[bytes, ...], ending: threading.Event) -> None:
    number = 0
    while not ending.is_set():
        number += 1
        data = contents[number % len(contents)]
        if number % 3:
            other = folder / "other"
            other.write_bytes(data)
            other.replace(target)
        else:
            with target.open("r+b") as file:
                file.write(data)
                file.truncate()
        time.sleep(0.0003)


def _not_one(bundle: Bundle, hashes: set[str], good: list[bytes]) -> list[str]:
    """The manifest and every file taken must be those of one good bundle."""
    whole = [data for data in good if bundle.hash == hashlib.sha256(data[108 : 108 + int.from_bytes(data[104:108], "little")]).hexdigest()]
    if len(whole) != 1 or not hashes:
        return [f"taken: {bundle}, which is none of the two"]
    wrong = [entry.name for entry in bundle.manifest.files if hashlib.sha256(bundle.files[entry.name]).hexdigest() != entry.sha256]
    return [f"taken with other files: {wrong}"] if wrong else []


class Swapper:
    """A line whose inspector is replaced by one with another bundle while the robot triggers."""

    def __init__(self, line: FaultLine, trial: Trial) -> None:
        self.line, self.trial = line, trial
        strict, lenient = TinyBundle(version=1), TinyBundle(version=2)
        for name in ("T2",):
            lenient.files[f"{name}-0.onnx"] = network(CENTRES[name] + 20)
        self.files = (line.folder / "strict.cordon", line.folder / "lenient.cordon")
        strict.save(self.files[0])
        _with_own_answers(lenient).save(self.files[1])
        self.hashes = [open_bundle(file, (PUBLIC,)).hash for file in self.files]

    def install(self, which: int) -> None:
        """Put a bundle in place by renaming, as an installation does."""
        fresh = self.line.folder / "fresh"
        shutil.copyfile(self.files[which], fresh)
        fresh.replace(self.line.bundle_path)

    def between(self, asked: Asked) -> None:
        """A weld on which the two bundles do not agree."""
        self.trial.seed += 1
        parts = self.trial.frame(asked, weld_image(BETWEEN, self.trial.seed))
        digest = hashlib.blake2b(parts[2], digest_size=16).hexdigest()
        self.trial.acceptable.setdefault((asked.session, asked.sequence), set()).add(digest)
        self.trial.send(parts)


def _with_own_answers(bundle: TinyBundle) -> TinyBundle:
    """Golden inputs that suit a network whose limit lies 20 grays higher."""
    from faults.line.bundles import probability  # noqa: PLC0415

    for label, gray in (("good", 40), ("bad", 110)):
        image = weld_image(gray, seed=len(label))
        bundle.files[f"T2/{label}"] = image.tobytes()
        bundle.promised[f"T2/{label}"] = probability(image, CENTRES["T2"] + 20)
    return bundle


@injects("F12", test=TEST)
def swapped_under_load(effort: Effort) -> Result:
    """Two bundles take turns while the robot triggers without a pause: by restart, reload and SIGKILL, and with both inspectors at once."""
    line = FaultLine(Setup())
    try:
        line.settle()
        trial = Trial(line, effort, "F12")
        swapper = Swapper(line, trial)
        swaps = effort.times(10)
        for number in range(swaps):
            swapper.install(number % 2)
            trial.injections += 1
            if number % 3 == 1:
                _reload(swapper)
                continue
            line.restart_inspector(signal.SIGKILL if number % 3 == 2 else signal.SIGTERM)
            _load(swapper, 0.5)
        alone = {(r.session, r.sequence) for r in trial.results if r.session}
        if effort.name != "quick":
            _side_by_side(line, swapper)
            trial.injections += 1
        swapper.install(0)
        line.restart_inspector()
        line.settle()
        result = trial.finish()
        line.stop()
        verdicts, failures = _audit(line.records, swapper, {(r.session, r.sequence) for r in trial.results if r.session}, alone)
        counter = f"{verdicts[0]} verdicts by the one bundle, {verdicts[1]} by the other, {verdicts[2]} by none; {result.counter}"
        from dataclasses import replace  # noqa: PLC0415

        return replace(result, failures=(*result.failures, *failures)[:8], counter=counter)
    finally:
        line.close()


def _load(swapper: Swapper, seconds: float) -> None:
    """Triggers without a pause until the new inspector has judged for a while."""
    judged_s = end_s = time.monotonic() + 20
    while time.monotonic() < min(end_s, judged_s + seconds):
        result = swapper.trial.trigger(swapper.between)
        if judged_s == end_s and result.reason in ("OK", "DEFECT"):
            judged_s = time.monotonic()


def _reload(swapper: Swapper) -> None:
    """Triggers without a pause while the running inspector makes the other bundle ready, changes to it and judges for a while."""
    line, end_s = swapper.line, time.monotonic() + 30
    before = line.inspector.log.read_text(errors="replace").count(_CHANGED)
    line.inspector.process.send_signal(signal.SIGHUP)
    while line.inspector.log.read_text(errors="replace").count(_CHANGED) == before and time.monotonic() < end_s:
        swapper.trial.trigger(swapper.between)
    _load(swapper, 0.5)


def _side_by_side(line: FaultLine, swapper: Swapper) -> None:
    """A second inspector with the other bundle starts while the first lives; both want the gate's only connection."""
    config = line.folder / "second.toml"
    config.write_text(line.config.read_text().replace("line.cordon", "lenient.cordon"))
    second = Child("second", (*line.inspector.command[:-1], str(config)), line.folder / "second.log")
    swapper.install(0)
    second.start()
    try:
        end_s = time.monotonic() + 4
        while time.monotonic() < end_s:
            swapper.trial.trigger(swapper.between)
    finally:
        os.kill(second.process.pid, signal.SIGKILL)
        second.process.wait()


def _audit(
    records: Path, swapper: Swapper, asked: set[tuple[str, int]], alone: set[tuple[str, int]]
) -> tuple[tuple[int, int, int], list[str]]:
    """Every verdict rests on one of the two bundles and is what that bundle says; among `alone`, it was the one announced last.

    Where two inspectors take turns faster than once a second, the gate's events merge and no longer tell the order.
    """
    announced, counts, failures = "", [0, 0, 0], []
    for kind, row in _in_order(records):
        if kind == "event":
            found = _ANNOUNCED.search(str(row["detail"]))
            announced = found[1] if found else announced
            continue
        if (row["session"], row["sequence"]) not in asked:
            continue
        if not row["bundle"]:
            counts[2] += 1
            failures += [f"ACCEPT of {row['sequence']} by no bundle"] if row["outcome"] == "ACCEPT" else []
            continue
        if row["bundle"] not in swapper.hashes:
            failures.append(f"verdict {row['sequence']} by an unknown bundle {row['bundle'][:12]}")
            continue
        which = swapper.hashes.index(row["bundle"])
        counts[which] += 1
        failures += _contradiction(row, which, announced if (row["session"], row["sequence"]) in alone else "")
    return (counts[0], counts[1], counts[2]), failures


def _contradiction(row: Any, which: int, announced: str) -> list[str]:
    if row["outcome"] != "ACCEPT":
        return []
    between = row["score"] is not None and row["score"] > 0.01
    if which == 0 and between:
        return [f"verdict {row['sequence']} is ACCEPT, which the bundle in its record would not say"]
    return [] if row["bundle"].startswith(announced) else [f"ACCEPT by {row['bundle'][:12]} while {announced} was announced"]


def _in_order(records: Path) -> list[tuple[str, Any]]:
    """Events of the inspector and verdicts of a stopped gate, in the order of their numbers."""
    connection = sqlite3.connect(f"file:{records}?mode=ro", uri=True)
    try:
        connection.row_factory = sqlite3.Row
        events = connection.execute("SELECT id, detail FROM events WHERE kind = 'inspector'").fetchall()
        verdicts = connection.execute("SELECT id, session, sequence, outcome, score, bundle FROM verdicts").fetchall()
    finally:
        connection.close()
    rows = [(row["id"], "event", row) for row in events] + [(row["id"], "verdict", row) for row in verdicts]
    return [(kind, row) for _, kind, row in sorted(rows, key=lambda row: row[0])]
