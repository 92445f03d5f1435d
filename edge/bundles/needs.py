"""What the rest of the configuration asks of a bundle before it may take another's place: the recipes' typologies, the pinned hash."""

from __future__ import annotations

from edge.bundle import Bundle
from edge.bundles.policy import require_typologies
from edge.config import Config
from edge.errors import BundlePolicyError
from edge.gate.recipe import load_recipes


def typologies_needed(config: Config) -> frozenset[str]:
    """The typologies that the recipes name. Raises ConfigError."""
    if config.gate.recipes is None:
        return frozenset()
    book = load_recipes(config.gate.recipes)
    return frozenset(weld.typology for recipe in book.recipes.values() for weld in recipe.weld)


def require_fitting(bundle: Bundle, config: Config) -> None:
    """Raises BundlePolicyError where the gate would reject every weld that `bundle` judges, and ConfigError."""
    pinned = config.gate.bundle
    if pinned and bundle.hash != pinned:
        remedy = "Put the new hash into gate.bundle, or leave that key out, and reload the gate first"
        raise BundlePolicyError("gate.bundle pins another bundle", seen=f"{bundle.hash[:12]}, pinned {pinned[:12]}", remedy=remedy)
    require_typologies(bundle, typologies_needed(config))
