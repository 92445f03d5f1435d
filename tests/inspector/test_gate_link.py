"""The inspector's end of the gate's socket when the machine has nothing left to give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = """
import os, resource, socket, sys, time
from pathlib import Path
from edge.inspector.gate_link import GateLink

path = Path({path!r})
gate = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
gate.bind(str(path))
gate.listen()
link = GateLink(path)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
assert not link.connect()
os.close(held.pop())
until = time.monotonic() + 20
while not link.connect():
    assert time.monotonic() < until
    time.sleep(0.01)
"""


def test_without_a_descriptor_left_it_waits_and_connects_when_there_is_one_again(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", SOURCE.format(path=str(tmp_path / "gate.sock"))], check=True, timeout=30)
