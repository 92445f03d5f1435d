"""The whole file: read once, checked as a whole before anything opens."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypeVar

import msgspec

from edge.config.checks import between
from edge.config.gate import GateConfig
from edge.config.inspector import InspectorConfig
from edge.config.metrics import MetricsConfig
from edge.demonstration import require_simulators
from edge.errors import ConfigError
from edge.toml import parse_toml

Form = TypeVar("Form", bound=msgspec.Struct)


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `gate.socket` is shared: the gate listens there and the inspector connects."""

    gate: GateConfig
    inspector: InspectorConfig
    metrics: MetricsConfig = msgspec.field(default_factory=MetricsConfig)

    def __post_init__(self) -> None:
        gpu, gate = self.inspector.gpu, self.gate
        if gpu is not None and gpu.fallback != "none" and gate.margin_ms < gate.budget_ms:  # else the gate's own checks refuse it
            between("inspector.gpu.fallback_within_ms", gpu.fallback_within_ms, 0.001, gate.budget_ms - gate.margin_ms)
        endpoints = (camera.endpoint for camera in self.inspector.camera)
        require_simulators(self.inspector.trusted_keys, gate.port, endpoints, () if gpu is None else gpu.box_keys)


def load_config(path: Path) -> Config:
    """Read and check the one TOML file. Raises ConfigError naming file, key, value and remedy."""
    return read_config(path)[0]


def read_config(path: Path) -> tuple[Config, str]:
    """As `load_config`, with the SHA-256 (64 hex digits) of the very bytes it came from: the file may be edited at any moment."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ConfigError(
            f"cannot read the configuration {path}", seen=exc.strerror, remedy="Check --config and the file's rights"
        ) from exc
    return checked(path, data, Config), hashlib.sha256(data).hexdigest()


def checked(path: Path, data: bytes, form: type[Form]) -> Form:
    """The bytes of a TOML file as a value of this form. Raises ConfigFileError with every mistake: its line, key, value and remedy."""
    try:
        raw = parse_toml(data)
    except (ValueError, RecursionError) as exc:  # not TOML, not UTF-8, a number of thousands of digits; brackets a thousand deep
        from edge.config.syntax import unreadable  # noqa: PLC0415 - the gate's start needs no words for mistakes

        raise unreadable(path, data, exc) from exc
    try:
        return msgspec.convert(raw, form, dec_hook=_path)
    except (msgspec.ValidationError, ConfigError, OverflowError) as exc:
        from edge.config.mistakes import explained  # noqa: PLC0415 - as above

        found = explained(path, data.decode("utf-8"), raw, form, _path)
        raise found or ConfigError(f"{path} does not fit the schema", seen=exc, remedy="See docs/configuration.md for every key") from exc


def _path(kind: type[object], value: object) -> object:
    if kind is Path and isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    raise TypeError(f"Expected {kind.__name__}")
