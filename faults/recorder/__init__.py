"""Faults of the recorder on real processes and real SQLite files: kills, power cuts, failing calls, damage, clocks."""

from faults.recorder import kill, powercut

__all__ = ["kill", "powercut"]
