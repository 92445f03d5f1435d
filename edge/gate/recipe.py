"""Recipes: which welds a part has and of which typology each is, from one TOML file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edge.config.checks import plain_name, require
from edge.config.load import checked
from edge.errors import ConfigError

MAX_WELDS = 999
"""Of one recipe: the part verdict's frame counts missing welds with three digits."""
MAX_RECIPES = 1_000


class Weld(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[recipe.weld]]`: one weld of a part."""

    name: str
    typology: str

    def __post_init__(self) -> None:
        plain_name("recipe.weld.name", self.name)
        plain_name("recipe.weld.typology", self.typology)


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[recipe]]`: the welds of one kind of part, in the order in which missing ones are named."""

    name: str
    weld: tuple[Weld, ...]

    def __post_init__(self) -> None:
        plain_name("recipe.name", self.name)
        some = 1 <= len(self.weld) <= MAX_WELDS
        require(some, "recipe.weld", f"{len(self.weld)} welds of {self.name}", f"Give 1 to {MAX_WELDS} [[recipe.weld]] tables")
        _unique("recipe.weld", self.welds, "List every weld of the part once")

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

    def __post_init__(self) -> None:
        some = 1 <= len(self.recipe) <= MAX_RECIPES
        require(some, "recipe", f"{len(self.recipe)} recipes", f"Give 1 to {MAX_RECIPES} [[recipe]] tables")
        _unique("recipe", [recipe.name for recipe in self.recipe], "Give every recipe its own name")


def load_recipes(path: Path, active: str = "") -> RecipeBook:
    """Read and check a recipe file; `active` must be one of its recipes, or empty. Raises ConfigError naming file, line and remedy."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"cannot read the recipes {path}", seen=exc.strerror, remedy="Check gate.recipes and the file's rights") from exc
    recipes = {recipe.name: recipe for recipe in checked(path, data, _File).recipe}
    if active and active not in recipes:
        remedy = f"Name one of: {', '.join([*recipes][:20])}"
        raise ConfigError(f"gate.recipe is not in {path}", seen=active, remedy=remedy)
    return RecipeBook(recipes=recipes, sha256=hashlib.sha256(data).hexdigest())


def _unique(key: str, names: Sequence[str], remedy: str) -> None:
    seen: set[str] = set()
    for number, name in enumerate(names):
        require(name not in seen, f"{key}[{number}].name", name, remedy)
        seen.add(name)
