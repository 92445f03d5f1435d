"""The box's one configuration file: small frozen values with units in their names, validated as a whole before anything opens."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Literal

import msgspec

from edge.dla import DLA_REFUSED, GPU
from edge.errors import ConfigError
from edge.toml import parse_toml

Profile = Literal["handshake", "push"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}\Z")
"""Part, weld, typology and camera names: at most 24 characters that are safe on the serial line, in files and in logs."""


class StorageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[gate.storage]`: how large the record files grow, how long they stay, and what is kept free for them; 1 MB is 2**20 bytes."""

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
        _between("gate.storage.segment_mb", self.segment_mb, 0.01, 65_536)
        _between("gate.storage.reserve_mb", self.reserve_mb, 0, 65_536)
        _between("gate.storage.alarm_mb", self.alarm_mb, 0, 2**30)
        _between("gate.storage.keep_days", self.keep_days, 0, 36_525)
        _between("gate.storage.keep_mb", self.keep_mb, 0, 2**30)


class GateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[gate]`: the serial link, the deadline and the records."""

    port: str
    """Serial device, best a stable name such as /dev/serial/by-id/... ."""
    records: Path
    """SQLite file of the durable records."""
    socket: Path
    """Unix socket where the inspector connects."""
    profile: Profile = "handshake"
    link: Literal["ascii", "modbus"] = "ascii"
    """`modbus`: the gate is a Modbus RTU server (`docs/modbus.md`), for cells whose PLC speaks nothing else; handshake only."""
    unit: int = 1
    """The gate's Modbus address."""
    framing: Literal["crc", "twice"] = "crc"
    """`twice` is the degraded framing for robots that cannot compute a CRC: every body is sent twice. It marks every record."""
    baudrate: int = 115_200
    parity: Literal["none", "even", "odd"] = "none"
    budget_ms: float = 200.0
    """From the trigger's arrival (push: the frame's) to the verdict's last byte handed to the port."""
    margin_ms: float = 5.0
    """Kept free at the end of the budget for the wire; an undecided trigger is rejected this long before the budget ends."""
    heartbeat_ms: float = 80.0
    """Both ways. Three missed ones are 240 ms, which leaves 60 ms for scheduling before a dead gate must be noticed (300 ms)."""
    missed_heartbeats: int = 3
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

    @property
    def link_name(self) -> str:
        """The link profile as every record names it."""
        if self.link == "modbus":
            return self.link
        return f"{self.profile}-degraded" if self.framing == "twice" else self.profile

    def __post_init__(self) -> None:
        _require(bool(self.port), "gate.port", self.port, "Name the serial device of the robot")
        _between("gate.baudrate", self.baudrate, 1_200, 4_000_000)
        _between("gate.budget_ms", self.budget_ms, 5, 60_000)
        _between("gate.margin_ms", self.margin_ms, 0, self.budget_ms / 2)
        _between("gate.heartbeat_ms", self.heartbeat_ms, 10, 10_000)
        _between("gate.missed_heartbeats", self.missed_heartbeats, 2, 100)
        _between("gate.ack_timeout_ms", self.ack_timeout_ms, 1, 60_000)
        _between("gate.resend_ms", self.resend_ms, 1, 60_000)
        pinned = re.fullmatch(r"([0-9a-f]{64})?", self.bundle) is not None
        _require(pinned, "gate.bundle", self.bundle, "Give the 64 hex digits `cordon bundle show` prints, or leave it out")
        plain = self.link == "ascii" or (self.profile == "handshake" and self.framing == "crc")
        remedy = 'Modbus needs gate.profile = "handshake" and gate.framing = "crc", which are the defaults: leave them out'
        _require(plain, "gate.link", f"{self.link} with {self.profile}, {self.framing}", remedy)
        _between("gate.unit", self.unit, 1, 247)
        handshake = self.recipes is None or self.profile == "handshake"
        _require(handshake, "gate.recipes", self.recipes, 'They need gate.profile = "handshake"; leave them out for push')
        named = not self.recipe or (self.recipes is not None and NAME.match(self.recipe) is not None)
        _require(named, "gate.recipe", self.recipe, "Name a recipe of the file in gate.recipes, or leave it out")
        _between("gate.latch_noise", self.latch_noise, 0, 100_000)
        _require(len(str(self.socket)) < 104, "gate.socket", self.socket, "Unix socket paths hold at most 103 characters")


class CameraConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[inspector.camera]]`: where one camera publishes."""

    name: str
    """Equal to the `camera` field and topic of its frames."""
    endpoint: str
    """ZeroMQ address the camera publishes on, such as tcp://192.168.1.20:5555 or ipc:///run/cordon/camera."""
    heartbeat_ms: float = 2_000.0
    """The camera counts as alive this long after its last message (frame or `alive`); 0 switches the check off."""

    def __post_init__(self) -> None:
        _name("inspector.camera.name", self.name)
        ok = self.endpoint.startswith(("tcp://", "ipc://"))
        _require(ok, "inspector.camera.endpoint", self.endpoint, "Give a tcp:// or ipc:// address")
        _between("inspector.camera.heartbeat_ms", self.heartbeat_ms, 0, 600_000)


class GpuConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[inspector.gpu]`: the engines that `cordon engine build` made here, and how they are run."""

    engines: Path
    """Folder of the engines."""
    box_keys: tuple[str, ...]
    """Ed25519 public keys that sign engines, 64 hex digits each: the public half of `cordon engine build --box-key`."""
    cache: Path | None = None
    """Folder of TensorRT-RTX's compiled kernels, kept from one start to the next; writable by the inspector alone."""
    device: str = GPU
    streams: int = 4
    """Engines that may run side by side; members of one committee and, with `engines = "all"`, all typologies share them."""
    timeout_ms: float = 1000.0
    """A GPU that has not finished a frame by then counts as hung, and the inspector ends."""
    zero_copy: Literal["auto", "on", "off"] = "auto"
    """Let the GPU read and write the host's memory: `auto` on integrated GPUs only."""
    graphs: bool = True
    """Replay each engine as a CUDA graph where it can be captured."""
    fallback: Literal["none", "openvino"] = "none"
    """`openvino`: judge on the CPU when the GPU cannot be used at start, if certificate and latency allow it."""
    fallback_within_ms: float = 0.0
    """The longest that the CPU may take from frame to scores."""

    def __post_init__(self) -> None:
        _require(self.device == GPU, "inspector.gpu.device", self.device, DLA_REFUSED)
        _keys("inspector.gpu.box_keys", self.box_keys, "Run `cordon keys new`, build with --box-key and paste the public key")
        _between("inspector.gpu.streams", self.streams, 1, 32)
        _between("inspector.gpu.timeout_ms", self.timeout_ms, 1, 60_000)
        if self.fallback == "openvino":
            _between("inspector.gpu.fallback_within_ms", self.fallback_within_ms, 0.001, 60_000)


class ArchiveConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[inspector.archive]`: rejected frames and some accepted ones as 16-bit PNG; without this table no image is kept."""

    folder: Path
    """One folder a day is made in it; best on another disk than the records."""
    max_mb: float = 10_000.0
    """The oldest images make room for new ones."""
    accepts_every: int = 50
    """Every so many accepted welds, one image is kept; 0: none. Rejected ones are all kept."""
    payloads: bool = False
    """Beside the picture of a float frame or a cloud also keep its very numbers, so that it can be trained on."""

    def __post_init__(self) -> None:
        _between("inspector.archive.max_mb", self.max_mb, 1, 100_000_000)
        _between("inspector.archive.accepts_every", self.accepts_every, 0, 1_000_000)


class BundlesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[inspector.bundles]`: the store that `cordon bundle install` fills, in place of one file in `inspector.bundle`."""

    folder: Path = Path("/var/lib/cordon/bundles")
    """Written by root, read by the inspector."""
    line: str = ""
    """The name that bundles carry; empty: that of the first one activated."""
    min_version: int = 1
    """Nothing older is used, whatever the store remembers."""
    typologies: tuple[str, ...] = ()
    """What a bundle must be able to judge, besides what the recipes name."""
    revoked_keys: tuple[str, ...] = ()
    """Public keys, 64 hex digits each, that count no more, trusted or not."""
    revoked_bundles: tuple[str, ...] = ()
    """Hashes, 64 hex digits each, of bundles that are used no more."""
    fallback: bool = True
    """The inspector starts with the bundle before the active one when that cannot be loaded or proved."""
    proof_s: float = 300.0
    """The longest that the golden inputs may take at activation."""

    def __post_init__(self) -> None:
        _between("inspector.bundles.min_version", self.min_version, 1, 2**53)
        _between("inspector.bundles.proof_s", self.proof_s, 0.1, 3_600)
        _hex_digits("inspector.bundles.revoked_keys", self.revoked_keys)
        _hex_digits("inspector.bundles.revoked_bundles", self.revoked_bundles)
        for name in self.typologies:
            _name("inspector.bundles.typologies", name)


Explain = Literal["none", "rejects", "all"]
"""Of which judged frames the record says where the networks saw what they call bad."""


class InspectorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[inspector]`: cameras, the bundle and how it is run."""

    trusted_keys: tuple[str, ...]
    """Ed25519 public keys, 64 hex digits each, as `cordon keys new` prints them."""
    camera: tuple[CameraConfig, ...]
    bundle: Path | None = None
    """The bundle's file; left out where `bundles` is given."""
    bundles: BundlesConfig | None = None
    backend: Literal["openvino", "tensorrt", "tensorrt_rtx"] = "openvino"
    """The CPU, or a GPU with TensorRT or TensorRT-RTX."""
    gpu: GpuConfig | None = None
    archive: ArchiveConfig | None = None
    engines: Literal["named", "all"] = "named"
    """`all` runs every typology's engines on every frame as a cross-check."""
    explain: Explain = "none"
    """`rejects`: the records of welds above their threshold carry a small map of evidence; `all`: those of every judged weld."""
    threads: int = 2
    prewarm: bool = True
    """Run the expected engine once when a trigger opens, while the camera exposes."""
    max_frame_bytes: int = 64 * 1024 * 1024
    receive_queue: int = 8
    """Frames ZeroMQ may hold per camera; bounds memory together with max_frame_bytes."""

    def __post_init__(self) -> None:
        one = (self.bundle is None) != (self.bundles is None)
        _require(one, "inspector.bundle", self.bundle or "missing", "Give the bundle's file, or the table [inspector.bundles]: one of them")
        _keys("inspector.trusted_keys", self.trusted_keys, "Run `cordon keys new` and paste the public key")
        if self.backend != "openvino":
            remedy = "Add [inspector.gpu] with engines and box_keys; docs/gpu.md has an example"
            _require(self.gpu is not None, "inspector.gpu", "missing", remedy)
        _require(bool(self.camera), "inspector.camera", self.camera, "Add one [[inspector.camera]] table per camera")
        names = [c.name for c in self.camera]
        _require(len(set(names)) == len(names), "inspector.camera.name", names, "Give every camera its own name")
        _between("inspector.threads", self.threads, 1, 256)
        _between("inspector.max_frame_bytes", self.max_frame_bytes, 1_024, 2**31)
        _between("inspector.receive_queue", self.receive_queue, 1, 10_000)


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `gate.socket` is shared: the gate listens there and the inspector connects."""

    gate: GateConfig
    inspector: InspectorConfig

    def __post_init__(self) -> None:
        gpu, gate = self.inspector.gpu, self.gate
        if gpu is not None and gpu.fallback != "none":
            _between("inspector.gpu.fallback_within_ms", gpu.fallback_within_ms, 0.001, gate.budget_ms - gate.margin_ms)


def load_config(path: Path) -> Config:
    """Read and check the one TOML file. Raises ConfigError naming file, key, value and remedy."""
    return read_config(path)[0]


def read_config(path: Path) -> tuple[Config, str]:
    """As `load_config`, with the SHA-256 (64 hex digits) of the very bytes it came from: the file may be edited at any moment."""
    try:
        data = path.read_bytes()
        raw = parse_toml(data)
    except OSError as exc:
        raise ConfigError(
            f"cannot read the configuration {path}", seen=exc.strerror, remedy="Check --config and the file's rights"
        ) from exc
    except (ValueError, RecursionError) as exc:  # not TOML, not UTF-8, a number of thousands of digits; brackets a thousand deep
        raise ConfigError(f"{path} is not valid TOML", seen=exc, remedy="Correct the line named") from exc
    try:
        return msgspec.convert(raw, Config, dec_hook=_path), hashlib.sha256(data).hexdigest()
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{path} does not fit the schema", seen=exc, remedy="See docs/configuration.md for every key") from exc
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc.what}", seen=exc.seen, remedy=exc.remedy) from exc


def _path(kind: type[object], value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"Expected {kind.__name__}")


def _require(condition: bool, key: str, seen: object, remedy: str) -> None:
    if not condition:
        raise ConfigError(f"{key} is not usable", seen=seen, remedy=remedy)


def _between(key: str, value: float, low: float, high: float) -> None:
    # False for NaN and infinities too; an integer beyond every float must not be made one.
    _require(low <= value <= high, key, value, f"Choose a value from {low:g} to {high:g}")


def _keys(key: str, values: tuple[str, ...], remedy: str) -> None:
    _require(bool(values), key, values, remedy)
    _hex_digits(key, values)


def _hex_digits(key: str, values: tuple[str, ...]) -> None:
    for value in values:
        _require(re.fullmatch(r"[0-9a-f]{64}", value) is not None, key, value, "A key or a bundle's hash is 64 lower-case hex digits")


def _name(key: str, value: str) -> None:
    _require(NAME.match(value) is not None, key, value, "Use 1 to 24 of A-Z a-z 0-9 . _ - and start with a letter or digit")
