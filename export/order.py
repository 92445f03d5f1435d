"""What is to be exported, as `line.toml` says it: one table per typology, and the router."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from calib.images import DEFAULT_IMAGES, MIN_IMAGES
from calib.quantise import Method
from edge.config import NAME
from edge.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_HELD_OUT, DEFAULT_SEED = 0.2, 42
"""Used when neither the order nor the checkpoint says how the scans were split."""


class TypologyOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[typology]]`: a trained network, the scans that calibrate and prove it, and what it must reach."""

    name: str
    source: Path
    """Checkpoint (.safetensors), or a fastai Learner (.pkl, only with --trust-pickle)."""
    scans: Path
    """Folder with good/ and bad/."""
    table: Path | None = None
    """CSV with columns file and group (or scan); default: the one in the folder."""
    keep_aside: Path | None = None
    """CSV with a column file: scans that are neither used to calibrate nor to prove."""
    heightmap: Path | None = None
    """heightmap.json for sources that carry none (Learners); default: the one in the folder."""
    held_out: float | None = None
    """Part of the groups that proves the network; default: what the checkpoint was trained with."""
    seed: int | None = None
    """Of that split; default: what the checkpoint was trained with."""
    calibration_images: int = DEFAULT_IMAGES
    method: Method = "max"
    allowed_escapes: int = 0
    """Bad held-out welds that the threshold may accept, when that saves good ones."""
    added_escapes: int = 0
    """Escapes that INT8 may have more than FP32 at the same threshold."""
    auroc_floor: float = 0.8
    """Smallest area under the ROC curve of the INT8 network."""

    def __post_init__(self) -> None:
        _require(NAME.match(self.name) is not None, "typology.name", self.name, "Use 1 to 24 of A-Z a-z 0-9 . _ -")
        _require(self.held_out is None or 0.0 < self.held_out < 1.0, "typology.held_out", self.held_out, "Choose between 0 and 1")
        enough = self.calibration_images >= MIN_IMAGES
        _require(enough, "typology.calibration_images", self.calibration_images, f"Use at least {MIN_IMAGES}")
        _require(self.allowed_escapes >= 0, "typology.allowed_escapes", self.allowed_escapes, "Use 0 or more")
        _require(self.added_escapes >= 0, "typology.added_escapes", self.added_escapes, "Use 0 or more")
        _require(0.5 <= self.auroc_floor <= 1.0, "typology.auroc_floor", self.auroc_floor, "Choose from 0.5 to 1")


class RouterOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[router]`: the network that names the typology; its classes are typologies of this file."""

    source: Path
    root: Path | None = None
    """Folder with one scan folder per typology name; default: each typology's own scans."""
    heightmap: Path | None = None
    confidence: float = 0.9
    """Probability below which the router names none."""
    accuracy_floor: float = 0.9
    """Smallest part of the held-out scans that is named, and named rightly."""

    def __post_init__(self) -> None:
        _require(0.5 <= self.confidence < 1.0, "router.confidence", self.confidence, "Choose from 0.5 to below 1")
        _require(0.0 <= self.accuracy_floor <= 1.0, "router.accuracy_floor", self.accuracy_floor, "Choose from 0 to 1")


class LineOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    name: str
    version: int
    """Boxes refuse a lower version than they had."""
    typology: tuple[TypologyOrder, ...]
    router: RouterOrder | None = None

    def __post_init__(self) -> None:
        _require(self.version >= 1, "version", self.version, "Count from 1 upwards")
        names = [t.name for t in self.typology]
        _require(bool(names) and len(set(names)) == len(names), "typology.name", names, "Give each typology once, at least one")


def load_order(path: Path) -> LineOrder:
    """Read `line.toml`; relative paths count from its folder. Raises ConfigError."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        return _resolved(msgspec.convert(raw, LineOrder, dec_hook=_path), path.resolve().parent)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}", seen=exc.strerror, remedy="Check --spec") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not valid TOML", seen=exc, remedy="Correct the line named") from exc
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{path} does not fit the schema", seen=exc, remedy="See docs/export.md for every key") from exc
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc.what}", seen=exc.seen, remedy=exc.remedy) from exc


def _path(kind: type[object], value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")


def _resolved(order: LineOrder, folder: Path) -> LineOrder:
    router = None if order.router is None else _absolute(order.router, folder)
    return msgspec.structs.replace(order, typology=tuple(_absolute(t, folder) for t in order.typology), router=router)


def _absolute(table: TypologyOrder | RouterOrder, folder: Path) -> TypologyOrder | RouterOrder:
    paths = {name: folder / value for name in table.__struct_fields__ if isinstance(value := getattr(table, name), Path)}
    return msgspec.structs.replace(table, **paths)


def _require(condition: bool, key: str, seen: object, remedy: str) -> None:
    if not condition:
        raise ConfigError(f"{key} is not usable", seen=seen, remedy=remedy)
