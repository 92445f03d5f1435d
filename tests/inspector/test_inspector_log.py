"""The inspector's log is nobody's problem but its own: with a reader that stopped, frames are judged and the process ends as ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zmq
from cell_kit import FakeGate, listen, make_parts
from tiny import PUBLIC, TinyBundle, frame_image

from edge.contract import Reason
from edge.inspector.frame import encode_alive

CONFIG = """
[gate]
port = "/dev/null"
records = "{folder}/r.db"
socket = "{folder}/gate"
budget_ms = 5000
[inspector]
bundle = "{folder}/tiny.bundle"
trusted_keys = ["{key}"]
threads = 1
[[inspector.camera]]
name = "cam"
endpoint = "ipc://{folder}/cam"
"""


def fill(writing: int) -> None:
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 65_536)
    except BlockingIOError:
        os.set_blocking(writing, True)


def until_reports(gate: FakeGate, number: int) -> None:
    end = time.monotonic() + 20
    while len(gate.reports) < number:
        assert time.monotonic() < end
        time.sleep(0.002)
        gate.poll()


@pytest.mark.slow
def test_a_log_nobody_reads_neither_stops_frames_nor_the_end(tmp_path: Path) -> None:
    TinyBundle(router=False).save(tmp_path / "tiny.bundle")
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=tmp_path, key=PUBLIC))
    gate, (reading, writing) = listen(tmp_path / "gate"), os.pipe()
    fill(writing)
    with zmq.Context() as context, context.socket(zmq.PUB) as camera:
        camera.setsockopt(zmq.LINGER, 0)
        camera.bind(f"ipc://{tmp_path}/cam")
        command = [sys.executable, "-m", "edge", "run", "inspector", "--config", str(tmp_path / "c.toml")]
        process = subprocess.Popen(command, stderr=writing)
        try:
            end = time.monotonic() + 30
            while not any(state.ready for state in gate.states):
                assert time.monotonic() < end
                camera.send_multipart(encode_alive("cam", 0, 1))
                time.sleep(0.02)
                gate.poll()
            for counter in range(1, 6):
                camera.send_multipart(make_parts(frame_image(40, seed=counter), counter=counter))
                until_reports(gate, counter)
            assert [report.reason for report in gate.reports] == [Reason.OK] * 5
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
            os.close(reading)
            os.close(writing)
            gate.close()
