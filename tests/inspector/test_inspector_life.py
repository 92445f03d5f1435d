"""Starting, being READY, warming up, failing and dying."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from cell_kit import Cell, FakeGate, listen, make_config, make_parts
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tiny import PUBLIC, TinyBundle, brittle_network, frame_image, network, probability

from edge.config import CameraConfig, Config
from edge.contract import Reason
from edge.errors import BundleError, BundleFormatError, BundleSignatureError, CordonError, EngineError, KnownAnswerError
from edge.inspector.daemon import InspectorDaemon
from edge.inspector.frame import encode_alive

Start = Callable[..., Cell]


def test_ready_comes_only_after_the_camera_was_heard(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    TinyBundle().save(config.inspector.bundle)
    gate, daemon = listen(config.gate.socket), InspectorDaemon(config)
    end = time.monotonic() + 10
    while not (gate.states and gate.states[-1].typologies == ("T2", "T5")):
        assert time.monotonic() < end
        daemon.step()
        gate.poll()
    assert not gate.states[-1].ready
    assert not gate.states[-1].camera_alive
    daemon.close()
    gate.close()


def test_the_state_names_bundle_and_proved_answers(cell: Cell) -> None:
    state = cell.gate.states[-1]
    assert (state.known_answers, state.pid, state.bundle_version) == (6, os.getpid(), 1)
    assert len(state.bundle) == 64
    assert state.bundle == cell.judge(*make_parts()).bundle
    assert "openvino" in state.backend


def test_a_silent_camera_ends_ready(start: Start, tmp_path: Path) -> None:
    cell = start(camera=(CameraConfig(name="cam", endpoint=f"ipc://{tmp_path}/cam", heartbeat_ms=1_500),))
    cell.until(lambda: not cell.gate.states[-1].ready)
    assert not cell.gate.states[-1].camera_alive
    cell.send(*encode_alive("cam", 0, 1))
    cell.until(lambda: cell.gate.states[-1].ready)


def test_a_change_is_told_at_once_and_not_with_the_next_heartbeat(start: Start, tmp_path: Path) -> None:
    cell = start(camera=(CameraConfig(name="cam", endpoint=f"ipc://{tmp_path}/cam", heartbeat_ms=1_500),))
    cell.until(lambda: not cell.gate.states[-1].ready)
    cell.daemon._announcer._beat_ns = time.monotonic_ns() + 5_000_000_000
    cell.send(*encode_alive("cam", 0, 1))
    cell.until(lambda: cell.gate.states[-1].ready, seconds=3)
    assert cell.gate.states[-1].camera_alive


def test_the_state_comes_twelve_times_a_second(cell: Cell) -> None:
    before = len(cell.gate.states)
    end = time.monotonic() + 1.0
    cell.until(lambda: time.monotonic() > end)
    assert 8 <= len(cell.gate.states) - before <= 14


def test_frames_are_dropped_and_counted_while_the_gate_is_away(cell: Cell, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    cell.gate.close()
    cell.config.gate.socket.unlink()
    cell.send(*make_parts(counter=1))
    for _ in range(4):
        cell.daemon.step()
    cell.gate = listen(cell.config.gate.socket)
    cell.until(lambda: bool(cell.gate.states) and cell.gate.states[-1].ready)
    assert cell.gate.states[-1].frames == 1
    assert cell.gate.reports == []
    assert "1 messages were dropped" in caplog.text
    assert cell.judge(*make_parts(frame_image(41), counter=2)).reason is Reason.OK


def test_the_triggers_typology_is_used_when_the_frame_names_none(cell: Cell) -> None:
    cell.expect("T5")
    cell.tick()
    report = cell.judge(*make_parts(frame_image(70), typology=None))
    assert (report.typology, report.typology_named, report.reason) == ("T5", None, Reason.OK)
    assert report.router_confidence is None


def test_frame_and_trigger_must_name_the_same_typology(cell: Cell) -> None:
    cell.expect("T5")
    cell.tick()
    assert cell.judge(*make_parts(typology="T2")).reason is Reason.TYPOLOGY_DIFFERS


def test_another_triggers_typology_is_not_used(cell: Cell) -> None:
    cell.expect("T5", sequence=8)
    cell.tick()
    report = cell.judge(*make_parts(frame_image(70), typology=None))
    assert report.typology == "T2"


@pytest.mark.parametrize(("gray", "typology"), [(70, "T2"), (150, "T5")])
def test_the_router_names_the_typology_when_nobody_does(cell: Cell, gray: int, typology: str) -> None:
    report = cell.judge(*make_parts(frame_image(gray), typology=None))
    assert (report.reason, report.typology, report.typology_named) == (Reason.OK, typology, None)
    assert report.router_confidence is not None
    assert report.router_confidence > 0.9


def test_an_unsure_router_names_none(cell: Cell) -> None:
    report = cell.judge(*make_parts(frame_image(121), typology=None))
    assert (report.reason, report.typology) == (Reason.ROUTER_UNSURE, None)
    assert not report.score <= report.threshold


def test_without_a_router_an_unnamed_typology_is_refused(start: Start) -> None:
    cell = start(TinyBundle(router=False))
    assert cell.judge(*make_parts(typology=None)).reason is Reason.ROUTER_UNSURE


def test_all_engines_contradict_a_wrong_name(start: Start) -> None:
    cell = start(engines="all")
    assert cell.judge(*make_parts(frame_image(40), typology="T2")).reason is Reason.OK
    report = cell.judge(*make_parts(frame_image(41), typology="T5", counter=2))
    assert report.reason is Reason.CROSS_CHECK
    assert not report.score <= report.threshold


def test_an_unsure_router_does_not_contradict(start: Start) -> None:
    cell = start(engines="all")
    assert cell.judge(*make_parts(frame_image(121), typology="T5")).reason is Reason.OK


def test_a_committee_reports_every_member(start: Start) -> None:
    report = start(TinyBundle(members=3)).judge(*make_parts())
    assert (report.members_expected, len(report.members)) == (3, 3)
    assert report.score == pytest.approx(sum(report.members) / 3)


def warmed(cell: Cell) -> bool:
    """Did the expected typology's engine run for a trigger without a frame?"""
    output = cell.daemon._loaded.judges["T5"].engines[0].output
    output.fill(-1)
    cell.expect("T5")
    for _ in range(4):
        cell.tick()
    return bool(output[0] >= 0)


