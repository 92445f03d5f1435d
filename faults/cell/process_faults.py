"""Processes that die, stop, hang or are asked to end, at every step of a cycle (C10, E01, E02, E10, E11)."""

from __future__ import annotations

import random
import signal
import time

from faults.cell.campaign import Share, counted, everything, require, side_by_side
from faults.cell.cell import QUICK_TIMES, Cell
from faults.cell.reaction import FAULTS, NEVER_MS, NOTICE_MS, SERVING_MS, Times, notice, serving_again
from faults.cell.wire import swallowing
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_cell_processes.py"
STOP_LIMIT_S = 5.0
"""A gate asked to end has ended by then; service managers wait much longer."""
BURST = 5
"""Starts after which the service manager gives up."""


@injects("E01", test=TEST)
def inspector_killed(effort: Effort) -> Result:
    """SIGKILL before, during and after the judging: a verdict leaves inside the budget every time."""
    return side_by_side(effort, 4_000, _inspector_killed)


def _inspector_killed(share: Share) -> Result:
    dice = share.random()
    with Cell(share.folder) as cell:
        times = inspector_kills(cell, share.times, dice)
        found = cell.finish()
    budget_ms = cell.number("budget_ms")
    outside = [ms for ms in times.ms if ms > budget_ms]
    why = sorted({result.reason for result in cell.books.results if result.latency_ms is None or result.latency_ms > budget_ms})
    require(found, not outside, f"{len(outside)} of {len(times.ms)} verdicts outside the budget after a kill, for the robot: {why}")
    require(found, len(times.ms) == share.times, f"only {len(times.ms)} of {share.times} kills were followed by a verdict")
    worst = max((ms for ms in times.ms if ms < NEVER_MS), default=None)
    return found.result(len(times.ms), worst_ms=worst, counter=counted(everything(found), "verdict INSPECTOR_DOWN", "verdict OK"))


def inspector_kills(cell: Cell, times: int, dice: random.Random) -> Times:
    """Kill so many inspectors, each with a weld on the way; how long each of these welds' verdicts took, as the robot sees it."""
    taken = Times()
    tries = 0
    while len(taken.ms) < times and tries < 4 * times:
        tries += 1
        if not cell.inspectors.alive:
            cell.new_inspector()
            cell.robot.pump_for(0.002)
        way = dice.randrange(3)
        if way == 0:
            cell.robot.pump_for(dice.uniform(0.0, 0.003))
            cell.inspectors.send(signal.SIGKILL)
        how = ("", f"d{dice.randrange(2_000)}", f"e{dice.randrange(1_000)}")[way]
        result = cell.cycle(bad=dice.random() < 0.5, how=how)
        if way == 2:
            # It lives on for up to a ms after its report; a weld begun now falls into that time.
            cell.robot.pump_for(0.001)
        if result is not None and not cell.inspectors.alive:
            taken.ms.append(result.latency_ms if result.latency_ms is not None else NEVER_MS)
    return taken


@injects("E01", test=TEST)
def inspector_stopped(effort: Effort) -> Result:
    """SIGSTOP for 0 to 0.4 s with welds on the way, then SIGCONT: what it says late is recorded as late and used for nothing."""
    return side_by_side(effort, 80, _inspector_stopped)


def _inspector_stopped(share: Share) -> Result:
    dice, worst_ms = share.random(), 0.0
    with Cell(share.folder, QUICK_TIMES) as cell:
        for number in range(share.times):
            cell.make_ready()
            cell.open(bad=dice.random() < 0.5, how=f"s{dice.randrange(4)}")
            cell.robot.pump_for(dice.uniform(0.0, 0.003))
            cell.inspectors.send(signal.SIGSTOP)
            until_s = time.monotonic() + dice.uniform(0.0, 0.4)
            while time.monotonic() < until_s:
                result = cell.robot.finish() if cell.robot.protocol.open else cell.cycle(bad=number % 2 == 0)
                worst_ms = max(worst_ms, result.latency_ms or 0.0) if result is not None else worst_ms
            cell.inspectors.send(signal.SIGCONT)
            cell.robot.finish()
        found = cell.finish()
    return found.result(share.times, worst_ms=worst_ms, counter=counted(everything(found), "event 'frame FRAME_LATE'", "verdict NO_FRAME"))


