"""`cordon export`: trained networks in, one signed bundle out, with every step and its seconds shown."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from edge.errors import ConfigError, ExportError
from export.keys import read_private_key
from export.order import LineOrder, TypologyOrder, load_order
from export.report import table


def main(argv: Sequence[str]) -> int:
    """Export the line of --spec, or the one network given."""
    arguments = _parser().parse_args(argv)
    started_s = time.monotonic()
    order = _order(arguments)
    key = read_private_key(arguments.key)
    if not arguments.out.resolve().parent.is_dir():
        raise ExportError("there is no folder for the bundle", seen=arguments.out, remedy="Choose a folder that exists")
    say = partial(print, flush=True)
    say(f"{'':<8} {'step':<10} seconds  result")
    # Only now: torch and ModelOpt take seconds, and a wrong option should not.
    import torch  # noqa: PLC0415

    from export.pipeline import export_line, save  # noqa: PLC0415

    torch.set_num_threads(1)  # it runs a handful of images; more threads only get into OpenVINO's way
    exported = export_line(order, key, say=say, trust_pickle=arguments.trust_pickle, jobs=arguments.jobs)
    save(exported, arguments.out)
    print(table(exported.certificate))
    print(f"{arguments.out}: version {order.version}, {len(exported.data):,} bytes, {time.monotonic() - started_s:.1f} s")
    print(f"hash   {exported.bundle.hash}\nkey    {exported.bundle.signed_by}")
    return 0


def _order(arguments: argparse.Namespace) -> LineOrder:
    single = (arguments.source, arguments.scans, arguments.name)
    if arguments.spec is not None:
        if any(value is not None for value in single):
            raise ConfigError("--spec describes the whole line", seen="a checkpoint beside it", remedy="Give either of the two")
        return load_order(arguments.spec)
    if any(value is None for value in single):
        raise ConfigError("nothing to export", seen=single, remedy="Give --spec line.toml, or CHECKPOINT --scans FOLDER --name NAME")
    typology = TypologyOrder(
        name=arguments.name,
        source=arguments.source,
        scans=arguments.scans,
        table=arguments.table,
        heightmap=arguments.heightmap,
        held_out=arguments.held_out,
        allowed_escapes=arguments.allowed_escapes,
    )
    return LineOrder(name=arguments.name, version=arguments.bundle_version, typology=(typology,))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon export", description=__doc__)
    parser.add_argument("source", type=Path, nargs="?", metavar="CHECKPOINT", help=".safetensors, or a Learner's .pkl")
    parser.add_argument("--spec", type=Path, help="line.toml: all typologies and the router")
    parser.add_argument("--scans", type=Path, help="folder with good/ and bad/ that calibrates and proves CHECKPOINT")
    parser.add_argument("--name", help="typology of CHECKPOINT")
    parser.add_argument("--table", type=Path, help="CSV with columns file and group (or scan)")
    parser.add_argument("--heightmap", type=Path, help="heightmap.json for a Learner")
    parser.add_argument("--held-out", type=float, help="part of the groups that proves the network; default: as trained")
    parser.add_argument("--allowed-escapes", type=int, default=0, help="bad held-out welds the threshold may accept (default 0)")
    parser.add_argument("--bundle-version", type=int, default=1, help="with CHECKPOINT (default %(default)s)")
    parser.add_argument("--key", type=Path, required=True, help="private key of `cordon keys new`")
    parser.add_argument("--out", type=Path, required=True, help="bundle to write")
    parser.add_argument("--trust-pickle", action="store_true", help="load .pkl files, which execute code")
    parser.add_argument("--jobs", type=int, default=1, help="processes; each needs about 1 GB (default %(default)s)")
    return parser
