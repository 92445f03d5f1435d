"""`cordon sim camera|robot|modbus-robot|welds|demo|accept-robot|accept-camera`: simulators, and the acceptance of real devices."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "camera": "sim.camera",
    "robot": "sim.robot_command",
    "modbus-robot": "sim.robot_modbus",
    "welds": "sim.dataset",
    "demo": "sim.demo",
    "accept-robot": "sim.acceptance.robot_command",
    "accept-camera": "sim.acceptance.camera_command",
}


def main(argv: Sequence[str]) -> int:
    """Hand over to the simulator named first; each explains itself with --help."""
    if not argv or argv[0] not in COMMANDS:
        print(f"usage: cordon sim {{{','.join(COMMANDS)}}} ...", file=sys.stderr)
        return 2
    simulator = import_module(COMMANDS[argv[0]])
    status: int = simulator.main(argv[1:])
    return status
