"""Which sealed record files may be deleted, and the row that says so before they are."""

from __future__ import annotations

from edge.gate.chain import Anchor


def deletion_text(last: Anchor) -> str:
    """How the row of a deletion names the end of what was deleted."""
    return f"deleted up to row {last.number}, hash {last.hash.hex()}"
