"""The runtime's side that needs no GPU: the real TensorRT-RTX says why it will not load an engine, and its kernels are kept in files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from engine_kit import SHAPE, member, network

from edge.engines import build_engine
from edge.engines.backend import Backend
from edge.engines.box import gpu
from edge.errors import EngineError, GpuError
from edge.inspector.engines.tensorrt_load import deserialise, new_runtime
from edge.inspector.engines.tensorrt_rtx import KernelFiles


@pytest.fixture(scope="session")
def built(rtx: Backend) -> bytes:
    assert rtx.features.engine_validity
    return build_engine(network(), member=member(), shape=SHAPE, backend="tensorrt_rtx").data


def test_rtx_has_all_features(rtx: Backend) -> None:
    features = rtx.features
    assert features.runtime_config
    assert features.runtime_cache
    assert features.own_graphs


def test_engines_may_not_bring_code_for_the_cpu(rtx: Backend) -> None:
    assert new_runtime(rtx).engine_host_code_allowed is False


@pytest.mark.parametrize("data", [b"", b"an ONNX file, not an engine" * 9, bytes(4096)], ids=["empty", "text", "zeros"])
def test_what_is_no_engine_is_named_so(rtx: Backend, data: bytes) -> None:
    with pytest.raises(EngineError, match=r"damaged or no engine.*cordon engine build") as caught:
        deserialise(rtx, new_runtime(rtx), data, "network a")
    assert not isinstance(caught.value, GpuError)


def test_a_truncated_header_is_refused(rtx: Backend, built: bytes) -> None:
    with pytest.raises(EngineError, match="damaged or no engine"):
        deserialise(rtx, new_runtime(rtx), built[:63], "network a")


def test_a_good_engine_without_a_gpu_is_the_gpus_fault(rtx: Backend, built: bytes) -> None:
    if gpu() is not None:
        pytest.skip("there is a GPU")
    with pytest.raises(GpuError, match="no usable GPU or driver"):
        deserialise(rtx, new_runtime(rtx), built, "network a")


class Cache:
    """A kernel cache that takes what begins with K."""

    def __init__(self, holds: bytes = b"") -> None:
        self.holds = holds

    def serialize(self) -> bytes:
        return self.holds

    def deserialize(self, blob: bytes) -> bool:
        if blob.startswith(b"K"):
            self.holds = blob
        return blob.startswith(b"K")


def attach(files: KernelFiles, cache: Cache, sha256: str = "a" * 64) -> Any:
    config: Any = SimpleNamespace(create_runtime_cache=lambda: cache, set_runtime_cache=lambda given: given is cache)
    assert files.attach(config, engine_sha256=sha256)
    return cache


def test_kernels_are_there_at_the_next_start_and_for_their_engine_only(tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    files = KernelFiles(folder, version="1.7")
    attach(files, Cache()).holds = b"Kernels"
    files.keep()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert attach(KernelFiles(folder, version="1.7"), Cache()).holds == b"Kernels"
    assert attach(KernelFiles(folder, version="1.8"), Cache()).holds == b""
    assert attach(KernelFiles(folder, version="1.7"), Cache(), "b" * 64).holds == b""


def test_kernels_are_written_only_when_there_are_more(tmp_path: Path) -> None:
    files = KernelFiles(tmp_path / "k", version="1.7")
    attach(files, Cache()).holds = b"Kernels"
    files.keep()
    (written,) = (tmp_path / "k").iterdir()
    before = written.stat().st_ino
    attach(files, Cache())
    files.keep()
    assert written.stat().st_ino == before
    attach(files, Cache()).holds = b"Kernels and more"
    files.keep()
    assert written.stat().st_ino != before
    assert list((tmp_path / "k").iterdir()) == [written]


@pytest.mark.parametrize("spoil", ["flip", "truncate", "foreign"])
def test_damaged_kernels_are_compiled_again(tmp_path: Path, spoil: str) -> None:
    files = KernelFiles(tmp_path / "k", version="1.7")
    attach(files, Cache()).holds = b"Kernels"
    files.keep()
    (written,) = (tmp_path / "k").iterdir()
    kept = written.read_bytes()
    foreign = b"from another GPU"
    spoilt = {"flip": kept[:-1] + b"z", "truncate": kept[:20], "foreign": hashlib.sha256(foreign).digest() + foreign}
    written.write_bytes(spoilt[spoil])
    again = KernelFiles(tmp_path / "k", version="1.7")
    assert attach(again, Cache()).holds == b""
    assert "compiled again" in again.notes[0]


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    (tmp_path / "k").chmod(0o777)
    with pytest.raises(EngineError, match="open to others"):
        KernelFiles(tmp_path / "k", version="1.7")


def test_a_runtime_without_a_cache_is_not_used(tmp_path: Path) -> None:
    files = KernelFiles(tmp_path / "k", version="1.7")
    nothing: Any = SimpleNamespace(create_runtime_cache=lambda: None)
    assert not files.attach(nothing, engine_sha256="a")
