import subprocess
import sys
import time

STUCK = """
import ctypes, time
from edge.inspector.watch import Watch
watch = Watch(0.5)
for _ in range(3):
    watch.feed()
{then}
"""
NEVER_RETURNS = "ctypes.PyDLL(None).sleep(60)"
"""A C function that keeps Python's lock, as PyCUDA's launches, records and queries do."""


def run(then: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", STUCK.format(then=then)], check=False, timeout=50, capture_output=True, text=True)


def test_a_call_that_never_returns_ends_the_process_and_says_where() -> None:
    began = time.monotonic()
    done = run(NEVER_RETURNS)
    assert time.monotonic() - began < 30
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "line 7" in done.stderr


def test_nothing_happens_to_a_process_that_is_fed_or_was_let_go() -> None:
    done = run("for _ in range(15):\n    time.sleep(0.1); watch._renewed -= 1; watch.feed()\nwatch.end(); time.sleep(1)")
    assert (done.returncode, done.stderr) == (0, "")


LOADING = """
import ctypes
import edge.inspector.daemon as daemon
daemon.LOADING_S = 0.5
daemon.InspectorDaemon = lambda *_: ctypes.PyDLL(None).sleep(60)
daemon._serve(None)
"""


def test_loading_that_never_ends_ends_the_process_too() -> None:
    done = subprocess.run([sys.executable, "-c", LOADING], check=False, timeout=50, capture_output=True, text=True)
    assert done.returncode == 1
    assert "_serve" in done.stderr
