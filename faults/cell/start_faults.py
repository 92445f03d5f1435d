"""Starts that must fail: a second gate on the port, and every dependency of the gate missing or unusable (C13, E12, E05)."""

from __future__ import annotations

import os
import resource
import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from edge.errors import SimulationError
from faults.cell.campaign import Share, counted, everything, require, side_by_side
from faults.cell.cell import START_S, Cell, write_config
from faults.cell.gate import REAL
from faults.cell.launch import NOBODY, Ended, limited, run
from faults.registry import Effort, Result, Skipped, injects

TEST = "tests/faults/test_cell_start.py"


LIMITED_S = 3.0
"""A gate under a limit that answers and has not said READY by then does not."""


def _start(config: Path) -> Ended:
    return run((*REAL, "--config", str(config)))


@injects("C13", test=TEST)
def second_gate(effort: Effort) -> Result:
    """Another gate with records and socket of its own on the same port: it exits with PortBusyError, and the first one goes on."""
    return side_by_side(effort, 60, _second_gate)


def _second_gate(share: Share) -> Result:
    dice = share.random()
    wrong = []
    with Cell(share.folder / "c") as cell:
        other = share.folder / "other"
        other.mkdir()
        for number in range(share.times):
            config = write_config(other, {"port": cell.wire.path if number % 2 else cell.wire.path.resolve()})
            ended = _start(config)
            if not (ended.clear and "PortBusyError" in ended.text):
                wrong.append(f"second gate: {ended}")
            for _ in range(5):
                cell.cycle(bad=dice.random() < 0.5)
        found = cell.finish()
    found.failures += wrong
    require(found, found.accepted > 0, "the first gate accepted nothing beside the second one")
    return found.result(share.times, counter=counted(everything(found), "verdict OK"), note="exit status 1, PortBusyError")


Break = Callable[[Path, ExitStack], dict[str, object]]


def _port_is_a_file(folder: Path, _: ExitStack) -> dict[str, object]:
    (folder / "plain").write_bytes(b"")
    return {"port": folder / "plain"}


def _records_below_a_file(folder: Path, _: ExitStack) -> dict[str, object]:
    (folder / "plain").write_bytes(b"")
    return {"records": folder / "plain" / "records.db"}


def _records_are_a_folder(folder: Path, _: ExitStack) -> dict[str, object]:
    (folder / "records.db").mkdir()
    return {}


def _socket_is_a_file(folder: Path, _: ExitStack) -> dict[str, object]:
    (folder / "gate.sock").write_bytes(b"keep me")
    return {}


def _socket_below_a_file(folder: Path, _: ExitStack) -> dict[str, object]:
    (folder / "plain").write_bytes(b"")
    return {"socket": folder / "plain" / "gate.sock"}


def _socket_is_taken(folder: Path, stack: ExitStack) -> dict[str, object]:
    listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    listener.bind(str(folder / "gate.sock"))
    listener.listen(1)
    return {}


BROKEN: dict[str, tuple[str, Break]] = {
    "no port": ("PortMissingError", lambda folder, _: {"port": folder / "nothing"}),
    "port is a file": ("LinkError", _port_is_a_file),
    "records below a file": ("StorageError", _records_below_a_file),
    "records are a folder": ("StorageError", _records_are_a_folder),
    "socket is a file": ("ConfigError", _socket_is_a_file),
    "socket below a file": ("ConfigError", _socket_below_a_file),
    "socket is taken": ("ConfigError", _socket_is_taken),
    "budget out of range": ("ConfigError", lambda _folder, _stack: {"budget_ms": 1.0}),
    "unknown key": ("ConfigError", lambda _folder, _stack: {"always_accept": True}),
}


@injects("E12", test=TEST)
def partly_failed_start(effort: Effort) -> Result:
    """Port, records folder, socket or configuration unusable: exit status 1 and one clear error; once mended, the same cell serves."""
    return side_by_side(effort, 36, _partly_failed_start)


def _partly_failed_start(share: Share) -> Result:
    dice, wrong = share.random(), []
    names = list(BROKEN)
    with Cell(share.folder / "c") as cell:
        for number in range(share.times):
            name = names[(number + share.seed) % len(names)]
            # The port must not be held: the first things opened come first.
            wrong += _try_broken(share.folder / "b", name, cell)
            cell.cycle(bad=dice.random() < 0.5)
        found = cell.finish()
    found.failures += wrong
    return found.result(
        share.times, counter=counted(everything(found), "event 'gate'"), note="exit status 1 and the error's name on stderr"
    )


