"""How a process ends whose GPU hangs: at once, whatever becomes of its log."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import IO

CODE = """
import atexit, os, sys
from edge.inspector.cuda.leave import leave
atexit.register(lambda: os._exit(9))
sys.stdout = open(1, "w", buffering=4096, closefd=False)
print("last words")
leave(3)
"""


def left(stdout: int | IO[bytes]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", CODE], check=False, timeout=60, stdout=stdout)


def test_it_ends_with_its_status_and_its_last_words_and_runs_nothing_else() -> None:
    done = left(subprocess.PIPE)
    assert (done.returncode, done.stdout) == (3, b"last words\n")


def test_a_log_that_nobody_reads_any_more_does_not_keep_it() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        assert left(write).returncode == 3
    finally:
        os.close(write)
