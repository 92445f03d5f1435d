"""Processes with the fault library loaded that run one task after the other; a task forks for whatever must die."""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from edge.errors import SimulationError
from faults.recorder.preload import Control, environment, library
from faults.recorder.workload import shrink
from faults.registry import Effort

Task = dict[str, Any]
"""`do`: "module:function" of this package, the rest are its keyword arguments."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a task works: a folder of its own, and the control block of the library in its process."""

    folder: Path
    control: Control

    @property
    def records(self) -> Path:
        """The record file; its folder is the one the library watches."""
        return self.control.folder / "records.db"


LIMIT_S = 240
"""Longest time for a task."""
_START = "import sys; from pathlib import Path; from faults.recorder.worker import main; main(Path(sys.argv[1]))"


def run_tasks(effort: Effort, tasks: Sequence[Task]) -> list[Task]:
    """Do the tasks in up to `effort.jobs` processes and return their answers in order. Raises Skipped, SimulationError."""
    built = library(effort.folder)
    queue: SimpleQueue[tuple[int, Task]] = SimpleQueue()
    for entry in enumerate(tasks):
        queue.put(entry)
    answers: dict[int, Task] = {}
    jobs = min(effort.jobs, len(tasks))
    with scratch(effort.folder) as folder, ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(_serve, effort, folder / f"w{number}", built, queue, answers) for number in range(jobs)]:
            done.result()
    return [answers[number] for number in range(len(tasks))]


@contextmanager
def scratch(otherwise: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a real disk's syncs cost time and prove nothing here, the faults are the library's."""
    memory = Path("/dev/shm")  # noqa: S108 - the standard place; a folder of its own is made inside
    inside = memory if os.access(memory, os.W_OK | os.X_OK) else otherwise
    with TemporaryDirectory(prefix="cordon-", dir=inside) as folder:
        yield Path(folder)


def _serve(effort: Effort, folder: Path, built: Path, queue: SimpleQueue[tuple[int, Task]], answers: dict[int, Task]) -> None:
    folder.mkdir()
    control = Control(folder / "control", folder / "r")
    command = [sys.executable, "-c", _START, str(folder)]
    with subprocess.Popen(
        command,
        env={**environment(control, built), "TMPDIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        while True:
            try:
                place, task = queue.get_nowait()
            except Empty:
                break
            process.stdin.write(json.dumps(task) + "\n")
            answer = process.stdout.readline()
            if not answer:
                raise SimulationError(
                    "a worker of the fault suite ended", seen=task, remedy="Its error is above: it is a fault of the suite"
                )
            answers[place] = json.loads(answer)
            effort.progress(f"{len(answers)} tasks done")
        process.stdin.close()
        process.wait()
    control.close()


def main(folder: Path) -> None:
    """Do tasks from standard input, one JSON object a line, until it ends; answers go to standard output."""
    shrink()
    control = Control(folder / "control", folder / "r")
    place = Place(folder=folder, control=control)
    for line in sys.stdin:
        task: Task = json.loads(line)
        # A task that hangs says where, and ends: nothing here may wait for ever.
        faulthandler.dump_traceback_later(LIMIT_S, exit=True)
        module, _, function = str(task.pop("do")).partition(":")
        answer = getattr(import_module(f"faults.recorder.{module}"), function)(place, **task)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(answer), flush=True)
