from pathlib import Path

import pytest

from faults.cell.fork_check import forks_in, no_forks
from faults.registry import Effort


def test_nothing_on_the_box_forks(tmp_path: Path) -> None:
    found = no_forks(Effort(name="quick", seed=1, folder=tmp_path))
    assert found.passed, found.why_not()
    assert found.injections > 50


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.fork()",
        "from os import fork",
        "import multiprocessing",
        "from multiprocessing import Pool",
        "from concurrent.futures import ProcessPoolExecutor",
        "import concurrent.futures as c\nc.ProcessPoolExecutor()",
        "import subprocess\nsubprocess.Popen('x', preexec_fn=print)",
        "import pty\npty.fork()",
    ],
)
def test_a_way_to_fork_is_seen(source: str) -> None:
    assert forks_in(source, "planted.py")
