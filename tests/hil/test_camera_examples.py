"""The example camera programs, in Python and C++ (compiled here), pass the acceptance, and a real inspector judges what they send."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import zmq

pytest.importorskip("onnx", reason="the box of these tests makes its own bundle, which needs onnx")
from camera_kit import await_socket
from cell_kit import FakeGate, listen, make_config
from tiny import TinyBundle

from edge.config import CameraConfig
from edge.config.curve import CurveConfig
from edge.contract import Reason
from edge.curve_keys import CurvePair, new_curve_pair
from edge.inspector.daemon import InspectorDaemon
from sim.acceptance.camera import Listening, Requests, accept_camera
from sim.acceptance.camera_ear import Ear, Source
from sim.acceptance.findings import Report
from sim.acceptance.trial import Nobody

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "camera"
SESSION = "0123456789abcdef"
SCAN = ("--rows", "16", "--cols", "24", "--level", "40")
"""What the tests' bundle calls a good T2."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C++ program, built as its CMakeLists.txt says."""
    folder = tmp_path_factory.mktemp("cpp")
    for tool in ("cmake", "c++", "pkg-config"):
        if shutil.which(tool) is None:
            pytest.skip(f"SKIPPED: the C++ camera program was not compiled, there is no {tool} here")
    if subprocess.run(["pkg-config", "--exists", "libzmq"], check=False).returncode:
        pytest.skip("SKIPPED: the C++ camera program was not compiled, there is no libzmq here (Debian: libzmq3-dev)")
    for command in (["cmake", "-S", str(EXAMPLES / "cpp"), "-B", str(folder)], ["cmake", "--build", str(folder)]):
        built = subprocess.run(command, check=False, capture_output=True, text=True)
        assert built.returncode == 0, built.stdout + built.stderr
        assert "warning" not in built.stderr, built.stderr
    return folder / "camera"


class Keys(NamedTuple):
    """Pairs of box and camera, and their files."""

    box: CurvePair
    camera: CurvePair
    folder: Path


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    box, _ = new_curve_pair(tmp_path, "box")
    camera, _ = new_curve_pair(tmp_path, "cam0")
    return Keys(box, camera, tmp_path)


Start = Callable[..., None]


@pytest.fixture(params=["python", "cpp"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """`start(options...)` runs the camera program, taking requests at ipc `requests` in the test's folder."""
    command = [sys.executable, str(EXAMPLES / "python" / "camera.py")]
    if request.param == "cpp":
        command = [str(request.getfixturevalue("compiled"))]
    running: list[subprocess.Popen[bytes]] = []

    def begin(*options: str) -> None:
        own = ("--requests", f"ipc://{tmp_path}/requests", *SCAN)
        running.append(subprocess.Popen([*command, *own, *options], stdout=subprocess.DEVNULL))

    yield begin
    for process in running:
        process.kill()
        process.wait()


def test_the_example_passes_the_acceptance(start: Start, keys: Keys, tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/camera"
    start("--endpoint", endpoint, "--key", str(keys.folder / "cam0.curve"), "--box-key", str(keys.folder / "box.curve.pub"))
    await_socket(tmp_path / "camera")
    source = Source(endpoint=endpoint, name="cam0", heartbeat_ms=1_200.0, camera_key=keys.camera.public, own=keys.box)
    requests = Requests(f"ipc://{tmp_path}/requests", [("P1", "W1", "T2"), ("P1", "W2", None)])
    report = Report(subject="example", facts={})
    try:
        accept_camera(source, Listening(frames=5, wait_s=20, frame_ms=500), report, observer=Nobody(), requests=requests)
    finally:
        requests.close()
    assert report.accepted, report.failures
    passed = {finding.check for finding in report.findings if finding.result == "pass"}
    assert {"trigger", "request to frame", "exposures differ", "keys"} <= passed
    stranger = replace(source, own=CurvePair(*zmq.curve_keypair()))
    with Ear(stranger) as ear:
        assert not ear.hear(0.7, lambda: bool(ear.messages)), "another box heard the camera"


class Box:
    """A real inspector with the tests' bundle, and the gate's end of it."""

    def __init__(self, folder: Path, camera: CameraConfig, curve: CurveConfig | None) -> None:
        config = make_config(folder, camera=(camera,), curve=curve)
        TinyBundle().save(config.inspector.bundle)
        self.gate: FakeGate = listen(config.gate.socket)
        self.daemon = InspectorDaemon(config)

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(2_000):
            if condition():
                return
            self.daemon.step()
            self.gate.poll()
        raise AssertionError(self.gate.messages[-3:])

    def close(self) -> None:
        self.daemon.close()
        self.gate.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize("way", ["plain", "CURVE", "the box listens"])
def test_a_real_inspector_judges_what_the_example_sends(start: Start, keys: Keys, tmp_path: Path, way: str) -> None:
    port = _free_port()
    curve = None if way == "plain" else CurveConfig(key=keys.folder / "box.curve")
    proved = () if way == "plain" else ("--key", str(keys.folder / "cam0.curve"))
    known = () if way == "plain" else (keys.camera.public.decode(),)
    if way == "the box listens":
        start("--endpoint", f"tcp://127.0.0.1:{port}", "--connect", *proved, "--box-key", str(keys.folder / "box.curve.pub"))
        camera = CameraConfig(name="cam0", endpoint=f"tcp://*:{port}", keys=known, listen=True, allow=("127.0.0.1",))
    else:
        start("--endpoint", f"tcp://127.0.0.1:{port}", *proved)
        camera = CameraConfig(name="cam0", endpoint=f"tcp://127.0.0.1:{port}", keys=known)
    box = Box(tmp_path, camera, curve)
    with zmq.Context() as context, context.socket(zmq.PUSH) as requests:
        requests.setsockopt(zmq.LINGER, 0)
        requests.connect(f"ipc://{tmp_path}/requests")
        try:
            box.until(lambda: any(state.ready and state.camera_alive for state in box.gate.states))
            requests.send(json.dumps({"session": SESSION, "sequence": 7, "part": "P1", "weld": "W1", "typology": "T2"}).encode())
            box.until(lambda: bool(box.gate.reports))
        finally:
            box.close()
    report = box.gate.reports[0]
    assert (report.reason, report.part, report.weld, report.typology) == (Reason.OK, "P1", "W1", "T2"), report
    assert (report.trigger.session, report.trigger.sequence) == (SESSION, 7)
    assert report.score is not None
    assert report.score <= report.threshold
