"""The deterministic simulation: the product's own session code on a virtual clock, with faults drawn from a seed."""

from __future__ import annotations

from faults.world.injector import simulated_cell

__all__ = ["simulated_cell"]
