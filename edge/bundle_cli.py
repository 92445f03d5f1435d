"""`cordon bundle ...`: is it genuine, what is in it, what changed, which known welds look like a scan; and the bundles of this box."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edge.bundle import open_bundle
from edge.bundles.cli import WORDS, add_words, run_word
from edge.errors import CordonError

SAME, DIFFERENT, TROUBLE = 0, 1, 2
"""Exit statuses of diff, as those of diff(1)."""


def bundle_main(argv: Sequence[str]) -> int:
    """Run one word. Raises BundleError; `similar` and the store's words also ConfigError, FrameError, KnownAnswerError or EngineError."""
    arguments = _parser().parse_args(argv)
    if arguments.action in WORDS:
        return run_word(arguments)
    keys = tuple(key.strip().lower() for key in arguments.key)
    if arguments.action == "diff":
        return _diff(arguments.first, arguments.second, keys)
    if arguments.action == "similar":
        return _similar(arguments, keys)
    return _show(arguments, keys)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon bundle", description=__doc__)
    words = parser.add_subparsers(dest="action", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--key", action="append", required=True, help="trusted public key, 64 hex digits; may be given several times")
    words.add_parser("verify", parents=[common], help="check signature and every byte").add_argument("file", type=Path)
    show = words.add_parser("show", parents=[common], help="explain what is in it")
    show.add_argument("file", type=Path)
    show.add_argument("--json", action="store_true", help="manifest and certificate as one JSON object")
    diff = words.add_parser("diff", parents=[common], help="what changed; exit status 0 identical, 1 different, 2 trouble")
    diff.add_argument("first", type=Path)
    diff.add_argument("second", type=Path)
    _add_similar(words.add_parser("similar", parents=[common], help="known welds that look like a scan; no verdict"))
    add_words(words)
    return parser


def _add_similar(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path)
    parser.add_argument("scan", type=Path, help="PNG, TIFF or NPY")
    parser.add_argument("--typology", required=True)
    parser.add_argument("--count", type=int, default=5, choices=range(1, 101), metavar="1..100", help="default %(default)s")
    for name, what in (("z-scale-mm", "mm per unit"), ("z-offset-mm", "mm of the value 0"), ("no-data", "value of missing points")):
        parser.add_argument(f"--{name}", type=float, help=f"{what} in a range image; default: as in the golden inputs")


def _show(arguments: argparse.Namespace, keys: tuple[str, ...]) -> int:
    from edge.bundle_words import as_json, explain, identity  # noqa: PLC0415

    bundle = open_bundle(arguments.file, keys)
    if arguments.action == "verify":
        print("\n".join(identity(bundle)))
    else:
        print(as_json(bundle).decode() if arguments.json else "\n".join(explain(bundle)))
    return 0


def _diff(first: Path, second: Path, keys: tuple[str, ...]) -> int:
    from edge.bundle_diff import differences  # noqa: PLC0415

    try:
        bundles = open_bundle(first, keys), open_bundle(second, keys)
    except CordonError as exc:
        # One more than cordon's usual 1, which here says that the bundles differ.
        print(f"cordon bundle: {type(exc).__name__}: {exc}", file=sys.stderr)
        return TROUBLE
    found = differences(*bundles)
    print("\n".join(found) if found else f"identical: {bundles[0].manifest.name} version {bundles[0].manifest.version}, {bundles[0].hash}")
    return DIFFERENT if found else SAME


def _similar(arguments: argparse.Namespace, keys: tuple[str, ...]) -> int:
    # numpy, cv2 and the engine are loaded for this word alone.
    from edge.bundle_lookup import RangeScale, similar_welds  # noqa: PLC0415

    bundle = open_bundle(arguments.file, keys)
    scale = RangeScale(z_scale_mm=arguments.z_scale_mm, z_offset_mm=arguments.z_offset_mm, no_data=arguments.no_data)
    found = similar_welds(bundle, arguments.typology, arguments.scan, count=arguments.count, scale=scale)
    print("distance  label  weld")
    for weld in found:
        print(f"{weld.distance:8.4f}  {weld.label:<5}  {weld.name}")
    labels = Counter(weld.label for weld in found)
    print(f"among the {len(found)} nearest: {', '.join(f'{count} {label}' for label, count in sorted(labels.items()))}; this is no verdict")
    return 0
