"""What the cell under test consists of: real devices where options name them, simulators on pseudo-terminals and sockets elsewhere.

`python -m pytest tests/hil --serial /dev/robot --robot-port /dev/ttyUSB1 --camera tcp://192.168.1.20:5555`; docs/commissioning.md explains.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from budget_kit import BUDGETS, Budgets, Measured, load_budgets
from equipment_kit import Equipment

OPTIONS: dict[str, str] = {
    "--serial": "the gate's real serial port",
    "--robot-port": "a second real port, wired to the first by a null-modem cable: the simulated robot works on it",
    "--robot": "nothing simulated: a real robot program works at the other end of --serial (its name, for the papers)",
    "--parity": "of --serial: none, even or odd",
    "--recipe": "the recipe that the real robot names",
    "--camera": "a real camera program's endpoint, such as tcp://192.168.1.20:5555",
    "--camera-name": "its name (default cam0)",
    "--camera-key": "its CURVE public key",
    "--box-key": "file of the box's CURVE key",
    "--camera-requests": "ZeroMQ address where the real camera program takes requests for exposures, if it does",
    "--config": "the box's cordon.toml (only read): the records of the running cell are watched",
    "--budgets": "TOML file whose limits take the place of those in tests/hil/budgets.toml",
    "--papers": "folder for the pages to file",
}
FLAGS: dict[str, str] = {
    "--loopback": "a loop-back plug sits in --serial",
    "--watch": "ask what the robot did with each weld (needs -s)",
    "--by-hand": "ask for cables to be pulled and programs to be restarted (needs -s)",
}
NUMBERS: dict[str, tuple[int, str]] = {
    "--baudrate": (115_200, "of --serial (default %(default)s)"),
    "--verdicts": (50, "with --config: how many verdicts of the running cell are watched (default %(default)s)"),
}
_measured = pytest.StashKey[list[Measured]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cell", "hardware in the loop (tests/hil)")
    for name, text in OPTIONS.items():
        group.addoption(name, dest=_dest(name), default="", help=text)
    for name, text in FLAGS.items():
        group.addoption(name, dest=_dest(name), action="store_true", help=text)
    for name, (number, text) in NUMBERS.items():
        group.addoption(name, dest=_dest(name), type=int, default=number, help=text)


def _dest(name: str) -> str:
    """Apart from pytest's own options."""
    return "cell_" + name.lstrip("-").replace("-", "_")


@pytest.fixture(scope="session")
def equipment(pytestconfig: pytest.Config) -> Equipment:
    # With `pytest` and no folder this file is read too late for its options to exist: nothing is real then.
    def text(name: str) -> str:
        return str(pytestconfig.getoption(_dest(name), ""))

    def flag(name: str) -> bool:
        return bool(pytestconfig.getoption(_dest(name), default=False))

    def number(name: str) -> int:
        return int(pytestconfig.getoption(_dest(name), NUMBERS[name][0]))

    return Equipment(
        serial=text("--serial"),
        robot_port=text("--robot-port"),
        robot=text("--robot"),
        baudrate=number("--baudrate"),
        parity=text("--parity") or "none",  # type: ignore[arg-type]
        loopback=flag("--loopback"),
        recipe=text("--recipe"),
        camera=text("--camera"),
        camera_name=text("--camera-name") or "cam0",
        camera_key=text("--camera-key"),
        box_key=text("--box-key"),
        camera_requests=text("--camera-requests"),
        config=Path(text("--config")) if text("--config") else None,
        verdicts=number("--verdicts"),
        watch=flag("--watch"),
        by_hand=flag("--by-hand"),
        papers=Path(text("--papers")) if text("--papers") else None,
    )


@pytest.fixture(scope="session")
def budgets(pytestconfig: pytest.Config) -> Budgets:
    own = str(pytestconfig.getoption(_dest("--budgets"), ""))
    measured = pytestconfig.stash.setdefault(_measured, [])
    return Budgets(load_budgets(BUDGETS, *([Path(own)] if own else [])), measured)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    measured = config.stash.get(_measured, [])
    if measured:
        terminalreporter.write_sep("-", "budgets of the cell")
        for line in Measured.table(measured):
            terminalreporter.write_line(line)
