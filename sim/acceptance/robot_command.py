"""`cordon sim accept-robot`: play the gate to a robot's real program, and print which rules of docs/robot-link.md it keeps."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.config import load_config
from edge.errors import ConfigError, CordonError
from sim.acceptance.findings import Report, line_of, today
from sim.acceptance.person import Person
from sim.acceptance.played_gate import PlayedGate
from sim.acceptance.robot import accept_robot, checks_for
from sim.acceptance.serial_port import Parity, is_pseudo_terminal, look_at_port
from sim.acceptance.trial import Nobody, Trial
from sim.robot_line import DeviceLine


@dataclass(frozen=True, kw_only=True)
class Link:
    """How the robot is wired: from the box's configuration where one is given, else from the options."""

    port: str
    baudrate: int
    parity: Parity
    framing: str
    budget_ms: float
    heartbeat_ms: float


def main(argv: Sequence[str]) -> int:
    """Stop cordon-gate first: the port is for one process. Let the robot run its cycle without parts. Exit status 1: a rule is broken."""
    arguments = _parser().parse_args(argv)
    try:
        report = _accept(arguments)
        for path in arguments.report:
            report.save(path)
    except CordonError as exc:
        print(f"cordon sim accept-robot: {exc}", file=sys.stderr)
        return 2
    print(report.summary())
    return 0 if report.accepted else 1


def _accept(arguments: argparse.Namespace) -> Report:
    link = _link(arguments)
    report = Report(subject=f"robot program on {link.port}", facts=_facts(link, arguments))
    report.findings += look_at_port(link.port, link.baudrate, link.parity, loopback=False)
    for finding in report.findings:
        print(line_of(finding), flush=True)
    if report.failures and report.findings[0].result == "FAIL":
        return report
    line = DeviceLine(link.port, link.baudrate, link.parity)
    try:
        framing = "twice" if link.framing == "twice" else "crc"
        recipes = bool(arguments.recipe)
        gate = PlayedGate(line, framing=framing, budget_ms=link.budget_ms, heartbeat_ms=link.heartbeat_ms, recipes=recipes)  # type: ignore[arg-type]
        observer = Person(gate) if arguments.watch else Nobody()
        trial = Trial(
            gate=gate,
            observer=observer,
            wait_s=arguments.wait_s,
            deadline_ms=arguments.deadline_ms,
            byte_ms=0.0 if is_pseudo_terminal(link.port) else (10 if link.parity == "none" else 11) / link.baudrate * 1e3,
            recipe=arguments.recipe,
        )
        every = checks_for(trial, by_hand=arguments.by_hand)
        checks = [check for check in every if not arguments.only or any(text in check.check for text in arguments.only)]
        return accept_robot(trial, checks, report, lambda text: print(text, flush=True))
    finally:
        line.close()


def _link(arguments: argparse.Namespace) -> Link:
    if arguments.config is None:
        if arguments.port is None:
            raise ConfigError("neither --config nor --port", remedy="Give the box's cordon.toml, or the serial device")
        return Link(
            port=arguments.port,
            baudrate=arguments.baudrate,
            parity=arguments.parity,
            framing=arguments.framing,
            budget_ms=arguments.budget_ms,
            heartbeat_ms=80.0,
        )
    gate = load_config(arguments.config).gate
    if (gate.link, gate.profile) != ("ascii", "handshake"):
        remedy = "Only robots of the handshake profile on the ASCII line are accepted so; docs/commissioning.md says what else to do"
        raise ConfigError("this robot cannot be accepted by the kit", seen=f"link {gate.link}, profile {gate.profile}", remedy=remedy)
    return Link(
        port=arguments.port or gate.port,
        baudrate=gate.baudrate,
        parity=gate.parity,
        framing=gate.framing,
        budget_ms=gate.budget_ms,
        heartbeat_ms=gate.heartbeat_ms,
    )


def _facts(link: Link, arguments: argparse.Namespace) -> dict[str, str]:
    return {
        "date": today(),
        "box": socket.gethostname(),
        "line": f"{link.port}, {link.baudrate} baud, parity {link.parity}, framing {link.framing}",
        "budget": f"{link.budget_ms:g} ms, heartbeat {link.heartbeat_ms:g} ms",
        "recipe": arguments.recipe or "none: parts are not finished",
        "what the robot did with the parts": "watched by a person" if arguments.watch else "not watched: only what it said was judged",
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon sim accept-robot", description=main.__doc__)
    parser.add_argument("--config", type=Path, help="the box's cordon.toml: port, baud rate, parity, framing and budget are taken from it")
    parser.add_argument("--port", help="the serial device (default: that of the configuration)")
    parser.add_argument("--baudrate", type=int, default=115_200, help="without --config (default %(default)s)")
    parser.add_argument("--parity", choices=["none", "even", "odd"], default="none", help="without --config (default %(default)s)")
    parser.add_argument("--framing", choices=["crc", "twice"], default="crc", help="without --config (default %(default)s)")
    parser.add_argument("--budget-ms", type=float, default=200.0, help="without --config: the gate's (default %(default)s)")
    parser.add_argument(
        "--deadline-ms", type=float, default=311.0, help="how long the robot waits, if its hello says 0 (default %(default)s)"
    )
    parser.add_argument("--recipe", default="", help="the recipe that the robot names: parts are looked at too")
    parser.add_argument("--wait-s", type=float, default=60.0, help="the longest pause between two questions (default %(default)s)")
    parser.add_argument("--watch", action="store_true", help="ask the person at the cell what the robot did with each weld")
    parser.add_argument("--by-hand", action="store_true", help="also: cable pulled, controller switched off; asks the person to do so")
    parser.add_argument("--only", action="append", default=[], help="rules whose name has this in it; may be given several times")
    parser.add_argument("--report", type=Path, action="append", default=[], help="write Markdown, or JUnit when the name ends in .xml")
    return parser
