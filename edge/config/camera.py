"""`[[inspector.camera]]`: where each camera is heard, and what it has to prove."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network

import msgspec

from edge.config.checks import between, plain_name, require
from edge.z85 import decode_key

MAX_KEYS = 2
"""The key in use and, while it is changed, the next one."""
MAX_ALLOWED = 32
ADDRESS = re.compile(r"(tcp://[^\s,]+:(?P<port>[0-9]{1,5})|ipc://.+)\Z")
LISTENED = re.compile(r"tcp://(?:\*|[0-9.]{7,15}):([0-9]{1,5})\Z")
KEY_REMEDY = "Paste the line that `cordon keys camera` printed: 40 characters of Z85, or 64 hex digits"


class CameraConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[inspector.camera]]`: where one camera publishes; one table for each (`docs/frames.md`)."""

    name: str
    """Equal to the `camera` field and topic of its frames."""
    endpoint: str
    """ZeroMQ address the camera publishes on, such as tcp://192.168.1.20:5555 or ipc:///run/cordon/camera; with `listen` the box's own."""
    heartbeat_ms: float = 2_000.0
    """The camera counts as alive this long after its last message (frame or `alive`); 0 switches the check off."""
    keys: tuple[str, ...] = ()
    """The camera's CURVE public key, as `cordon keys camera` prints it; two while the key is changed; none: nothing is proved."""
    listen: bool = False
    """The box binds `endpoint` and the camera connects; otherwise the box connects to the camera."""
    allow: tuple[str, ...] = ()
    """With `listen`: IPv4 addresses or networks (192.168.1.0/24) from which the camera may connect; all others find no open port."""

    def __post_init__(self) -> None:
        plain_name("inspector.camera.name", self.name)
        found = ADDRESS.match(self.endpoint)
        ok = self.listen or (found is not None and (found["port"] is None or 1 <= int(found["port"]) <= 65_535))
        remedy = "Give a tcp:// address with its port, such as tcp://192.168.1.20:5555, or an ipc:// address"
        require(ok, "inspector.camera.endpoint", self.endpoint, remedy)
        between("inspector.camera.heartbeat_ms", self.heartbeat_ms, 0, 600_000)
        require(len(self.keys) <= MAX_KEYS, "inspector.camera.keys", len(self.keys), "Give one key, or two while the key is changed")
        for place, key in enumerate(self.keys):
            _readable(decode_key, f"inspector.camera.keys[{place}]", key, KEY_REMEDY)
        if self.listen:
            self._check_listening()
        else:
            require(not self.allow, "inspector.camera.allow", list(self.allow), "Leave it out: without `listen` the box lets nobody in")

    @property
    def proved(self) -> bool:
        """Has whoever sends under this name proved that he may? A Unix socket's rights are such a proof too; an abstract one has none."""
        return bool(self.keys) or (self.endpoint.startswith("ipc://") and not self.endpoint.startswith("ipc://@"))

    def _check_listening(self) -> None:
        found = LISTENED.match(self.endpoint)
        remedy = "With `listen` give tcp://*:PORT, or one IPv4 address of the box and a port"
        require(found is not None and 1 <= int(found[1]) <= 65_535, "inspector.camera.endpoint", self.endpoint, remedy)
        require(bool(self.keys), "inspector.camera.keys", [], "A box that listens lets in only who proves a key: `cordon keys camera`")
        ok = 0 < len(self.allow) <= MAX_ALLOWED
        remedy = f'Name where the camera comes from, {MAX_ALLOWED} addresses or networks at most: allow = ["192.168.1.20"]'
        require(ok, "inspector.camera.allow", len(self.allow), remedy)
        for place, text in enumerate(self.allow):
            _readable(IPv4Network, f"inspector.camera.allow[{place}]", text, "Give an IPv4 address, or a network such as 192.168.1.0/24")


def check_cameras(cameras: tuple[CameraConfig, ...], *, curve: bool) -> None:
    """What cameras must not share, and that the box has a key of its own (`curve`) where they have some. Raises ConfigError."""
    names = [camera.name for camera in cameras]
    for place, name in enumerate(names):
        require(name not in names[:place], f"inspector.camera[{place}].name", name, "Give every camera its own name")
    ports = [camera.endpoint.rpartition(":")[2] for camera in cameras if camera.listen]
    require(len(set(ports)) == len(ports), "inspector.camera.endpoint", ports, "Give every camera that connects a port of its own")
    keys = [decode_key(key).hex() for camera in cameras for key in camera.keys]
    remedy = "Give every camera a key of its own: one that two share proves neither of them"
    require(len(set(keys)) == len(keys), "inspector.camera.keys", keys, remedy)
    remedy = "Cameras have `keys`: make the box's own with `cordon keys box` and name it in [inspector.curve] key"
    require(curve or not keys, "inspector.curve", "missing", remedy)


def _readable(read: Callable[[str], object], key: str, text: str, remedy: str) -> None:
    try:
        read(text)
    except ValueError as exc:
        require(False, key, f"{text}: {exc}", remedy)
