"""The start-up contract: networks that do not keep the budget on this machine are refused, aloud, and the bundle before judges."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from cell_kit import Cell, FakeGate, listen, make_config
from onnx import helper, numpy_helper
from tiny import PUBLIC, TinyBundle, network

from edge.bundle import open_bundle
from edge.bundles.child import main
from edge.bundles.policy import Policy
from edge.bundles.state import Proof
from edge.bundles.store import Store
from edge.config import BundlesConfig, Config, GateConfig, load_config
from edge.contract import Reason
from edge.errors import BudgetError
from edge.health.look import look
from edge.inspector.daemon import InspectorDaemon
from edge.inspector.machines import load
from edge.inspector.startup import Contract, Room, line_ms, measure, require_fit
from edge.inspector.startup_runs import EVERY, ROUTED, WorstCase

FAST_LINE = {"baudrate": 4_000_000, "margin_ms": 0.0}
CONFIG = """
[gate]
port = "/dev/null"
records = "{folder}/r.db"
socket = "{folder}/gate"
budget_ms = 12
margin_ms = 0
baudrate = 4000000
[inspector]
trusted_keys = ["{key}"]
threads = 1
[inspector.bundles]
folder = "{folder}/bundles"
[[inspector.camera]]
name = "cam"
endpoint = "ipc://{folder}/cam"
"""


def slow_network(side: int) -> bytes:
    """T2's, after two products of side x side matrices that change nothing."""
    model = onnx.load_from_string(network(centre=60.0, sign=1.0))
    shape = numpy_helper.from_array(np.array([side, side], np.int64), "shape")
    nothing = numpy_helper.from_array(np.array(1e-30, np.float32), "nothing")
    model.graph.initializer.extend([shape, nothing])
    work = [
        helper.make_node("ReduceMean", ["gray"], ["one"], keepdims=0),
        helper.make_node("Mul", ["one", "nothing"], ["least"]),
        helper.make_node("Expand", ["least", "shape"], ["large"]),
        helper.make_node("MatMul", ["large", "large"], ["product"]),
        helper.make_node("MatMul", ["product", "large"], ["again"]),
        helper.make_node("ReduceMax", ["again"], ["added"], keepdims=0),
        helper.make_node("Add", ["gray", "added"], ["worked"]),
    ]
    cast, *rest = list(model.graph.node)
    assert cast.output[0] == "gray"
    for node in rest:
        node.input[:] = ["worked" if name == "gray" else name for name in node.input]
    del model.graph.node[:]
    model.graph.node.extend([cast, *work, *rest])
    return model.SerializeToString()


def slow_bundle(side: int = 700, **more: Any) -> TinyBundle:
    """About 10 ms; 1,600: about 120 ms."""
    return TinyBundle(files={"T2-0.onnx": slow_network(side)}, **more)


def with_gate(config: Config, **gate: Any) -> Config:
    return Config(gate=msgspec.structs.replace(config.gate, **gate), inspector=config.inspector)


def measured(folder: Path, bundle: TinyBundle, gate: dict[str, Any], **inspector: Any) -> Contract:
    config = with_gate(make_config(folder, **inspector), **gate)
    opened = open_bundle(bundle.save(folder / "b"), (PUBLIC,))
    return measure(load(opened, config.inspector, progress=lambda _: None), opened, config)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[FakeGate]:
    gate = listen(make_config(tmp_path).gate.socket)
    yield gate
    gate.close()


@pytest.mark.slow
def test_a_bundle_that_is_too_slow_here_is_refused_and_the_gate_hears_why(gate: FakeGate, tmp_path: Path) -> None:
    config = with_gate(make_config(tmp_path), budget_ms=12.0, **FAST_LINE)
    slow_bundle(router=False).save(tmp_path / "tiny.bundle")
    with pytest.raises(
        BudgetError, match=r"T2 cannot be judged within the budget .* at worst of 5 runs, budget 12 ms .*Raise gate.budget_ms"
    ) as caught:
        InspectorDaemon(config)
    gate.poll()
    assert not any(state.ready for state in gate.states)
    assert (gate.states[-1].fault_reason, gate.states[-1].fault) == (Reason.TOO_SLOW, str(caught.value))


@pytest.mark.slow
def test_the_bundle_before_judges_in_the_place_of_one_that_is_too_slow(gate: FakeGate, tmp_path: Path) -> None:
    config = with_gate(make_config(tmp_path, bundle=None, bundles=BundlesConfig(folder=tmp_path / "bundles")), budget_ms=80.0, **FAST_LINE)
    store, names = Store(policy=Policy.of(config.inspector)), []
    for bundle in (TinyBundle(), slow_bundle(1_600, version=2, router=False)):
        name = store.install(bundle.save(tmp_path / "new"))[0].hash
        names.append(store.activate(name, lambda _, v=bundle.version: Proof(version=v, answers=1, backend="nobody")).hash)
    daemon = InspectorDaemon(config)
    try:
        end = time.monotonic() + 20
        while not gate.states or gate.states[-1].bundle != names[0]:
            assert time.monotonic() < end
            daemon.step()
            gate.poll()
    finally:
        daemon.close()
    told = [state.fault for state in gate.states if state.fault_reason is not None]
    assert any("BudgetError: T2 cannot be judged within the budget" in text for text in told)


