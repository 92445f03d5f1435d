"""The box's one configuration file: small frozen values with units in their names, validated as a whole before anything opens."""

from __future__ import annotations

from edge.config.camera import CameraConfig
from edge.config.challenge import ChallengeConfig, ChallengePart, Expect
from edge.config.checks import NAME
from edge.config.curve import CurveConfig
from edge.config.gate import GateConfig, Profile, StorageConfig
from edge.config.inspector import ArchiveConfig, BundlesConfig, Explain, GpuConfig, InspectorConfig
from edge.config.load import Config, load_config, read_config
from edge.config.metrics import MetricsConfig

__all__ = [
    "NAME",
    "ArchiveConfig",
    "BundlesConfig",
    "CameraConfig",
    "ChallengeConfig",
    "ChallengePart",
    "Config",
    "CurveConfig",
    "Expect",
    "Explain",
    "GateConfig",
    "GpuConfig",
    "InspectorConfig",
    "MetricsConfig",
    "Profile",
    "StorageConfig",
    "load_config",
    "read_config",
]
