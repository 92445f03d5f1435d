"""The person at the cell: asked on the terminal, while the kit goes on serving the line."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable

from sim.acceptance.played_gate import PlayedGate

PATIENCE_S = 3_600.0


class Person:
    """Asks what the robot did with each weld; every answer but a clear one counts as not looked."""

    def __init__(self, gate: PlayedGate, read: Callable[[], str] | None = None) -> None:
        self._gate, self._read = gate, read or self._from_terminal

    def let_pass(self, part: str, weld: str) -> bool | None:
        """Did it treat the weld (or, with no weld, the part) as accepted?"""
        what = f"weld {weld} of part {part}" if weld else f"part {part}"
        answer = self._ask(f"  Did the robot let {what} pass? [y]es, [n]o, Enter: not looked: ").lower()
        return {"y": True, "n": False}.get(answer[:1])

    def do(self, what: str) -> bool:
        """Have it done; `s` leaves it out."""
        return not self._ask(f"  {what}\n  Enter when done, s to leave it out: ").lower().startswith("s")

    def _ask(self, question: str) -> str:
        print(question, end="", flush=True)
        return self._read().strip()

    def _from_terminal(self) -> str:
        poll = select.poll()
        poll.register(sys.stdin.fileno(), select.POLLIN)
        self._gate.pump(PATIENCE_S, lambda: bool(poll.poll(0)))
        return sys.stdin.readline()
