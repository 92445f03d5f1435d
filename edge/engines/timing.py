"""Measured tactics kept between builds: one file per GPU, TensorRT and CUDA, used only when its own digest fits."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from edge.engines.api import BuilderConfigApi, TimingCacheApi
from edge.engines.files import make_folder, write_whole
from edge.engines.record import BoxFacts

_MAGIC = b"CORDONTC"
_DIGEST = 32
_HEAD = len(_MAGIC) + _DIGEST


class TimingStore:
    """The timing caches in one folder; `notes` say in plain words what was ignored and why."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, box: BoxFacts) -> Path:
        """The file for this GPU, compute capability, TensorRT and CUDA."""
        return self.folder / ("-".join(re.sub(r"[^A-Za-z0-9.]+", "_", part) for part in _identity(box)) + ".timing")

    def load(self, box: BoxFacts) -> tuple[bytes, tuple[str, ...]]:
        """What was kept for `box` and notes; empty bytes where there is none or it is not to be trusted."""
        path = self.path(box)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return b"", ()
        except OSError as exc:
            return b"", (f"timing cache {path.name} cannot be read ({exc.strerror}); building without it",)
        blob = data[_HEAD:]
        if data[:_HEAD] != _MAGIC + _digest(box, blob):
            return b"", (f"timing cache {path.name} is damaged or of another box; building without it",)
        return blob, ()

    def save(self, box: BoxFacts, blob: bytes) -> None:
        """Keep `blob` for `box`, atomically. Raises EngineError."""
        make_folder(self.folder)
        write_whole(self.path(box), _MAGIC + _digest(box, blob) + blob)

    def attach(self, config: BuilderConfigApi, box: BoxFacts) -> tuple[TimingCacheApi | None, tuple[str, ...]]:
        """Give `config` the kept cache, or an empty one; keep the returned object until the build is over."""
        blob, notes = self.load(box)
        cache = config.create_timing_cache(blob)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache, notes
        if blob:
            notes = (*notes, "the builder did not take the kept timing cache; building without it")
        fresh = config.create_timing_cache(b"")
        if fresh is not None and config.set_timing_cache(fresh, False):
            return fresh, notes
        return None, (*notes, "the builder gave no timing cache")

    def keep(self, config: BuilderConfigApi, box: BoxFacts) -> tuple[str, ...]:
        """Write what `config` measured in its build. Raises EngineError when the disk refuses."""
        cache = config.get_timing_cache()
        blob = None if cache is None else cache.serialize()
        if blob is None:
            return ("the builder gave no timing cache to keep",)
        self.save(box, bytes(blob))
        return ()


def _identity(box: BoxFacts) -> tuple[str, ...]:
    return tuple(part or "unknown" for part in (box.gpu, box.compute_capability, box.version, box.cuda))


def _digest(box: BoxFacts, blob: bytes) -> bytes:
    """SHA-256 over whose it is and what it holds, so that a foreign file is caught as a damaged one is."""
    return hashlib.sha256("\0".join(_identity(box)).encode() + b"\0" + blob).digest()
