"""`[[inspector.camera]]`: where each camera is heard."""

from __future__ import annotations

import msgspec

from edge.config.checks import between, plain_name, require


class CameraConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[inspector.camera]]`: where one camera publishes."""

    name: str
    """Equal to the `camera` field and topic of its frames."""
    endpoint: str
    """ZeroMQ address the camera publishes on, such as tcp://192.168.1.20:5555 or ipc:///run/cordon/camera."""
    heartbeat_ms: float = 2_000.0
    """The camera counts as alive this long after its last message (frame or `alive`); 0 switches the check off."""

    def __post_init__(self) -> None:
        plain_name("inspector.camera.name", self.name)
        ok = self.endpoint.startswith(("tcp://", "ipc://"))
        require(ok, "inspector.camera.endpoint", self.endpoint, "Give a tcp:// or ipc:// address")
        between("inspector.camera.heartbeat_ms", self.heartbeat_ms, 0, 600_000)
