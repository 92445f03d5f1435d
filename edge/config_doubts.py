"""What is legal in a configuration and doubtful on this machine: files, rights, disks, devices, and values that defeat each other."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from edge.config import Config
from edge.config.keys import tables
from edge.demonstration import WARNING, is_demonstration
from edge.errors import BundleError, CordonError

NOT_DURABLE = frozenset({"tmpfs", "ramfs", "overlay", "nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "vboxsf"})
"""File systems that forget, or that promise a written byte they do not have."""
NOTICED_MS = 300.0
"""A dead gate must be noticed within this time."""
EXAMPLE_KEY = "0" * 64
MIB = 2**20
Look: TypeAlias = Callable[[Config, Path], Iterator["Doubt"]]


class Doubt(NamedTuple):
    """Something to look at; nothing refuses to start for it, unless `told` says so."""

    key: str
    """Dotted; empty where it is the file itself."""
    told: str
    remedy: str


def doubts(config: Config, path: Path) -> list[Doubt]:
    """Everything doubtful about this configuration on this machine. Opens no device, waits for nothing.

    Raises ConfigError where the gate would refuse the recipes. A file of another machine has nothing but doubts here.
    """
    _read_recipes(config)
    return [doubt for look in LOOKS for doubt in _looked(look, config, path)]


def _looked(look: Look, config: Config, path: Path) -> Iterator[Doubt]:
    try:
        yield from look(config, path)
    except OSError as exc:
        yield Doubt("", f"{exc.filename} cannot be looked at: {exc.strerror}", "Run it as root: sudo cordon config check")


def _file(_config: Config, path: Path) -> Iterator[Doubt]:
    status = path.stat()
    if status.st_mode & stat.S_IWOTH:
        yield Doubt("", f"everybody may write {path}", f"Run: chmod o-w {path}")
    # No deeper: below /, /tmp or somebody's home that would be everything.
    for key in (*path.parent.glob("*.key"), *path.parent.glob("keys/*.key")):
        if key.is_file() and key.stat().st_mode & 0o077 and not key.name.endswith(".pub"):
            yield Doubt("", f"others may read {key}, which looks like a private key", f"Run: chmod 600 {key}")


def _relative(config: Config, _path: Path) -> Iterator[Doubt]:
    for table in tables():
        value: Any = config
        for part in table.path.split("."):
            value = getattr(value, part, None) if not isinstance(value, tuple) else None
        for key in table.keys if isinstance(value, msgspec.Struct) else ():
            found = getattr(value, key.name)
            if isinstance(found, Path) and not found.is_absolute():
                yield Doubt(f"{table.path}.{key.name}", f"{found} depends on the folder a daemon is started in", "Give the whole path")


def _port(config: Config, _path: Path) -> Iterator[Doubt]:
    port = Path(config.gate.port)
    try:
        mode = port.stat().st_mode
    except OSError as exc:
        yield Doubt("gate.port", f"{port}: {exc.strerror}; the gate does not start without it", "Plug the adapter in; see docs/install.md")
        return
    if not stat.S_ISCHR(mode):
        yield Doubt("gate.port", f"{port} is no device", "Name the robot's serial device")
    if port.name.startswith(("ttyUSB", "ttyACM")) and port.parent == Path("/dev"):
        remedy = "Use /dev/robot (udev rule), or /dev/serial/by-id/..."
        yield Doubt("gate.port", f"{port} may be another adapter after the next start", remedy)


def _records(config: Config, _path: Path) -> Iterator[Doubt]:
    folder = config.gate.records.parent
    if not folder.is_dir():
        yield Doubt("gate.records", f"there is no folder {folder}", "The package makes /var/lib/cordon; make another one yourself")
        return
    kind = _file_system(folder)
    if kind in NOT_DURABLE:
        yield Doubt("gate.records", f"{folder} is on {kind}: records there may not outlive a power cut", "Use a local disk (ext4, xfs)")
    free_mib = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize / MIB
    storage = config.gate.storage
    if free_mib < 2 * storage.reserve_mb:
        remedy = "Make room: nothing is accepted while the reserve cannot be held"
        yield Doubt("gate.storage.reserve_mb", f"{free_mib:.0f} MiB are free, twice the reserve is needed", remedy)
    elif free_mib < storage.alarm_mb:
        yield Doubt("gate.storage.alarm_mb", f"{free_mib:.0f} MiB are free, which is an alarm from the start", "Make room, or lower it")
    if 0 < storage.keep_mb < 2 * storage.segment_mb:
        yield Doubt("gate.storage.keep_mb", "it holds less than two sealed files", "Give several times segment_mb")


def _line(config: Config, _path: Path) -> Iterator[Doubt]:
    from edge.inspector.startup import Room  # noqa: PLC0415 - `cordon config show` needs none of it

    gate, room = config.gate, Room.of(config)
    if room.wire_ms > gate.budget_ms / 4:
        told = f"the longest verdict takes {room.wire_ms:.0f} of the {gate.budget_ms:g} ms at {gate.baudrate} baud"
        yield Doubt("gate.baudrate", told, "Use a faster line, or a larger budget")
    if room.left_ms <= 0:
        yield Doubt("gate.budget_ms", f"nothing is left for the inspector: {room}", "Raise it; READY is refused like this")
    silence_ms = gate.heartbeat_ms * gate.missed_heartbeats
    if silence_ms > NOTICED_MS:
        told = f"with {gate.missed_heartbeats} missed ones, a dead robot or gate is noticed after {silence_ms:g} ms"
        yield Doubt("gate.heartbeat_ms", told, f"At most {NOTICED_MS:g} ms is meant")
    if gate.resend_ms >= gate.budget_ms and gate.profile == "handshake":
        yield Doubt("gate.resend_ms", "no verdict is ever sent again: the budget is over by then", "Give a fraction of budget_ms")
    if gate.latch_noise == 0:
        yield Doubt("gate.latch_noise", "a line that is all noise latches nothing", "Give a limit unless it is known to be noisy")


def _recipes(config: Config, _path: Path) -> Iterator[Doubt]:
    if not _recipes_readable(config):
        told = f"{config.gate.recipes} cannot be read; the gate does not start without it"
        yield Doubt("gate.recipes", told, "Put the file there, or correct the path")


def _recipes_readable(config: Config) -> bool:
    recipes = config.gate.recipes
    return recipes is None or os.access(recipes, os.R_OK)


def _read_recipes(config: Config) -> None:
    if not _recipes_readable(config):
        return
    from edge.gate.challenge_start import challenges_of  # noqa: PLC0415 - as above
    from edge.gate.recipe import load_recipes  # noqa: PLC0415 - as above

    gate = config.gate
    book = load_recipes(gate.recipes, gate.recipe) if gate.recipes is not None else None
    challenges_of(gate, None if book is None else book.recipes, boot="")


def _bundle(config: Config, _path: Path) -> Iterator[Doubt]:
    from edge.bundles.needs import require_fitting  # noqa: PLC0415 - as above
    from edge.bundles.opening import open_configured  # noqa: PLC0415 - as above

    key = "inspector.bundle" if config.inspector.bundles is None else "inspector.bundles"
    try:
        bundle = open_configured(config.inspector)
    except BundleError as exc:
        yield Doubt(key, f"the inspector has nothing to judge with: {exc.what}{_seen(exc)}", exc.remedy)
        return
    try:
        require_fitting(bundle, config)
    except BundleError as exc:
        pinned = bool(config.gate.bundle) and bundle.hash != config.gate.bundle
        yield Doubt("gate.bundle" if pinned else "gate.recipes", f"nothing would be accepted: {exc.what}{_seen(exc)}", exc.remedy)


def _keys(config: Config, _path: Path) -> Iterator[Doubt]:
    inspector = config.inspector
    if is_demonstration(inspector.trusted_keys):
        yield Doubt("inspector.trusted_keys", WARNING, "For a real cell: sudo cordon setup")
    if EXAMPLE_KEY in inspector.trusted_keys:
        yield Doubt("inspector.trusted_keys", "it is the example's", "Paste what `cordon keys new` printed on the machine that exports")
    revoked = set(inspector.bundles.revoked_keys) if inspector.bundles is not None else set()
    if revoked >= set(inspector.trusted_keys):
        yield Doubt("inspector.bundles.revoked_keys", "every trusted key is revoked: no bundle counts", "Trust another key")
    if inspector.curve is None:
        return
    from edge.inspector.curve import curve_of  # noqa: PLC0415 - as above

    try:
        curve_of(inspector.curve)
    except CordonError as exc:
        yield Doubt("inspector.curve.key", f"the inspector does not start: {exc.what}{_seen(exc)}", exc.remedy)


def _inspector(config: Config, _path: Path) -> Iterator[Doubt]:
    inspector, cores = config.inspector, os.cpu_count() or 1
    if inspector.threads > cores:
        yield Doubt("inspector.threads", f"{inspector.threads} threads on {cores} cores wait for each other", f"Give at most {cores}")
    for place, camera in enumerate(inspector.camera):
        if any(other.endpoint == camera.endpoint for other in inspector.camera[:place]):
            yield Doubt(f"inspector.camera[{place}].endpoint", f"{camera.endpoint} is another camera's too", "Give each its own")
        if not camera.proved:
            yield Doubt(f"inspector.camera[{place}].keys", "whoever reaches this address can send frames", "See docs/camera-security.md")
        elif not camera.keys and _anybodys(camera.endpoint):
            remedy = "Choose a folder that only the camera's program may write to: docs/camera-security.md"
            yield Doubt(f"inspector.camera[{place}].endpoint", "everybody may put a socket there and be the camera", remedy)
    if inspector.gpu is not None and not inspector.gpu.engines.is_dir():
        yield Doubt("inspector.gpu.engines", f"there is no folder {inspector.gpu.engines}", "Run `cordon engine build`")


def _anybodys(endpoint: str) -> bool:
    """May everybody make files in the folder of this ipc:// socket?"""
    try:
        return bool(Path(endpoint.removeprefix("ipc://")).parent.stat().st_mode & stat.S_IWOTH)
    except OSError:
        return False


