"""A real cell (gate process, pseudo-terminal, inspector process) and what is done to its link and its processes: rows C and E."""

from faults.cell import (
    byte_faults,
    cable_faults,
    clock_faults,
    fork_check,
    peer_faults,
    process_faults,
    resource_faults,
    start_faults,
    trigger_faults,
)

__all__ = [
    "byte_faults",
    "cable_faults",
    "clock_faults",
    "fork_check",
    "peer_faults",
    "process_faults",
    "resource_faults",
    "start_faults",
    "trigger_faults",
]
