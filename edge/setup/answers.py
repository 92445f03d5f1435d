"""What a cell's configuration needs to know: from the options or, on a terminal, by asking."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edge.config import CameraConfig
from edge.demonstration import KEY
from edge.errors import ConfigError

SERIAL = Path("/dev/serial/by-id")
_KEY = re.compile(r"[0-9a-f]{64}\Z")
CAMERAS = "Cameras, NAME=ENDPOINT, several with spaces (cam0=tcp://192.168.1.20:5555)"
KEY_QUESTION = "Public key that signs this line's bundles (`cordon keys show`, 64 hex digits)"
BUNDLE = "The line's bundle, a file of `cordon export` (empty: later, `cordon bundle install`)"
Answer = TypeVar("Answer")


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
    given = " ".join(arguments.camera or ())
    port = _port(arguments.port) if arguments.port else _ask("--port", _port_question(), _port)
    cameras = _cameras(given) if given else _ask("--camera", CAMERAS, _cameras)
    key = _key(arguments.key) if arguments.key else _ask("--key", KEY_QUESTION, _key)
    bundle = arguments.bundle
    if bundle is None and asked:
        bundle = _ask("--bundle", BUNDLE, _bundle, empty=None)
    return Answers(port=port, cameras=cameras, key=key, bundle=bundle)


def _ask(option: str, question: str, check: Callable[[str], Answer], **otherwise: Answer) -> Answer:
    """Asks until the answer passes `check`; `empty` stands for no answer. Raises ConfigError where nobody can answer."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{option} is missing", remedy="Give it, or run `cordon setup` on a terminal, which asks")
    while True:
        try:
            answer = input(f"{question}: ").strip()
            if answer:
                return check(answer)
            if "empty" in otherwise:
                return otherwise["empty"]
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


def _cameras(text: str) -> tuple[tuple[str, str], ...]:
    """Each as the configuration will take it, and no name twice."""
    found = tuple(map(_camera, text.split()))
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        raise ConfigError("two cameras of one name", seen=" ".join(names), remedy="Give every camera its own name")
    return found


def _camera(text: str) -> tuple[str, str]:
    name, _, endpoint = text.partition("=")
    try:
        CameraConfig(name=name, endpoint=endpoint)
    except ConfigError as exc:
        raise ConfigError("that is no camera", seen=text, remedy="Give NAME=ENDPOINT, such as cam0=tcp://192.168.1.20:5555") from exc
    return name, endpoint


def _bundle(text: str) -> Path:
    if not Path(text).is_file():
        raise ConfigError("there is no such file", seen=text, remedy="Give the path of what `cordon export` wrote, or nothing")
    return Path(text)


def _key(text: str) -> str:
    key = text.strip().lower()
    if _KEY.match(key) is None or len(set(key)) == 1:
        raise ConfigError("that is no public key", seen=text[:80], remedy="Give the 64 hex digits that `cordon keys new` printed")
    if key == KEY:
        raise ConfigError("that is the demonstration's key", remedy="Everybody can sign by it. Make one of your own: `cordon keys new`")
    return key
