"""Engines of the bench's networks, built on the spot by `cordon engine build` and signed by a key made for the occasion."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.gpu_networks import BenchNetworks
from bench.gpu_parts import PATIENCE_MS, MissingError
from edge.config import GpuConfig
from edge.engines.backend import Backend, BackendChoice, load_backend
from edge.engines.box import box_facts
from edge.engines.store import EngineStore
from edge.engines.trust import open_engine
from edge.errors import EngineError
from edge.inspector.cuda.device import Device
from edge.keys import new_key
from edge.manifest import Member


@dataclass(frozen=True, kw_only=True)
class Built:
    """One bundle's engines in a folder of their own."""

    networks: BenchNetworks
    backend: Backend
    folder: Path
    box_key: str
    seconds: float
    """To build all of them."""

    def config(self, *, streams: int = 4, graphs: bool = True) -> GpuConfig:
        """As the inspector would be told."""
        cache = self.folder / "kernels" if self.backend.features.runtime_cache else None
        return GpuConfig(
            engines=self.folder,
            box_keys=(self.box_key,),
            cache=cache,
            streams=streams,
            timeout_ms=min(PATIENCE_MS, 60_000.0),
            graphs=graphs,
        )

    def members(self, count: int) -> tuple[tuple[str, Member], ...]:
        """(typology, network) of the first `count`."""
        return tuple((spec.name, spec.members[0]) for spec in self.networks.bundle.manifest.typologies[:count])

    def engine(self, typology: str, member: Member) -> bytes:
        """The engine's signed bytes. Raises EngineError."""
        spec = self.networks.bundle.manifest.typologies[0].heightmap
        trusted = open_engine(
            EngineStore(self.folder),
            self.networks.bundle,
            member,
            typology=typology,
            shape=(spec.height, spec.width),
            box=box_facts(self.backend),
            keys=(self.box_key,),
        )
        return trusted.data


def usable_backend(choice: BackendChoice) -> tuple[Backend, str]:
    """TensorRT, if it can run anything here, and this GPU's generation, such as SM87. Raises MissingError."""
    try:
        backend = load_backend(choice)
    except EngineError as exc:
        raise MissingError(exc.what, seen=exc.seen, remedy=exc.remedy) from exc
    device = Device()
    target = "SM{}{}".format(*device.compute_capability)
    device.close()
    if backend.targets and target not in backend.targets:
        what = f"{backend.name} {backend.version} has no code for this GPU"
        raise MissingError(what, seen=f"{target}; it knows {', '.join(backend.targets)}", remedy="Use TensorRT on this GPU")
    return backend, target


def build_networks(networks: BenchNetworks, backend: Backend, target: str, folder: Path) -> Built:
    """Every engine of `networks` in `folder`, by `cordon engine build` in a process of its own, as on a box. Raises EngineError."""
    key = folder.with_suffix(".key")
    public = new_key(key)
    command = [sys.executable, "-m", "edge", "engine", "build", str(networks.path), "--key", networks.key, "--box-key", str(key)]
    options = ["--out", str(folder), "--backend", backend.name, *(["--device-target", target] if target in backend.targets else [])]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        remedy = "Run `cordon engine build` by itself on this machine"
        raise EngineError(f"the engines in {networks.precision} could not be built", seen=done.stderr.strip()[-600:], remedy=remedy)
    store = EngineStore(folder)
    records = [record for record in map(store.record, store.names()) if record is not None]
    return Built(networks=networks, backend=backend, folder=folder, box_key=public, seconds=sum(record.seconds for record in records))
