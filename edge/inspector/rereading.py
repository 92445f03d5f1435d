"""The configuration read again while the inspector runs: all of it rules from then on, or nothing of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edge.config import Config
from edge.config.reload import reread as reread_file

SETTLE_S = 0.25
"""The gate, which is asked at the same moment, is to know the file first: it accepts nothing by one that it has not read."""


def reread(path: Path, running: Config, taken: Callable[[str], None]) -> Config:
    """The file as it is now; `taken` hears its hash. Raises ConfigError where it is refused or changes what needs a restart."""
    time.sleep(SETTLE_S)
    new, digest = reread_file(path, running)
    taken(digest)
    return new
