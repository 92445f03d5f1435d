"""What a cell's configuration needs to know: from the options or, on a terminal, by asking."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.demonstration import KEY
from edge.errors import ConfigError

SERIAL = Path("/dev/serial/by-id")
_KEY = re.compile(r"[0-9a-f]{64}\Z")
_CAMERA = re.compile(r"(?P<name>[^=]+)=(?P<endpoint>(tcp|ipc)://.+)\Z")


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Everything that no default can know."""

    port: str
    cameras: tuple[tuple[str, str], ...]
    """(name, endpoint) of each."""
    key: str
    """Public key, 64 hex digits."""
    bundle: Path | None


def cell_answers(arguments: argparse.Namespace) -> Answers:
    """From the options, asking for what they leave out when standard input is a terminal. Raises ConfigError."""
    asked = bool(sys.stdin.isatty()) and not all((arguments.port, arguments.camera, arguments.key))
    port = arguments.port or _ask("--port", _port_question(), _port)
    cameras = (
        arguments.camera or _ask("--camera", "Cameras, NAME=ENDPOINT, several with spaces (cam0=tcp://192.168.1.20:5555)", str).split()
    )
    key = arguments.key or _ask("--key", "Public key that signs this line's bundles (`cordon keys show`, 64 hex digits)", _key)
    bundle = arguments.bundle
    if bundle is None and asked:
        text = input("The line's bundle, a file of `cordon export` (empty: later, `cordon bundle install`): ").strip()
        bundle = Path(text) if text else None
    return Answers(port=_port(port), cameras=tuple(map(_camera, cameras)), key=_key(key), bundle=bundle)


def _ask(option: str, question: str, check: Callable[[str], str]) -> str:
    """Asks until the answer passes `check`. Raises ConfigError where nobody can answer."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{option} is missing", remedy="Give it, or run `cordon setup` on a terminal, which asks")
    while True:
        try:
            answer = input(f"{question}: ").strip()
            if answer:
                return check(answer)
        except ConfigError as exc:
            print(exc, file=sys.stderr)
        except EOFError as exc:
            raise ConfigError(f"{option} is missing", remedy="Give it, or answer the question") from exc


def _port_question() -> str:
    seen = [str(path) for path in (Path("/dev/robot"), *(sorted(SERIAL.iterdir()) if SERIAL.is_dir() else ())) if path.exists()]
    return f"The robot's serial device ({', '.join(seen) or 'none is plugged in; /dev/robot once the udev rule names it'})"


def _port(text: str) -> str:
    if not text.startswith("/dev/"):
        raise ConfigError("that is no serial device", seen=text, remedy="Give its path in /dev, such as /dev/robot")
    return text


def _camera(text: str) -> tuple[str, str]:
    found = _CAMERA.match(text)
    if found is None:
        raise ConfigError("that is no camera", seen=text, remedy="Give NAME=ENDPOINT, such as cam0=tcp://192.168.1.20:5555")
    return found["name"], found["endpoint"]


def _key(text: str) -> str:
    key = text.strip().lower()
    if _KEY.match(key) is None or len(set(key)) == 1:
        raise ConfigError("that is no public key", seen=text[:80], remedy="Give the 64 hex digits that `cordon keys new` printed")
    if key == KEY:
        raise ConfigError("that is the demonstration's key", remedy="Everybody can sign by it. Make one of your own: `cordon keys new`")
    return key