def _archive(config: Config, _path: Path) -> Iterator[Doubt]:
    archive = config.inspector.archive
    if archive is None:
        return
    if not archive.folder.is_dir():
        yield Doubt("inspector.archive.folder", f"there is no folder {archive.folder}", "Make it, writable by the inspector")
    elif config.gate.records.parent.is_dir() and archive.folder.stat().st_dev == config.gate.records.parent.stat().st_dev:
        free_mib = os.statvfs(archive.folder).f_bavail * os.statvfs(archive.folder).f_frsize / MIB
        if archive.max_mb > free_mib - config.gate.storage.alarm_mb:
            told = f"images may take {archive.max_mb:g} MB of the records' disk, which has {free_mib:.0f} free"
            yield Doubt("inspector.archive.max_mb", told, "Lower it, or use another disk")


def _seen(exc: CordonError) -> str:
    return "" if exc.seen is None else f" (seen: {exc.seen})"


def _file_system(folder: Path) -> str:
    """The kind of the mounted file system that holds this folder; empty where the kernel does not say."""
    device = folder.stat().st_dev
    wanted, kinds = f"{os.major(device)}:{os.minor(device)}", {}
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in mounts.splitlines():
        words, _, rest = line.partition(" - ")
        kinds[words.split()[2]] = rest.split()[0]
    return kinds.get(wanted, "")


LOOKS: tuple[Look, ...] = (
    _file,
    _relative,
    _port,
    _records,
    _line,
    _recipes,
    _bundle,
    _keys,
    _inspector,
    _archive,
)
