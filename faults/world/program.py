"""What the robot does in a cell with recipes: change over, show welds, ask for the whole part, and every way to do it wrong."""

from __future__ import annotations

from collections.abc import Callable

from edge.gate.recipe import Recipe, Weld
from faults.world.core import Core
from sim.robot_protocol import RobotProtocol

RECIPES = {
    name: Recipe(name=name, weld=tuple(Weld(name=weld, typology=typology) for weld, typology in welds))
    for name, welds in {
        "door": (("W0", "T2"), ("W1", "T3"), ("W2", "T2")),
        "hood": (("W0", "T3"), ("W3", "T2")),
    }.items()
}
QUERY = ""
"""In place of a weld: the question for the whole part."""
_STRANGE = "W9"
_MISTAKES = ("weld_skipped", "weld_again", "weld_unknown", "part_abandoned", "part_again", "change_inside")
Step = tuple[str, str]
"""Part and weld, or part and QUERY."""


class Program:
    """Gives one step after the other; a step that the robot could not take is lost, as on a line that goes on."""

    def __init__(self, core: Core, preset: str, protocol: Callable[[], RobotProtocol], change_over: Callable[[str], None]) -> None:
        self.core, self.preset = core, preset
        self._protocol, self._change_over = protocol, change_over
        self._steps: list[Step] = []
        self._part = 0

    @property
    def recipe(self) -> str:
        """The recipe that the robot believes to be active, or empty."""
        return self._protocol().recipe or self.preset

    def step(self) -> Step | None:
        """What to show now; None while a change-over is under way."""
        if not self._steps:
            if self.core.chance() < 0.25 or (not self.recipe and self.core.chance() < 0.7):
                self.core.injected("change_over")
                self._steps = self._of_part()
                self._change_over(self.core.pick(("door", "hood", "hood", "door", "boat")))
                return None
            self._steps = self._of_part()
        part, weld = self._steps.pop(0)
        if weld == "!":
            self._change_over("hood")
            return None
        return part, weld

    def _of_part(self) -> list[Step]:
        """The steps of the next part, often with a mistake in them."""
        core = self.core
        mistake = core.pick(_MISTAKES) if core.chance() < 0.25 else ""
        if mistake in core.muted:
            mistake = ""
        if mistake:
            core.injected(mistake)
        self._part += mistake != "part_again"
        welds = list(RECIPES[self.recipe].welds) if self.recipe in RECIPES else ["W0"]
        at = core.between(0, len(welds))
        if mistake == "weld_skipped":
            del welds[at]
        elif mistake == "weld_again":
            welds.insert(core.between(0, len(welds) + 1), welds[at])
        elif mistake in ("weld_unknown", "change_inside"):
            welds.insert(at + 1, _STRANGE if mistake == "weld_unknown" else "!")
        part = f"P{self._part}"
        return [(part, weld) for weld in (welds if mistake == "part_abandoned" else [*welds, QUERY])]
