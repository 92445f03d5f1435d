"""Faults of the recorder on real processes and real SQLite files: kills, power cuts, failing calls, damage, clocks."""

from faults.recorder import damage, exports, failing, gate_disk, kill, powercut, readers, retained, traced, unsure

__all__ = ["damage", "exports", "failing", "gate_disk", "kill", "powercut", "readers", "retained", "traced", "unsure"]
