"""The configuration as the state machine wants it: nanoseconds and plain values."""

from __future__ import annotations

import msgspec

from edge.config import GateConfig, Profile

NS_PER_MS = 1_000_000
INSPECTOR_BEAT_MS = 80
"""The inspector speaks at least this often, however often gate and robot do; three missed ones must stay under 300 ms."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a session needs of the configuration."""

    profile: Profile
    budget_ns: int
    margin_ns: int
    heartbeat_ns: int
    silence_ns: int
    """This long without a sign of life, and the robot counts as gone."""
    inspector_silence_ns: int = 3 * INSPECTOR_BEAT_MS * NS_PER_MS
    """The same for the inspector, which is silent while it judges a frame."""
    ack_timeout_ns: int
    resend_ns: int
    pinned: str
    degraded: bool = False
    """The link's framing has no CRC."""
    recipe: str = ""
    """Active when a session begins; empty: none."""
    latch_noise: int = 100
    """Broken frames within 10 s that are still no reason to latch; 0: never latch for them."""


def settings_from(config: GateConfig) -> Settings:
    """The part of the configuration this state machine needs."""

    def ns(milliseconds: float) -> int:
        return int(milliseconds * NS_PER_MS)

    return Settings(
        profile=config.profile,
        budget_ns=ns(config.budget_ms),
        margin_ns=ns(config.margin_ms),
        heartbeat_ns=ns(config.heartbeat_ms),
        silence_ns=ns(config.heartbeat_ms) * config.missed_heartbeats,
        inspector_silence_ns=ns(INSPECTOR_BEAT_MS) * config.missed_heartbeats,
        ack_timeout_ns=ns(config.ack_timeout_ms),
        resend_ns=ns(config.resend_ms),
        pinned=config.bundle,
        degraded=config.framing == "twice",
        recipe=config.recipe,
        latch_noise=config.latch_noise,
    )
