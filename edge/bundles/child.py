"""The process that runs golden inputs for `edge.bundles.proof`: it loads what the inspector loads, and says one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edge.bundles.policy import Policy
from edge.bundles.proof import refused
from edge.bundles.store import Store
from edge.config import load_config
from edge.errors import CordonError
from edge.inspector.machines import load
from edge.inspector.proving import hold_to_budget


def main(arguments: Sequence[str]) -> int:
    """Prove the bundle `arguments[1]` under the configuration `arguments[0]`; 0 when every golden input agreed, and within the budget."""
    try:
        config = load_config(Path(arguments[0]))
        bundle = Store(policy=Policy.of(config.inspector)).open(arguments[1], loading=False)
        loaded = load(bundle, config.inspector, progress=lambda _: None)
        hold_to_budget(loaded, bundle, config, say=lambda _: None, between=lambda: None)
    except CordonError as exc:
        print(refused(exc))
        return 1
    answer = {"bundle": bundle.hash, "version": loaded.version, "answers": loaded.known_answers, "backend": loaded.backend}
    loaded.machine.close()
    print(json.dumps(answer), flush=True)
    return 0
