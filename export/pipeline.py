"""The whole line: every typology and the router exported, signed together, proved as the box will, and only then written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import Bundle, Manifest, file_entries, sign_bundle, verify_bundle
from edge.errors import ExportError, KnownAnswerError
from edge.inspector.loader import load_engines
from edge.inspector.machine import CpuMachine
from export.network import THREADS
from export.order import LineOrder, TypologyOrder
from export.paper import certificate as paper
from export.paper.provenance import code_sha256, tool_versions
from export.progress import Progress
from export.proof.measure import Latency
from export.router import ExportedRouter, export_router
from export.typology import ExportedTypology, export_typology


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A signed bundle that proved itself, and its certificate."""

    data: bytes
    bundle: Bundle
    certificate: paper.Certificate
    latency: dict[str, tuple[Latency, ...]]
    """Measured here, by typology (and router)."""


def export_line(
    order: LineOrder, key: Ed25519PrivateKey, *, say: Callable[[str], None], trust_pickle: bool = False, jobs: int = 1
) -> Exported:
    """From order to proved bundle, with `jobs` processes. Raises ExportError, DatasetError, ConfigError, EngineError."""
    progress = Progress(say)
    typologies = _typologies(order.typology, say, trust_pickle=trust_pickle, jobs=jobs)
    router = None if order.router is None else export_router(order.router, order.typology, progress, trust_pickle=trust_pickle)
    progress = progress.of("bundle")
    with progress.step("sign") as note:
        manifest, files, certificate = assemble(order.name, order.version, typologies, router)
        data = sign_bundle(manifest, files, key)
        note.text = f"{len(files)} files, {len(data):,} bytes"
    with progress.step("prove") as note:
        bundle = prove(data, key.public_key().public_bytes_raw().hex())
        note.text = f"{certificate.known_answers} golden inputs repeated from the signed bytes"
    latency = {typology.spec.name: typology.latency for typology in typologies}
    if router is not None:
        latency["router"] = (router.latency,)
    return Exported(data=data, bundle=bundle, certificate=certificate, latency=latency)


def assemble(
    name: str,
    version: int,
    typologies: Sequence[ExportedTypology],
    router: ExportedRouter | None = None,
) -> tuple[Manifest, dict[str, bytes], paper.Certificate]:
    """Put the parts together: what will be signed, the files, and the certificate, which is one of them."""
    golden = sum(len(t.spec.golden) for t in typologies) + (len(router.spec.golden) if router else 0)
    certificate = paper.Certificate(
        name=name,
        version=version,
        typologies=tuple(t.certificate for t in typologies),
        router=router.certificate if router else None,
        known_answers=golden,
        code_sha256=code_sha256(),
        tools=tool_versions(),
    )
    files = {paper.NAME: paper.to_json(certificate)}
    for typology in typologies:
        files.update(typology.files)
    if router is not None:
        files.update(router.files)
    manifest = Manifest(
        format=1,
        name=name,
        version=version,
        typologies=tuple(t.spec for t in typologies),
        files=file_entries(files),
        router=router.spec if router else None,
        provenance=certificate.tools,
    )
    return manifest, files, certificate


def prove(data: bytes, public_key: str) -> Bundle:
    """Open the bundle with the public key and load it as the box does. Raises ExportError, BundleError or EngineError."""
    bundle = verify_bundle(data, (public_key,), source="the new bundle")
    for spec in bundle.manifest.typologies:
        scores = [golden.score for golden in spec.golden]
        if max(scores) - min(scores) <= max(golden.tolerance for golden in spec.golden):
            raise ExportError(f"{spec.name} answers everything alike", seen=scores, remedy="Train the network further")
    try:
        load_engines(bundle, CpuMachine(threads=THREADS), progress=lambda _: None)
    except KnownAnswerError as exc:
        raise ExportError("the new bundle does not repeat its own answers", seen=exc, remedy="Export it again, and report this") from exc
    return bundle


def _typologies(
    orders: Sequence[TypologyOrder], say: Callable[[str], None], *, trust_pickle: bool, jobs: int
) -> tuple[ExportedTypology, ...]:
    if jobs == 1 or len(orders) == 1:
        return tuple(export_typology(order, Progress(say), trust_pickle=trust_pickle) for order in orders)
    # Processes of their own start from nothing: torch and OpenVINO hold threads that do not survive a fork.
    with ProcessPoolExecutor(min(jobs, len(orders)), mp_context=get_context("spawn")) as pool:
        return tuple(pool.map(partial(export_typology, progress=Progress(say), trust_pickle=trust_pickle), orders))
