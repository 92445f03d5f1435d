"""From a bundle to its engines: one per member, router and batch, built only when something they depend on has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import Bundle, Member
from edge.engines.backend import Backend, BackendChoice, load_backend
from edge.engines.box import box_facts
from edge.engines.build import build_engine
from edge.engines.files import guarded_folder
from edge.engines.progress import Progress
from edge.engines.prove import targets_of
from edge.engines.record import DEFAULTS, BoxFacts, BuildOptions, EngineRecord, cache_key, engine_name
from edge.engines.signing import sign, unsigned
from edge.engines.store import EngineStore
from edge.engines.timing import TimingStore
from edge.engines.trust import open_engine
from edge.errors import EngineError
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.keys import public_half

TIMINGS = "timing"

_Network: TypeAlias = tuple[str | None, HeightmapSpec, Member]
"""Typology, heightmap, member."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One engine to have."""

    name: str
    typology: str | None
    member: Member
    shape: tuple[int, int]
    """(height, width) of the heightmap in pixels."""
    onnx: memoryview
    onnx_sha256: str
    batch: int

    def key(self, box: BoxFacts, options: BuildOptions) -> str:
        """What the engine's bytes are made from."""
        return cache_key(self.onnx_sha256, self.member.name, self.batch, box, options)


class Reporter(Progress, Protocol):
    """Hears of every engine and, in between, of the phases of its build."""

    def begin(self, name: str, index: int, count: int) -> None:
        """Engine `index` of `count` is being built."""

    def end(self, name: str, outcome: str, record: EngineRecord) -> None:
        """What became of it: `built`, `up to date` or `built before`, and its record."""


def jobs(bundle: Bundle, batches: Sequence[int]) -> tuple[Job, ...]:
    """All engines that `bundle` needs, in the manifest's order. Raises EngineError where two would be one file."""
    manifest = bundle.manifest
    networks: list[_Network] = [(t.name, t.heightmap, m) for t in manifest.typologies for m in t.members]
    if manifest.router is not None:
        networks.append((None, manifest.router.heightmap, manifest.router.member))
    wanted = []
    for typology, spec, member in networks:
        onnx = bundle.files[member.file]
        digest = hashlib.sha256(onnx).hexdigest()
        for batch in dict.fromkeys(batches):
            job = Job(
                name=engine_name(typology, member.name, batch),
                typology=typology,
                member=member,
                shape=(spec.height, spec.width),
                onnx=onnx,
                onnx_sha256=digest,
                batch=batch,
            )
            wanted.append(job)
    _require_own_files([job.name for job in wanted])
    return tuple(wanted)


def build_bundle(
    bundle: Bundle,
    store: EngineStore,
    *,
    reporter: Reporter,
    backend: BackendChoice = "auto",
    batches: Sequence[int] = (1,),
    options: BuildOptions = DEFAULTS,
    force: bool = False,
    key: Ed25519PrivateKey | None = None,
) -> tuple[EngineRecord, ...]:
    """Make `store` hold every engine of `bundle`; what it held stays until the last one is ready.

    Engines finished by a run that was stopped are taken up. `key` signs them all, also those that need no build; without it they
    stay unsigned, and only a signature that still fits is kept. Raises EngineError, or KeyboardInterrupt when stopped.
    """
    wanted = jobs(bundle, batches)
    loaded = load_backend(backend)
    run = _Run(bundle, store, loaded, box_facts(loaded), options, reporter, key)
    with store.locked():
        run.require_own_folder()
        finished = []
        for index, job in enumerate(wanted, 1):
            reporter.begin(job.name, index, len(wanted))
            outcome, record = run.engine(job, force=force)
            reporter.end(job.name, outcome, record)
            finished.append(record)
        store.publish(finished)
        run.open_all(wanted)
    return tuple(finished)


Outcome = Literal["up to date", "built before", "built"]


@dataclass(frozen=True)
class _Run:
    """One call of `build_bundle`."""

    bundle: Bundle
    store: EngineStore
    backend: Backend
    box: BoxFacts
    options: BuildOptions
    progress: Progress
    key: Ed25519PrivateKey | None

    def require_own_folder(self) -> None:
        """What is signed must not come from a folder that others write to."""
        if self.key is not None:
            with guarded_folder(self.store.folder):
                pass

    def engine(self, job: Job, *, force: bool) -> tuple[Outcome, EngineRecord]:
        """The engine of `job`, in place or staged, with a record of this bundle."""
        outcome, record = ("built", None) if force else self._existing(job)
        found = self._build(job) if record is None else record
        record = msgspec.structs.replace(found, bundle=self.bundle.hash, typology=job.typology)
        if self.key is not None:
            return outcome, sign(record, self.key)
        return outcome, record if record == found else unsigned(record)

    def open_all(self, wanted: Sequence[Job]) -> None:
        """Open every engine as the inspector will, so that a refusal is seen here first."""
        if self.key is None:
            return
        keys = (public_half(self.key),)
        for job in wanted:
            open_engine(
                self.store, self.bundle, job.member, typology=job.typology, shape=job.shape, box=self.box, keys=keys, batch=job.batch
            )

    def _existing(self, job: Job) -> tuple[Outcome, EngineRecord | None]:
        """What need not be built; to be signed, it must lie where nobody else can have put it."""
        key, guarded = job.key(self.box, self.options), self.key is not None
        record = self.store.whole(job.name, guarded=guarded)
        if record is not None and record.key == key:
            return "up to date", record
        record = self.store.staged(job.name, guarded=guarded)
        if record is not None and record.key == key:
            return "built before", record
        return "built", None

    def _build(self, job: Job) -> EngineRecord:
        engine = build_engine(
            job.onnx,
            member=job.member,
            shape=job.shape,
            batch=job.batch,
            backend=self.backend.name,
            options=self.options,
            progress=self.progress,
            timings=TimingStore(self.store.folder / TIMINGS),
        )
        record = EngineRecord(
            name=job.name,
            bundle=self.bundle.hash,
            typology=job.typology,
            member=job.member.name,
            batch=job.batch,
            onnx_sha256=engine.onnx_sha256,
            engine_sha256=engine.engine_sha256,
            engine_bytes=len(engine.data),
            box=engine.box,
            options=self.options,
            layers=engine.layers,
            seconds=engine.seconds,
            warnings=engine.warnings,
            shape=job.shape,
            targets=targets_of(self.backend, self.options),
        )
        self.store.stage(record, engine.data)
        return record


def _require_own_files(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise EngineError("two networks would share a file", seen=", ".join(twice), remedy="Export with other typology or member names")
