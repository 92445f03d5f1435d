"""The kinds of faults that the simulated cell knows, the rows of the catalogue they stand for, and how often each is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, cast

Where = Literal["line", "robot", "frame", "inspector", "disk", "process", "part", "challenge"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of fault; `push` says whether a robot that only listens can meet it."""

    name: str
    where: Where
    rows: tuple[str, ...]
    weight: float
    push: bool = True


_TABLE = """
line flip C19,C03 5 push
line cut C03,C15 3 push
line noise C03 4 push
line splice C03,C19 3 push
line control C17 1 push
line garbage C15 1 push
line echo C04 3
line loss C07 5 push
line duplicate C08,C11 4 push
line delay C07,C08 4 push
line reorder C08 3 push
robot lie_accepted C08 1
robot ack_wrong_word C08 1
robot ack_wrong_sequence C08 1
robot trigger_again C11 2
robot flood C12 2
robot same_weld C11 3
robot hello_version C18 1
robot wrong_typology A09 2
frame missing A05 2 push
frame late A04 2 push
frame on_the_edge B10 4 push
frame twice A02 3 push
frame previous A03 4 push
frame unbound A03 3 push
frame other_trigger A03 3
frame frozen A10 2 push
frame refused A06,A08 2 push
frame wrong_part A09 2 push
frame other_typology A09 2 push
frame camera_clock A11 2 push
frame arrival_clock A11 1 push
frame score_invalid A08 3 push
frame threshold_invalid B09 2 push
frame member_missing B08 3 push
frame engine_failed B01 2 push
frame gpu_fault B03 1 push
frame slow B04 2 push
frame wrong_bundle F12 2 push
inspector crash E01 1 push
inspector hang B02,A13 0.7 push
inspector silent B02 0.4 push
inspector hot_swap F12 2 push
inspector not_ready E12 0.7 push
inspector camera_lost A14 0.7 push
disk slow_sync D06 3 push
disk failed_sync D03 0.5 push
disk full D01 0.4 push
process gate_crash C10,E02 0.7 push
process gate_crash_inside C10,E02 0.7 push
process gate_stop E11 0.5 push
process gate_pause E06,E07 1.5 push
process robot_reboot C09 1 push
process unplug C01 0.7 push
process stale C02 0.7 push
process partial_write C05 3 push
process blocked C06 1 push
part change_over - 0
part change_inside - 0
part weld_skipped - 0
part weld_again C11 0
part weld_unknown A09 0
part part_abandoned - 0
part part_again C11 0
challenge challenge_order - 0
challenge challenge_name - 0
challenge challenge_part_forgotten - 0
challenge challenge_blind - 0
challenge wall_clock E08 0
"""


def _kinds() -> dict[str, Kind]:
    found = {}
    for line in _TABLE.strip().splitlines():
        where, name, rows, weight, *profile = line.split()
        places = () if rows == "-" else tuple(rows.split(","))
        found[name] = Kind(name=name, where=cast("Where", where), rows=places, weight=float(weight), push=bool(profile))
    return found


KINDS: dict[str, Kind] = _kinds()
PART = "part"
"""Kinds of that place are drawn by the robot's program, in cells with recipes only, and those of `challenge` by the person who shows
challenge parts; their weight is 0."""
CLOCK = "robot_clock"
"""A robot whose clock runs fast or slow: drawn per run, not per cycle."""
ROWS: tuple[str, ...] = tuple(sorted({row for kind in KINDS.values() for row in kind.rows}))


class Draw:
    """Draws kinds by their weights, of those a profile can meet."""

    def __init__(self, *, push: bool) -> None:
        self._kinds = [kind for kind in KINDS.values() if kind.push or not push]
        self._sums = list(accumulate(kind.weight for kind in self._kinds))

    def kind(self, chance: float) -> Kind:
        """The kind for a number in 0..1."""
        target = chance * self._sums[-1]
        low, high = 0, len(self._sums) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if target < self._sums[middle] else (middle + 1, high)
        return self._kinds[low]
