"""The box's one configuration file: small frozen values with units in their names, validated as a whole before anything opens."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Literal

import msgspec

from edge.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Profile = Literal["handshake", "push"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}\Z")
"""Part, weld, typology and camera names: at most 24 characters that are safe on the serial line, in files and in logs."""


class GateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[gate]`: the serial link, the deadline and the records."""

    port: str
    """Serial device, best a stable name such as /dev/serial/by-id/... ."""
    records: Path
    """SQLite file of the durable records."""
    socket: Path
    """Unix socket where the inspector connects."""
    profile: Profile = "handshake"
    baudrate: int = 115_200
    parity: Literal["none", "even", "odd"] = "none"
    budget_ms: float = 200.0
    """From the trigger's arrival (push: the frame's) to the verdict's last byte handed to the port."""
    margin_ms: float = 5.0
    """Kept free at the end of the budget for the wire; an undecided trigger is rejected this long before the budget ends."""
    heartbeat_ms: float = 100.0
    missed_heartbeats: int = 3
    ack_timeout_ms: float = 500.0
    """How long the robot may take to confirm what it did, after the verdict."""
    resend_ms: float = 40.0
    """Interval of byte-identical resends of an unacknowledged verdict, inside the budget only."""
    bundle: str = ""
    """Pinned bundle hash (64 hex digits); empty: whatever signed bundle the inspector announces."""

    def __post_init__(self) -> None:
        _require(bool(self.port), "gate.port", self.port, "Name the serial device of the robot")
        _between("gate.baudrate", self.baudrate, 1_200, 4_000_000)
        _between("gate.budget_ms", self.budget_ms, 5, 60_000)
        _between("gate.margin_ms", self.margin_ms, 0, self.budget_ms / 2)
        _between("gate.heartbeat_ms", self.heartbeat_ms, 10, 10_000)
        _between("gate.missed_heartbeats", self.missed_heartbeats, 2, 100)
        _between("gate.ack_timeout_ms", self.ack_timeout_ms, 1, 60_000)
        _between("gate.resend_ms", self.resend_ms, 1, 60_000)
        pinned = re.fullmatch(r"([0-9a-f]{64})?", self.bundle) is not None
        _require(pinned, "gate.bundle", self.bundle, "Give the 64 hex digits `cordon bundle show` prints, or leave it out")
        _require(len(str(self.socket)) < 104, "gate.socket", self.socket, "Unix socket paths hold at most 103 characters")


class CameraConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[inspector.camera]]`: where one camera publishes."""

    name: str
    """Equal to the `camera` field and topic of its frames."""
    endpoint: str
    """ZeroMQ address the camera publishes on, such as tcp://192.168.1.20:5555 or ipc:///run/cordon/camera."""
    heartbeat_ms: float = 2_000.0
    """The camera counts as alive this long after its last message (frame or `alive`); 0 switches the check off."""

    def __post_init__(self) -> None:
        _name("inspector.camera.name", self.name)
        ok = self.endpoint.startswith(("tcp://", "ipc://"))
        _require(ok, "inspector.camera.endpoint", self.endpoint, "Give a tcp:// or ipc:// address")
        _between("inspector.camera.heartbeat_ms", self.heartbeat_ms, 0, 600_000)


class InspectorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[inspector]`: cameras, the bundle and how it is run."""

    bundle: Path
    trusted_keys: tuple[str, ...]
    """Ed25519 public keys, 64 hex digits each, as `cordon keys new` prints them."""
    camera: tuple[CameraConfig, ...]
    backend: Literal["openvino"] = "openvino"
    engines: Literal["named", "all"] = "named"
    """`all` runs every typology's engines on every frame as a cross-check."""
    threads: int = 2
    prewarm: bool = True
    """Run the expected engine once when a trigger opens, while the camera exposes."""
    max_frame_bytes: int = 64 * 1024 * 1024
    receive_queue: int = 8
    """Frames ZeroMQ may hold per camera; bounds memory together with max_frame_bytes."""

    def __post_init__(self) -> None:
        _require(bool(self.trusted_keys), "inspector.trusted_keys", self.trusted_keys, "Run `cordon keys new` and paste the public key")
        for key in self.trusted_keys:
            hexadecimal = re.fullmatch(r"[0-9a-f]{64}", key) is not None
            _require(hexadecimal, "inspector.trusted_keys", key, "A public key is 64 lower-case hex digits")
        _require(bool(self.camera), "inspector.camera", self.camera, "Add one [[inspector.camera]] table per camera")
        names = [c.name for c in self.camera]
        _require(len(set(names)) == len(names), "inspector.camera.name", names, "Give every camera its own name")
        _between("inspector.threads", self.threads, 1, 256)
        _between("inspector.max_frame_bytes", self.max_frame_bytes, 1_024, 2**31)
        _between("inspector.receive_queue", self.receive_queue, 1, 10_000)


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `gate.socket` is shared: the gate listens there and the inspector connects."""

    gate: GateConfig
    inspector: InspectorConfig


def load_config(path: Path) -> Config:
    """Read and check the one TOML file. Raises ConfigError naming file, key, value and remedy."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(
            f"cannot read the configuration {path}", seen=exc.strerror, remedy="Check --config and the file's rights"
        ) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not valid TOML", seen=exc, remedy="Correct the line named") from exc
    try:
        return msgspec.convert(raw, Config, dec_hook=_path)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{path} does not fit the schema", seen=exc, remedy="See docs/configuration.md for every key") from exc
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc.what}", seen=exc.seen, remedy=exc.remedy) from exc


def _path(kind: type[object], value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"Expected {kind.__name__}")


def _require(condition: bool, key: str, seen: object, remedy: str) -> None:
    if not condition:
        raise ConfigError(f"{key} is not usable", seen=seen, remedy=remedy)


def _between(key: str, value: float, low: float, high: float) -> None:
    _require(math.isfinite(value) and low <= value <= high, key, value, f"Choose a value from {low:g} to {high:g}")


def _name(key: str, value: str) -> None:
    _require(NAME.match(value) is not None, key, value, "Use 1 to 24 of A-Z a-z 0-9 . _ - and start with a letter or digit")
