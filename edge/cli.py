"""The `cordon` command: finds the command word among the installed rooms and maps every error to one line and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from edge.errors import CordonError

GROUP = "cordon.commands"
USAGE, FAILED, INTERRUPTED = 2, 1, 130
Command = Callable[[Sequence[str]], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cordon WORD ARGUMENTS...`; returns the exit status: 0 done, 1 refused with a reason, 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    commands = {point.name: point for point in entry_points(group=GROUP)}
    if not words or words[0] in ("-h", "--help"):
        print(f"usage: cordon {{{','.join(sorted(commands))}}} ...\n\nEach command explains itself with --help.")
        return 0 if words else USAGE
    point = commands.get(words[0])
    if point is None:
        print(f"cordon: no command {words[0]!r}; there are: {', '.join(sorted(commands))}", file=sys.stderr)
        return USAGE
    try:
        return _load(point)(words[1:])
    except CordonError as exc:
        print(f"cordon {words[0]}: {type(exc).__name__}: {exc}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _load(point: EntryPoint) -> Command:
    try:
        return cast("Command", point.load())
    except ModuleNotFoundError as exc:
        raise CordonError(
            f"`cordon {point.name}` needs a package that is not installed here",
            seen=exc.name,
            remedy=f"Install cordon[{'train' if point.name in ('train', 'sim') else 'export'}], or run it on the machine that has it",
        ) from exc
