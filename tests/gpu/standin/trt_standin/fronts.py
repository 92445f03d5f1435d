"""The modules `tensorrt` and `tensorrt_rtx`: their names put in place for the version asked for."""

from __future__ import annotations

import functools
import os
import sys

from trt_standin.binding import Family
from trt_standin.surface import Settings, Surface

TRT_VERSION, RTX_VERSION = "STANDIN_TRT_VERSION", "STANDIN_RTX_VERSION"
VERSIONS: dict[str, dict[str, Family]] = {
    "tensorrt": {"10.3.0": "10.3", "10.16.1": "10.16", "11.4.0": "11.4"},
    "tensorrt_rtx": {"1.7.1": "rtx"},
}
_published: dict[str, set[str]] = {}
_versions = {"tensorrt": os.environ.get(TRT_VERSION, "10.3.0"), "tensorrt_rtx": os.environ.get(RTX_VERSION, "1.7.1")}
_settings = Settings()


def configure(version: str | None = None, *, scratch_bytes: int | None = None) -> None:
    """Be `version` of TensorRT from now on; modules imported before change in place, objects made before stay what they were.

    edge.engines.backend keeps what it loaded: after another version call `_load.cache_clear()` there.

    `scratch_bytes`: what engines built from here on need for an execution, in place of what their network asks for.
    Raises ValueError for a version that is none of VERSIONS.
    """
    _settings.scratch_bytes = scratch_bytes
    if version is None:
        return
    module = next((name for name, versions in VERSIONS.items() if version in versions), None)
    if module is None:
        raise ValueError(f"no stand-in for version {version!r}")
    _versions[module] = version
    if module in sys.modules:
        publish(module)


def publish(module: str) -> None:
    """Give the module its public names."""
    names = surface(module, _versions[module]).names()
    namespace = vars(sys.modules[module])
    for stale in _published.get(module, set()) - set(names):
        namespace.pop(stale, None)
    namespace.update(names)
    namespace.pop("publish", None)
    _published[module] = set(names)


@functools.cache
def surface(module: str, version: str) -> Surface:
    """The one surface of this version: its classes stay the same, however often the module changes. Raises ValueError."""
    if version not in VERSIONS[module]:
        raise ValueError(f"no stand-in for {module} {version!r}; there are {', '.join(VERSIONS[module])}")
    return Surface(module, VERSIONS[module][version], version, _settings)


__all__ = ["VERSIONS", "configure", "publish", "surface"]
