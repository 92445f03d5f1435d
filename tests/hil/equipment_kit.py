"""What of a cell is real, as the options of this room say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Equipment:
    """What is real; empty texts and None stand for the simulators."""

    serial: str
    robot_port: str
    robot: str
    baudrate: int
    parity: Literal["none", "even", "odd"]
    loopback: bool
    recipe: str
    camera: str
    camera_name: str
    camera_key: str
    box_key: str
    camera_requests: str
    config: Path | None
    verdicts: int
    watch: bool
    by_hand: bool
    papers: Path | None

    @property
    def null_modem(self) -> tuple[str, str] | None:
        """The gate's port and the simulated robot's, where two real ones are wired together."""
        return (self.serial, self.robot_port) if self.serial and self.robot_port else None
