"""`python -m edge` is the `cordon` command."""

import sys

from edge.cli import main

sys.exit(main())
