"""The configuration reaches the state machine in nanoseconds, every key in its own place."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from gate_kit import BUNDLE, MS, a_config, settings

from edge.gate.settings import Settings, settings_from

CHANGED = {
    "profile": "push",
    "budget_ms": 120.5,
    "margin_ms": 7.0,
    "heartbeat_ms": 60.0,
    "missed_heartbeats": 5,
    "ack_timeout_ms": 410.0,
    "resend_ms": 33.0,
    "bundle": BUNDLE,
    "framing": "twice",
    "latch_noise": 12,
}
PUSH = Settings(
    profile="push",
    budget_ns=120_500_000,
    margin_ns=7 * MS,
    heartbeat_ns=60 * MS,
    silence_ns=300 * MS,
    inspector_silence_ns=400 * MS,
    ack_timeout_ns=410 * MS,
    resend_ns=33 * MS,
    pinned=BUNDLE,
    degraded=True,
    latch_noise=12,
)


def test_every_key_has_its_own_place(tmp_path: Path) -> None:
    assert settings_from(a_config(tmp_path, **CHANGED).gate) == PUSH


def test_the_recipe_at_the_start_is_the_configured_one(tmp_path: Path) -> None:
    given = settings_from(a_config(tmp_path, recipe="R7", recipes=tmp_path / "recipe.toml").gate)
    assert (given.profile, given.recipe, given.degraded) == ("handshake", "R7", False)


def test_unless_configured_otherwise_the_inspector_is_down_after_240_ms_and_100_broken_frames_latch_nothing() -> None:
    base = settings()
    assert (base.inspector_silence_ns, base.latch_noise, base.degraded, base.recipe) == (240 * MS, 100, False, "")


@pytest.mark.parametrize("field", Settings.__struct_fields__)
def test_settings_do_not_change(field: str) -> None:
    with pytest.raises(AttributeError):
        setattr(settings(), field, None)
    assert msgspec.structs.replace(settings()) == settings()
