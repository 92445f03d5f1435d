"""Engines are built here, on the box, from a signed bundle: TensorRT 10.3 and newer, 11, or TensorRT-RTX, which needs no GPU to build.

`build_engine(onnx, member=..., shape=(height, width), batch=1, backend="auto")` gives a `BuiltEngine` for a member of a manifest;
`parse_and_build(onnx)` only asks whether the builder takes a file. Both raise EngineError. Importing this loads no TensorRT.
"""

from edge.engines.build import BuiltEngine, build_engine, parse_and_build
from edge.engines.record import BuildOptions

__all__ = ["BuildOptions", "BuiltEngine", "build_engine", "parse_and_build"]
