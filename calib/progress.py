"""A bar on the terminal for what takes long; none where nobody watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from calib.run import Progress


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """A function told (done, total) that draws `what` on standard error while the block runs."""
    with tqdm(desc=what, leave=False, disable=None) as shown:

        def tell(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield tell
