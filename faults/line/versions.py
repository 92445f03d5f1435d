"""Rows F03 and F14: older genuine bundles, and keys that were lost, put before a box whose store the product's commands keep."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from edge.bundles.state import STATE, encode_state
from faults.line.bundles import PUBLIC
from faults.line.cell import CORDON
from faults.line.stored import StoredLine, bundle, refused
from faults.line.trial import Trial
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_line_stored.py"
DOWN = ("NOT_READY", "BUNDLE_FAULT", "INSPECTOR_DOWN", "NO_FRAME")


@injects("F03", test=TEST)
def older(effort: Effort) -> Result:
    """Three versions follow one another; then the first comes back by command, by file, by folder and by the state, and never judges."""
    box = StoredLine()
    try:
        names = [box.put(bundle(version)) for version in (1, 2, 3)]
        box.start()
        trial = Trial(box.line, effort, "F03")
        trial.accepted()
        for number in range(effort.times(2)):
            refused(trial, box.command("install", str(box.write(bundle(2, seed=1 + number)))), "another bundle of this version", "older")
            refused(trial, box.command("install", str(box.write(bundle(1, seed=1 + number)))), "older", "another bundle of this version")
            refused(trial, box.command("activate", names[0][:12]), "older")
            _put_back(box, trial, names)
        _floor_after_rollback(box, trial, names)
        result = trial.finish(note="rollback to the version before is the way back that is allowed, once, with a reason")
        return _judged_by(box, trial, result, names[1:])
    finally:
        box.close()


def _put_back(box: StoredLine, trial: Trial, names: list[str]) -> None:
    """The first version in the files of the third, and in the state: not loaded; at most the second judges, as the way back."""
    store, file = box.store.folder, box.bundle_file(names[2])
    state = box.store.state()
    genuine, kept = file.read_bytes(), (store / STATE).read_bytes()
    first = box.bundle_file(names[0]).read_bytes()
    lowered = msgspec.structs.replace(state, active=names[0], highest=1)
    tamperings: list[Callable[[], object]] = [
        lambda: file.write_bytes(first),
        lambda: _swap(file.parent, box.bundle_file(names[0]).parent),
        lambda: (store / STATE).write_bytes(encode_state(msgspec.structs.replace(state, active=names[0]))),
        lambda: (store / STATE).write_bytes(encode_state(lowered)),
        lambda: (store / STATE).write_bytes(kept.replace(names[2].encode(), names[0].encode())),
        (store / STATE).unlink,
    ]
    backup = store.with_name("backup")
    shutil.copytree(store, backup)
    for tamper in tamperings:
        tamper()
        faults = _faults(box)
        box.restart()
        box.line.robot.protocol.state = None
        if not box.line.until(lambda faults=faults: box.line.robot.wait_ready(0.0) or _faults(box) > faults, 30.0):  # type: ignore[misc]
            trial.fail("neither READY nor a fault came")
        trial.injections += 1
        trial.trigger(trial.sending(trial.good))
        shutil.rmtree(store)
        shutil.copytree(backup, store)
        box.restart()
        trial.accepted()
    shutil.rmtree(backup)
    if file.read_bytes() != genuine:
        trial.fail("the store was not restored")


def _faults(box: StoredLine) -> int:
    return box.line.events()["inspector BUNDLE_FAULT"]


def _swap(one: Path, other: Path) -> None:
    away = one.with_name("away")
    one.rename(away)
    other.rename(one)
    away.rename(other)


def _floor_after_rollback(box: StoredLine, trial: Trial, names: list[str]) -> None:
    """The way back works, and is none to what lies below it."""
    done = box.command("rollback", "--reason", "fault suite")
    if done.returncode or box.store.state().active != names[1]:
        trial.fail(f"rollback to the version before was refused: {done.stderr[-300:]}")
    refused(trial, box.command("rollback", "--reason", "once more"), "no bundle to go back to")
    refused(trial, box.command("activate", names[0][:12]), "older")
    box.restart()
    trial.accepted()
    if box.accepted_by(trial.part)[-1:] != [names[1]]:
        trial.fail("after the rollback another bundle judged")


def _judged_by(box: StoredLine, trial: Trial, result: Result, allowed: list[str]) -> Result:
    """With what the records say: no verdict may rest on another bundle."""
    strange = sorted(set(box.accepted_by(trial.part)) - set(allowed))
    failures = [*result.failures, *(f"a weld was accepted by {name[:12]}" for name in strange)]
    return replace(result, failures=tuple(failures[:8]), false_accepts=result.false_accepts + len(strange))


@injects("F14", test=TEST)
def keys_lost(effort: Effort) -> Result:
    """A second key takes over by rotation while the line runs; then the first one is revoked, and nothing it signed gets through again."""
    box = StoredLine()
    try:
        second = _new_key(box)
        first_signed = bundle(1)
        name = box.put(first_signed)
        box.start()
        trial = Trial(box.line, effort, "F14")
        trial.accepted()
        box.trust(PUBLIC, second)
        resigned = _resigned(box, first_signed)
        if box.install(resigned) != name:
            trial.fail("the same bundle under another key has another hash")
        box.trust(second, revoked=[PUBLIC])
        box.restart()
        trial.accepted()
        for number in range(effort.times(2)):
            refused(trial, box.command("install", str(box.write(bundle(2 + number)))), "revoked")
            refused(trial, box.command("install", str(box.write(first_signed))), "revoked")
            file = box.bundle_file(name)
            file.write_bytes(first_signed)
            box.restart()
            trial.refused(trial.sending(trial.looks_good), *DOWN)
            file.write_bytes(resigned)
            trial.accepted()
        for keys in ((second, PUBLIC), (second,)):
            box.trust(*keys, revoked=[PUBLIC])
            refused(trial, box.command("install", str(box.write(bundle(9)))), "revoked")
        box.trust(second, revoked=[second])
        box.restart()
        trial.refused(trial.sending(trial.looks_good), *DOWN)
        box.trust(second, revoked=[PUBLIC])
        result = trial.finish(note="the hash stays the same under another key, so that records and pins do")
        return _judged_by(box, trial, result, [name])
    finally:
        box.close()


def _new_key(box: StoredLine) -> str:
    path = box.line.folder / "second.key"
    done = subprocess.run([*CORDON, "keys", "new", str(path)], capture_output=True, text=True, check=True)
    return next(word for word in done.stdout.split() if len(word) == 64)


def _resigned(box: StoredLine, data: bytes) -> bytes:
    source, out = box.write(data, "old.cordon"), box.line.folder / "resigned.cordon"
    words = ["resign", str(source), "--key", PUBLIC, "--signing-key", str(box.line.folder / "second.key"), "--out", str(out)]
    subprocess.run([*CORDON, "bundle", *words], capture_output=True, check=True)
    return out.read_bytes()
