"""The typologies' standards: which gaps are acceptable, and the ranges that sizes are drawn from; a TOML file, checked strictly."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from edge.errors import DatasetError
from edge.toml import parse_toml
from train.defects.find import Hint

Span: TypeAlias = tuple[float, float]
Many: TypeAlias = tuple[int, int]

SHARED = "every"
PACKAGED = "standards.toml"


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table whose ranges rise; the base of all of them."""

    def __post_init__(self) -> None:
        for name, value in ((name, getattr(self, name)) for name in self.__struct_fields__):
            if isinstance(value, tuple) and len(value) == 2 and value[0] > value[1]:
                raise ValueError(f"{name} = {list(value)}: the first of a range must not exceed the second")
            if name.endswith(("share", "weight", "whole", "ground", "dropout")) and isinstance(value, float) and value < 0:
                raise ValueError(f"{name} = {value}: must not be negative")
            if name.endswith(("share", "whole", "ground", "dropout")) and isinstance(value, float) and value > 1:
                raise ValueError(f"{name} = {value}: a share is at most 1")
            lowest = value[0] if isinstance(value, tuple) else None
            if name in _LENGTHS and lowest is not None and lowest <= 0:
                raise ValueError(f"{name} = {list(value)}: sizes must be greater than 0")


_LENGTHS = frozenset(
    {
        "run_mm",
        "height_mm",
        "section_mm",
        "radius_mm",
        "count",
        "rise",
        "acceptable_mm",
        "rejectable_mm",
        "single_mm",
        "many_mm",
        "noise_mm",
    }
)


class FindTable(_Table, frozen=True, kw_only=True):
    """Where the bead is to be found, for welds where the scan alone does not say."""

    axis: Literal["auto", "columns", "rows"]
    region_mm: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1."""


class DeviationTable(_Table, frozen=True, kw_only=True):
    """See train.defects.values.Deviation."""

    weight: float
    shift_mm: Span
    run_mm: Span


class ExcessTable(_Table, frozen=True, kw_only=True):
    """See train.defects.values.Excess."""

    weight: float
    height_mm: Span
    section_mm: Span
    whole: float


class BallTable(_Table, frozen=True, kw_only=True):
    """See train.defects.values.Ball."""

    weight: float
    radius_mm: Span
    count: Many
    rise: Span


class CutTable(_Table, frozen=True, kw_only=True):
    """See train.defects.values.Cut."""

    weight: float
    acceptable_weight: float
    acceptable_mm: Span
    rejectable_mm: Span
    margin: float
    ground: float


class PoreTable(_Table, frozen=True, kw_only=True):
    """See train.defects.values.Pore."""

    weight: float
    single_mm: Span
    many_mm: Span
    count: Many


class MissingTable(_Table, frozen=True, kw_only=True):
    """See train.defects.values.Missing."""

    weight: float
    run_mm: Span
    reach_mm: Span


class BareTable(_Table, frozen=True, kw_only=True):
    """See train.defects.values.Bare."""

    weight: float
    level_mm: Span


class SolidTable(_Table, frozen=True, kw_only=True):
    """See train.defects.values.Solid."""

    weight: float
    level_mm: Span
    noise_mm: Span


class GoodTable(_Table, frozen=True, kw_only=True):
    """See train.defects.values.Conditions."""

    untouched_weight: float
    dropout: float
    dropout_share: float
    gain: float
    offset_mm: float
    brightness_share: float
    move_mm: float
    turn_deg: float
    pose_share: float


class Standard(_Table, frozen=True, kw_only=True):
    """One typology's standard."""

    cut_limit_mm: float
    per_scan: int
    find: FindTable
    deviation: DeviationTable
    excess: ExcessTable
    ball: BallTable
    cut: CutTable
    pore: PoreTable
    missing: MissingTable
    bare: BareTable
    solid: SolidTable
    good: GoodTable

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.cut_limit_mm * (1 - self.cut.margin), self.cut_limit_mm * (1 + self.cut.margin)
        if self.cut_limit_mm <= 0 or self.per_scan < 1 or not 0 <= self.cut.margin < 1:
            raise ValueError("cut_limit_mm and per_scan must be positive, cut.margin from 0 to below 1")
        if self.cut.acceptable_mm[1] > low:
            raise ValueError(f"cut.acceptable_mm = {list(self.cut.acceptable_mm)}: must end at {low:g}, the limit less its margin")
        if self.cut.rejectable_mm[0] < high:
            raise ValueError(f"cut.rejectable_mm = {list(self.cut.rejectable_mm)}: must begin at {high:g}, the limit and its margin")

    def hint(self) -> Hint:
        """For `find_weld`."""
        return Hint(axis=self.find.axis, region_mm=self.find.region_mm)


def read_standard(typology: str, path: Path | None = None) -> Standard:
    """The standard of one typology, from `path` or the packaged file. Raises DatasetError naming file, key, value and what to do."""
    where = PACKAGED if path is None else str(path)
    tables = _tables(path, where)
    names = sorted(name for name in tables if name != SHARED)
    if typology not in tables or typology == SHARED:
        raise DatasetError(f"{where} has no typology {typology}", seen=names, remedy=f"Choose one of these, or write a table [{typology}]")
    whole = _merged(tables.get(SHARED, {}), tables[typology], where, typology)
    try:
        return msgspec.convert(whole, Standard)
    except msgspec.ValidationError as exc:
        raise DatasetError(f"{where}, typology {typology}", seen=exc, remedy="Correct that key; docs/defects.md lists all of them") from exc


def _tables(path: Path | None, where: str) -> Mapping[str, Any]:
    try:
        data = (files("train.defects") / PACKAGED).read_bytes() if path is None else path.read_bytes()
        return parse_toml(data)
    except OSError as exc:
        raise DatasetError(f"cannot read the standard {where}", seen=exc.strerror, remedy="Check --standard") from exc
    except (ValueError, RecursionError) as exc:
        raise DatasetError(f"{where} is not TOML", seen=exc, remedy="Correct the line it names") from exc


def _merged(below: Any, above: Any, where: str, typology: str) -> dict[str, Any]:
    """Tables of tables, the typology's own on top."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        raise DatasetError(f"{where}: [{SHARED}] and [{typology}] must be tables", seen=above, remedy="Write them as [name]")
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    return merged
