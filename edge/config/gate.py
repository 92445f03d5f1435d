"""`[gate]`: the serial link, the deadline, the records."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from edge.config.challenge import ChallengeConfig
from edge.config.checks import NAME, between, require

Profile = Literal["handshake", "push"]


class StorageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[gate.storage]`: how large the record files grow, how long they stay, what is kept free (`docs/records.md`); 1 MB is 2**20 bytes."""

    segment_mb: float = 64.0
    """The live file is sealed and a new one begun at this size."""
    reserve_mb: float = 8.0
    """Allocated beforehand for the records of a full disk; 0: none. Nothing is accepted while it cannot be held."""
    alarm_mb: float = 1_024.0
    """Less free space than this is an alarm in the records and the log; 0: none."""
    keep_days: float = 0.0
    """Sealed files whose newest row is older are deleted; 0: never."""
    keep_mb: float = 0.0
    """The oldest sealed files are deleted until the rest is not larger; 0: never."""
    exported_only: bool = True
    """Delete only what was exported (`docs/records.md`), even when the disk is full."""

    def __post_init__(self) -> None:
        between("gate.storage.segment_mb", self.segment_mb, 0.01, 65_536)
        between("gate.storage.reserve_mb", self.reserve_mb, 0, 65_536)
        between("gate.storage.alarm_mb", self.alarm_mb, 0, 2**30)
        between("gate.storage.keep_days", self.keep_days, 0, 36_525)
        between("gate.storage.keep_mb", self.keep_mb, 0, 2**30)


class GateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[gate]`: the robot's line, the deadline and the records."""

    port: str
    """Serial device, best a stable name such as /dev/serial/by-id/... ."""
    records: Path
    """SQLite file of the durable records, on a local disk."""
    socket: Path
    """Unix socket where the inspector connects."""
    profile: Profile = "handshake"
    """`push`: the robot only listens, and each judged frame gives one verdict line."""
    link: Literal["ascii", "modbus"] = "ascii"
    """`modbus`: the gate is a Modbus RTU server (`docs/modbus.md`), for cells whose PLC speaks nothing else; handshake only."""
    unit: int = 1
    """The gate's Modbus address."""
    framing: Literal["crc", "twice"] = "crc"
    """`twice` is the degraded framing for robots that cannot compute a CRC: every body is sent twice. It marks every record."""
    baudrate: int = 115_200
    """Bits a second of the robot's line; slower ones leave less of the budget for judging."""
    parity: Literal["none", "even", "odd"] = "none"
    """Of the robot's line."""
    budget_ms: float = 200.0
    """From the trigger's arrival (push: the frame's) to the verdict's last byte handed to the port."""
    margin_ms: float = 5.0
    """Kept free at the budget's end for the wire, at most half of it; an undecided trigger is rejected this long before the end."""
    heartbeat_ms: float = 80.0
    """Both ways. Three missed ones are 240 ms, which leaves 60 ms for scheduling before a dead gate must be noticed (300 ms)."""
    missed_heartbeats: int = 3
    """So many silent intervals end the session."""
    ack_timeout_ms: float = 500.0
    """How long the robot may take to confirm what it did, after the verdict."""
    resend_ms: float = 40.0
    """Interval of byte-identical resends of an unacknowledged verdict, inside the budget only."""
    bundle: str = ""
    """Pinned bundle hash (64 hex digits); empty: whatever signed bundle the inspector announces."""
    recipes: Path | None = None
    """TOML file that says which welds a part has (`docs/parts.md`); handshake only. Without it welds are judged one by one."""
    recipe: str = ""
    """Recipe that is active when a session begins; empty: the robot must name one first."""
    latch_noise: int = 100
    """More broken frames of the robot than this within 10 s, and nothing is accepted until a person has looked; 0: never."""
    storage: StorageConfig = msgspec.field(default_factory=StorageConfig)
    challenge: ChallengeConfig | None = None
    """Known-good and known-bad parts that must pass before anything else is accepted (`docs/challenge.md`)."""

    @property
    def link_name(self) -> str:
        """The link profile as every record names it."""
        if self.link == "modbus":
            return self.link
        return f"{self.profile}-degraded" if self.framing == "twice" else self.profile

    def __post_init__(self) -> None:
        require(bool(self.port), "gate.port", self.port, "Name the serial device of the robot")
        between("gate.baudrate", self.baudrate, 1_200, 4_000_000)
        if between("gate.budget_ms", self.budget_ms, 5, 60_000):
            between("gate.margin_ms", self.margin_ms, 0, self.budget_ms / 2)
        between("gate.heartbeat_ms", self.heartbeat_ms, 10, 10_000)
        between("gate.missed_heartbeats", self.missed_heartbeats, 2, 100)
        between("gate.ack_timeout_ms", self.ack_timeout_ms, 1, 60_000)
        between("gate.resend_ms", self.resend_ms, 1, 60_000)
        pinned = re.fullmatch(r"([0-9a-f]{64})?", self.bundle) is not None
        require(pinned, "gate.bundle", self.bundle, "Give the 64 hex digits `cordon bundle show` prints, or leave it out")
        plain = self.link == "ascii" or (self.profile == "handshake" and self.framing == "crc")
        remedy = 'Modbus needs gate.profile = "handshake" and gate.framing = "crc", which are the defaults: leave them out'
        require(plain, "gate.link", f"{self.link} with {self.profile}, {self.framing}", remedy)
        between("gate.unit", self.unit, 1, 247)
        handshake = self.recipes is None or self.profile == "handshake"
        require(handshake, "gate.recipes", self.recipes, 'They need gate.profile = "handshake"; leave them out for push')
        named = not self.recipe or (self.recipes is not None and NAME.match(self.recipe) is not None)
        require(named, "gate.recipe", self.recipe, "Name a recipe of the file in gate.recipes, or leave it out")
        only = [part.recipe for part in self.challenge.part if part.recipe] if self.challenge is not None else []
        remedy = "Give gate.recipes, or leave it out: it is shown under every recipe"
        require(not only or self.recipes is not None, "gate.challenge.part.recipe", ", ".join(only), remedy)
        between("gate.latch_noise", self.latch_noise, 0, 100_000)
        require(len(str(self.socket)) < 104, "gate.socket", self.socket, "Unix socket paths hold at most 103 characters")
