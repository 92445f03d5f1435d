"""Which machine judges: the one the configuration names, or the CPU in its place where that is allowed, proved and fast enough."""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections.abc import Callable
from typing import Any

from edge.bundle import Bundle
from edge.bundle_certificate import named, networks, read_certificate
from edge.config import GpuConfig, InspectorConfig
from edge.errors import EngineError, EngineTrustError
from edge.inspector.loader import Loaded, load_engines
from edge.inspector.machine import CpuMachine, Machine
from edge.inspector.startup_runs import worst_cases
from edge.manifest import Member

Progress = Callable[[str], None]
log = logging.getLogger("cordon.inspector")


def load(bundle: Bundle, config: InspectorConfig, *, progress: Progress) -> Loaded:
    """Every engine of `bundle`, loaded and proved. Raises EngineError, GpuError, BundleContentError or KnownAnswerError."""
    if config.backend == "openvino":
        return load_engines(bundle, CpuMachine(threads=config.threads, maps=config.explain != "none"), progress=progress)
    assert config.gpu is not None, "the configuration requires it"
    from edge.inspector.gpu import open_gpu  # noqa: PLC0415 - a box without a GPU loads none of it

    try:
        return _load_on(open_gpu(bundle, config.backend, config.gpu), bundle, progress)
    except EngineError as exc:
        if config.gpu.fallback == "none" or isinstance(exc, EngineTrustError):
            raise
        log.warning("the GPU cannot be used: %s", exc)
        return _fall_back(bundle, config, config.gpu, exc, progress)


def _load_on(machine: Machine, bundle: Bundle, progress: Progress) -> Loaded:
    try:
        return load_engines(bundle, machine, progress=progress)
    except BaseException as exc:
        # An error keeps the variables of the functions it left: memory among them must go before its machine does.
        traceback.clear_frames(exc.__traceback__)
        machine.close()
        raise


def _fall_back(bundle: Bundle, config: InspectorConfig, gpu: GpuConfig, cause: EngineError, progress: Progress) -> Loaded:
    """The bundle on the CPU. Raises EngineError where the certificate does not cover it or it is too slow."""
    require_certified_on_cpu(bundle)
    machine = InPlaceOfGpu(threads=config.threads, backend=config.backend, maps=config.explain != "none")
    loaded = load_engines(bundle, machine, progress=progress)
    worst_ms = max(case.worst_ms for case in worst_cases(loaded, bundle, config, limit_ms=gpu.fallback_within_ms))
    if not worst_ms <= gpu.fallback_within_ms:
        raise EngineError(
            "the GPU cannot be used, and the CPU is too slow in its place",
            seen=f"{worst_ms:.1f} ms, allowed {gpu.fallback_within_ms:g} ms; the GPU: {cause}",
            remedy="Mend the GPU, or raise inspector.gpu.fallback_within_ms where the cell's cycle allows it",
        ) from cause
    progress(f"the CPU judges in the GPU's place, {worst_ms:.1f} ms at worst")
    return loaded


class InPlaceOfGpu(CpuMachine):
    """The CPU, named so that every record tells that it was not the machine the line was set up for."""

    def __init__(self, *, threads: int, backend: str, maps: bool = False) -> None:
        super().__init__(threads=threads, maps=maps)
        self.name = f"{self.name} in place of {backend}"


def require_certified_on_cpu(bundle: Bundle) -> None:
    """Was every network of `bundle` proved on OpenVINO, these very bytes? Raises EngineError naming the first that was not."""
    certificate = read_certificate(bundle)
    tools = certificate.get("tools")
    if not (isinstance(tools, dict) and "openvino" in tools):
        raise _uncovered("bundle", bundle.manifest.name)
    for typology in bundle.manifest.typologies:
        proved = networks(named(certificate, typology.name))
        for member in typology.members:
            _require_proved(member, proved.get(member.name, {}), bundle)
    if bundle.manifest.router is not None:
        router = certificate.get("router")
        record = router.get("network") if isinstance(router, dict) else None
        _require_proved(bundle.manifest.router.member, record if isinstance(record, dict) else {}, bundle)


def _require_proved(member: Member, record: dict[str, Any], bundle: Bundle) -> None:
    if record.get("shipped_sha256") != hashlib.sha256(bundle.files[member.file]).hexdigest():
        raise _uncovered("network", member.name)


def _uncovered(what: str, name: str) -> EngineError:
    return EngineError(
        f"the GPU cannot be used, and the certificate does not cover the CPU for this {what}",
        seen=name,
        remedy='Export the bundle with `cordon export`, whose proof runs on the CPU, or set inspector.gpu.fallback = "none"',
    )
