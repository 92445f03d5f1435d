"""`cordon keys`: Ed25519 keys that sign bundles and engines, and CURVE keys with which cameras and the box know each other."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from edge.config import NAME
from edge.errors import ConfigError

BOX = "box"
"""The name of the box's own CURVE key."""
EXAMPLES = """\
cordon keys new signing.key                    a key that signs bundles or engines; prints its public half
cordon keys box --out /etc/cordon/keys         the box's own key towards cameras
cordon keys camera cam0 --out /root/cam0       a camera's key; prints what to install where
cordon keys show /etc/cordon/keys/box.curve    the public half of any key file
"""


def keys_main(argv: Sequence[str]) -> int:
    """`cordon keys new|show FILE`, `cordon keys box|camera ... --out FOLDER`: new keys, or the public half of one there is."""
    arguments = _parser().parse_args(argv)
    if arguments.action == "new":
        print(_new(arguments.file))
    elif arguments.action == "show":
        _show(arguments.file)
    elif arguments.action == "box":
        _box(arguments.out)
    else:
        _camera(arguments.name, arguments.out, arguments.box)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cordon keys", description=keys_main.__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="new|show|box|camera")
    new = actions.add_parser("new", help="a new Ed25519 key; prints its public half for trusted_keys or box_keys")
    new.add_argument("file", type=Path)
    show = actions.add_parser("show", help="the public half of a key file, Ed25519 or CURVE")
    show.add_argument("file", type=Path)
    box = actions.add_parser("box", help="the box's own CURVE key towards cameras")
    box.add_argument("--out", type=Path, default=Path("/etc/cordon/keys"), help="folder (default %(default)s)")
    camera = actions.add_parser("camera", help="a camera's CURVE key, and what to install where")
    camera.add_argument("name", help="as in [[inspector.camera]]")
    camera.add_argument("--out", type=Path, required=True, help="folder for the camera's files")
    camera.add_argument(
        "--box", type=Path, default=Path("/etc/cordon/keys/box.curve.pub"), help="the box's public key (default %(default)s)"
    )
    return parser


def _new(path: Path) -> str:
    from edge.keys import new_key  # noqa: PLC0415 - each kind of key needs a library that the other does not

    return new_key(path)


def _show(path: Path) -> None:
    if path.name.endswith((".curve", ".curve.pub")):
        _show_curve(path)
        return
    from edge.keys import public_half, read_private_key  # noqa: PLC0415 - as above

    print(public_half(read_private_key(path, "key")))


def _show_curve(path: Path) -> None:
    from edge.curve_keys import read_curve_pair  # noqa: PLC0415 - as above

    key = _public_key(path) if path.name.endswith(".pub") else read_curve_pair(path).public.decode()
    print("\n".join(_both(key)))


def _box(folder: Path) -> None:
    from edge.curve_keys import new_curve_pair  # noqa: PLC0415 - as above

    pair, path = new_curve_pair(folder, BOX)
    print(f"wrote {path} (private: it stays on this box) and {path}.pub (for the cameras)")
    print("\n".join(_both(pair.public.decode())))
    print(f'\nOn the box, in cordon.toml:\n\n[inspector.curve]\nkey = "{path.resolve()}"')


def _camera(name: str, folder: Path, box: Path) -> None:
    if NAME.match(name) is None or name == BOX:
        remedy = f"Give 1 to 24 of A-Z a-z 0-9 . _ -, starting with a letter or digit, and not {BOX!r}"
        raise ConfigError("this cannot be a camera's name", seen=name, remedy=remedy)
    from edge.curve_keys import new_curve_pair  # noqa: PLC0415 - as above

    known = _public_key(box) if box.is_file() else None
    pair, path = new_curve_pair(folder, name)
    print(f"wrote {path} (private: for the camera alone) and {path}.pub")
    print("\n".join(_both(pair.public.decode())))
    print(f'\nOn the box, in cordon.toml, below [[inspector.camera]] of {name}:\n\nkeys = ["{pair.public.decode()}"]\n')
    print(f"On the camera, readable by its program alone; then delete it here:\n\n{path}\n")
    print("And the box's public key, which the camera expects:\n")
    print("\n".join(_both(known)) if known else f"there is none yet at {box}: make it with `cordon keys box`")


def _public_key(path: Path) -> str:
    """The key of a .curve.pub file in Z85. Raises ConfigError."""
    from edge.z85 import decode_key, encode_z85  # noqa: PLC0415 - as above

    try:
        return encode_z85(decode_key(path.read_text(encoding="ascii").strip()))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path} is not a public CURVE key", seen=exc, remedy="Give a file that ends in .curve.pub") from exc


def _both(key: str) -> tuple[str, str]:
    """A public key as ZeroMQ writes it, and for programs that want its bytes."""
    from edge.z85 import decode_key  # noqa: PLC0415 - as above

    return f"  Z85  {key}", f"  hex  {decode_key(key).hex()}"