def _try_broken(folder: Path, name: str, cell: Cell) -> list[str]:
    expected, prepare = BROKEN[name]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with ExitStack() as stack:
        spare, far = os.openpty()
        stack.callback(os.close, spare)
        stack.callback(os.close, far)
        settings = {"port": Path(os.ttyname(far)), **prepare(folder, stack)}
        ended = _start(write_config(folder, settings))
    problems = [] if ended.clear and expected in ended.text else [f"{name}: expected {expected}, got {ended}"]
    if cell.gate.ended() is not None:
        problems.append(f"{name}: the other gate ended too")
    return problems


@injects("E05", test=TEST)
def too_few_files(effort: Effort) -> Result:
    """Starts with room for 3 to 40 open files: it serves, or ends before it says READY; never anything between."""
    return side_by_side(effort, 60, _too_few_files)


def _too_few_files(share: Share) -> Result:
    notes: dict[str, int] = {}
    wrong: list[str] = []
    for number in range(share.times):
        files = 3 + (number * 7 + share.seed) % 38
        _limited_start(share.folder / "c", limited(REAL, resource.RLIMIT_NOFILE, files), f"{files} files", notes, wrong)
    return Result(injections=share.times, failures=tuple(wrong), note=_told(notes))


@injects("E05", test=TEST)
def too_few_threads(effort: Effort) -> Result:
    """Starts as a user who may have 1 to 4 threads: it serves, or ends before it says READY."""
    if os.getuid() != 0:
        raise Skipped("limits of threads need a user without rights to start the gate as: run as root")
    return side_by_side(effort, 12, _too_few_threads)


def _too_few_threads(share: Share) -> Result:
    notes: dict[str, int] = {}
    wrong: list[str] = []
    for number in range(share.times):
        command = limited(REAL, resource.RLIMIT_NPROC, 1 + number % 4, user=NOBODY)
        _limited_start(share.folder / "c", command, f"{1 + number % 4} threads", notes, wrong)
    return Result(injections=share.times, failures=tuple(wrong), note=_told(notes))


@injects("E04", test=TEST)
def too_little_memory(effort: Effort) -> Result:
    """Starts with 8 to 512 MB of address space: it serves, or ends before it says READY."""
    return side_by_side(effort, 40, _too_little_memory)


def _too_little_memory(share: Share) -> Result:
    dice = share.random()
    notes: dict[str, int] = {}
    wrong: list[str] = []
    for _ in range(share.times):
        megabytes = int(8 * 64 ** dice.random())
        _limited_start(share.folder / "c", limited(REAL, resource.RLIMIT_AS, megabytes << 20), f"{megabytes} MB", notes, wrong)
    return Result(injections=share.times, failures=tuple(wrong), note=_told(notes))


def _limited_start(folder: Path, command: tuple[str, ...], what: str, notes: dict[str, int], wrong: list[str]) -> None:
    """Start once under a limit; a gate that serves must judge, one that does not must have ended by itself."""
    shutil.rmtree(folder, ignore_errors=True)
    cell = Cell(folder, command=command)
    folder.chmod(0o777)
    if os.getuid() == 0:
        os.fchown(cell.wire.slave, NOBODY, NOBODY)
    try:
        cell.inspectors.fresh()
        cell.gate.start()
        cell.robot.pump_until(lambda: cell.robot.protocol.session is not None or cell.gate.ended() is not None, START_S)
        cell.robot.pump_until(lambda: cell.robot.ready or cell.gate.ended() is not None, LIMITED_S)
        outcome = _outcome(cell, what, wrong)
    finally:
        cell.close()
    notes[outcome] = notes.get(outcome, 0) + 1


def _outcome(cell: Cell, what: str, wrong: list[str]) -> str:
    status = cell.gate.ended()
    if status is None and cell.robot.ready:
        try:
            results = [cell.cycle(bad=bad) for bad in (False, True)]
        except SimulationError:
            return "ended by an exception" if cell.gate.ended() else "hung"
        if cell.gate.ended() is None and [result is not None and result.accepted for result in results] != [True, False]:
            wrong.append(f"{what}: it says READY, the verdicts are {results}")
        return "served"
    if status is None and cell.robot.protocol.session is not None:
        result = cell.cycle(bad=False)
        if result is None or result.accepted or result.outcome is None:
            wrong.append(f"{what}: not READY, and the verdict is {result}")
        return "answered REJECT"
    if status is None:
        wrong.append(f"{what}: neither serves nor ends; log {cell.gate.log_text()[-300:]}")
        return "hung"
    if status == 0 or cell.robot.rejecting is False:
        wrong.append(f"{what}: ended with {status} and the robot does not reject")
    return "refused clearly" if "cordon run: " in cell.gate.log_text() else "ended by an exception"


def _told(notes: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(notes.items()))
