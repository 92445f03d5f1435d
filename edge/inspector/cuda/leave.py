"""How a process ends that has given its GPU up."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, NoReturn

_kept: list[Any] = []


def give_up(what: Any) -> None:
    """Keep `what` alive for the rest of the process: freeing it would wait for a GPU that does not answer."""
    _kept.append(what)


def gave_up() -> bool:
    """Was a GPU given up here?"""
    return bool(_kept)


def leave(status: int) -> NoReturn:
    """End at once: destructors of what lies on a GPU that hangs would wait for ever, and nothing would start again."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