def test_a_bundle_that_is_too_slow_here_is_not_activated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=tmp_path, key=PUBLIC))
    config = load_config(tmp_path / "c.toml")
    name = Store(policy=Policy.of(config.inspector)).install(slow_bundle(router=False).save(tmp_path / "new"))[0].hash
    assert main([str(tmp_path / "c.toml"), name]) == 1
    assert "BudgetError: T2 cannot be judged within the budget" in capsys.readouterr().out


def test_the_running_inspector_shows_what_it_measured(cell: Cell) -> None:
    def shown() -> dict[str, float]:
        state = look(cell.config.gate.socket.parent).inspector_state
        return {} if state is None else state.worst_ms

    cell.until(lambda: bool(shown()))
    assert set(shown()) == {"T2", "T5", ROUTED}
    assert all(0 < ms < 182.2 for ms in shown().values())


def test_the_same_bundle_fits_where_the_budget_is_long_enough(tmp_path: Path) -> None:
    contract = measured(tmp_path, slow_bundle(), {"budget_ms": 60_000.0})
    assert contract.fits
    assert [case.name for case in contract.cases] == ["T2", "T5", ROUTED]
    assert contract.slowest.name in {"T2", ROUTED}, "the router runs every network"
    t2, t5, routed = (case.needed_ms for case in contract.cases)
    assert t5 < t2 < 60_000
    assert t5 < routed


def test_every_way_a_frame_can_take_is_measured(tmp_path: Path) -> None:
    every = measured(tmp_path, TinyBundle(members=2, combine="mean", maps=1.0), {}, engines="all", explain="all")
    assert [(case.name, case.runs >= 10) for case in every.cases] == [(EVERY, True)]
    without = measured(tmp_path, TinyBundle(router=False, clouds=True), {"profile": "push"})
    assert [(case.name, case.wait_ms) for case in without.cases] == [("T2", 0.0), ("T5", 0.0)]


def test_a_frame_waits_for_engines_that_are_being_warmed_when_it_comes(tmp_path: Path) -> None:
    at_once = measured(tmp_path, slow_bundle(router=False), {"budget_ms": 60_000.0})
    assert at_once.cases[0].wait_ms > 1.0
    for changes in ({"capture_ms": 30_000.0}, {"prewarm": False}):
        assert all(case.wait_ms == 0.0 for case in measured(tmp_path, slow_bundle(router=False), {"budget_ms": 60_000.0}, **changes).cases)


def test_the_camera_takes_its_part_of_the_budget_but_not_with_push(tmp_path: Path) -> None:
    config = make_config(tmp_path, capture_ms=80.0)
    assert Room.of(config).left_ms == pytest.approx(Room.of(make_config(tmp_path)).left_ms - 80)
    assert Room.of(with_gate(config, profile="push")).capture_ms == 0


@pytest.mark.parametrize(
    ("changes", "expected_ms"),
    [
        ({}, 1_240_000 / 115_200),
        ({"framing": "twice"}, 2_290_000 / 115_200),
        ({"baudrate": 9_600, "parity": "even"}, 124 * 11_000 / 9_600),
        ({"link": "modbus"}, 117 * 10_000 / 115_200),
    ],
)
def test_the_longest_verdict_takes_its_time_on_the_line(changes: dict[str, Any], expected_ms: float, tmp_path: Path) -> None:
    config = with_gate(make_config(tmp_path), **changes)
    assert line_ms(config.gate) == pytest.approx(expected_ms)
    assert Room.of(config).wire_ms == pytest.approx(max(5.0, expected_ms))


@pytest.mark.parametrize(("wait_ms", "fits"), [(40.0, True), (41.0, False)])
def test_what_a_frame_waits_for_its_engines_counts_as_its_own_time(wait_ms: float, *, fits: bool) -> None:
    room = Room(budget_ms=107.0, wire_ms=0.0, capture_ms=0.0)
    assert room.left_ms == 100.0
    case = WorstCase(name="T2", worst_ms=60.0, wait_ms=wait_ms, runs=20, attempts=1)
    assert Contract(room=room, cases=(case,)).fits is fits


def test_the_slowest_case_decides_and_the_message_says_what_remains() -> None:
    room = Room(budget_ms=50.0, wire_ms=5.0, capture_ms=0.0)
    cases = [WorstCase(name=name, worst_ms=ms, wait_ms=0.0, runs=10, attempts=1) for name, ms in (("T1", 2.0), ("T2", 38.1), ("T3", 9.0))]
    contract = Contract(room=room, cases=tuple(cases))
    assert not contract.fits
    assert contract.slowest.name == "T2"
    assert contract.lines()[0] == "start-up contract: budget 50 ms - wire 5.0, record 5, hops 2, camera 0 = 38.0 ms"
    assert Contract(room=room, cases=(cases[0], cases[2])).fits


def test_no_remedy_is_named_that_would_not_help(tmp_path: Path) -> None:
    opened = open_bundle(TinyBundle().save(tmp_path / "b"), (PUBLIC,))
    config = with_gate(make_config(tmp_path), budget_ms=5.0, margin_ms=0.0, baudrate=1_200)
    with pytest.raises(BudgetError, match=r"raise gate.baudrate$") as caught:
        require_fit(load(opened, config.inspector, progress=lambda _: None), opened, config)
    assert "engines" not in caught.value.remedy
    assert isinstance(config.gate, GateConfig)
