"""`cordon records export`: the records as CSV or Parquet, for archives, spreadsheets and the training room."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from edge.config import load_config
from edge.errors import ConfigError
from edge.gate.audit import ChainReport
from edge.records.export import export_live, export_sealed, export_triggers, require_follows, verify_export

DEFAULT_CONFIG = Path("/etc/cordon/cordon.toml")


def export_main(argv: Sequence[str]) -> int:
    """`cordon records export --to FOLDER`: every sealed file of the chain not exported yet, proved by reading it back.

    `--triggers FILE` instead writes one line for every trigger with its verdict and disposition.
    """
    arguments = _parser().parse_args(argv)
    path: Path = arguments.records or load_config(arguments.config).gate.records
    if arguments.triggers is not None:
        count = export_triggers(path, arguments.triggers, since_ns=_ns(arguments.since, 0), until_ns=_ns(arguments.until, 2**63 - 1))
        print(f"{count} triggers in {arguments.triggers}")
        return 0
    done = 0
    for segment, receipt in export_sealed(path, arguments.to, arguments.format):
        done += 1
        print(f"{receipt.file}: rows {receipt.first} to {receipt.last} of {segment.path.name}, head {receipt.head[:16]}", flush=True)
    live = export_live(path, arguments.to, arguments.format) if arguments.live else None
    if live is not None:
        print(f"{live.file}: rows {live.first} to {live.last} of the live file, which goes on")
    print(f"{done} sealed files exported to {arguments.to}" if done else "no sealed file waited for export")
    return 0


def verify_main(argv: Sequence[str]) -> int:
    """`cordon records verify-export FILE ...`: every hash again, from the exported files alone; each goes on where the last one ended."""
    parser = argparse.ArgumentParser(prog="cordon records verify-export", description=verify_main.__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="exported .csv or .parquet, each with its .json beside it")
    before: tuple[Path, ChainReport] | None = None
    for path in sorted(parser.parse_args(argv).files):
        report = verify_export(path)
        if before is not None:
            require_follows(*before, path, report)
        print(f"whole: rows {report.first} to {report.first + report.rows - 1} in {path.name}, head {report.head}", flush=True)
        before = (path, report)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon records export", description=export_main.__doc__)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="take gate.records from here (default %(default)s)")
    parser.add_argument("--records", type=Path, help="the record file itself")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--to", type=Path, metavar="FOLDER", help="the chain, file by file")
    target.add_argument("--triggers", type=Path, metavar="FILE", help="one line for every trigger, as .csv or .parquet")
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv", help="of the files in FOLDER (default %(default)s)")
    parser.add_argument("--live", action="store_true", help="what the gate is still writing to as well, up to now")
    parser.add_argument("--since", metavar="TIME", help="with --triggers: from this time on, such as 2026-11-21 or 2026-11-21T06:00+01:00")
    parser.add_argument("--until", metavar="TIME", help="with --triggers: before this time; without an offset times are UTC")
    return parser


def _ns(text: str | None, default: int) -> int:
    if text is None:
        return default
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError("this is not a time", seen=text, remedy="Write 2026-11-21 or 2026-11-21T06:00:00+01:00") from exc
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) * 10**9
