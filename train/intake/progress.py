"""A progress bar on terminals, silence elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def shown(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Pass the items through, counted on standard error when that is a terminal."""
    yield from tqdm(items, desc=what, leave=False, disable=None)
