"""`cordon engine build|list`: engines for this box from a signed bundle."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.bundle import open_bundle
from edge.bundles.opening import open_configured
from edge.config import load_config
from edge.engines.backend import load_backend
from edge.engines.box import box_facts, difference
from edge.engines.plan import build_bundle
from edge.engines.prove import runs_here
from edge.engines.record import MAX_BATCH, BuildOptions, EngineRecord
from edge.engines.show import Bars, describe, reporter
from edge.engines.signing import SIGN
from edge.engines.store import EngineStore
from edge.errors import EngineError
from edge.keys import public_half, read_private_key

INTERRUPTED = 130


def main(argv: Sequence[str]) -> int:
    """Run `cordon engine ...`; returns the exit status. Raises ConfigError, BundleError or EngineError."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.action == "list":
        return _list(arguments.folder)
    named = (arguments.bundle, arguments.key, arguments.out)
    if arguments.config is None and not all(named):
        parser.error("name the bundle, --key and --out, or --config")
    if arguments.config is not None and (any(named) or arguments.backend != "auto"):
        parser.error("--config names bundle, keys, backend and folder: leave the others out")
    if arguments.config is not None and not _configured(arguments):
        print(f"the inspector of {arguments.config} judges on the CPU: there is nothing to build")
        return 0
    return _build(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon engine", description="Engines for this box's GPU, built from a signed bundle.")
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="build what has changed; see docs/engines.md")
    build.add_argument("bundle", type=Path, nargs="?")
    build.add_argument("--config", type=Path, metavar="FILE", help="bundle, keys, backend and folder that this cordon.toml names")
    build.add_argument("--key", action="append", default=[], help="trusted public key, 64 hex digits; may be given several times")
    build.add_argument("--box-key", type=Path, metavar="FILE", help="this box's private key, which signs the engines; `cordon keys new`")
    build.add_argument("--out", type=Path, metavar="DIR", help="folder of the engines")
    build.add_argument("--backend", choices=["auto", "tensorrt", "tensorrt_rtx"], default="auto")
    build.add_argument("--batch", type=batches, default=(1,), metavar="1,4", help="static batches, one engine each (default 1)")
    build.add_argument("--workspace-mib", type=int, default=BuildOptions().workspace_mib, metavar="N", help="builder's scratch memory")
    build.add_argument("--optimization-level", type=int, default=BuildOptions().optimization_level, metavar="N", help="0 to 5")
    build.add_argument("--device-target", nargs="+", default=[], metavar="SM89", help="TensorRT-RTX: GPU generations to build for")
    build.add_argument("--device", default="gpu", help="gpu; nothing else is supported")
    build.set_defaults(opened=None)
    build.add_argument("--force", action="store_true", help="build also what is up to date")
    listing = actions.add_parser("list", help="what is there, and does it fit this box")
    listing.add_argument("folder", type=Path, metavar="DIR")
    return parser


def _configured(arguments: argparse.Namespace) -> bool:
    """Take what the configuration says; False when it names no GPU. Raises ConfigError or BundleError."""
    inspector = load_config(arguments.config).inspector
    if inspector.backend == "openvino" or inspector.gpu is None:
        return False
    arguments.opened = open_configured(inspector)
    arguments.backend, arguments.out = inspector.backend, inspector.gpu.engines
    return True


def batches(text: str) -> tuple[int, ...]:
    """`1,4` → (1, 4). Raises argparse.ArgumentTypeError."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 1,4") from exc
    if not all(1 <= number <= MAX_BATCH for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r}: each batch is 1 to {MAX_BATCH}")
    return numbers


def _build(arguments: argparse.Namespace) -> int:
    options = BuildOptions(
        workspace_mib=arguments.workspace_mib,
        optimization_level=arguments.optimization_level,
        targets=tuple(arguments.device_target),
        device=arguments.device,
    )
    key = None if arguments.box_key is None else read_private_key(arguments.box_key, "box key", EngineError)
    bundle = arguments.opened or open_bundle(arguments.bundle, tuple(arguments.key))
    shown = reporter()
    store = EngineStore(arguments.out)
    try:
        records = build_bundle(
            bundle,
            store,
            reporter=shown,
            backend=arguments.backend,
            batches=arguments.batch,
            options=options,
            force=arguments.force,
            key=key,
        )
    except KeyboardInterrupt:
        print(f"interrupted: the engines in {store.folder} are as they were; what was finished is taken up next time", file=sys.stderr)
        return INTERRUPTED
    finally:
        if isinstance(shown, Bars):
            shown.close()
    _say_who_signed(records, None if key is None else public_half(key))
    return 0


def _say_who_signed(records: Sequence[EngineRecord], public: str | None) -> None:
    if public is not None:
        print(f'{len(records)} engines signed and opened as the inspector will; it needs inspector.gpu.box_keys = ["{public}"]')
    bare = [record.name for record in records if not record.signature]
    if bare:
        print(f"{len(bare)} of {len(records)} engines are unsigned and the inspector will refuse them. {SIGN}")


def _list(folder: Path) -> int:
    if not folder.is_dir():
        raise EngineError(f"no folder {folder}", remedy="Build engines with `cordon engine build BUNDLE --key PUBLIC --out DIR`")
    store = EngineStore(folder)
    for name in store.names():
        record = store.whole(name)
        if record is None:
            print(f"{name}: unusable, engine and record cannot be read or do not belong together; build again")
        else:
            exposed = None if store.whole(name, guarded=True) else "may not be used: others than root and this account can write it"
            print(f"{name}: {describe(record)}, bundle {record.bundle[:12]}: {exposed or misfit(record) or 'fits this box'}")
    if not store.names():
        print(f"no engines in {folder}")
    if store.waiting():
        print(f"{len(store.waiting())} finished engines of a stopped build wait for the next `cordon engine build`")
    return 0


def misfit(record: EngineRecord) -> str | None:
    """Why the engine does not belong on this box, or None."""
    try:
        backend = load_backend("tensorrt_rtx" if record.box.backend == "tensorrt_rtx" else "tensorrt")
    except EngineError as exc:
        return f"does not fit: {exc.what}"
    differs = difference(record.box, box_facts(backend))
    if differs is not None:
        field, there, here = differs
        return f"does not fit: {field} is {here or 'unknown'}, built for {there or 'unknown'}"
    reason = runs_here(backend, record.options)
    return f"does not fit: {reason}" if reason else None
