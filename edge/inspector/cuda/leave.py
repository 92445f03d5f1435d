"""How a process ends that has given its GPU up."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from typing import Any, NoReturn

_kept: list[Any] = []


def give_up(what: Any) -> None:
    """Keep `what` alive to the process's very end: freeing it would wait for a GPU that does not answer, or abort in a destructor."""
    if not any(what is kept for kept in _kept):
        _kept.append(what)
        # The list itself is cleared when the interpreter ends; this reference is never given back.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(what))


def gave_up() -> bool:
    """Was a GPU given up here?"""
    return bool(_kept)


def leave(status: int) -> NoReturn:
    """End at once: destructors of what lies on a GPU that hangs would wait for ever, and nothing would start again."""
    try:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:  # a log that nobody reads any more must not keep the process
        os._exit(status)
