"""`cordon status`: does the line accept, and if not, why and what to do; for whoever may read the daemons' folder."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from edge.demonstration import WARNING
from edge.health.box import temperatures
from edge.health.look import FOLDER, look
from edge.health.report import Report, report
from edge.health.screen import page
from edge.setup.place import Place, Standing
from edge.toml import parse_toml

CONFIG = Path("/etc/cordon/cordon.toml")
STATUS = {"accepting": 0, "not_accepting": 1, "unknown": 2}
CLEAR = "\033[H\033[J"


def status_main(argv: Sequence[str]) -> int:
    """`cordon status [--json] [--watch]`: exit status 0 accepting, 1 not accepting, 2 unknown (no gate runs, or it cannot be read)."""
    parser = argparse.ArgumentParser(prog="cordon status", description=status_main.__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG, help=f"names the folder: that of gate.socket (default: {CONFIG})")
    parser.add_argument("--folder", type=Path, help=f"the folder itself (default: from the configuration, else {FOLDER})")
    parser.add_argument("--json", action="store_true", help="everything, in the shape of docs/status.schema.json")
    parser.add_argument("--watch", type=float, nargs="?", const=1.0, metavar="SECONDS", help="again and again, until interrupted")
    arguments = parser.parse_args(argv)
    folder = arguments.folder or folder_of(arguments.config)
    if Place(config=arguments.config).standing() is Standing.SIMULATORS:
        print(WARNING, file=sys.stderr)
    while True:
        found = report(look(folder), temperatures())
        _print(found, as_json=arguments.json, clear=arguments.watch is not None and sys.stdout.isatty())
        if arguments.watch is None:
            return STATUS[found.answer]
        time.sleep(max(0.1, arguments.watch))


def folder_of(config: Path) -> Path:
    """The folder of `gate.socket`. A configuration that cannot be read or is wrong elsewhere must not hide how things stand."""
    with suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
        gate = parse_toml(config.read_bytes())["gate"]
        if isinstance(gate, dict):
            return Path(str(gate["socket"])).parent
    return FOLDER


def _print(found: Report, *, as_json: bool, clear: bool) -> None:
    text = msgspec.json.encode(found).decode() if as_json else page(found)
    try:
        print(f"{CLEAR if clear else ''}{text}", flush=True)
    except BrokenPipeError:
        # Whoever read has enough; the interpreter must not complain about that at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
