"""Rows F04 and F11: clocks that lie while bundles come and go, and commands that end at any call that changes the store."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from itertools import cycle, islice

from edge.bundles.opening import open_configured
from edge.config import load_config
from edge.errors import BundleError
from faults.cell.clock_faults import YEAR_S, Clocks
from faults.line.stored import StoredLine, bundle, refused
from faults.line.trial import Trial
from faults.recorder.kill import spread
from faults.registry import Effort, Result, Skipped, injects

TEST = "tests/faults/test_line_stored.py"
OFFSETS_S = (-40 * YEAR_S, 80 * YEAR_S, 10 * YEAR_S, -86_400.0, 0.0)
CHANGING = ("write", "fsync", "rename", "renameat", "mkdir", "mkdirat", "fchmod", "unlink", "unlinkat", "flock", "close")
"""Calls at which a command is ended; `openat` and `read` change nothing."""


@injects("F04", test=TEST)
def clock_wrong(effort: Effort) -> Result:
    """The wall clock lies by decades, both ways: what judges goes on, a newer bundle takes over, an older one is refused by its version."""
    clocks = Clocks(effort.folder / "clock")
    box = StoredLine(prefix=("env", *(f"{name}={value}" for name, value in clocks.variables.items())))
    try:
        name = box.put(bundle(1), clocks.variables)
        box.start()
        trial = Trial(box.line, effort, "F04")
        for number, offset_s in enumerate(islice(cycle(OFFSETS_S), effort.times(4))):
            clocks.set(wall_s=offset_s)
            trial.injections += 1
            _judges(box, trial, name)
            name = box.put(bundle(number + 2), clocks.variables)
            older = box.command("install", str(box.write(bundle(number + 1, seed=1))), variables=clocks.variables)
            refused(trial, older, "older", "another bundle of this version")
            box.restart()
            _judges(box, trial, name)
        return trial.finish(note="nothing in a bundle expires: versions decide, and no clock is asked")
    finally:
        box.close()


def _judges(box: StoredLine, trial: Trial, name: str) -> None:
    if trial.accepted() and box.accepted_by(trial.part)[-1:] != [name]:
        trial.fail(f"another bundle judged than {name[:12]}")


@injects("F11", test=TEST)
def command_cut_off(effort: Effort) -> Result:
    """SIGKILL at system calls of `install` and `activate`: the old bundle or the new one is active, and the next command goes on."""
    if shutil.which("strace") is None:
        raise Skipped("strace is missing: apt-get install strace")
    box = StoredLine()
    try:
        old = box.put(bundle(1))
        box.start()
        trial = Trial(box.line, effort, "F11")
        killed = _cut(box, trial, ("install", str(box.write(bundle(2)))), {old}, effort.times(24))
        new = box.install(bundle(2))
        killed += _cut(box, trial, ("activate", new), {old, new}, effort.times(8))
        if not killed:
            raise Skipped("strace may not attach here: allow ptrace (kernel.yama.ptrace_scope = 0, or root)")
        box.activate(new)
        box.restart()
        _judges(box, trial, new)
        note = "killed, and not powered off: what a disk forgets is cut in tests/edge/test_bundles_cuts.py"
        return trial.finish(counter=f"{killed} commands killed at {', '.join(CHANGING)}", note=note)
    finally:
        box.close()


def _cut(box: StoredLine, trial: Trial, words: tuple[str, ...], allowed: set[str], points: int) -> int:
    """Run the command again and again from the same store, each time ended at another call; returns how often it really was."""
    place, backup = box.store.folder, box.store.folder.with_name("backup")
    shutil.copytree(place, backup)
    calls = _calls(box, words)
    killed = 0
    every = [(call, number) for call, count in sorted(calls.items()) for number in range(1, count + 1)]
    for call, number in [every[at - 1] for at in spread(len(every), points)]:
        _restore(box)
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        done = box.command(*words, prefix=("strace", "-q", "-o", os.devnull, "-e", inject))
        trial.injections += done.returncode == -signal.SIGKILL
        killed += done.returncode == -signal.SIGKILL
        where = f"{words[0]} ended at {call} {number}"
        try:
            found = open_configured(load_config(box.line.config).inspector).hash
        except BundleError as exc:
            trial.fail(f"{where}: {exc}")
            continue
        if found not in allowed:
            trial.fail(f"{where}: {found[:12]} is active")
        again = box.command(*words)
        if again.returncode:
            trial.fail(f"{where}: the next one was refused, {again.stderr[-200:]}")
    box.restart()
    trial.accepted()
    _restore(box)
    shutil.rmtree(backup)
    return killed


def _restore(box: StoredLine) -> None:
    place = box.store.folder
    shutil.rmtree(place)
    shutil.copytree(place.with_name("backup"), place)


def _calls(box: StoredLine, words: tuple[str, ...]) -> Counter[str]:
    """How often the command's own thread makes each of CHANGING."""
    log = box.line.folder / "calls"
    box.command(*words, prefix=("strace", "-q", "-o", str(log), "-e", f"trace={','.join(CHANGING)}"))
    names = [line.split("(")[0] for line in log.read_text().splitlines() if "(" in line] if log.exists() else []
    return Counter(name for name in names if name in CHANGING)
