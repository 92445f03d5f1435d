"""Acceptance of what an integrator brings to the cell: the kit plays the gate to a robot program, and the box to a camera program."""
