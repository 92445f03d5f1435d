"""TensorRT's own parser and builder as a witness: where TensorRT-RTX is installed, what is shipped must build there, without any GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from edge.engines import build_engine
from edge.engines.backend import load_backend
from edge.errors import EngineError
from export.network import Network

BACKEND: Literal["tensorrt_rtx"] = "tensorrt_rtx"


def check_with_parser(networks: Sequence[Network]) -> str:
    """The witness's name and version, empty where none can be loaded. Raises EngineError with the parser's own words."""
    try:
        load_backend(BACKEND)
    except EngineError:
        return ""
    seen = ""
    for network in networks:
        spec = network.source.heightmap
        built = build_engine(network.shipped, member=network.member, shape=(spec.height, spec.width), backend=BACKEND)
        seen = f"{built.box.backend} {built.box.version}"
    return seen
