"""Does the GPU say what OpenVINO says? Golden inputs must give the promised answers, and the same heightmaps nearly the same scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.gpu_build import Built
from bench.gpu_parts import Scale
from edge.inspector.gpu import GpuMachine
from edge.inspector.loader import Loaded, load_engines
from edge.inspector.machine import CpuMachine, Machine, prepare_and_run
from edge.inspector.scan import Scan


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How near the GPU's scores come to the CPU's."""

    precision: str
    golden: int
    """Golden inputs, each of which gave the promised answer on the GPU."""
    scores: int
    largest: float
    """Largest difference of a score, between 0 and 1."""
    flips: int
    """Scores on the other side of their typology's threshold."""


def compare(built: Built, scale: Scale) -> Agreement:
    """Every network on the GPU and on the CPU. Raises KnownAnswerError for a golden input with another answer, EngineError, GpuError."""
    bundle, images = built.networks.bundle, built.networks.accepted[: scale.agreement]
    machine = GpuMachine(bundle, built.backend.name, built.config())
    try:
        loaded = load_engines(bundle, machine, progress=_silent)
        seen, golden = _scores(loaded, machine, images), loaded.known_answers
    finally:
        machine.close()
    reference = CpuMachine(threads=1)
    expected = _scores(load_engines(bundle, reference, progress=_silent), reference, images)
    limits = np.array([spec.threshold for spec in bundle.manifest.typologies])
    return Agreement(
        precision=built.networks.precision,
        golden=golden,
        scores=seen.size,
        largest=float(np.abs(seen - expected).max()),
        flips=int(((seen > limits) != (expected > limits)).sum()),
    )


def _silent(_: str) -> None:
    pass


def _scores(loaded: Loaded, machine: Machine, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Badness [n, typologies]."""
    found = []
    for image in images:
        prepare_and_run(machine, Scan(image=image, kind="heightmap"), loaded.preparations, loaded.engines)
        found.append([judge.score().value for judge in loaded.judges.values()])
    return np.array(found)
