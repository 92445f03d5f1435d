"""Processes with the fault library loaded that run one task after the other; a task forks for whatever must die."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
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


def run_tasks(effort: Effort, tasks: Sequence[Task]) -> list[Task]:
    """Do the tasks in up to `effort.jobs` processes and return their answers in order. Raises Skipped, SimulationError."""
    built = library(effort.folder)
    queue: SimpleQueue[tuple[int, Task]] = SimpleQueue()
    for entry in enumerate(tasks):
        queue.put(entry)
    answers: dict[int, Task] = {}
    jobs = min(effort.jobs, len(tasks))
    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(_serve, effort, built, number, queue, answers) for number in range(jobs)]:
            done.result()
    return [answers[number] for number in range(len(tasks))]


def _serve(effort: Effort, built: Path, number: int, queue: SimpleQueue[tuple[int, Task]], answers: dict[int, Task]) -> None:
    folder = effort.folder / f"w{number}"
    folder.mkdir(exist_ok=True)
    control = Control(folder / "control", folder / "r")
    command = [sys.executable, "-m", "faults.recorder.worker", str(folder)]
    with subprocess.Popen(
        command, env=environment(control, built), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
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
        module, _, function = str(task.pop("do")).partition(":")
        answer = getattr(import_module(f"faults.recorder.{module}"), function)(place, **task)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
