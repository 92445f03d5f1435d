"""The acceptance of a camera program as a command: the real camera at --camera, or the simulated one as a process."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera_kit import await_socket
from equipment_kit import Equipment

from sim.acceptance.camera_command import main

pytestmark = pytest.mark.slow


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[list[str]]:
    """Options that lead to a simulated camera with three welds."""
    rows = ["part,weld,typology,truth,file"]
    for number in range(3):
        image = np.random.default_rng(number).integers(30, 50, (16, 24), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        rows.append(f"P1,W{number},T2,good,{number}.png")
    welds = tmp_path / "welds.csv"
    welds.write_text("\n".join(rows) + "\n")
    camera, capture = f"ipc://{tmp_path}/camera", f"ipc://{tmp_path}/capture"
    # Not by the name `cordon`: from a bare checkout there is none.
    simulator = "import sys; from sim.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", simulator, "camera", "--endpoint", camera, "--capture", capture, "--welds", str(welds)]
    process = subprocess.Popen(command)
    await_socket(tmp_path / "camera")
    yield ["--endpoint", camera, "--capture", capture, "--welds", str(welds), "--frames", "3", "--frame-ms", "500", "--heartbeat-ms", "800"]
    process.kill()
    process.wait()


@pytest.fixture
def options(equipment: Equipment, request: pytest.FixtureRequest) -> list[str]:
    if not equipment.camera:
        found: list[str] = request.getfixturevalue("simulated")
        return found
    given = {"--endpoint": equipment.camera, "--name": equipment.camera_name, "--camera-key": equipment.camera_key}
    given |= {"--box-key": equipment.box_key, "--capture": equipment.camera_requests}
    return [word for name, value in given.items() if value for word in (name, value)] + ["--by-hand"] * equipment.by_hand


@pytest.mark.timeout(3_600)
def test_the_camera_program_keeps_every_rule(
    options: list[str], equipment: Equipment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (equipment.papers or tmp_path) / "camera.md"
    with capsys.disabled() if equipment.camera else nullcontext():
        status = main([*options, "--report", str(page)])
    assert status == 0, page.read_text()
    assert "| signature |" in page.read_text()


def test_a_camera_that_does_not_answer_is_told_from_a_wrong_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--endpoint", f"ipc://{tmp_path}/nobody", "--wait-s", "0.2"]) == 1
    assert "firewall" in capsys.readouterr().out
    assert main(["--endpoint", "no address"]) == 2
    assert "inspector.camera.endpoint" in capsys.readouterr().err
    assert main(["--endpoint", "tcp://127.0.0.1:1", "--camera-key", "x" * 40]) == 2
    assert "cordon keys box" in capsys.readouterr().err
