"""From a verified bundle to engines that proved themselves: every golden input is run and must give the promised score."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, Golden, RouterSpec, TypologySpec
from edge.errors import BundleContentError, CordonError, FrameError, KnownAnswerError
from edge.inspector.engines.openvino import Compiler, Engine
from edge.inspector.frame import DTYPES
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.inspector.scoring import Route, Score, route, typology_score

NO_MEAN, NO_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


class Preparation:
    """One heightmap spec with the memory its networks read: prepared once per frame, however many engines share it."""

    def __init__(self, spec: HeightmapSpec) -> None:
        self._preparer = Preparer(spec)
        self.data = np.zeros((spec.height, spec.width), np.uint8)

    def prepare(self, image: NDArray[Any], *, kind: str, z_scale_mm: float, z_offset_mm: float, no_data: float) -> None:
        """Fill `data` from `image` (rows, cols). Raises FrameError."""
        self._preparer.prepare(image, kind=kind, z_scale_mm=z_scale_mm, z_offset_mm=z_offset_mm, no_data=no_data, out=self.data)


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The engines of one typology, all reading the heightmap of one preparation."""

    spec: TypologySpec
    preparation: Preparation
    engines: tuple[Engine, ...]

    def score(self) -> Score:
        """Badness of what lies prepared. Raises EngineError or FrameError SCORE_INVALID."""
        outputs = [engine.run().tolist() for engine in self.engines]
        return typology_score(outputs, self.spec.members, self.spec.combine, self.spec.bad_label)


@dataclass(frozen=True, kw_only=True)
class Router:
    """The engine that names the typology."""

    spec: RouterSpec
    preparation: Preparation
    engine: Engine

    def route(self) -> Route:
        """The likeliest typology of what lies prepared. Raises EngineError or FrameError SCORE_INVALID."""
        return route(self.engine.run().tolist(), self.spec.member.classes)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Everything a frame needs, and the identity of the bundle it came from; the bundle's bytes are no longer held."""

    bundle: str
    version: int
    backend: str
    judges: dict[str, Judge]
    router: Router | None
    known_answers: int

    @property
    def preparations(self) -> tuple[Preparation, ...]:
        """The distinct preparations of all judges and the router."""
        users: list[Judge | Router] = [*self.judges.values(), *([self.router] if self.router else [])]
        return tuple({id(user.preparation): user.preparation for user in users}.values())


def load_engines(bundle: Bundle, *, threads: int, progress: Callable[[str], None]) -> Loaded:
    """Compile in the bundle's order and re-run every golden input; `progress` hears each network as it is ready.

    Raises EngineError, BundleContentError (a golden file of the wrong size) or KnownAnswerError.
    """
    compiler = Compiler(threads=threads)
    preparations: dict[HeightmapSpec, Preparation] = {}
    judges: dict[str, Judge] = {}
    answers = 0
    for spec in bundle.manifest.typologies:
        preparation = _preparation_for(spec.heightmap, preparations)
        engines = tuple(compiler.compile(member, bundle.files[member.file], preparation.data) for member in spec.members)
        judges[spec.name] = judge = Judge(spec=spec, preparation=preparation, engines=engines)
        answers += _prove_judge(judge, bundle)
        progress(spec.name)
    router = None
    if bundle.manifest.router is not None:
        router = _load_router(bundle.manifest.router, compiler, preparations, bundle)
        answers += _prove_router(router, bundle)
        progress("router")
    return Loaded(
        bundle=bundle.hash, version=bundle.manifest.version, backend=compiler.backend, judges=judges, router=router, known_answers=answers
    )


def _preparation_for(spec: HeightmapSpec, preparations: dict[HeightmapSpec, Preparation]) -> Preparation:
    """The one that makes these pixels; how networks normalise them is their own affair and keeps nobody apart."""
    pixels = msgspec.structs.replace(spec, mean=NO_MEAN, std=NO_STD)
    return preparations.setdefault(pixels, Preparation(pixels))


def _load_router(spec: RouterSpec, compiler: Compiler, preparations: dict[HeightmapSpec, Preparation], bundle: Bundle) -> Router:
    preparation = _preparation_for(spec.heightmap, preparations)
    engine = compiler.compile(spec.member, bundle.files[spec.member.file], preparation.data)
    return Router(spec=spec, preparation=preparation, engine=engine)


def _prove_judge(judge: Judge, bundle: Bundle) -> int:
    spec = judge.spec
    for golden in spec.golden:
        with _answering(golden):
            _prepare_golden(golden, judge.preparation, bundle)
            found = judge.score()
        score = found.value
        same_side = (score > spec.threshold) == (golden.score > spec.threshold)
        as_labelled = golden.label != spec.bad_label or score > spec.threshold
        if not (abs(score - golden.score) <= golden.tolerance and same_side and as_labelled and _members_agree(golden, found)):
            members = ", ".join(f"{member.name} {own:.4f}" for member, own in zip(spec.members, found.members, strict=True))
            raise _unknown_answer(spec.name, golden, f"{score:.4f} from {members}, threshold {spec.threshold:.4f}")
    return len(spec.golden)


def _members_agree(golden: Golden, found: Score) -> bool:
    pairs = zip(golden.members, found.members, strict=True) if golden.members else ()
    return all(abs(own - promised) <= golden.tolerance for promised, own in pairs)


def _prove_router(router: Router, bundle: Bundle) -> int:
    limit = router.spec.confidence
    for golden in router.spec.golden:
        with _answering(golden):
            _prepare_golden(golden, router.preparation, bundle)
            found = router.route()
        agrees = found.typology == golden.label and abs(found.confidence - golden.score) <= golden.tolerance
        if not (agrees and (found.confidence >= limit) == (golden.score >= limit)):
            raise _unknown_answer("the router", golden, f"{found.typology} with {found.confidence:.4f}, needed {limit:.4f}")
    return len(router.spec.golden)


@contextmanager
def _answering(golden: Golden) -> Iterator[None]:
    try:
        yield
    except FrameError as exc:
        raise KnownAnswerError(f"golden input {golden.file} gives no score", seen=exc, remedy="Export the bundle again") from exc


def _prepare_golden(golden: Golden, preparation: Preparation, bundle: Bundle) -> None:
    preparation.prepare(
        _golden_image(golden, bundle),
        kind=golden.kind,
        z_scale_mm=golden.z_scale_mm,
        z_offset_mm=golden.z_offset_mm,
        no_data=golden.no_data,
    )


def _golden_image(golden: Golden, bundle: Bundle) -> NDArray[Any]:
    data = bundle.files[golden.file]
    dtype = DTYPES[golden.dtype]
    if len(data) != golden.shape[0] * golden.shape[1] * dtype.itemsize:
        seen = f"{len(data)} bytes for {golden.shape[0]} x {golden.shape[1]} {golden.dtype}"
        raise BundleContentError(f"golden input {golden.file} has another size", seen=seen, remedy="Export the bundle again")
    return np.frombuffer(data, dtype).reshape(golden.shape)


def _unknown_answer(who: str, golden: Golden, seen: str) -> CordonError:
    members = f" from {', '.join(f'{own:.4f}' for own in golden.members)}" if golden.members else ""
    promised = f"the bundle promises {golden.label} {golden.score:.4f}{members} within {golden.tolerance:g}"
    return KnownAnswerError(
        f"golden input {golden.file} of {who} gives another answer",
        seen=f"{seen}; {promised}",
        remedy="Do not run this bundle on this box: export it again and verify it here",
    )
