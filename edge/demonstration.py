"""The demonstration: a bundle whose signing key everybody knows, and the simulated cell that is all it may ever judge."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from edge.errors import LinkError

KEY = "af0f9e4f21fe2e47ea38c1cf92c97a5279afbe13c2ccd37215176fd82ca41d48"
"""Public half of the key that `packaging/demonstration.py` signs with. The private half follows from its source: anybody can sign by it."""
FOLDER = Path("/opt/cordon/share/demonstration")
"""What the package brings: the bundle `line.cordon`, and `welds.csv` with its scans."""
PLACE = "/run/cordon-simulators"
"""Where the simulated robot's port and the simulated camera's socket are, and nothing else ever is."""
PSEUDO_TERMINALS = range(136, 144)
"""Major device numbers of Linux: what a program makes, with no wire behind it."""
WARNING = "DEMONSTRATION: everybody can sign a bundle for this box, and what it accepts says nothing about a weld"


def is_demonstration(trusted_keys: Iterable[str]) -> bool:
    """Does this configuration trust the key that everybody knows?"""
    return KEY in trusted_keys


def require_simulators(trusted_keys: tuple[str, ...], port: str, endpoints: Iterable[str], box_keys: tuple[str, ...] = ()) -> None:
    """A configuration that trusts the demonstration's key has the simulators for robot and cameras, and no other key.

    That key may sign no engines (`box_keys`) anywhere.

    Raises ConfigError: so neither daemon starts when somebody makes a real cell out of the simulated one and forgets the key.
    """
    if not is_demonstration((*trusted_keys, *box_keys)):
        return
    from edge.config.checks import require  # noqa: PLC0415 - edge.config itself imports this module

    remedy = "Everybody can sign engines by it: make the box its own, `cordon keys new /etc/cordon/box.key`"
    require(not is_demonstration(box_keys), "inspector.gpu.box_keys", "the demonstration's key", remedy)
    if not is_demonstration(trusted_keys):
        return
    remedy = "Everybody can sign by the demonstration's key: put your own public key in its place (`cordon keys new`, `cordon setup`)"
    require(trusted_keys == (KEY,), "inspector.trusted_keys", "the demonstration's key beside others", remedy)
    real = [place for place in (port,) if not inside(place)]
    real += [endpoint for endpoint in endpoints if not (endpoint.startswith("ipc://") and inside(endpoint.removeprefix("ipc://")))]
    require(not real, "inspector.trusted_keys", f"the demonstration's key for {', '.join(real)}", remedy)


def inside(path: str) -> bool:
    """Is it a name in the simulators' folder itself?"""
    folder, slash, name = path.rpartition("/")
    return folder + slash == f"{PLACE}/" and name not in ("", ".", "..")


def require_pretended(path: str, device: int) -> None:
    """A port in the simulators' folder, once open, is a pseudo-terminal: `device` is its number (st_rdev).

    Raises LinkError where a link leads from there to a real robot's line, which the configuration alone cannot show.
    """
    if inside(path) and os.major(device) not in PSEUDO_TERMINALS:
        remedy = "Nothing real may be there: name the robot's device in gate.port, and your own key in inspector.trusted_keys"
        raise LinkError(
            f"{path} is the simulators' and leads to a real device", seen=f"{os.major(device)}:{os.minor(device)}", remedy=remedy
        )