@injects("E01", test=TEST)
def inspector_garbage(effort: Effort) -> Result:
    """Bytes that are no message, cut ones, too long ones for a report: the connection ends, the weld is rejected, the next is judged."""
    return side_by_side(effort, 400, _inspector_garbage)


def _inspector_garbage(share: Share) -> Result:
    dice, wrong = share.random(), 0
    with Cell(share.folder, QUICK_TIMES) as cell:
        for number in range(share.times):
            cell.make_ready()
            result = cell.cycle(bad=False, how=f"g{number % 5}")
            wrong += result is None or result.accepted
            cell.robot.pump_for(0.003)
            cell.cycle(bad=dice.random() < 0.5)
        found = cell.finish()
    require(found, wrong == 0, f"{wrong} welds were not rejected although their inspector sent garbage")
    return found.result(share.times, counter=counted(everything(found), "event 'inspector INSPECTOR_DOWN'", "verdict INSPECTOR_DOWN"))


KILLS = ("idle", "sent", "k", "r", "read", "confirmed")


@injects("C10", "E01", test=TEST)
def gate_killed(effort: Effort) -> Result:
    """SIGKILL of the gate at each step: idle, trigger sent, frame judged, committing or sending, verdict read, confirmed."""
    return side_by_side(effort, 200, _gate_killed)


def _gate_killed(share: Share) -> Result:
    dice = share.random()
    with Cell(share.folder) as cell:
        for number in range(share.times):
            cell.make_ready()
            for _ in range(3):
                cell.cycle(bad=dice.random() < 0.5)
            old = cell.robot.protocol.session
            cell.note_kill()
            _kill_at(cell, KILLS[number % len(KILLS)], dice)
            cell.robot.pump_for(dice.uniform(0.0, 0.002))
            cell.gate.kill()
            cell.respawn()
            cell.await_session_after(old)
        cell.make_ready()
        found = cell.finish()
    require(found, found.done["GATE_RESTARTED"] > 0 or share.times < 12, "no trigger was closed by the next gate")
    note = f"{found.unrecorded_rejects} rejects left before their row, as I2 allows" if found.unrecorded_rejects else ""
    return found.result(share.times, counter=counted(everything(found), "disposition GATE_RESTARTED", "verdict GATE_RESTARTED"), note=note)


def _kill_at(cell: Cell, step: str, dice: random.Random) -> None:
    bad = dice.random() < 0.4
    if step in ("k", "r"):
        cell.open(bad=bad, how=f"{step}{dice.randrange(1_500)}")
        cell.robot.pump_until(lambda: cell.gate.ended() is not None, 1.0)
    elif step == "read":
        cell.relay.to_gate = swallowing(b"$RA,")
        cell.cycle(bad=bad)
        cell.relay.heal()
    elif step == "confirmed":
        cell.cycle(bad=bad)
    elif step == "sent":
        cell.open(bad=bad, how="s1")
    cell.gate.send(signal.SIGKILL)


@injects("E02", test=TEST)
def gate_serves_again(effort: Effort) -> Result:
    """SIGKILL of the gate, started again at once: the time until the next session is open."""
    return side_by_side(effort, 100, _gate_serves_again, jobs=1)


def _gate_serves_again(share: Share) -> Result:
    dice, times = share.random(), Times()
    with Cell(share.folder) as cell:
        for _ in range(share.times):
            times.ms.append(serving_again(cell, dice))
        cell.make_ready()
        cell.cycle(bad=False)
        found = cell.finish()
    p99 = times.at(0.99)
    require(found, p99 <= SERVING_MS or share.name == "quick", f"p99 {p99:.0f} ms from kill to serving, bar {SERVING_MS:.0f} ms")
    note = f"kill to session: p50 {times.at(0.5):.0f} ms, p99 {p99:.0f} ms"
    return found.result(share.times, worst_ms=times.worst, note=note, counter=counted(everything(found), "event 'gate'"))


