"""Loading gives way: its threads come last, and those that stay to judge come as usual afterwards."""

import os
import subprocess
import sys
import threading

from edge.inspector.giving_way import LOCK_S, LOWEST, giving_way


def nice(thread: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, thread)


def test_threads_made_meanwhile_come_last_and_then_as_usual() -> None:
    stay, started = threading.Event(), threading.Event()
    seen: dict[str, int] = {}

    def judge() -> None:
        seen["thread"] = threading.get_native_id()
        started.set()
        stay.wait()

    def load() -> None:
        own = threading.get_native_id()
        usual, interval = nice(own), sys.getswitchinterval()
        with giving_way():
            thread = threading.Thread(target=judge)
            thread.start()
            started.wait()
            seen.update(own=nice(own), made=nice(seen["thread"]), lock=sys.getswitchinterval() < interval)
        seen.update(own_after=nice(own) - usual, made_after=nice(seen["thread"]) - usual, lock_after=sys.getswitchinterval() == interval)
        stay.set()
        thread.join()

    loader = threading.Thread(target=load)
    loader.start()
    loader.join()
    assert (seen["own_after"], seen["made_after"], seen["lock"], seen["lock_after"]) == (0, 0, True, True)
    assert (seen["own"], seen["made"]) in {(LOWEST, LOWEST), (nice(0), nice(0))}
    assert LOCK_S < 0.001


UNPRIVILEGED = """
import os, threading, resource
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
from edge.inspector.giving_way import giving_way
usual = os.getpriority(os.PRIO_PROCESS, 0)
with giving_way():
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == usual
print("unchanged")
"""


def test_nothing_is_lowered_that_could_not_be_raised_again() -> None:
    start = f"import sys; sys.path[:] = {sys.path!r}\nimport edge.inspector.giving_way" + UNPRIVILEGED
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=False)
    assert done.stdout == "unchanged\n", done.stderr
