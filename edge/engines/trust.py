"""From the disk to bytes that may be given to TensorRT: read once, signed by this box's own key, and made for what is here now."""

from __future__ import annotations

import hashlib

import msgspec

from edge.bundle import Bundle, Member
from edge.engines.box import difference
from edge.engines.files import guarded_folder, read_guarded
from edge.engines.record import BoxFacts, EngineRecord, engine_name
from edge.engines.signing import require_signature
from edge.engines.store import MAX_ENGINE_BYTES, MAX_RECORD_BYTES, EngineStore
from edge.errors import EngineError, EngineTrustError

RTX_TARGETS = ("SM75", "SM80", "SM86", "SM89", "SM120", "SM121")
"""All that TensorRT-RTX 1.7 can build for: neither Orin (SM87) nor Hopper (SM90)."""
_READS = 2
"""A build that ends in between may take away the engine whose record was just read; the record in its place names the next."""


class TrustedEngine(msgspec.Struct, frozen=True, kw_only=True):
    """An engine whose bytes may be deserialised."""

    data: bytes
    """The very bytes that were checked; nothing reads the file again."""
    record: EngineRecord

    def __repr__(self) -> str:
        return f"TrustedEngine({self.record.name}, {len(self.data)} bytes, signed_by={self.record.signed_by[:12]})"


def open_engine(
    store: EngineStore,
    bundle: Bundle,
    member: Member,
    *,
    typology: str | None,
    shape: tuple[int, int],
    box: BoxFacts,
    keys: tuple[str, ...],
    batch: int = 1,
    compute_capability: tuple[int, int] | None = None,
) -> TrustedEngine:
    """The engine of `member` for heightmaps of `shape` (height, width); `typology` is None for the router.

    `box` is what this box is now (`box_facts`), `keys` the public keys of boxes whose engines may run here, `compute_capability`
    the GPU's, such as (8, 9), where it is known. The network's ONNX file must be the one in `bundle`; the bundle as a whole may be
    another than at the build. Raises EngineTrustError for what nobody trusted vouches for, otherwise EngineError naming what was built
    and what is here.
    """
    name = engine_name(typology, member.name, batch)
    onnx_sha256 = hashlib.sha256(bundle.files[member.file]).hexdigest()
    wanted = _Wanted(name, bundle.manifest.name, typology, member, shape, batch, onnx_sha256, str(store.folder))
    with guarded_folder(store.folder) as folder:
        for _ in range(_READS):
            record = _record(folder, store, wanted)
            require_signature(record, keys)
            _require_network(record, wanted)
            _require_box(record, box, compute_capability, wanted)
            data = _bytes(folder, store, record)
            if data is not None:
                return TrustedEngine(data=data, record=record)
    raise EngineError(f"engine {name} has a record and no bytes", seen=str(store.engine_path(record)), remedy=wanted.build)


class _Wanted(msgspec.Struct, frozen=True):
    """What the caller asks for."""

    name: str
    bundle: str
    typology: str | None
    member: Member
    shape: tuple[int, int]
    batch: int
    onnx_sha256: str
    folder: str

    @property
    def build(self) -> str:
        return (
            f"Stop the daemon and build it on this box: `cordon engine build BUNDLE --key PUBLIC --box-key FILE --out {self.folder}` "
            f"with the bundle {self.bundle} that the inspector runs; only what does not fit is built"
        )


def _record(folder: int, store: EngineStore, wanted: _Wanted) -> EngineRecord:
    path = store.record_path(wanted.name)
    try:
        return msgspec.json.decode(read_guarded(folder, path, MAX_RECORD_BYTES), type=EngineRecord)
    except FileNotFoundError as exc:
        raise EngineError(f"there is no engine {wanted.name} in {store.folder}", remedy=wanted.build) from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise EngineError(f"{path} is no engine's record of this release", seen=exc, remedy=wanted.build) from exc


def _bytes(folder: int, store: EngineStore, record: EngineRecord) -> bytes | None:
    """The engine's bytes, or None where the file is not there."""
    path = store.engine_path(record)
    try:
        data = read_guarded(folder, path, min(record.engine_bytes, MAX_ENGINE_BYTES))
    except FileNotFoundError:
        return None
    digest = hashlib.sha256(data).hexdigest()
    if digest != record.engine_sha256:
        seen = f"{len(data)} bytes with SHA-256 {digest[:16]}, signed were {record.engine_bytes} with {record.engine_sha256[:16]}"
        remedy = "Do not use it: check the disk and who can write there, then build again with --force and --box-key"
        raise EngineTrustError(f"engine {record.name} was altered or damaged after it was signed", seen=seen, remedy=remedy)
    return data


def _require_network(record: EngineRecord, wanted: _Wanted) -> None:
    """The signed record is of this very network; nothing of it is believed because of the file's name."""
    pairs = (
        ("name", record.name, wanted.name),
        ("typology", record.typology, wanted.typology),
        ("member", record.member, wanted.member.name),
        ("batch", record.batch, wanted.batch),
        ("heightmap's shape", record.shape, wanted.shape),
        ("ONNX file's SHA-256", record.onnx_sha256, wanted.onnx_sha256),
    )
    for field, built, needed in pairs:
        if built != needed:
            seen = f"built for {built}, the bundle's is {needed}"
            raise EngineError(f"engine {wanted.name} is of another network: its {field} differs", seen=seen, remedy=wanted.build)


def _require_box(record: EngineRecord, box: BoxFacts, compute_capability: tuple[int, int] | None, wanted: _Wanted) -> None:
    differs = difference(record.box, box)
    if differs is not None:
        field, built, here = differs
        hint = " (what is unknown here could not be read: check the driver and this account's groups)" if here is None else ""
        seen = f"built for {built or 'unknown'}, here is {here or 'unknown'}{hint}"
        raise EngineError(f"engine {wanted.name} is for another box: its {field} differs", seen=seen, remedy=wanted.build)
    if box.backend == "tensorrt_rtx":
        _require_target(record, compute_capability, wanted)
    elif box.compute_capability is None:
        remedy = "Check the driver and that this account is in the groups video and render; see docs/gpu.md"
        raise EngineError(f"engine {wanted.name} cannot run: this box has no usable GPU", remedy=remedy)


def _require_target(record: EngineRecord, compute_capability: tuple[int, int] | None, wanted: _Wanted) -> None:
    if compute_capability is None:
        return
    target = "SM{}{}".format(*compute_capability)
    if target in record.targets:
        return
    built = ", ".join(record.targets) or "no GPU generation it names"
    known = target in RTX_TARGETS
    remedy = f"{wanted.build} and --device-target {target}" if known else f"TensorRT-RTX builds for {', '.join(RTX_TARGETS)}: use TensorRT"
    raise EngineError(f"engine {wanted.name} has no code for this GPU", seen=f"built for {built}; this GPU is {target}", remedy=remedy)