@injects("E01", "E02", "C01", test=TEST)
def robot_notices(effort: Effort) -> Result:
    """Gate killed or stopped, cable pulled, inspector killed, stopped or hanging: the time until the robot knows that it must reject."""
    return side_by_side(effort, 120, _robot_notices)


def _robot_notices(share: Share) -> Result:
    dice = share.random()
    kinds = list(FAULTS)
    times = {kind: Times() for kind in kinds}
    with Cell(share.folder) as cell:
        for number in range(share.times):
            kind = kinds[number % len(kinds)]
            times[kind].ms.append(notice(cell, kind, dice))
        found = cell.finish()
    for kind, taken in times.items():
        over = taken.worst > NOTICE_MS and share.name != "quick"
        require(found, not over, f"{kind}: the robot knew after {taken.worst:.0f} ms, bar {NOTICE_MS:.0f} ms")
    worst = max(taken.worst for taken in times.values())
    rows = {"E01": share.times // 2, "E02": share.times // 3, "C01": share.times // 6}
    rows = {row: max(1, count) for row, count in rows.items()}
    return found.result(
        share.times, worst_ms=worst, injections_by_row=rows, counter=counted(everything(found), "event 'inspector INSPECTOR_DOWN'")
    )


@injects("E10", test=TEST)
def restart_storm(effort: Effort) -> Result:
    """The gate dies during its start, five times in a row, at random moments; then the service manager gives up for a while."""
    return side_by_side(effort, 24, _restart_storm)


def _restart_storm(share: Share) -> Result:
    dice, passed = share.random(), 0
    with Cell(share.folder) as cell:
        for _ in range(share.times):
            cell.make_ready()
            cell.open(bad=False, how="s9")
            old = cell.robot.protocol.session
            cell.kill_gate()
            for _ in range(BURST):
                cell.respawn()
                cell.robot.pump_for(dice.uniform(0.0, 0.3))
                cell.kill_gate()
            cell.robot.pump_for(0.3)
            passed += not cell.robot.rejecting
            cell.respawn()
            cell.await_session_after(old)
            cell.cycle(bad=dice.random() < 0.5)
        found = cell.finish()
    require(found, passed == 0, f"{passed} times the robot did not reject although no gate ran")
    return found.result(share.times * BURST, counter=counted(everything(found), "disposition GATE_RESTARTED", "event 'gate'"))


@injects("E11", test=TEST)
def asked_to_end(effort: Effort) -> Result:
    """SIGTERM at random moments of a cycle: the open weld is rejected and recorded, the exit status is 0, and it comes in time."""
    return side_by_side(effort, 120, _asked_to_end)


def _asked_to_end(share: Share) -> Result:
    dice, worst_s, codes = share.random(), 0.0, []
    with Cell(share.folder) as cell:
        for number in range(share.times):
            cell.make_ready()
            old = cell.robot.protocol.session
            how = f"{'tu'[number % 2]}{dice.randrange(2_000)}"
            cell.open(bad=dice.random() < 0.5, how=how)
            begun_s = time.monotonic()
            cell.robot.pump_until(lambda: cell.gate.ended() is not None, STOP_LIMIT_S)
            worst_s = max(worst_s, time.monotonic() - begun_s)
            code = cell.gate.ended()
            codes.append(code)
            if code is None:
                cell.kill_gate()
            cell.robot.finish()
            cell.respawn()
            cell.await_session_after(old)
        cell.make_ready()
        found = cell.finish()
    require(found, set(codes) == {0}, f"exit statuses {sorted(set(codes), key=str)}")
    seen = counted(everything(found), "verdict GATE_RESTARTED", "disposition GATE_RESTARTED")
    return found.result(share.times, worst_ms=worst_s * 1e3, note="worst: from SIGTERM to the end of the process", counter=seen)
