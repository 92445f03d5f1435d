"""The golden inputs of an installed bundle, run on this box's own engines in a process of its own: it may hang or crash there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from edge.bundles.state import Proof
from edge.errors import CordonError, KnownAnswerError

START = "import sys; sys.path[:] = {path!r}; from edge.bundles.child import main; sys.exit(main(sys.argv[1:]))"
"""With the paths of this very process: neither the working folder nor the environment may bring other code."""
SAID = 600
"""Characters of a failed process that are shown."""


def prover(config_path: Path, limit_s: float) -> Callable[[str], Proof]:
    """What `Store.activate` proves a bundle with. The result raises KnownAnswerError when the golden inputs did not agree in time."""

    def prove(name: str) -> Proof:
        return _proof(_run([str(config_path), name], limit_s), name)

    return prove


def _run(arguments: list[str], limit_s: float) -> subprocess.CompletedProcess[str]:
    start = START.format(path=sys.path)
    try:
        return subprocess.run(
            [sys.executable, "-c", start, *arguments], capture_output=True, text=True, errors="replace", timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired as exc:
        remedy = "Stop other work on the box, or raise inspector.bundles.proof_s"
        raise KnownAnswerError("the golden inputs were not through in time", seen=f"{limit_s:g} s", remedy=remedy) from exc


def _proof(done: subprocess.CompletedProcess[str], name: str) -> Proof:
    remedy = "Do not use this bundle on this box: export it again and verify it here"
    try:
        said = json.loads(done.stdout.splitlines()[-1])
        if said["bundle"] == name and done.returncode == 0:
            return Proof(version=int(said["version"]), answers=int(said["answers"]), backend=str(said["backend"]))
        seen = str(said["refused"])
    except (IndexError, KeyError, ValueError, TypeError):
        seen = f"status {done.returncode}: {done.stderr[-SAID:].strip()}"
    raise KnownAnswerError(f"bundle {name[:12]} did not prove itself", seen=seen, remedy=remedy)


def refused(exc: CordonError) -> str:
    """One line for the process that waits."""
    return json.dumps({"bundle": "", "refused": f"{type(exc).__name__}: {exc}"})
