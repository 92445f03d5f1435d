"""The `cordon` command: finds the command word among the installed rooms and maps every error to one line and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

from edge.errors import CordonError

GROUP = "cordon.commands"
OWN = {
    "run": "edge.commands:run",
    "bundle": "edge.commands:bundle",
    "keys": "edge.commands:keys",
    "engine": "edge.engines.cli:main",
    "records": "edge.commands:records",
    "config": "edge.config_cli:config_main",
    "setup": "edge.setup.cli:main",
    "status": "edge.commands:status",
}
"""The box's own words. Asking the installed packages for theirs takes longer than all else at the gate's start."""
USAGE, FAILED, INTERRUPTED = 2, 1, 130
Command = Callable[[Sequence[str]], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cordon WORD ARGUMENTS...`; returns the exit status: 0 done, 1 refused with a reason, 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    target = OWN.get(words[0]) if words else None
    if target is None:
        commands = {**_installed(), **OWN}
        if not words or words[0] in ("-h", "--help"):
            print(f"usage: cordon {{{','.join(sorted(commands))}}} ...\n\nEach command explains itself with --help.")
            return 0 if words else USAGE
        target = commands.get(words[0])
        if target is None:
            print(f"cordon: no command {words[0]!r}; there are: {', '.join(sorted(commands))}", file=sys.stderr)
            return USAGE
    try:
        return _run(words[0], target, words[1:])
    except CordonError as exc:
        print(f"cordon {words[0]}: {type(exc).__name__}: {exc}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _installed() -> dict[str, str]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - a quarter of the gate's start, which needs none of it

    return {point.name: point.value for point in entry_points(group=GROUP)}


def _run(word: str, target: str, rest: list[str]) -> int:
    module, _, name = target.partition(":")
    try:
        # Commands import what takes seconds only after their --help.
        return cast("Command", getattr(import_module(module), name))(rest)
    except ModuleNotFoundError as exc:
        raise CordonError(
            f"`cordon {word}` needs a package that is not installed here",
            seen=exc.name,
            remedy=f"Install cordon[{'train' if word in ('train', 'sim') else 'export'}], or run it on the machine that has it",
        ) from exc
