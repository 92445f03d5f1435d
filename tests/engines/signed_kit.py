"""Engines of a tiny bundle, signed by this box's key; the bytes are noise, since nothing here gives them to TensorRT."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import tiny
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import Bundle, open_bundle
from edge.engines.plan import jobs
from edge.engines.record import BoxFacts, BuildOptions, EngineRecord, engine_name
from edge.engines.signing import sign
from edge.engines.store import EngineStore
from edge.engines.trust import TrustedEngine, open_engine

KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
PUBLIC, OTHER_PUBLIC = (key.public_key().public_bytes_raw().hex() for key in (KEY, OTHER_KEY))
ORIN = BoxFacts(
    backend="tensorrt",
    version="10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    cuda="12.6",
    driver="540.4.0",
    l4t="# R36 (release), REVISION: 4.3",
    power_mode="MAXN",
)
RTX = BoxFacts(backend="tensorrt_rtx", version="1.7.1.116")


def bundle(folder: Path, name: str = "t.cordon", **fields: Any) -> Bundle:
    return open_bundle(tiny.TinyBundle(**fields).save(folder / name), (tiny.PUBLIC,))


def record(opened: Bundle, typology: str | None = "T2", *, data: bytes = b"engine of T2", **changes: Any) -> EngineRecord:
    job = next(job for job in jobs(opened, (1,)) if job.typology == typology)
    return msgspec.structs.replace(
        EngineRecord(
            name=engine_name(job.typology, job.member.name, 1),
            bundle=opened.hash,
            typology=job.typology,
            member=job.member.name,
            batch=1,
            onnx_sha256=job.onnx_sha256,
            engine_sha256=hashlib.sha256(data).hexdigest(),
            engine_bytes=len(data),
            box=ORIN,
            options=BuildOptions(),
            layers=9,
            seconds=0.125,
            shape=job.shape,
        ),
        **changes,
    )


def put(store: EngineStore, made: EngineRecord, data: bytes = b"engine of T2", key: Ed25519PrivateKey | None = KEY) -> EngineRecord:
    signed = made if key is None else sign(made, key)
    store.put(signed, data)
    return signed


def opened_as(store: EngineStore, opened: Bundle, typology: str | None = "T2", **changes: Any) -> TrustedEngine:
    job = next(job for job in jobs(opened, (1,)) if job.typology == typology)
    asked: dict[str, Any] = {"typology": typology, "shape": job.shape, "box": ORIN, "keys": (OTHER_PUBLIC, PUBLIC)} | changes
    return open_engine(store, opened, job.member, **asked)
