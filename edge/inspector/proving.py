"""A verified bundle becomes engines that gave every known answer and fit into the budget: at start, and beside what judges already."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from edge.bundle import Bundle
from edge.config import Config
from edge.inspector.loader import Loaded
from edge.inspector.machines import load
from edge.inspector.startup import Contract, require_fit

Say = Callable[[str], None]


def load_proved(bundle: Bundle, config: Config, *, progress: Say) -> Loaded:
    """Every engine, every golden input; `progress` hears of each step. Raises EngineError, BundleContentError or KnownAnswerError."""
    progress(f"bundle {bundle.manifest.name} version {bundle.manifest.version} verified, hash {bundle.hash[:12]}")
    loaded = load(bundle, config.inspector, progress=progress)
    progress(f"{len(loaded.judges)} typologies on {loaded.backend}, {loaded.known_answers} golden inputs agreed")
    return loaded


def hold_to_budget(loaded: Loaded, bundle: Bundle, config: Config, *, say: Say, between: Callable[[], None]) -> Contract:
    """The start-up contract; its lines go to `say`. Where it cannot be kept, the machine is closed and BudgetError raised."""
    try:
        contract = require_fit(loaded, bundle, config, between=between)
    except BaseException as exc:
        # An error keeps the variables of the functions it left: memory among them must go before its machine does.
        traceback.clear_frames(exc.__traceback__)
        loaded.machine.close()
        raise
    for line in contract.lines():
        say(line)
    return contract