def test_an_expected_trigger_warms_its_engine(cell: Cell) -> None:
    assert warmed(cell)
    assert cell.gate.reports == []


def test_prewarming_can_be_switched_off(start: Start) -> None:
    assert not warmed(start(prewarm=False))


def test_nothing_is_warmed_while_a_camera_is_silent(start: Start, tmp_path: Path) -> None:
    cell = start(camera=(CameraConfig(name="cam", endpoint=f"ipc://{tmp_path}/cam", heartbeat_ms=1_500),))
    cell.until(lambda: not cell.gate.states[-1].ready)
    assert not warmed(cell)


def test_rehearsing_leaves_no_trace_in_verdicts_and_counts(cell: Cell) -> None:
    cell.judge(*make_parts(frame_image(40, seed=1)))
    cell.expect("T5")
    end = time.monotonic() + 0.3
    cell.until(lambda: time.monotonic() > end)
    image = frame_image(170, seed=2)
    report = cell.judge(*make_parts(image, counter=2, typology="T5"))
    assert report.reason is Reason.OK
    assert report.score == pytest.approx(probability(image, centre=180, sign=1), abs=1e-3)
    assert len(cell.gate.reports) == 2
    cell.until(lambda: cell.gate.states[-1].frames == 2)


def test_the_waiting_trigger_is_rehearsed_until_its_frame_came(cell: Cell) -> None:
    rehearsal = cell.daemon._rehearsal
    assert not rehearsal.wanted(time.monotonic_ns())
    cell.judge(*make_parts(frame_image(40, seed=1)))
    cell.expect("T2")
    cell.until(lambda: rehearsal.wanted(time.monotonic_ns()))
    cell.judge(*make_parts(frame_image(41, seed=2), counter=2))
    assert not rehearsal.wanted(time.monotonic_ns())


def test_a_failing_engine_is_reported_and_the_third_time_ends_the_process(start: Start) -> None:
    bundle = TinyBundle(router=False, files={"T5-0.onnx": brittle_network()}, promised={"T5": (0.99966, 0.99966)})
    cell = start(bundle)
    for counter in (1, 2):
        report = cell.judge(*make_parts(frame_image(250, seed=counter), counter=counter, typology="T5"))
        assert report.reason is Reason.ENGINE_FAILED
        assert "T5-0" in report.detail
    cell.send(*make_parts(frame_image(250, seed=3), counter=3, typology="T5"))
    with pytest.raises(EngineError, match="3 times"):
        cell.until(lambda: False, seconds=2)
    cell.gate.poll()
    assert cell.gate.reports[-1].counter == 3


def test_the_other_engines_work_on_after_one_failed(start: Start) -> None:
    bundle = TinyBundle(router=False, files={"T5-0.onnx": brittle_network()}, promised={"T5": (0.99966, 0.99966)})
    cell = start(bundle)
    assert cell.judge(*make_parts(frame_image(250), typology="T5")).reason is Reason.ENGINE_FAILED
    assert cell.judge(*make_parts(frame_image(40), typology="T2", counter=2)).reason is Reason.OK


