"""`--help` of every training command answers without the libraries that take seconds to import."""

from __future__ import annotations

import subprocess
import sys

from train.cli import TOOLS

CHECK = """
import contextlib, io, sys
from train.cli import TOOLS, main
for words in [[], *([word] for word in TOOLS), *(["clean", word] for word in ("find", "apply", "undo"))]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    assert said.getvalue().startswith(" ".join(["usage: cordon train", *words])), (words, said.getvalue()[:200])
    slow = sorted({"torch", "fastai", "sklearn", "scipy", "cleanlab", "optuna", "pandas"} & set(sys.modules))
    assert not slow, (words, slow)
"""


def test_help_of_every_command_imports_nothing_slow() -> None:
    assert "run" in TOOLS
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
