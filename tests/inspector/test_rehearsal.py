"""Walking a frame's path before it comes may find that the frame before does not suit the next typology, and then nothing happens."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from cell_kit import make_header
from tiny import SPEC

from edge.contract import Reason
from edge.inspector.camera import Arrival
from edge.inspector.frame import encode_frame, read_header
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow
from edge.inspector.judging import Finding
from edge.inspector.loader import Judge, Loaded
from edge.inspector.machine import CpuMachine
from edge.inspector.rehearsal import Rehearsal

LOW, HIGH = (HeightmapSpec(window=MillimetreWindow(low_mm=low, high_mm=low + 10), height=16, width=24) for low in (0.0, 50.0))


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    machine = CpuMachine(threads=1)
    judges = {
        name: Judge(spec=SimpleNamespace(name=name), preparation=machine.preparation(spec), engines=())  # type: ignore[arg-type]
        for name, spec in (("low", LOW), ("high", HIGH))
    }
    return Loaded(bundle="", version=1, machine=machine, judges=judges, router=None)


def rehearsing(loaded: Loaded, typology: str) -> Rehearsal:
    """A frame of heights between 1 and 9 mm was judged, and a trigger waits for `typology`."""
    heights = np.linspace(100, 900, SPEC.height * SPEC.width).astype(np.uint16).reshape(SPEC.height, SPEC.width)
    _, text, payload = encode_frame(make_header(kind="range", dtype="u2"), heights)
    now_ns = time.monotonic_ns()
    arrival = Arrival(read_header(text), text, memoryview(payload), "", now_ns, Reason.OK, "", ())
    rehearsal = Rehearsal()
    rehearsal.keep(arrival, Finding(reason=Reason.OK, detail="", typology="low", prepared_ns=now_ns))
    rehearsal.begin(loaded.judges[typology], now_ns)
    assert rehearsal.wanted(now_ns)
    return rehearsal


def test_a_frame_is_walked_again_and_again(loaded: Loaded) -> None:
    rehearsal = rehearsing(loaded, "low")
    rehearsal.walk(loaded)
    assert rehearsal.wanted(time.monotonic_ns())


def test_a_frame_that_another_typology_refuses_is_rehearsed_no_more(loaded: Loaded) -> None:
    rehearsal = rehearsing(loaded, "high")
    rehearsal.walk(loaded)
    assert not rehearsal.wanted(time.monotonic_ns())


def test_another_bundle_begins_without_a_frame(loaded: Loaded) -> None:
    rehearsal = rehearsing(loaded, "low")
    rehearsal.change(loaded)
    assert not rehearsal.wanted(time.monotonic_ns())
    rehearsal.walk(loaded)
