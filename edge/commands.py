"""The box's own commands: `cordon run`, `cordon bundle`, `cordon keys`, `cordon records`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def run(argv: Sequence[str]) -> int:
    """`cordon run gate|inspector|metrics --config FILE`: one daemon, or the exporter, in the foreground until SIGTERM."""
    if argv[:1] == ["metrics"]:
        from edge.health.exporter import metrics_main  # noqa: PLC0415

        return metrics_main(argv[1:])
    parser = argparse.ArgumentParser(prog="cordon run", description=run.__doc__)
    parser.add_argument("daemon", choices=["gate", "inspector", "metrics"])
    parser.add_argument("--config", type=Path, default=Path("/etc/cordon/cordon.toml"))
    arguments = parser.parse_args(argv)
    # Each daemon is imported alone: the gate must not load numpy, the inspector not the serial port.
    if arguments.daemon == "gate":
        from edge.gate.daemon import run_gate  # noqa: PLC0415

        return run_gate(arguments.config)
    from edge.inspector.daemon import run_inspector  # noqa: PLC0415

    return run_inspector(arguments.config)


def bundle(argv: Sequence[str]) -> int:
    """`cordon bundle verify|show|diff|similar|install|activate|...`: signed bundles, explained, compared and put into use."""
    from edge.bundle_cli import bundle_main  # noqa: PLC0415

    return bundle_main(argv)


def keys(argv: Sequence[str]) -> int:
    """`cordon keys new|show|box|camera`: keys that sign, and keys with which cameras and the box know each other."""
    from edge.keys_cli import keys_main  # noqa: PLC0415

    return keys_main(argv)


def new_key(path: Path) -> str:
    """Write a private key (64 hex digits, mode 0600) and return the public one. Raises ConfigError rather than overwrite."""
    from edge import keys as files  # noqa: PLC0415

    return files.new_key(path)


def status(argv: Sequence[str]) -> int:
    """`cordon status [--json] [--watch]`: does the line accept, and if not, why."""
    from edge.health.status import status_main  # noqa: PLC0415

    return status_main(argv)


def records(argv: Sequence[str]) -> int:
    """`cordon records verify|show|export ...`: the durable record of every trigger."""
    if argv[:1] in (["export"], ["verify-export"]):
        from edge.records.cli import export_main, verify_main  # noqa: PLC0415

        return (export_main if argv[0] == "export" else verify_main)(argv[1:])
    if argv[:1] == ["show"] and any(word.split("=")[0] == "--map" for word in argv):
        from edge.records.picture import show_map  # noqa: PLC0415

        return show_map(argv[1:])
    from edge.gate.records_cli import records_main  # noqa: PLC0415

    return records_main(argv)
