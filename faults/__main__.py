"""`python -m faults`: the same as `cordon faults`."""

from __future__ import annotations

import sys

from edge.errors import CordonError
from faults.cli import FAILED, main

if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except CordonError as exc:
        print(f"faults: {type(exc).__name__}: {exc}", file=sys.stderr)
        sys.exit(FAILED)
