"""Which keys may change while the daemons run, and what a file that was edited would change; everything else needs a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from edge.config.load import Config, read_config
from edge.demonstration import is_demonstration
from edge.errors import ConfigError

LIVE = frozenset(
    {
        # the gate, between two triggers
        "gate.bundle",
        "gate.recipes",
        "gate.recipe",
        "gate.ack_timeout_ms",
        "gate.resend_ms",
        "gate.latch_noise",
        "gate.storage.segment_mb",
        "gate.storage.alarm_mb",
        "gate.storage.keep_days",
        "gate.storage.keep_mb",
        "gate.storage.exported_only",
        # the inspector, which looks for its bundle again by them
        "inspector.bundle",
        "inspector.trusted_keys",
        "inspector.bundles.line",
        "inspector.bundles.min_version",
        "inspector.bundles.typologies",
        "inspector.bundles.revoked_keys",
        "inspector.bundles.revoked_bundles",
        "inspector.bundles.fallback",
        # the exporter, which reads them when it starts; the daemons have no part in them
        "metrics.listen",
        "metrics.port",
        "metrics.textfile",
        "metrics.every_s",
    }
)
"""Keys that take effect on SIGHUP. A key that is not named here needs a restart, so that nobody has to think of a new one."""


class Changed(NamedTuple):
    """One key with its value before and after, as text; None: the table or list is absent."""

    key: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.key} {_text(self.old)} -> {_text(self.new)}"


class Changes(NamedTuple):
    """What differs between two configurations: what may take effect at once, and what needs a restart of both daemons."""

    safe: tuple[Changed, ...]
    restart: tuple[Changed, ...]


def changes(old: Config, new: Config) -> Changes:
    """Every key that differs, in the file's order."""
    found = tuple(_differing("", old, new))
    return Changes(tuple(c for c in found if _safe(c)), tuple(c for c in found if not _safe(c)))


def reread(path: Path, running: Config, *, inspector_on: str = "") -> tuple[Config, str]:
    """The file as it is now, and its SHA-256, where it may replace what is `running`.

    Gate and inspector both decide by this function, and so alike: either every change of the file takes effect, or none. Where the
    inspector was restarted and runs on this very file already (`inspector_on` is its hash), only the gate's own keys can need a restart.
    Raises ConfigError for a file that is refused, or that changes something which needs a restart.
    """
    new, digest = read_config(path)
    restart = [c for c in changes(running, new).restart if c.key.startswith("gate") or digest != inspector_on]
    if restart:
        names = "; ".join(str(changed) for changed in restart)
        remedy = "Nothing of the file is in force yet: restart both daemons (systemctl restart cordon.target), or take these changes back"
        raise ConfigError(f"{path} changes what only a restart can change", seen=names, remedy=remedy)
    return new, digest


def _safe(changed: Changed) -> bool:
    if changed.key == "inspector.trusted_keys" and is_demonstration(changed.old) != is_demonstration(changed.new):  # type: ignore[arg-type]
        return False  # the gate says in its records when it starts that they are a demonstration's
    # What is given for the first time, or left out, makes another kind of line: with recipes there are parts.
    return changed.key in LIVE and changed.old is not None and changed.new is not None


def _differing(key: str, old: object, new: object) -> Iterator[Changed]:
    if old == new:
        return
    if isinstance(old, msgspec.Struct) and type(old) is type(new):
        for name in old.__struct_fields__:
            yield from _differing(f"{key}.{name}" if key else name, getattr(old, name), getattr(new, name))
    else:
        yield Changed(key, old, new)


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, msgspec.Struct):
        return "given"
    if isinstance(value, tuple):
        return f"{len(value)} of them" if value and isinstance(value[0], msgspec.Struct) else f"[{', '.join(_text(v) for v in value)}]"
    text = str(value)
    return text if len(text) <= 64 else f"{text[:61]}..."
