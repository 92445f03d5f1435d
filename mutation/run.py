"""Runs the tests of each module against each of its mutants, every one in a process of its own, and holds the survivors to their list."""

from __future__ import annotations

import argparse
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import msgspec
import pytest

from mutation.operators import Mutant, mutants
from mutation.targets import TARGETS, Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
SURVIVORS = Path(__file__).with_name("survivors.toml")
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes folders of its own in it
"""The tests of the records sync at every commit; in memory that costs nothing."""
SLOWEST_S = 120.0
PRELOADED = (
    *("msgspec", "serial", "cryptography.hazmat.primitives.asymmetric.ed25519", "numpy", "sqlite3"),
    *("hypothesis.stateful", "_pytest.assertion.rewrite", "pdb"),
)
"""Loaded once, before the first fork; nothing of this project is, for a mutant must be the first to be imported."""


class Explained(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One survivor that no test can find, and why: the change makes no difference that anybody could see."""

    module: str
    function: str
    line: str
    becomes: str
    why: str


class _Explanations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    survivor: tuple[Explained, ...] = ()


@dataclass(kw_only=True)
class Tally:
    """What became of a module's mutants."""

    killed: int = 0
    timed_out: int = 0
    explained: list[Explained] = field(default_factory=list)
    survivors: list[Mutant] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All of them."""
        return self.killed + self.timed_out + len(self.explained) + len(self.survivors)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module another source; files stay as they are."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name, self._path, self._source = name, path, source

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def create_module(self, _spec: object) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        exec(compile(self._source, str(self._path), "exec"), module.__dict__)  # noqa: S102 - the mutant is to run


def outcomes(target: Target, sources: Sequence[str], *, limit_s: float, jobs: int) -> Iterator[tuple[int, str]]:
    """Index and outcome (`passed`, `failed`, `timeout`) of the tests with each of these sources in the module's place, as they end."""
    waiting = list(enumerate(sources))[::-1]
    running: dict[int, tuple[int, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            index, source = waiting.pop()
            running[_start(target, source)] = (index, time.monotonic() + limit_s)
        yield from _ended(running)
        time.sleep(0.005)


def _ended(running: dict[int, tuple[int, float]]) -> Iterator[tuple[int, str]]:
    for child, (index, until_s) in list(running.items()):
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            outcome = "passed" if os.waitstatus_to_exitcode(status) == 0 else "failed"
        elif time.monotonic() > until_s:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            outcome = "timeout"
        else:
            continue
        del running[child]
        yield index, outcome


class _Born(BaseException):
    """No error, but how a child leaves the loop that forked it: its mutant is in place, and the tests are to be collected."""


class _Nursery:
    """Runs `work` inside a pytest that has started but imported no test yet, so that its children need not start one of their own."""

    def __init__(self, work: Callable[[], Tally]) -> None:
        self._work = work
        self.tally: Tally | None = None
        self.stopped = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> bool | None:
        """In the parent nothing is collected; every child goes on to collect and to test."""
        gc.collect()
        gc.freeze()  # else every child copies the pages of all these objects
        try:
            self.tally = self._work()
        except _Born:
            return None
        except SystemExit as stopped:  # pytest would print where it came from, not why
            self.stopped = str(stopped)
        return True


def _inside_pytest(target: Target, work: Callable[[], Tally]) -> Tally:
    parent = os.getpid()
    nursery = _Nursery(work)
    quiet = ["-x", "-q", "-s", "--tb=no", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    status = 1
    try:
        status = int(pytest.main([*quiet, *target.tests], plugins=[nursery]))
    finally:
        if os.getpid() != parent:
            os._exit(status)
    if nursery.tally is None:
        raise SystemExit(nursery.stopped or f"the tests of {target.module} could not be started")
    return nursery.tally


def _start(target: Target, source: str) -> int:
    child = os.fork()
    if child == 0:
        _be_mutant(target, source)
    with suppress(OSError):  # the child does it too; whoever is first
        os.setpgid(child, child)
    return child


def _be_mutant(target: Target, source: str) -> None:
    os.setpgid(0, 0)
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    sys.meta_path.insert(0, _Finder(target.module, ROOT / target.path, source))
    raise _Born


def measure(target: Target, *, jobs: int, explained: Sequence[Explained]) -> Tally:
    """All mutants of one module. Raises SystemExit when its tests fail without any mutation."""
    return _inside_pytest(target, lambda: _measure(target, jobs=jobs, explained=explained))


def _measure(target: Target, *, jobs: int, explained: Sequence[Explained]) -> Tally:
    if target.module in sys.modules:
        raise SystemExit(f"{target.module} is loaded already, so that no mutant of it could take its place")
    source = (ROOT / target.path).read_text(encoding="utf-8")
    started = time.monotonic()
    if [outcome for _, outcome in outcomes(target, [source], limit_s=SLOWEST_S, jobs=1)] != ["passed"]:
        raise SystemExit(f"the tests of {target.module} fail or take over {SLOWEST_S:g} s without any mutation: {' '.join(target.tests)}")
    limit_s = max(10.0, 5 * (time.monotonic() - started))
    tally = Tally()
    found = list(mutants(source))
    for index, outcome in outcomes(target, [mutant.source for mutant in found], limit_s=limit_s, jobs=jobs):
        _note(tally, target, found[index], outcome, explained)
        if tally.total % 20 == 0 or tally.total == len(found):
            text = f"{target.module}: {tally.total} of {len(found)}, {len(tally.survivors)} survive, {time.monotonic() - started:.0f} s"
            print(text, file=sys.stderr, flush=True)
    return tally


def _note(tally: Tally, target: Target, mutant: Mutant, outcome: str, explained: Sequence[Explained]) -> None:
    if outcome == "failed":
        tally.killed += 1
    elif outcome == "timeout":
        tally.timed_out += 1
    else:
        key = (target.module, mutant.function, mutant.line, mutant.becomes)
        known = [e for e in explained if (e.module, e.function, e.line, e.becomes) == key]
        (tally.explained.append(known[0]) if known else tally.survivors.append(mutant))


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m mutation.run [MODULE ...]`: exit status 1 with a survivor that is not explained, or an explanation that is not needed."""
    parser = argparse.ArgumentParser(prog="python -m mutation.run", description=main.__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as edge.gate.codec; all without any")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default %(default)s)")
    parser.add_argument("--list", action="store_true", help="print every mutant and run nothing")
    given = parser.parse_args(argv)
    chosen = [target for target in TARGETS if not given.modules or target.module in given.modules]
    if given.list:
        for target in chosen:
            for mutant in mutants((ROOT / target.path).read_text(encoding="utf-8")):
                print(f"{target.path}:{mutant.number}  {mutant.operator}  {mutant.line}  ->  {mutant.becomes}")
        return 0
    explained = msgspec.convert(tomllib.loads(SURVIVORS.read_text(encoding="utf-8")), _Explanations).survivor
    for name in PRELOADED:
        importlib.import_module(name)
    unshrunk = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, max_examples=40, deadline=None, phases=unshrunk)
    hypothesis.settings.load_profile("mutants")
    os.chdir(ROOT)
    if IN_MEMORY.is_dir():
        os.environ["TMPDIR"] = str(IN_MEMORY)
    started = time.monotonic()
    tallies = {target: measure(target, jobs=given.jobs, explained=explained) for target in chosen}
    return _report(tallies, explained, time.monotonic() - started)


def _report(tallies: dict[Target, Tally], explained: Sequence[Explained], seconds: float) -> int:
    print(f"{'module':<36}{'mutants':>8}{'killed':>8}{'timeout':>8}{'explained':>10}{'survive':>8}")
    for target, tally in tallies.items():
        counts = f"{tally.total:>8}{tally.killed:>8}{tally.timed_out:>8}{len(tally.explained):>10}{len(tally.survivors):>8}"
        print(f"{target.module:<36}{counts}")
    for target, tally in tallies.items():
        for mutant in sorted(tally.survivors, key=lambda m: m.number):
            print(f"SURVIVES {target.path}:{mutant.number}  {mutant.function}  {mutant.operator}\n  - {mutant.line}\n  + {mutant.becomes}")
    used = {e for tally in tallies.values() for e in tally.explained}
    idle = [e for e in explained if e not in used and any(e.module == target.module for target in tallies)]
    for explanation in idle:
        print(f"NOT NEEDED in survivors.toml: {explanation.module}: {explanation.line} -> {explanation.becomes}")
    total, left = sum(t.total for t in tallies.values()), sum(len(t.survivors) for t in tallies.values())
    known = sum(len(t.explained) for t in tallies.values())
    print(
        json.dumps({"mutants": total, "killed": total - left - known, "explained": known, "unexplained": left, "seconds": round(seconds)})
    )
    return 1 if left or idle else 0


if __name__ == "__main__":
    sys.exit(main())