# -- bundles that may not be used


@pytest.fixture
def refused() -> Iterator[Callable[[Config], tuple[CordonError, FakeGate]]]:
    """Start an inspector that must refuse; gives its error and the gate that was told."""
    gates = []

    def refuse(config: Config) -> tuple[CordonError, FakeGate]:
        gates.append(gate := listen(config.gate.socket))
        with pytest.raises(CordonError) as caught:
            InspectorDaemon(config)
        gate.poll()
        return caught.value, gate

    yield refuse
    for gate in gates:
        gate.close()


def test_a_bundle_that_breaks_its_promise_is_refused(refused: Callable[..., tuple[CordonError, FakeGate]], tmp_path: Path) -> None:
    config = make_config(tmp_path)
    TinyBundle(promised={"T5": (0.01, 0.6)}).save(config.inspector.bundle)
    error, gate = refused(config)
    assert isinstance(error, KnownAnswerError)
    assert "T5/bad" in str(error)
    assert "0.6000" in str(error)
    state = gate.states[-1]
    assert (state.ready, state.fault_reason) == (False, Reason.BUNDLE_FAULT)
    assert "T5/bad" in state.fault


def test_a_bundle_that_calls_its_bad_weld_good_is_refused(refused: Callable[..., tuple[CordonError, FakeGate]], tmp_path: Path) -> None:
    config = make_config(tmp_path)
    TinyBundle(files={"T2-0.onnx": network(centre=200, sign=1)}, promised={"T2": (0.0, 0.0)}).save(config.inspector.bundle)
    error, _ = refused(config)
    assert isinstance(error, KnownAnswerError)
    assert "T2/bad" in str(error)


def test_a_promise_on_the_other_side_of_the_threshold_is_broken_however_near(
    refused: Callable[..., tuple[CordonError, FakeGate]], tmp_path: Path
) -> None:
    config = make_config(tmp_path)
    mean = float(frame_image(40, seed=1).mean())
    near = network(centre=mean + 0.08, sign=1)
    assert 0.494 < probability(frame_image(40, seed=1), centre=mean + 0.08, sign=1) < 0.496
    TinyBundle(files={"T2-0.onnx": near}, promised={"T2": (0.505, 1.0)}).save(config.inspector.bundle)
    error, _ = refused(config)
    assert isinstance(error, KnownAnswerError)
    assert "T2/good" in str(error)


def test_a_score_off_by_more_than_the_tolerance_breaks_the_promise(
    refused: Callable[..., tuple[CordonError, FakeGate]], tmp_path: Path
) -> None:
    config = make_config(tmp_path)
    TinyBundle(promised={"T2": (0.03, 1.0)}).save(config.inspector.bundle)
    assert isinstance(refused(config)[0], KnownAnswerError)


def test_a_router_that_names_another_typology_than_promised_is_refused(
    refused: Callable[..., tuple[CordonError, FakeGate]], tmp_path: Path
) -> None:
    config = make_config(tmp_path)
    TinyBundle(files={"router.onnx": network(centre=120, sign=1)}).save(config.inspector.bundle)
    error, _ = refused(config)
    assert isinstance(error, KnownAnswerError)
    assert "router/dark" in str(error)


def test_an_altered_bundle_is_refused(refused: Callable[..., tuple[CordonError, FakeGate]], tmp_path: Path) -> None:
    config = make_config(tmp_path)
    path = TinyBundle().save(config.inspector.bundle)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    error, gate = refused(config)
    assert isinstance(error, BundleError)
    assert gate.states[-1].fault_reason is Reason.BUNDLE_FAULT


def test_a_bundle_signed_by_a_stranger_is_refused(refused: Callable[..., tuple[CordonError, FakeGate]], tmp_path: Path) -> None:
    config = make_config(tmp_path)
    TinyBundle().save(config.inspector.bundle, key=Ed25519PrivateKey.generate())
    error, gate = refused(config)
    assert isinstance(error, BundleSignatureError)
    assert PUBLIC not in gate.states[-1].fault


