"""`cordon records verify|list|show|acknowledge|quarantine`: prove the record, ask it about a part, let the gate accept again."""

from __future__ import annotations

import argparse
import hashlib
import os
import pwd
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edge.config import load_config
from edge.demonstration import WARNING
from edge.gate.audit import of_demonstration, read_part, verify_chain
from edge.gate.disk import MIB
from edge.gate.latch import Latch
from edge.gate.listing import list_files
from edge.gate.machine import boot_id
from edge.gate.quarantine import quarantine

_WORDS = {
    "verify": "compute every hash again",
    "list": "the files of the record, what is in them, and whether it was exported",
    "acknowledge": "somebody looked at what latched the gate: let it accept again",
    "quarantine": "rename a damaged file and start a new one",
}
DEFAULT_CONFIG = Path("/etc/cordon/cordon.toml")


def records_main(argv: Sequence[str]) -> int:
    """Run one of the words; returns 0, or 1 when a part is unknown. Raises RecordError and ConfigError."""
    arguments = _parser().parse_args(argv)
    path = arguments.file or arguments.records or load_config(arguments.config).gate.records
    if arguments.action == "verify":
        return _verify(path)
    if arguments.action == "list":
        return _list(path)
    if arguments.action == "acknowledge":
        return _acknowledge(path)
    if arguments.action == "quarantine":
        config = hashlib.sha256(arguments.config.read_bytes()).hexdigest() if arguments.config.is_file() else ""
        print(f"{path} is now {quarantine(path, boot=boot_id(), config=config)}; a new, empty file was started")
        return 0
    found = read_part(path, arguments.part)
    for trigger in found:
        print(msgspec.json.encode(trigger).decode() if arguments.json else _one_line(_told(trigger)))
    if not found:
        print(f"no trigger of part {arguments.part} in {path}")
    _warn(path)
    return 0 if found else 1


def _verify(path: Path) -> int:
    report = verify_chain(path)
    files = f"{report.files} files" if report.files > 1 else "one file"
    before = f"; the {report.first - 1} rows before them were deleted, as they say" if report.first > 1 else ""
    print(f"whole: {report.rows} rows in {path} ({files}){before}\nhead   {report.head}")
    _warn(path)
    return 0


def _warn(path: Path) -> None:
    """On standard error, so that nobody takes a demonstration's records for those of a line."""
    if of_demonstration(path):
        print(WARNING, file=sys.stderr)


def _list(path: Path) -> int:
    for file in list_files(path):
        kind = ("exported" if file.exported else "not exported") if file.sealed else "live"
        times = " to ".join(_moment(ns) for ns in (file.oldest_wall_ns, file.newest_wall_ns) if ns is not None)
        rows = f"rows {file.first} to {file.last} ({file.rows})" if file.rows else "no rows yet"
        print("  ".join(word for word in (file.path.name, rows, f"{file.bytes / MIB:.1f} MiB", times, kind) if word))
    return 0


def _moment(wall_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall_ns / 1e9))


def _acknowledge(path: Path) -> int:
    reasons = Latch(path).acknowledge(_who())
    for reason in reasons:
        print(f"acknowledged: {reason}")
    print("the gate accepts again once all else is in order" if reasons else f"nothing to acknowledge: {path} is not latched")
    return 0


def _who() -> str:
    uid = os.getuid()
    try:
        return f"uid {uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"uid {uid}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon records", description=__doc__)
    words = parser.add_subparsers(dest="action", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="take gate.records from here (default %(default)s)")
    common.add_argument("--records", type=Path, help="the record file itself")
    for word, text in _WORDS.items():
        words.add_parser(word, parents=[common], help=text).add_argument("file", type=Path, nargs="?", help="same as --records")
    drawing = "with --map FILE.png the maps of the part's records are drawn: `cordon records show PART --map FILE.png --help`"
    show = words.add_parser("show", parents=[common], help="what happened to a part", epilog=drawing)
    show.add_argument("part")
    show.add_argument("--json", action="store_true", help="one JSON object per trigger")
    show.set_defaults(file=None)
    return parser


def _one_line(text: str) -> str:
    """With control characters escaped: a detail may hold what a peer sent, and must not forge a line or steer the terminal."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


def _told(trigger: dict[str, Any]) -> str:
    verdict, reason = trigger.get("verdict.outcome", "(open)"), trigger.get("verdict.reason", "")
    score, threshold = trigger.get("verdict.score"), trigger.get("verdict.threshold")
    judged = f"score {score:.4f} threshold {threshold:.4f}" if score is not None and threshold is not None else "not scored"
    name = f"{trigger['part']} {trigger['weld']} {trigger.get('verdict.typology') or '-'}"
    sent = f"sent {trigger.get('disposition.sent') or 'nothing'} {trigger.get('disposition.sent_reason', '')}"
    detail = "; ".join(text for text in (trigger.get("verdict.detail"), trigger.get("disposition.detail")) if text)
    bundle = (trigger.get("verdict.bundle") or "")[:12]
    first = f"{trigger['session']}/{trigger['sequence']}  {name}  {verdict} {reason}  {judged}  {sent}"
    return f"{first}  robot {trigger.get('disposition.done', '(open)')}  bundle {bundle or '-'}  {detail}".rstrip()
