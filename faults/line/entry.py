"""`python -m faults.line.entry CONFIG ORDERS`: the real inspector whose engines, or whose judgement, go wrong when a file orders it.

The orders are JSON: `mode` (below), `after` (engine runs that still go well), `ms`, `member`. An absent or empty file: nothing is wrong.
Only the engines' runtime and, for planted defects, one function are replaced; everything else is the product.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract import Report
from edge.inspector import daemon, remembered
from edge.inspector.engines import openvino

STILL_S = 2.0
"""A hung engine ends this inspector after two seconds instead of thirty."""


class Orders:
    """The file, read again whenever it changed."""

    def __init__(self, path: Path) -> None:
        self._path, self._stamp, self._left = path, 0, 0
        self._now: dict[str, Any] = {}

    def now(self) -> dict[str, Any]:
        """The order in force."""
        try:
            stamp = self._path.stat().st_mtime_ns
        except OSError:
            return {}
        if stamp != self._stamp:
            self._stamp, self._now = stamp, json.loads(self._path.read_text())
            self._left = int(self._now.get("after", 0))
        return self._now

    def due(self, member: str) -> dict[str, Any]:
        """The order as far as this run of `member` has to obey it."""
        order = self.now()
        if not order or order.get("member", member) != member:
            return {}
        self._left -= 1
        return order if self._left < 0 else {}


class FaultyRequest:
    """OpenVINO's request, with the ordered fault before or after its work."""

    def __init__(self, request: Any, member: str, output: NDArray[np.float32], orders: Orders) -> None:
        self._request, self._member, self._output, self._orders = request, member, output, orders

    def start_async(self) -> None:
        """Begin, or die."""
        self._order = self._orders.due(self._member)
        _strike(self._order)
        self._request.start_async()

    def wait(self) -> None:
        """Finish, and falsify."""
        self._request.wait()
        values = self._order.get("output")
        if values is not None:
            self._output[:] = [float(value) for value in values]


def _strike(order: dict[str, Any]) -> None:
    mode = order.get("mode", "")
    if mode == "throw":
        raise RuntimeError(order.get("text", "Exception from src/inference: ordered by the fault file"))
    if mode == "hang":
        while True:
            time.sleep(1000)
    if mode == "slow":
        time.sleep(float(order["ms"]) / 1000)
    if mode in ("SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS"):
        os.kill(os.getpid(), getattr(signal, mode))


def arm(orders: Orders) -> None:
    """Replace what may go wrong."""

    class Engine(openvino.Engine):
        def __init__(self, member: Any, request: Any, memory: Any, tensors: Any) -> None:
            faulty = FaultyRequest(request, member.name, memory[member.output][0], orders)
            super().__init__(member, faulty, memory, tensors)

    openvino.Engine = Engine  # type: ignore[misc]
    inside: Any = daemon
    inside.STILL_S = STILL_S
    honest = inside.report_of

    def report_of(*details: Any) -> Report:
        report = honest(*details)
        return _falsified(report, orders.now().get("planted", ""), expected)

    expected: list[Any] = []
    receive = inside.InspectorDaemon._receive_expectation  # noqa: SLF001 - a planted defect sits inside

    def remember(self: Any) -> Any:
        newest = receive(self)
        if newest is not None:
            expected[:] = [newest]
        return newest

    inside.report_of = report_of
    inside.InspectorDaemon._receive_expectation = remember  # noqa: SLF001
    if orders.now().get("planted") == "forgetful":
        remembered.REMEMBERED = 1


def _falsified(report: Report, planted: str, expected: list[Any]) -> Report:
    """What an inspector with this planted defect would report."""
    if planted == "unbound" and expected:
        named = expected[0]
        return msgspec.structs.replace(report, trigger=named.trigger, part=named.part, weld=named.weld)
    if planted == "blind":
        return msgspec.structs.replace(report, score=0.0)
    return report


def main(argv: list[str]) -> int:
    """Run the inspector with its orders."""
    config, orders = Path(argv[0]), Orders(Path(argv[1]))
    arm(orders)
    return daemon.run_inspector(config)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
