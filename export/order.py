"""What is to be exported, as `line.toml` says it: one table per typology, and the router."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from calib.images import DEFAULT_IMAGES, MIN_IMAGES
from calib.quantise import Method
from edge.config import NAME
from edge.errors import ConfigError
from edge.manifest import MAX_WEIGHT, MEMBER_NAME, MIN_WEIGHT, Combine
from export.sources.base import Output

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_HELD_OUT, DEFAULT_SEED = 0.2, 42
"""Used when neither the order nor the checkpoint says how the scans were split."""


Precision = Literal["int8", "mixed", "fp16", "auto"]
"""int8: every layer or no bundle. mixed: the layers that cause a refusal stay float. auto: int8, then mixed, then fp16."""


class MemberOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[typology.member]]`: one trained network. The keys may stand in `[[typology]]` itself when there is only one."""

    source: Path
    """Checkpoint .safetensors, state dict .pth, torch.export .pt2, .onnx, or a fastai Learner .pkl (only with --trust-pickle)."""
    name: str | None = None
    """Default: the file's name."""
    heightmap: Path | None = None
    """heightmap.json for sources that carry none; default: the one in the typology's scans."""
    architecture: str | None = None
    """Of a state dict; docs/networks.md has the names."""
    classes: tuple[str, ...] | None = None
    """Of sources that carry none, in the order of the network's output."""
    output: Output = "logits"
    """What an ONNX or torch.export network gives."""
    weight: float = 1.0
    """In a weighted mean."""
    references: int = 8
    """Good scans whose embeddings a siamese network compares with."""
    quantile: float = 0.995
    """Of the good scans' reconstruction errors: what an autoencoder takes for the border of good."""

    @property
    def title(self) -> str:
        """The member's name in the bundle."""
        return self.name or self.source.stem

    def __post_init__(self) -> None:
        _require(self.name is None or NAME.match(self.name) is not None, "member.name", self.name, "Use 1 to 24 of A-Z a-z 0-9 . _ -")
        _require(MIN_WEIGHT <= self.weight <= MAX_WEIGHT, "member.weight", self.weight, f"Choose from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}")
        _require(1 <= self.references <= 64, "member.references", self.references, "Choose from 1 to 64")
        _require(0.5 <= self.quantile < 1.0, "member.quantile", self.quantile, "Choose from 0.5 to below 1")


class TypologyOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[typology]]`: one or more trained networks, the scans that calibrate and prove them, and what they must reach together."""

    name: str
    scans: Path
    """Folder with good/ and bad/."""
    source: Path | None = None
    """The only network; `member` says several."""
    heightmap: Path | None = None
    architecture: str | None = None
    classes: tuple[str, ...] | None = None
    output: Output = "logits"
    member: tuple[MemberOrder, ...] = ()
    combine: Combine = "mean"
    """How several members become one score."""
    table: Path | None = None
    """CSV with columns file and group (or scan); default: the one in the folder."""
    keep_aside: Path | None = None
    """CSV with a column file: scans that are neither used to calibrate nor to prove."""
    mixed_sizes: bool = False
    """Allow scans of several sizes in one folder."""
    held_out: float | None = None
    """Part of the groups that proves the network; default: what the checkpoint was trained with."""
    seed: int | None = None
    """Of that split; default: what the checkpoint was trained with."""
    calibration_images: int = DEFAULT_IMAGES
    method: Method = "max"
    precision: Precision = "int8"
    max_escape_rate: float = 0.0
    """Part of the bad held-out welds that the threshold may accept, when that saves good ones."""
    escape_bound: float = 1.0
    """Largest upper confidence bound of the escape rate; it takes many bad welds to prove a low one."""
    overkill_bound: float = 1.0
    """The same for overkills."""
    added_escapes: int = 0
    """Escapes that the shipped network may have where FP32 has none, at the shipped threshold."""
    added_overkill: float = 0.05
    """Part of the good held-out welds that it may reject more than FP32 does, each at its own threshold."""
    mean_difference: float = 0.05
    """Largest mean difference of the shipped score from FP32's: what moves further answers otherwise, even if it still separates."""
    auroc_floor: float = 0.8
    """Smallest area under the shipped network's ROC curve."""
    embeddings: bool = False
    """Keep feature vectors of the training scans in the bundle, for `cordon bundle similar`."""
    explain: bool = False
    """Give every network a second output that says where it saw what it calls bad; docs/explaining.md."""

    def __post_init__(self) -> None:
        _require(NAME.match(self.name) is not None, "typology.name", self.name, "Use 1 to 24 of A-Z a-z 0-9 . _ -")
        titles = [member.title for member in self.member]
        clean = len(set(titles)) == len(titles) and all(MEMBER_NAME.match(title) for title in titles)
        _require(clean, "member.name", titles, "Give every member a name of its own: A-Z a-z 0-9 . _ -")
        _require((self.source is None) == bool(self.member), "typology.source", self.source, "Give either source or [[typology.member]]")
        _require(self.held_out is None or 0.0 < self.held_out < 1.0, "typology.held_out", self.held_out, "Choose between 0 and 1")
        enough = self.calibration_images >= MIN_IMAGES
        _require(enough, "typology.calibration_images", self.calibration_images, f"Use at least {MIN_IMAGES}")
        _require(0.0 <= self.max_escape_rate < 0.5, "typology.max_escape_rate", self.max_escape_rate, "Choose from 0 to below 0.5")
        _require(self.added_escapes >= 0, "typology.added_escapes", self.added_escapes, "Use 0 or more")
        for key in ("escape_bound", "overkill_bound", "added_overkill", "mean_difference"):
            value = getattr(self, key)
            _require(0.0 <= value <= 1.0, f"typology.{key}", value, "Choose from 0 to 1")
        _require(0.5 <= self.auroc_floor <= 1.0, "typology.auroc_floor", self.auroc_floor, "Choose from 0.5 to 1")

    @property
    def members(self) -> tuple[MemberOrder, ...]:
        """The members, or the one network of the typology's own keys, named as the typology."""
        if self.source is None:
            return self.member
        own = {key: getattr(self, key) for key in ("source", "name", "heightmap", "architecture", "classes", "output")}
        return (MemberOrder(**own),)


class RouterOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[router]`: the network that names the typology; its classes are typologies of this file."""

    source: Path
    root: Path | None = None
    """Folder with one scan folder per typology name; default: each typology's own scans."""
    heightmap: Path | None = None
    architecture: str | None = None
    classes: tuple[str, ...] | None = None
    output: Output = "logits"
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


Table = TypeVar("Table", bound=msgspec.Struct)


def _absolute(table: Table, folder: Path) -> Table:
    """The table with every path in it, and in the tables inside it, made absolute."""
    changed: dict[str, object] = {}
    for name in table.__struct_fields__:
        value = getattr(table, name)
        if isinstance(value, Path):
            changed[name] = folder / value
        elif name == "member":
            changed[name] = tuple(_absolute(member, folder) for member in value)
    return msgspec.structs.replace(table, **changed)


def _require(condition: bool, key: str, seen: object, remedy: str) -> None:
    if not condition:
        raise ConfigError(f"{key} is not usable", seen=seen, remedy=remedy)
