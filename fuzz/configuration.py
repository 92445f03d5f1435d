"""Fuzzing the two TOML files a person edits: each is refused with a ConfigError that says why, or every value is in its range.

An input is one byte of choices and the file.
"""

from __future__ import annotations

import atexit
import functools
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge.config import NAME, Config, load_config
from edge.errors import ConfigError
from edge.gate.recipe import MAX_RECIPES, MAX_WELDS, RecipeBook, load_recipes
from fuzz.harness import explained, timed

RECIPES = 1


def check(data: bytes) -> None:
    """Raises whatever the readers raise but ConfigError, and AssertionError where they break their promises."""
    if not data:
        return
    path = _file()
    path.write_bytes(data[1:])
    recipes = bool(data[0] & RECIPES)
    loaded = timed(lambda: _loaded(path, recipes=recipes))
    if loaded is not None:
        assert loaded == _loaded(path, recipes=recipes)
    if isinstance(loaded, Config):
        _check_config(loaded)
    elif isinstance(loaded, RecipeBook):
        _check_recipes(loaded)


@functools.cache
def _file() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="cordon-fuzz-")
    atexit.register(folder.cleanup)
    return Path(folder.name) / "cordon.toml"


def _loaded(path: Path, *, recipes: bool) -> Config | RecipeBook | None:
    try:
        return load_recipes(path) if recipes else load_config(path)
    except ConfigError as exc:
        explained(exc)
        return None


def _check_config(config: Config) -> None:
    gate, inspector = config.gate, config.inspector
    assert all(math.isfinite(value) for part in (gate, inspector) for value in _floats(part))
    assert 0 <= gate.margin_ms < gate.budget_ms
    assert inspector.trusted_keys
    assert inspector.camera
    assert all(len(bytes.fromhex(key)) == 32 for key in inspector.trusted_keys)
    assert all(NAME.match(camera.name) for camera in inspector.camera)
    assert len({camera.name for camera in inspector.camera}) == len(inspector.camera)


def _floats(struct: msgspec.Struct) -> Iterator[float]:
    for value in msgspec.structs.asdict(struct).values():
        if isinstance(value, float):
            yield value
        elif isinstance(value, msgspec.Struct):
            yield from _floats(value)


def _check_recipes(book: RecipeBook) -> None:
    assert 1 <= len(book.recipes) <= MAX_RECIPES
    for name, recipe in book.recipes.items():
        assert name == recipe.name
        assert NAME.match(name)
        assert 1 <= len(recipe.welds) <= MAX_WELDS
        assert len(set(recipe.welds)) == len(recipe.welds)
        assert all(NAME.match(weld.name) and NAME.match(weld.typology) for weld in recipe.weld)
        assert all(recipe.typology(weld.name) == weld.typology for weld in recipe.weld)
