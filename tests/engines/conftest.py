import pytest

from edge.engines.backend import Backend, load_backend
from edge.errors import EngineError


@pytest.fixture(scope="session")
def rtx() -> Backend:
    """The real TensorRT-RTX, which parses and builds without a GPU."""
    try:
        return load_backend("tensorrt_rtx")
    except EngineError as exc:
        pytest.skip(f"no TensorRT-RTX wheel for this machine: {exc.what}")
