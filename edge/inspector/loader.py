"""From a verified bundle to engines that proved themselves: every golden input is run and must give the promised score."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from numpy.typing import NDArray

from edge.bundle import Bundle, Golden, RouterSpec, TypologySpec
from edge.errors import BundleContentError, CordonError, FrameError, KnownAnswerError
from edge.inspector.frame import image_bytes, payload_image
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.inspector.machine import Engine, Machine, Preparation, prepare_and_run
from edge.inspector.scan import Scan
from edge.inspector.scoring import Route, Score, route, typology_score

NO_MEAN, NO_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The engines of one typology, all reading the heightmap of one preparation."""

    spec: TypologySpec
    preparation: Preparation
    engines: tuple[Engine, ...]

    def score(self) -> Score:
        """Badness of what the engines ran on last. Raises FrameError SCORE_INVALID."""
        outputs = [engine.output.tolist() for engine in self.engines]
        return typology_score(outputs, self.spec.members, self.spec.combine, self.spec.bad_label)


@dataclass(frozen=True, kw_only=True)
class Router:
    """The engine that names the typology."""

    spec: RouterSpec
    preparation: Preparation
    engine: Engine

    def route(self) -> Route:
        """The likeliest typology of what the engine ran on last. Raises FrameError SCORE_INVALID."""
        return route(self.engine.output.tolist(), self.spec.member.classes)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Everything a frame needs, and the identity of the bundle it came from; the bundle's bytes are no longer held."""

    bundle: str
    version: int
    machine: Machine
    judges: dict[str, Judge]
    router: Router | None
    known_answers: int = 0
    signed_by: str = ""
    """The public key that vouched for it."""

    @property
    def backend(self) -> str:
        """What judges here, as every record names it."""
        return self.machine.name

    @functools.cached_property
    def preparations(self) -> tuple[Preparation, ...]:
        """The distinct preparations of all judges and the router."""
        users: list[Judge | Router] = [*self.judges.values(), *([self.router] if self.router else [])]
        return tuple({id(user.preparation): user.preparation for user in users}.values())

    @functools.cached_property
    def engines(self) -> tuple[Engine, ...]:
        """Every engine, the router's last."""
        members = [engine for judge in self.judges.values() for engine in judge.engines]
        return (*members, *([self.router.engine] if self.router else []))


def load_engines(bundle: Bundle, machine: Machine, *, progress: Callable[[str], None]) -> Loaded:
    """Make every engine of `bundle` on `machine`, then run every golden input; `progress` hears each step's end.

    Raises EngineError, BundleContentError (a golden file of the wrong size) or KnownAnswerError.
    """
    preparations: dict[HeightmapSpec, Preparation] = {}
    judges = {}
    for spec in bundle.manifest.typologies:
        judges[spec.name] = _judge_for(spec, machine, preparations, bundle)
        progress(f"{spec.name} loaded")
    router = None
    if bundle.manifest.router is not None:
        router = _router_for(bundle.manifest.router, machine, preparations, bundle)
        progress("router loaded")
    machine.ready()
    loaded = Loaded(
        bundle=bundle.hash,
        version=bundle.manifest.version,
        machine=machine,
        judges=judges,
        router=router,
        signed_by=bundle.signed_by,
    )
    return replace(loaded, known_answers=_prove(loaded, bundle, progress))


def _judge_for(spec: TypologySpec, machine: Machine, preparations: dict[HeightmapSpec, Preparation], bundle: Bundle) -> Judge:
    preparation = _preparation_for(spec.heightmap, machine, preparations)
    engines = tuple(machine.engine(member, bundle.files[member.file], preparation, spec.name) for member in spec.members)
    return Judge(spec=spec, preparation=preparation, engines=engines)


def _router_for(spec: RouterSpec, machine: Machine, preparations: dict[HeightmapSpec, Preparation], bundle: Bundle) -> Router:
    preparation = _preparation_for(spec.heightmap, machine, preparations)
    engine = machine.engine(spec.member, bundle.files[spec.member.file], preparation, None)
    return Router(spec=spec, preparation=preparation, engine=engine)


def _preparation_for(spec: HeightmapSpec, machine: Machine, preparations: dict[HeightmapSpec, Preparation]) -> Preparation:
    """The one that makes these pixels; how networks normalise them is their own affair and keeps nobody apart."""
    pixels = msgspec.structs.replace(spec, mean=NO_MEAN, std=NO_STD)
    if pixels not in preparations:
        preparations[pixels] = machine.preparation(pixels)
    return preparations[pixels]


def _prove(loaded: Loaded, bundle: Bundle, progress: Callable[[str], None]) -> int:
    answers = 0
    for name, judge in loaded.judges.items():
        answers += _prove_judge(judge, loaded.machine, bundle)
        progress(f"{name} proved")
    if loaded.router is not None:
        answers += _prove_router(loaded.router, loaded.machine, bundle)
        progress("router proved")
    return answers


def _prove_judge(judge: Judge, machine: Machine, bundle: Bundle) -> int:
    spec = judge.spec
    for golden in spec.golden:
        with _answering(golden):
            prepare_and_run(machine, golden_scan(golden, bundle), (judge.preparation,), judge.engines)
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


def _prove_router(router: Router, machine: Machine, bundle: Bundle) -> int:
    limit = router.spec.confidence
    for golden in router.spec.golden:
        with _answering(golden):
            prepare_and_run(machine, golden_scan(golden, bundle), (router.preparation,), (router.engine,))
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


def golden_scan(golden: Golden, bundle: Bundle) -> Scan:
    """The frame that a golden input recorded. Raises BundleContentError when its file has another size."""
    return Scan(
        image=_golden_image(golden, bundle),
        kind=golden.kind,
        z_scale_mm=golden.z_scale_mm,
        z_offset_mm=golden.z_offset_mm,
        no_data=golden.no_data,
    )


def _golden_image(golden: Golden, bundle: Bundle) -> NDArray[Any]:
    data = bundle.files[golden.file]
    if len(data) != image_bytes(golden):
        seen = f"{len(data)} bytes for {golden.shape[0]} x {golden.shape[1]} {golden.dtype} of kind {golden.kind}"
        raise BundleContentError(f"golden input {golden.file} has another size", seen=seen, remedy="Export the bundle again")
    return payload_image(golden, data)


def _unknown_answer(who: str, golden: Golden, seen: str) -> CordonError:
    members = f" from {', '.join(f'{own:.4f}' for own in golden.members)}" if golden.members else ""
    promised = f"the bundle promises {golden.label} {golden.score:.4f}{members} within {golden.tolerance:g}"
    return KnownAnswerError(
        f"golden input {golden.file} of {who} gives another answer",
        seen=f"{seen}; {promised}",
        remedy="Do not run this bundle on this box: export it again and verify it here",
    )
