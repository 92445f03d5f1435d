"""What the harnesses share: a time limit that noise cannot break, what an error must say, and where the corpora lie."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edge.errors import CordonError

Result = TypeVar("Result")
LIMIT_S = 0.010
"""No input may take longer, in processor time."""
MAX_INPUT_BYTES = 4096
CORPUS = Path(__file__).parent / "corpus"
TARGETS = ("serial_decoder", "frame_header", "bundle_manifest", "configuration")


def timed(work: Callable[[], Result]) -> Result:
    """What the work gives; where it seems slow, it is done again up to nine times. Raises AssertionError when it is never quick enough."""
    quickest = LIMIT_S * 1000
    for _ in range(10):
        start = time.thread_time()
        result = work()
        quickest = min(quickest, time.thread_time() - start)
        if quickest <= LIMIT_S:
            return result
    raise AssertionError(f"{quickest * 1e3:.1f} ms for one input")


def explained(error: CordonError) -> None:
    """A refusal says what failed and what to do. Raises AssertionError."""
    assert error.what
    assert error.remedy
    assert str(error)


def corpus(target: str) -> list[Path]:
    """The inputs kept for a target, by name."""
    return sorted((CORPUS / target).iterdir())
