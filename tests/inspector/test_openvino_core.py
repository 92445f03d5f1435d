"""OpenVINO's core outlives every network: freed by another thread, it took the stack of the first one's signal handlers with it."""

import subprocess
import sys
from pathlib import Path

from tiny import PUBLIC, TinyBundle

FREED_ELSEWHERE = """
import os, signal, sys, threading
from pathlib import Path
from edge.bundle import open_bundle
from edge.inspector.loader import load_engines
from edge.inspector.machine import CpuMachine

signal.signal(signal.SIGHUP, lambda *_: print("heard"))

def load():
    return load_engines(open_bundle(Path(sys.argv[1]), (sys.argv[2],)), CpuMachine(threads=1), progress=lambda _: None)

def swap():
    held.append(load())
    held.pop(0)

held = [load()]
for _ in range(3):
    thread = threading.Thread(target=swap)
    thread.start()
    thread.join()
    os.kill(os.getpid(), signal.SIGHUP)
"""


def test_a_signal_after_networks_were_freed_by_another_thread_is_heard(tmp_path: Path) -> None:
    bundle = TinyBundle().save(tmp_path / "tiny.cordon")
    start = f"import sys; sys.path[:] = {sys.path!r}" + FREED_ELSEWHERE
    done = subprocess.run([sys.executable, "-c", start, str(bundle), PUBLIC], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n" * 3), done.stderr
