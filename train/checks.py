"""Where a training runs."""

from __future__ import annotations

import sys
from functools import cache


@cache
def say_device(threads: int) -> None:
    """Tell once where this process trains."""
    import torch  # noqa: PLC0415 - seconds that --help should not pay

    cpu = f"the CPU, {threads} thread{'s' * (threads > 1)} (no GPU found)"
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu
    print(f"training on {where}", file=sys.stderr)
