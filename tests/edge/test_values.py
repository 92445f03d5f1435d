"""Values that are passed around cannot be changed, and are made by naming their fields; what comes from outside may hold no unknown key."""

import dataclasses
import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

MODULES = (
    "edge.bundle",
    "edge.manifest",
    "edge.gate.challenge",
    "edge.gate.codec",
    "edge.gate.messages",
    "edge.gate.parts",
    "edge.gate.recipe",
    "edge.gate.verdict",
)
CHANGEABLE = {"Counters", "_Part", "_Shown"}
POSITIONAL = {"Bundle", "Condition", "FileEntry"}
FROM_OUTSIDE = {"_File", "FileEntry", "Golden", "Manifest", "MapOutput", "Member", "Passed", "Recipe", "RouterSpec", "TypologySpec", "Weld"}


def values(name: str) -> Iterator[Any]:
    for kind in vars(importlib.import_module(name)).values():
        if inspect.isclass(kind) and kind.__module__ == name and (issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind)):
            yield kind


@pytest.mark.parametrize("name", MODULES)
def test_values_are_frozen_named_and_closed(name: str) -> None:
    for kind in values(name):
        struct = issubclass(kind, msgspec.Struct)
        frozen = kind.__struct_config__.frozen if struct else kind.__dataclass_params__.frozen
        assert frozen == (kind.__name__ not in CHANGEABLE), kind
        kinds = {parameter.kind for parameter in inspect.signature(kind).parameters.values()}
        assert (kinds == {inspect.Parameter.KEYWORD_ONLY}) == (kind.__name__ not in POSITIONAL), kind
        assert (struct and kind.__struct_config__.forbid_unknown_fields) == (kind.__name__ in FROM_OUTSIDE), kind