def test_a_missing_bundle_is_refused_even_without_a_gate(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(BundleFormatError, match=r"tiny\.bundle"):
        InspectorDaemon(make_config(tmp_path))
    assert 0.9 < time.monotonic() - started < 3


def test_a_network_that_differs_from_the_manifest_is_refused(refused: Callable[..., tuple[CordonError, FakeGate]], tmp_path: Path) -> None:
    config = make_config(tmp_path)
    TinyBundle(files={"T2-0.onnx": network(centre=60, sign=1, height=8, width=8)}).save(config.inspector.bundle)
    error, gate = refused(config)
    assert isinstance(error, EngineError)
    assert "[1,1,8,8]" in str(error)
    assert gate.states[-1].fault_reason is Reason.ENGINE_FAILED


# -- as its own process


CONFIG = """
[gate]
port = "/dev/null"
records = "{folder}/r.db"
socket = "{folder}/gate"
[inspector]
bundle = "{folder}/tiny.bundle"
trusted_keys = ["{key}"]
threads = 1
[[inspector.camera]]
name = "cam"
endpoint = "ipc://{folder}/cam"
"""


def launch(folder: Path) -> subprocess.Popen[bytes]:
    (folder / "cordon.toml").write_text(CONFIG.format(folder=folder, key=PUBLIC))
    program = (
        "import sys; from pathlib import Path; from edge.inspector.daemon import run_inspector; sys.exit(run_inspector(Path(sys.argv[1])))"
    )
    return subprocess.Popen([sys.executable, "-c", program, str(folder / "cordon.toml")], stderr=subprocess.PIPE)


def wait_ready(gate: FakeGate, camera: zmq.Socket[bytes], counter: int, pid: int) -> None:
    end = time.monotonic() + 30
    while not any(state.ready and state.pid == pid for state in gate.states):
        assert time.monotonic() < end
        camera.send_multipart(encode_alive("cam", counter, 1))
        time.sleep(0.02)
        gate.poll()


def wait_report(gate: FakeGate) -> None:
    end = time.monotonic() + 5
    while not gate.reports:
        assert time.monotonic() < end
        time.sleep(0.005)
        gate.poll()


def test_a_killed_inspector_comes_back_and_judges_on(tmp_path: Path) -> None:
    TinyBundle().save(tmp_path / "tiny.bundle")
    gate = listen(tmp_path / "gate")
    with zmq.Context() as context, context.socket(zmq.PUB) as camera:
        camera.setsockopt(zmq.LINGER, 0)
        camera.bind(f"ipc://{tmp_path}/cam")
        for counter in (1, 2):
            process = launch(tmp_path)
            wait_ready(gate, camera, counter - 1, process.pid)
            camera.send_multipart(make_parts(frame_image(40, seed=counter), counter=counter))
            wait_report(gate)
            assert (gate.reports[-1].counter, gate.reports[-1].reason) == (counter, Reason.OK)
            process.send_signal(signal.SIGKILL)
            assert process.wait(5) == -signal.SIGKILL
            process.stderr.close()
            gate.poll()
            assert gate.connection is None, "the gate sees the death at once"
            gate.messages.clear()
    gate.close()


def test_sigterm_ends_the_inspector_cleanly_and_its_log_names_the_milestones(tmp_path: Path) -> None:
    TinyBundle().save(tmp_path / "tiny.bundle")
    gate = listen(tmp_path / "gate")
    with zmq.Context() as context, context.socket(zmq.PUB) as camera:
        camera.setsockopt(zmq.LINGER, 0)
        camera.bind(f"ipc://{tmp_path}/cam")
        process = launch(tmp_path)
        wait_ready(gate, camera, 0, process.pid)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=5)
    gate.close()
    assert process.returncode == 0
    for milestone in (b"verified", b"6 golden inputs agreed", b"connected to the gate", b"READY"):
        assert milestone in log


def test_an_inspector_with_an_altered_bundle_exits_with_an_error(tmp_path: Path) -> None:
    path = TinyBundle().save(tmp_path / "tiny.bundle")
    path.write_bytes(path.read_bytes()[:-1])
    gate = listen(tmp_path / "gate")
    process = launch(tmp_path)
    _, log = process.communicate(timeout=20)
    gate.poll()
    gate.close()
    assert process.returncode != 0
    assert b"BundleContentError" in log
    assert gate.states[-1].fault_reason is Reason.BUNDLE_FAULT


def test_openvino_is_loaded_without_its_telemetry() -> None:
    program = (
        "import sys; from edge.inspector.engines.openvino import import_openvino; import_openvino();"
        "print([name for name in sys.modules if 'telemetry' in name])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_packet_that_is_no_message_ends_the_connection_and_it_is_made_again(cell: Cell) -> None:
    first = cell.gate.connection
    assert isinstance(first, socket.socket)
    first.send(b"\xc1garbage")
    cell.until(lambda: cell.gate.connection is None)
    cell.until(lambda: cell.gate.connection is not None)
    assert cell.judge(*make_parts()).reason is Reason.OK
