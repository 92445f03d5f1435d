"""What a box does that cannot use its GPU at start: it says why, ends with status 1 in bounded time, and nothing is accepted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import failure_kit
import numpy as np
import pytest
from failure_kit import Box, inspector_lines, note
from softcuda.env import BUILD

from edge.contract import Reason

pytestmark = pytest.mark.soft
box, built = failure_kit.box, failure_kit.built
LIMIT_S = 10.0
"""Python's start, the bundle's check, all that is loaded before the failure, and the way out."""


T2 = "T2.T2-0.b1"


def nothing(_box: Box) -> None:
    """The box is as it was built."""


def missing(box: Box) -> None:
    (box.engines / f"{T2}.json").unlink()


def one_bit(box: Box) -> None:
    data = bytearray(box.engine(T2).read_bytes())
    data[len(data) // 2] ^= 1
    box.engine(T2).write_bytes(data)


def altered_record(box: Box) -> None:
    path = box.engines / f"{T2}.json"
    path.write_text(path.read_text().replace('"layers": ', '"layers": 1'))


def foreign_key(box: Box) -> None:
    box.configure(inspector_lines(box.folder, box="ab" * 32))


def another_network(box: Box) -> None:
    """What the box's key vouches for is not what the bundle's network answers."""
    box.put(T2, (box.folder / "another").read_bytes())


def one_weight(box: Box) -> None:
    """One bit of one weight turned before the key signed: only the known answers can tell."""
    data = bytearray(box.engine(T2).read_bytes())
    bias = np.array([-60.0 / 4, 0.0], np.float32).tobytes()
    assert data.count(bias) == 1
    data[data.index(bias) + 3] ^= 0x80
    box.put(T2, bytes(data))


def not_an_engine(box: Box) -> None:
    box.put(T2, b"\0" * 4096)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is wrong, and what must be said."""

    said: str
    error: str = "GpuError"
    reason: Reason = Reason.GPU_FAULT
    spoil: Callable[[Box], None] = nothing
    settings: dict[str, Any] = field(default_factory=dict)


ENGINE: dict[str, Any] = {"error": "EngineError", "reason": Reason.ENGINE_FAILED}
TRUST: dict[str, Any] = {"error": "EngineTrustError", "reason": Reason.ENGINE_FAILED}
ANSWER: dict[str, Any] = {"error": "KnownAnswerError", "reason": Reason.BUNDLE_FAULT}
ROWS = {
    "no GPU": Row(settings={"device": "none"}, said="no CUDA-capable device is detected"),
    "no driver": Row(settings={"LD_LIBRARY_PATH": ""}, said="libcuda.so.1"),
    "driver too old": Row(settings={"driver_version": 11040}, said="under CUDA 11.4"),
    "GPU without kernels": Row(settings={"device": "rtx5090", "driver_version": 12000}, said="no GPU kernels are shipped"),
    "GPU memory full": Row(settings={"fault": "cuMemAlloc_v2:2:after=1"}, said="Stop other programs that hold GPU memory"),
    "engines do not fit": Row(settings={"fault": "cuMemAlloc_v2:2:after=4"}, said="the engine does not fit"),
    "pinned memory full": Row(settings={"fault": "cuMemHostAlloc:2:after=1"}, said="Stop other programs that hold GPU memory"),
    "kernels refused": Row(settings={"fault": "cuModuleLoadDataEx:209"}, said="no kernel image is available"),
    "TensorRT missing": Row(settings={"PYTHONPATH": str(BUILD / "pycuda")}, said="Install cordon[gpu] for TensorRT", **ENGINE),
    "engine missing": Row(spoil=missing, said=f"there is no engine {T2}", **ENGINE),
    "engine altered": Row(spoil=one_bit, said=f"engine {T2} was altered or damaged after it was signed", **TRUST),
    "record altered": Row(spoil=altered_record, said=f"engine {T2}: its record was altered after it was signed", **TRUST),
    "another box's key": Row(spoil=foreign_key, said="signed by a key that is not trusted here", **TRUST),
    "another TensorRT": Row(settings={"STANDIN_TRT_VERSION": "10.16.1"}, said="built for 10.3.0, here is 10.16.1", **ENGINE),
    "another GPU": Row(settings={"device": "rtx4090"}, said="built for Orin, here is NVIDIA GeForce RTX 4090", **ENGINE),
    "no engine at all": Row(spoil=not_an_engine, said="tensorrt 10.3.0 refuses the engine", **ENGINE),
    "TensorRT refuses": Row(settings={"STANDIN_FAULT": "deserialise:after=1"}, said="tensorrt 10.3.0 refuses the engine", **ENGINE),
    "no context": Row(settings={"STANDIN_FAULT": "context:after=1"}, said="no execution context"),
    "address refused": Row(settings={"STANDIN_FAULT": "address:after=1"}, said="an address was refused"),
    "cannot be executed": Row(settings={"STANDIN_FAULT": "execute:after=1"}, said="could not be started"),
    "outputs unwritten": Row(settings={"STANDIN_FAULT": "unwritten"}, said="leaves values of scores unwritten", **ENGINE),
    "another network": Row(spoil=another_network, said="golden input T2/good of T2 gives another answer", **ANSWER),
    "one weight": Row(spoil=one_weight, said="golden input T2/good of T2 gives another answer", **ANSWER),
    "NaN": Row(settings={"STANDIN_FAULT": "nan"}, said="golden input T2/good gives no score", **ANSWER),
}


@pytest.mark.parametrize("name", ROWS)
def test_it_says_why_and_ends(box: Box, name: str, request: pytest.FixtureRequest) -> None:
    row = ROWS[name]
    row.spoil(box)
    ended = box.start(**row.settings).ended()
    ended.require_orderly(1)
    assert ended.said.startswith(f"cordon run: {row.error}: ")
    assert row.said in ended.said
    assert ended.seconds < LIMIT_S
    assert [(state.ready, state.fault_reason) for state in box.gate.states][-1:] == [(False, row.reason)]
    assert box.gate.reports == []
    where = " ".join(f"{key}={value}" for key, value in row.settings.items()) or row.spoil.__name__.replace("_", " ")
    note(request, name, where, ended, row.reason.value)


HANGS_WHEN_LEFT = """
import ctypes, sys
from edge.cli import main
from edge.inspector.gpu import GpuMachine
close = GpuMachine.close
def late(self):
    ctypes.CDLL("libcuda.so.1").soft_hang(1)
    close(self)
GpuMachine.close = late
sys.exit(main(sys.argv[1:]))
"""


def test_a_gpu_that_hangs_when_it_is_left_holds_nothing_up(box: Box, request: pytest.FixtureRequest) -> None:
    another_network(box)
    ended = box.start(cordon=("-c", HANGS_WHEN_LEFT)).ended()
    ended.require_orderly(1)
    assert "the GPU was not left in order" in ended.log
    assert ended.said.startswith("cordon run: KnownAnswerError: ")
    assert ended.seconds < LIMIT_S
    note(request, "wrong answer, hung when left", "hang once it is left", ended, "BUNDLE_FAULT")
