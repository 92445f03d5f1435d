"""`cordon sim robot`: a simulated robot that works through a list of welds and prints what the gate said."""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from edge.config import NAME
from edge.errors import SimulationError
from edge.gate.messages import FEATURE_PARTS, KNOWN_FEATURES
from sim.robot import CaptureRequests, Robot
from sim.robot_protocol import RobotResult

_ASKED = ("welds", "parts")


def main(argv: Sequence[str]) -> int:
    """`cordon sim robot`: work through a list of welds; exit status 1 when the gate never became ready."""
    arguments = _parser().parse_args(argv)
    welds = read_welds(arguments.welds) if arguments.welds else _numbered(arguments.part, arguments.count)
    robot = Robot(
        link=arguments.link,
        port=arguments.port,
        baudrate=arguments.baudrate,
        profile=arguments.profile,
        framing=arguments.framing,
        # Without a recipe this command asks for no part verdicts, so it must not work with a gate that waits for them.
        knows=KNOWN_FEATURES if arguments.recipe else KNOWN_FEATURES & ~FEATURE_PARTS,
        must=FEATURE_PARTS if arguments.recipe else 0,
        budget_ms=arguments.budget_ms,
    )
    capture = CaptureRequests(arguments.capture) if arguments.capture else None
    try:
        with robot:
            print(f"robot on {arguments.link or robot.path}, profile {arguments.profile}, {len(welds)} welds", flush=True)
            _wait_for_gate(robot, arguments.wait_s)
            _work(robot, welds, capture, arguments)
            while arguments.stay:
                time.sleep(1.0)
    finally:
        if capture is not None:
            capture.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon sim robot", description=main.__doc__)
    line = parser.add_mutually_exclusive_group(required=True)
    line.add_argument("--link", type=Path, help="make a pseudo-terminal and this link to it; set gate.port to the link")
    line.add_argument("--port", help="a real serial device")
    parser.add_argument("--baudrate", type=int, default=115_200, help="of the real device (default %(default)s)")
    parser.add_argument("--profile", choices=["handshake", "push"], default="handshake", help="default %(default)s")
    parser.add_argument("--framing", choices=["crc", "twice"], default="crc", help="as gate.framing (default %(default)s)")
    parser.add_argument("--recipe", help="name this recipe, and ask for the part's verdict after the last weld of each part")
    parser.add_argument(
        "--budget-ms", type=float, default=200.0, help="the robot's own deadline, not below gate.budget_ms (default %(default)s)"
    )
    parser.add_argument("--interval-ms", type=float, default=0.0, help="time between two triggers (default: as fast as answers come)")
    parser.add_argument("--wait-s", type=float, default=120.0, help="how long to wait for the gate to be ready (default %(default)s)")
    parser.add_argument("--welds", type=Path, help="CSV with the columns part, weld and optionally typology and truth")
    parser.add_argument(
        "--challenge", type=Path, help="CSV as --welds: challenge parts, shown first and without a query for the whole part"
    )
    parser.add_argument("--count", type=int, default=10, help="without --welds: number of triggers (default %(default)s)")
    parser.add_argument("--part", default="P0001", help="without --welds: the part (default %(default)s)")
    parser.add_argument("--capture", help="ZeroMQ endpoint of the simulated camera's capture requests")
    parser.add_argument("--results", type=Path, help="write one JSON line per weld")
    parser.add_argument("--stay", action="store_true", help="keep the line alive after the last weld, until the command is ended")
    return parser


