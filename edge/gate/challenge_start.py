"""The rule of the challenge parts as configured, once it fits the recipes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge.config import GateConfig
from edge.errors import ConfigError
from edge.gate.recipe import Recipe

if TYPE_CHECKING:
    from edge.gate.challenge import Challenges


def challenges_of(config: GateConfig, recipes: Mapping[str, Recipe] | None, boot: str) -> Challenges | None:
    """The rule as configured, and nothing passed yet; None without `[gate.challenge]`. Raises ConfigError."""
    if config.challenge is None:
        return None
    for recipe in recipes.values() if recipes is not None else ():
        _check(config, recipe)
    from edge.gate.challenge import Challenges  # noqa: PLC0415 - milliseconds that a gate without such parts need not spend

    return Challenges(config.challenge, boot=boot, wall=time.time_ns, recipe=config.recipe, recipes=recipes)


def _check(config: GateConfig, recipe: Recipe) -> None:
    """Under every recipe there is a known-good and a known-bad weld, and the recipe has them. Raises ConfigError."""
    assert config.challenge is not None
    parts = [part for part in config.challenge.part if part.recipe in ("", recipe.name)]
    for part in parts:
        if recipe.typology(part.weld) is None:
            raise ConfigError(
                f"recipe {recipe.name} has no weld {part.weld}, which gate.challenge.part names",
                seen=f"{part.name} {part.weld}",
                remedy="Give that challenge part the recipe it belongs to (gate.challenge.part.recipe), or correct its weld",
            )
    for expect in ("bad", "good"):
        if not any(part.expect == expect for part in parts):
            raise ConfigError(
                f"recipe {recipe.name} has no known-{expect} challenge part, so nothing could ever be accepted under it",
                seen=f"{len(parts)} welds",
                remedy=f'Add a [[gate.challenge.part]] with expect = "{expect}" that has this recipe or none',
            )
