"""`cordon config check|show|example`: the box's configuration looked at before anything is started with it."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.config import read_config
from edge.errors import ConfigError, ConfigFileError

DEFAULT = Path("/etc/cordon/cordon.toml")


def config_main(argv: Sequence[str]) -> int:
    """`cordon config check [FILE]`: 0 when the daemons would take it (with warnings or not), 1 when they would not; `show`, `example`."""
    arguments = _parser().parse_args(argv)
    if arguments.action == "example":
        from edge.config.example import example  # noqa: PLC0415 - as each of the others

        print(example(), end="")
        return 0
    return _check(arguments.file, as_json=arguments.json) if arguments.action == "check" else _show(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon config", description="Check and show the configuration; it is only read.")
    actions = parser.add_subparsers(dest="action", required=True)
    check = actions.add_parser("check", help="name every mistake with its line, and what is doubtful on this machine")
    show = actions.add_parser("show", help="what the file gives, with its lines")
    show.add_argument("--effective", action="store_true", help="every key: its value, where that comes from, what it means")
    for action in (check, show):
        action.add_argument("file", nargs="?", type=Path, default=DEFAULT)
        action.add_argument("--json", action="store_true")
    actions.add_parser("example", help="a file with every key there is, to begin with")
    return parser


def _check(path: Path, *, as_json: bool) -> int:
    from edge.config.lines import lines_of  # noqa: PLC0415 - as above
    from edge.config.places import dotted  # noqa: PLC0415 - as above
    from edge.config_doubts import doubts  # noqa: PLC0415 - as above

    try:
        config, digest = read_config(path)
        found = doubts(config, path)
    except ConfigError as exc:
        if not as_json:
            raise
        print(json.dumps({"file": str(path), "ok": False, "mistakes": _mistakes(exc), "warnings": []}, indent=1))
        return 1
    lines = {dotted(where, numbers=True): line for where, line in lines_of(path.read_text("utf-8")).items()}
    rows: list[dict[str, Any]] = [
        {"line": lines.get(doubt.key), "key": doubt.key, "what": doubt.told, "remedy": doubt.remedy} for doubt in found
    ]
    if as_json:
        whole = {"file": str(path), "ok": True, "sha256": digest, "mistakes": [], "warnings": rows}
        print(json.dumps(whole, indent=1))
        return 0
    for row in rows:
        where = f"line {row['line']}: " if row["line"] else ""
        print(f"warning: {where}{row['key']}{': ' if row['key'] else ''}{row['what']}. {row['remedy']}", file=sys.stderr)
    warned = f"{len(rows)} warning{'s' * (len(rows) != 1)}"
    print(f"{path} is valid, {warned}; SHA-256 {digest}")
    return 0


def _mistakes(exc: ConfigError) -> list[dict[str, Any]]:
    if isinstance(exc, ConfigFileError):
        return [{"file": str(exc.path), **mistake._asdict()} for mistake in exc.mistakes]
    seen = None if exc.seen is None else str(exc.seen)
    return [{"file": None, "line": None, "key": "", "what": exc.what, "seen": seen, "remedy": exc.remedy}]


def _show(arguments: argparse.Namespace) -> int:
    from edge.config.show import as_json, as_toml, in_effect  # noqa: PLC0415 - as above

    try:
        data = arguments.file.read_bytes()
    except OSError as exc:
        raise ConfigError(
            f"cannot read the configuration {arguments.file}", seen=exc.strerror, remedy="Check the path and its rights"
        ) from exc
    shown = in_effect(arguments.file, data)
    if arguments.json:
        print(as_json(shown, everything=arguments.effective).decode())
        return 0
    print(f"# {arguments.file}, SHA-256 {hashlib.sha256(data).hexdigest()}\n")
    print(as_toml(shown, everything=arguments.effective), end="")
    return 0
