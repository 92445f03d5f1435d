"""Fuzzing the two TOML files a person edits: each is refused with a ConfigError that says why and where, or every value is in its range.

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
from edge.config.lines import KeyPath, lines_of
from edge.errors import ConfigError, ConfigFileError
from edge.gate.recipe import MAX_RECIPES, MAX_WELDS, RecipeBook, load_recipes
from edge.toml import parse_toml
from fuzz.harness import explained, timed

RECIPES = 1


def check(data: bytes) -> None:
    """Raises whatever the readers raise but ConfigError, and AssertionError where they break their promises."""
    if not data:
        return
    path = _file()
    path.write_bytes(data[1:])
    recipes = bool(data[0] & RECIPES)
    _check_lines(data[1:])
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
        if isinstance(exc, ConfigFileError):
            _check_mistakes(exc, path.read_bytes())
        return None


def _check_mistakes(error: ConfigFileError, data: bytes) -> None:
    """Each is told once, names its remedy, and stands on a line of the file; what is shown of a value is short."""
    assert error.mistakes
    lines = data.count(b"\n") + 1
    for mistake in error.mistakes:
        assert mistake.what
        assert mistake.remedy
        assert mistake.line is None or 1 <= mistake.line <= lines
        assert len(mistake.seen or "") < 400
    keys = [mistake.key for mistake in error.mistakes]
    assert len(set(keys)) == len(keys)


def _check_lines(data: bytes) -> None:
    """Every key and list entry that the reader finds has a line, and nothing else has."""
    try:
        text = data.decode("utf-8")
        tables = parse_toml(data)
    except (ValueError, RecursionError):
        return
    found = lines_of(text)
    assert set(found) == set(_paths(tables, ()))
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


def _paths(value: object, path: KeyPath) -> Iterator[KeyPath]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, below in inner:
        yield (*path, part)
        yield from _paths(below, (*path, part))


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