def read_welds(path: Path) -> list[dict[str, str]]:
    """The rows of a table of welds. Raises SimulationError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            welds = list(csv.DictReader(file))
    except OSError as exc:
        raise SimulationError(f"cannot read the welds {path}", seen=exc.strerror, remedy="Check --welds") from exc
    for number, weld in enumerate(welds, start=2):
        names = [weld.get("part") or "", weld.get("weld") or "", weld.get("typology") or "x"]
        if not all(NAME.match(name) for name in names):
            remedy = "part and weld (and typology, if any) are 1 to 24 of A-Z a-z 0-9 . _ -"
            raise SimulationError(f"{path}, line {number}, names no weld", seen=names, remedy=remedy)
    return welds


def _numbered(part: str, count: int) -> list[dict[str, str]]:
    return [{"part": part, "weld": f"W{number}"} for number in range(1, count + 1)]


def _wait_for_gate(robot: Robot, wait_s: float) -> None:
    if robot.wait_ready(wait_s):
        return
    protocol = robot.protocol
    refused = f"hello refused: {protocol.refused.value}" if protocol.refused else f"session {protocol.session}"
    state = protocol.state.value if protocol.state else "silent"
    remedy = "Look at the gate's log; profile and budgets must agree, and the inspector must be READY"
    raise SimulationError(f"the gate was not ready within {wait_s:g} s", seen=f"gate {state}, {refused}", remedy=remedy)


def _work(robot: Robot, welds: list[dict[str, str]], capture: CaptureRequests | None, arguments: argparse.Namespace) -> None:
    counts: Counter[str] = Counter()
    challenge = read_welds(arguments.challenge) if arguments.challenge else []
    results = arguments.results.open("w", encoding="utf-8") if arguments.results else None
    try:
        due_s = time.monotonic()
        for weld in [*challenge, *_plan(welds, arguments.recipe)]:
            robot.wait_session(5.0)
            result = _one(robot, weld, capture, arguments.recipe)
            what = "welds" if weld["weld"] else "parts"
            counts += Counter({what: 1, f"{what} answered": result.outcome is not None, f"{what} accepted": result.accepted})
            _tell(weld, result, results)
            due_s += arguments.interval_ms / 1e3
            time.sleep(max(0.0, due_s - time.monotonic()))
    finally:
        if results is not None:
            results.close()
    counters = robot.decoder.counters
    told = [f"{counts[what]} {what}, {counts[f'{what} answered']} answered, {counts[f'{what} accepted']} accepted" for what in _ASKED]
    print(f"{'; '.join(told[: 1 + bool(arguments.recipe)])}; {robot.protocol.anomalies} anomalies, {counters}")


def _tell(weld: dict[str, str], result: RobotResult, results: IO[str] | None) -> None:
    print(_table_row(weld, result), flush=True)
    if results is not None:
        results.write(json.dumps(_as_json(weld, result)) + "\n")
        results.flush()


def _plan(welds: list[dict[str, str]], recipe: str | None) -> list[dict[str, str]]:
    """The welds, and with a recipe an entry without a weld after each part's last one: the query for the whole part."""
    if recipe is None:
        return welds
    last = {weld["part"]: number for number, weld in enumerate(welds)}
    plan = [[weld, {"part": weld["part"], "weld": ""}] if last[weld["part"]] == number else [weld] for number, weld in enumerate(welds)]
    return [entry for entries in plan for entry in entries]


def _one(robot: Robot, weld: dict[str, str], capture: CaptureRequests | None, recipe: str | None) -> RobotResult:
    if recipe is not None and robot.protocol.recipe != recipe:
        refused = robot.change_over(recipe)
        if refused:
            print(f"change-over to {recipe}: {refused}", flush=True)
    if not weld["weld"]:
        return robot.finish_part(weld["part"])
    part, name, typology = weld["part"], weld["weld"], weld.get("typology") or None

    def ask(session: str | None, sequence: int | None) -> None:
        if capture is not None:
            capture.ask(session, sequence, part, name, typology)

    return robot.inspect(part, name, typology, after_trigger=ask)


def _table_row(weld: dict[str, str], result: RobotResult) -> str:
    latency = f"{result.latency_ms:8.2f} ms" if result.latency_ms is not None else "        -   "
    said = result.outcome.value if result.outcome else "-"
    does = "accept" if result.accepted else "reject"
    name = f"{result.part:<12}{result.weld or 'part':<8}{weld.get('typology') or '-':<6}"
    return f"{name}{said:<11}{result.reason:<17}{does:<8}{latency}  {weld.get('truth') or result.detail}"


def _as_json(weld: dict[str, str], result: RobotResult) -> dict[str, object]:
    return {
        "part": result.part,
        "weld": result.weld,
        "typology": weld.get("typology") or None,
        "truth": weld.get("truth") or None,
        "outcome": result.outcome.value if result.outcome else None,
        "reason": result.reason,
        "accepted": result.accepted,
        "latency_ms": result.latency_ms,
        "session": result.session,
        "sequence": result.sequence,
        "trigger_ns": result.trigger_ns,
        "verdict_ns": result.verdict_ns,
        "detail": result.detail,
    }
