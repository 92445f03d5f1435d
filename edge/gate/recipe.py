"""Recipes: which welds a part has and of which typology each is, from one TOML file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edge.config import NAME
from edge.errors import ConfigError
from edge.toml import parse_toml

MAX_WELDS = 999
"""Of one recipe: the part verdict's frame counts missing welds with three digits."""
MAX_RECIPES = 1_000


class Weld(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[recipe.weld]]`: one weld of a part."""

    name: str
    typology: str


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[recipe]]`: the welds of one kind of part, in the order in which missing ones are named."""

    name: str
    weld: tuple[Weld, ...]

    def __post_init__(self) -> None:
        _name("recipe.name", self.name)
        where = f"recipe {self.name}: weld"
        if not 1 <= len(self.weld) <= MAX_WELDS:
            raise ConfigError(
                f"{where} is not usable", seen=f"{len(self.weld)} welds", remedy=f"Give 1 to {MAX_WELDS} [[recipe.weld]] tables"
            )
        for weld in self.weld:
            _name(f"{where}.name", weld.name)
            _name(f"{where}.typology of {weld.name}", weld.typology)
        _unique(f"{where}.name", [weld.name for weld in self.weld], "List every weld of the part once")

    @property
    def welds(self) -> tuple[str, ...]:
        """Names of the welds, in the recipe's order."""
        return tuple(weld.name for weld in self.weld)

    def typology(self, weld: str) -> str | None:
        """Typology of this weld, or None when the recipe has no such weld."""
        return next((known.typology for known in self.weld if known.name == weld), None)


class RecipeBook(msgspec.Struct, frozen=True, kw_only=True):
    """The recipes of one file. `sha256` is of the file's bytes, 64 hex digits, for the records."""

    recipes: Mapping[str, Recipe]
    sha256: str


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    recipe: tuple[Recipe, ...]


def load_recipes(path: Path, active: str = "") -> RecipeBook:
    """Read and check a recipe file; `active` must be one of its recipes, or empty. Raises ConfigError naming file, value and remedy."""
    try:
        data = path.read_bytes()
        recipes = msgspec.convert(parse_toml(data), _File).recipe
        _check(recipes, active)
    except OSError as exc:
        raise ConfigError(f"cannot read the recipes {path}", seen=exc.strerror, remedy="Check gate.recipes and the file's rights") from exc
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{path} does not fit the schema", seen=exc, remedy="See docs/parts.md for every key") from exc
    except (ValueError, RecursionError) as exc:  # as in load_config
        raise ConfigError(f"{path} is not valid TOML", seen=exc, remedy="Correct the line named") from exc
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc.what}", seen=exc.seen, remedy=exc.remedy) from exc
    return RecipeBook(recipes={recipe.name: recipe for recipe in recipes}, sha256=hashlib.sha256(data).hexdigest())


def _check(recipes: Sequence[Recipe], active: str) -> None:
    if not 1 <= len(recipes) <= MAX_RECIPES:
        raise ConfigError("recipe is not usable", seen=f"{len(recipes)} recipes", remedy=f"Give 1 to {MAX_RECIPES} [[recipe]] tables")
    names = [recipe.name for recipe in recipes]
    _unique("recipe.name", names, "Give every recipe its own name")
    if active and active not in names:
        raise ConfigError("gate.recipe is not in the file", seen=active, remedy=f"Name one of: {', '.join(names[:20])}")


def _name(key: str, value: str) -> None:
    if NAME.match(value) is None:
        remedy = "Use 1 to 24 of A-Z a-z 0-9 . _ - and start with a letter or digit"
        raise ConfigError(f"{key} is not usable", seen=repr(value), remedy=remedy)


def _unique(key: str, names: Sequence[str], remedy: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{key} occurs twice", seen=", ".join(twice), remedy=remedy)
