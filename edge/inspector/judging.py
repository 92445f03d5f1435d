"""Which engines run for a frame, and what their scores mean; the rule that names the typology lives here."""

from __future__ import annotations

from dataclasses import dataclass

from edge.contract import Reason
from edge.errors import FrameError
from edge.inspector.loader import Judge, Loaded
from edge.inspector.machine import prepare_and_run
from edge.inspector.scan import Scan
from edge.inspector.scoring import Route, Score


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the engines said; `reason` OK means that `score` counts for `typology`."""

    reason: Reason
    detail: str
    typology: str | None
    score: float = 1.0
    threshold: float = 0.0
    members: tuple[float, ...] = ()
    members_expected: int = 0
    router_confidence: float | None = None
    prepared_ns: int
    """CLOCK_MONOTONIC when the heightmap was ready."""


def choose_typology(named: str | None, expected: str | None, loaded: Loaded) -> str | None:
    """The typology of the frame, else of its trigger, else None. Raises FrameError TYPOLOGY_DIFFERS or TYPOLOGY_UNKNOWN."""
    if named is not None and expected is not None and named != expected:
        seen = f"frame {named}, trigger {expected}"
        raise FrameError(
            Reason.TYPOLOGY_DIFFERS, "frame and trigger name two typologies", seen=seen, remedy="Check recipe and camera program"
        )
    typology = named if named is not None else expected
    if typology is not None and typology not in loaded.judges:
        known = ", ".join(loaded.judges)
        raise FrameError(Reason.TYPOLOGY_UNKNOWN, "the bundle has no such typology", seen=typology, remedy=f"It has {known}")
    return typology


def inspect(loaded: Loaded, scan: Scan, typology: str | None, *, every_engine: bool) -> Finding:
    """Judge `scan` as `typology`, or as what the router names. Raises FrameError or EngineError."""
    if typology is None or every_engine:
        return _inspect_with_all(loaded, scan, typology)
    judge = loaded.judges[typology]
    prepare_and_run(loaded.machine, scan, (judge.preparation,), judge.engines)
    return _found(judge, judge.score(), None, loaded.machine.prepared_ns)


def _inspect_with_all(loaded: Loaded, scan: Scan, typology: str | None) -> Finding:
    prepare_and_run(loaded.machine, scan, loaded.preparations, loaded.engines)
    prepared_ns = loaded.machine.prepared_ns
    route = None if loaded.router is None else loaded.router.route()
    scores = {name: judge.score() for name, judge in loaded.judges.items()}
    confident = route is not None and loaded.router is not None and route.confidence >= loaded.router.spec.confidence
    if route is not None and confident:
        if typology is not None and typology != route.typology:
            return _contradicted(typology, route, prepared_ns)
        typology = route.typology
    if typology is None:
        return _unsure(route, prepared_ns)
    return _found(loaded.judges[typology], scores[typology], route, prepared_ns)


def _found(judge: Judge, score: Score, route: Route | None, prepared_ns: int) -> Finding:
    return Finding(
        reason=Reason.OK,
        detail="",
        typology=judge.spec.name,
        score=score.value,
        threshold=judge.spec.threshold,
        members=score.members,
        members_expected=len(judge.engines),
        router_confidence=None if route is None else route.confidence,
        prepared_ns=prepared_ns,
    )


def _contradicted(typology: str, route: Route, prepared_ns: int) -> Finding:
    detail = f"named {typology}, but the router sees {route.typology} with {route.confidence:.3f}. Check recipe and weld"
    return Finding(reason=Reason.CROSS_CHECK, detail=detail, typology=typology, router_confidence=route.confidence, prepared_ns=prepared_ns)


def _unsure(route: Route | None, prepared_ns: int) -> Finding:
    if route is None:
        detail = "no typology named, and the bundle has no router. Name it in the recipe or the frame"
    else:
        detail = f"no typology named, and the router is unsure: {route.typology} with {route.confidence:.3f}. Name it in the recipe"
    confidence = None if route is None else route.confidence
    return Finding(reason=Reason.ROUTER_UNSURE, detail=detail, typology=None, router_confidence=confidence, prepared_ns=prepared_ns)
