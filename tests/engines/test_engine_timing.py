from pathlib import Path

import msgspec
import pytest

from edge.engines.backend import Backend
from edge.engines.record import DEFAULTS, BoxFacts
from edge.engines.settings import new_builder, new_config
from edge.engines.timing import TimingStore

ORIN = BoxFacts(backend="tensorrt", version="10.3.0", gpu="Orin (nvgpu)", compute_capability="8.7", cuda="12.6")


def test_a_timing_cache_comes_back_for_the_box_that_made_it(tmp_path: Path) -> None:
    store = TimingStore(tmp_path / "timing")
    assert store.load(ORIN) == (b"", ())
    store.save(ORIN, b"tactics")
    assert store.load(ORIN) == (b"tactics", ())
    assert store.path(ORIN).name == "Orin_nvgpu_-8.7-10.3.0-12.6.timing"


@pytest.mark.parametrize("field", ["gpu", "compute_capability", "version", "cuda"])
def test_another_box_has_another_timing_cache(tmp_path: Path, field: str) -> None:
    store = TimingStore(tmp_path)
    other = msgspec.structs.replace(ORIN, **{field: "other"})
    store.save(ORIN, b"tactics")
    assert store.load(other) == (b"", ())
    store.path(ORIN).rename(store.path(other))
    assert store.load(other) == (b"", (f"timing cache {store.path(other).name} is damaged or of another box; building without it",))


@pytest.mark.parametrize("spoil", [b"", b"CORDONTC", b"\0" * 100])
def test_a_damaged_timing_cache_is_ignored_with_a_note(tmp_path: Path, spoil: bytes) -> None:
    store = TimingStore(tmp_path)
    store.save(ORIN, b"tactics")
    store.path(ORIN).write_bytes(spoil)
    blob, notes = store.load(ORIN)
    assert blob == b""
    assert "damaged" in notes[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_builder_takes_and_gives_a_timing_cache(tmp_path: Path, rtx: Backend) -> None:
    """TensorRT-RTX keeps the calls though it measures nothing: enough to run the code that TensorRT needs."""
    store = TimingStore(tmp_path)
    with rtx.log.collecting():
        config = new_config(rtx, new_builder(rtx), DEFAULTS)
        cache, notes = store.attach(config, ORIN)
        assert store.keep(config, ORIN) in {(), ("the builder gave no timing cache to keep",)}
    assert (cache is None) == bool(notes)
