"""docs/bundle.md names every field that a manifest may hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge.bundle import FileEntry, Golden, Manifest, Member, RouterSpec, TypologySpec

NAMES = set(re.findall(r"`([a-z_0-9]+)`", (Path(__file__).parents[2] / "docs" / "bundle.md").read_text()))


@pytest.mark.parametrize("table", [Manifest, TypologySpec, Member, Golden, RouterSpec, FileEntry])
def test_every_field_is_documented(table: type) -> None:
    assert set(table.__struct_fields__) <= NAMES


@pytest.mark.parametrize("rule", ["mean", "weighted", "vote"])
def test_every_rule_is_documented(rule: str) -> None:
    assert rule in NAMES
