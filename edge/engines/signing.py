"""Who vouches for an engine: an Ed25519 signature over its whole record, made on the box that built it."""

from __future__ import annotations

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge.engines.record import EngineRecord
from edge.errors import EngineTrustError
from edge.keys import public_half

_PURPOSE = b"cordon engine record 1\n"
"""Keeps a signature over anything else from being one over a record."""
SIGN = "Sign it: `cordon engine build` with the bundle, this folder and --box-key; nothing that is up to date is built again"


def sign(record: EngineRecord, key: Ed25519PrivateKey) -> EngineRecord:
    """`record` with the signature of `key`; the same record and key give the same signature."""
    named = msgspec.structs.replace(record, signed_by=public_half(key))
    return msgspec.structs.replace(named, signature=key.sign(_signed_part(named)).hex())


def unsigned(record: EngineRecord) -> EngineRecord:
    """`record` that nobody vouches for."""
    return msgspec.structs.replace(record, signed_by="", signature="")


def require_signature(record: EngineRecord, keys: tuple[str, ...]) -> None:
    """The record must be signed by one of `keys` (64 hex digits each), to the last field. Raises EngineTrustError."""
    what = f"engine {record.name}"
    if not keys:
        remedy = "Put what `cordon keys show FILE` prints for the box's key into inspector.gpu.box_keys"
        raise EngineTrustError(f"{what}: no box key is trusted here", remedy=remedy)
    if not record.signed_by or not record.signature:
        raise EngineTrustError(f"{what} is unsigned: an engine is code, and nobody vouches for this one", remedy=SIGN)
    if record.signed_by not in keys:
        remedy = f"Add the key to inspector.gpu.box_keys only if it is this box's own; otherwise build again. {SIGN}"
        raise EngineTrustError(f"{what} is signed by a key that is not trusted here", seen=record.signed_by, remedy=remedy)
    if not signature_fits(record):
        remedy = "Do not use it: find out who wrote to the folder, then build again with --force and --box-key"
        raise EngineTrustError(f"{what}: its record was altered after it was signed", seen=f"key {record.signed_by[:16]}", remedy=remedy)


def signature_fits(record: EngineRecord) -> bool:
    """Is the signature that of the key which the record itself names? Says nothing of whether that key is to be trusted."""
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(record.signed_by))
        public.verify(bytes.fromhex(record.signature), _signed_part(record))
    except (ValueError, InvalidSignature):
        return False
    return True


def _signed_part(record: EngineRecord) -> bytes:
    return _PURPOSE + msgspec.json.encode(msgspec.structs.replace(record, signature=""), order="deterministic")
