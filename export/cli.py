"""`cordon export`: trained networks in, one signed bundle out, with every step and its seconds shown."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from calib.images import DEFAULT_IMAGES
from calib.quantise import METHODS
from edge.errors import ConfigError
from export.keys import read_private_key
from export.order import LineOrder, Precision, TypologyOrder, load_order
from export.paper.outputs import require_free
from export.sources.base import OUTPUTS


def main(argv: Sequence[str]) -> int:
    """Export the line of --spec, or the one network given."""
    arguments = _parser().parse_args(argv)
    started_s = time.monotonic()
    order = _order(arguments)
    key = read_private_key(arguments.key)
    require_free(arguments.out, force=arguments.force)
    # With --json standard output is one object; the steps go to standard error.
    say = _say_aside if arguments.json else _say
    say(f"{'':<8} {'step':<10} seconds  result")
    if arguments.jobs > 1:  # PyTorch's threads would otherwise spin after every call and keep the other processes waiting
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Only now: torch and ModelOpt take seconds, and a wrong option should not.
    import torch  # noqa: PLC0415

    from export.paper.measured import figures, measured  # noqa: PLC0415
    from export.paper.report import table  # noqa: PLC0415
    from export.paper.save import save  # noqa: PLC0415
    from export.pipeline import export_line  # noqa: PLC0415

    torch.set_num_threads(2)  # what latency is measured with; more would only get into OpenVINO's way
    exported = export_line(order, key, say=say, trust_pickle=arguments.trust_pickle, jobs=arguments.jobs)
    found = measured(exported, seconds=time.monotonic() - started_s)
    outputs = save(exported, found, arguments.out, force=arguments.force)
    say(table(found))
    say(f"{arguments.out}: version {order.version}, {len(exported.data):,} bytes, {found.seconds:.1f} s")
    say(f"page   {outputs.html}\nhash   {exported.bundle.hash}\nkey    {exported.bundle.signed_by}")
    if arguments.json:
        print(json.dumps(figures(found)))
    return 0


def _order(arguments: argparse.Namespace) -> LineOrder:
    single = (arguments.source, arguments.scans, arguments.name)
    if arguments.spec is not None:
        if any(value is not None for value in single):
            raise ConfigError("--spec describes the whole line", seen="a checkpoint beside it", remedy="Give either of the two")
        return load_order(arguments.spec)
    if any(value is None for value in single):
        raise ConfigError("nothing to export", seen=single, remedy="Give --spec line.toml, or CHECKPOINT --scans FOLDER --name NAME")
    given = {key: getattr(arguments, key) for key in _SHARED if getattr(arguments, key) is not None}
    typology = TypologyOrder(name=arguments.name, source=arguments.source, scans=arguments.scans, **given)
    return LineOrder(name=arguments.name, version=arguments.bundle_version, typology=(typology,))


_SHARED = (
    "table",
    "keep_aside",
    "heightmap",
    "architecture",
    "classes",
    "output",
    "held_out",
    "seed",
    "calibration_images",
    "method",
    "precision",
    "max_escape_rate",
    "escape_bound",
    "overkill_bound",
    "added_overkill",
    "mean_difference",
    "auroc_floor",
    "mixed_sizes",
    "embeddings",
)
"""Options that are keys of `[[typology]]` by the same name."""


def _say(text: str) -> None:
    """By name, not partial(print): other processes say their steps too, and no stream can be sent to them."""
    print(text, flush=True)


def _say_aside(text: str) -> None:
    print(text, flush=True, file=sys.stderr)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon export", description=__doc__)
    add = parser.add_argument
    add("source", type=Path, nargs="?", metavar="NETWORK", help=".safetensors, .pth (with --arch), .pt2, .onnx, or a Learner's .pkl")
    add("--spec", type=Path, help="line.toml: all typologies and the router; it has every option below as a key")
    add("--key", type=Path, required=True, help="private key of `cordon keys new`")
    add("--out", type=Path, required=True, help="bundle to write; certificate.json and .html go beside it")
    add("--force", action="store_true", help="replace an existing bundle once the new one has proved itself")
    add("--json", action="store_true", help="print the certificate's figures as one JSON object")
    add("--trust-pickle", action="store_true", help="load .pkl files, which execute code")
    add("--jobs", type=int, default=1, help="processes; each needs about 1 GB (default %(default)s)")
    one = parser.add_argument_group("one network instead of --spec").add_argument
    one("--scans", type=Path, help="folder with good/ and bad/ that calibrates and proves NETWORK")
    one("--name", help="its typology")
    one("--bundle-version", type=int, default=1, help="(default %(default)s)")
    one("--table", type=Path, help="CSV with columns file and group (or scan)")
    one("--keep-aside", type=Path, metavar="CSV", help="column file: scans that take no part")
    one("--mixed-sizes", action="store_true", default=None, help="allow scans of several sizes")
    one("--heightmap", type=Path, metavar="JSON", help="heightmap spec of sources that carry none")
    one("--arch", dest="architecture", metavar="NAME", help="architecture of a state dict; docs/networks.md has the names")
    one("--classes", type=_names, metavar="A,B", help="class names in the order of the output, where the file has none")
    one("--output", choices=OUTPUTS, help="what an .onnx or .pt2 network gives (default logits)")
    one("--held-out", type=float, metavar="PART", help="of the groups that proves the network; default: as trained")
    one("--seed", type=int, help="of that split; default: as trained")
    one("--calibration-images", type=int, metavar="N", help=f"(default {DEFAULT_IMAGES})")
    one("--method", choices=METHODS, help="how activation ranges are found (default max)")
    one("--precision", choices=get_args(Precision), help="int8 (default) | mixed | fp16 | auto: the first of them that may be shipped")
    one("--max-escape-rate", type=float, metavar="PART", help="of the bad held-out welds that the threshold may accept (default 0)")
    one("--escape-bound", type=float, metavar="RATE", help="largest upper confidence bound of the escape rate")
    one("--overkill-bound", type=float, metavar="RATE", help="the same for overkills")
    one("--added-overkill", type=float, metavar="PART", help="of the good welds that may be rejected beyond FP32 (default 0.05)")
    one("--mean-difference", type=float, metavar="SCORE", help="largest mean difference from FP32's scores (default 0.05)")
    one("--auroc-floor", type=float, metavar="AREA", help="(default 0.8)")
    one("--embeddings", action="store_true", default=None, help="keep feature vectors for `cordon bundle similar`")
    return parser
