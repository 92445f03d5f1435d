"""What is searched: which parts of the world misbehave in a run, within which bounds, and where each seeded bug shows."""

from __future__ import annotations

from dataclasses import dataclass

SWITCHES = ("ROBOT_FALLS", "GATE_FALLS", "DISK_FALLS", "INSPECTOR_FALLS", "SWAPS", "DROPS", "PARTS", "CHANGES", "REPEATS", "HURRY")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Bounds of one search; `on` names the switches of bounds.pml that are not 0."""

    name: str
    on: tuple[str, ...]
    triggers: int
    sessions: int = 1
    faults: int = 0
    copies: int = 0
    line: int = 1
    line_up: int = 1
    deep: bool = False
    """Seeded bugs are searched depth first: found sooner, by a trace that is not the shortest."""

    @property
    def defines(self) -> list[str]:
        """Arguments for spin."""
        numbers = {
            "TRIGGERS": self.triggers,
            "SESSIONS": self.sessions,
            "NONCES": self.sessions,
            "FAULTS": self.faults,
            "COPIES": self.copies,
            "LINE": self.line,
            "LINE_UP": max(self.line, self.line_up),
        }
        numbers |= {switch: int(switch in self.on) for switch in SWITCHES}
        return [f"-D{name}={value}" for name, value in numbers.items()]


FULL = (
    Scenario(name="copied, lost and late messages", on=("REPEATS", "HURRY", "DROPS"), triggers=1, faults=1, copies=2, line=2),
    Scenario(name="two welds, late frames", on=("HURRY",), triggers=2, sessions=2),
    Scenario(name="gate killed or stopped", on=("GATE_FALLS", "HURRY"), triggers=1, sessions=2, faults=2, copies=1),
    Scenario(name="disk fails, gate killed", on=("DISK_FALLS", "GATE_FALLS"), triggers=1, sessions=2, faults=2),
    Scenario(name="bundle swap, inspector killed", on=("SWAPS", "INSPECTOR_FALLS", "HURRY"), triggers=1, faults=2),
    Scenario(name="robot reboots, silence", on=("ROBOT_FALLS", "HURRY"), triggers=1, sessions=2, faults=1),
    Scenario(name="weld and part query", on=("PARTS",), triggers=2),
)
"""Searched to the end; together more than a million states."""
SAMPLED = (
    Scenario(name="whole parts", on=("PARTS", "CHANGES", "ROBOT_FALLS"), triggers=3, sessions=2, faults=1),
    Scenario(
        name="everything at once",
        on=("ROBOT_FALLS", "GATE_FALLS", "DISK_FALLS", "INSPECTOR_FALLS", "SWAPS", "DROPS", "REPEATS", "HURRY"),
        triggers=2,
        sessions=2,
        faults=2,
        copies=1,
        line=2,
    ),
)
"""Too large to finish: searched for a minute each with bit-state hashing, in addition."""
QUICK = (
    Scenario(name="copied, lost and late messages", on=("REPEATS", "HURRY"), triggers=1, copies=1),
    Scenario(name="gate killed or stopped", on=("GATE_FALLS", "HURRY"), triggers=1, sessions=2, faults=1),
)
LINE = Scenario(name="line", on=("REPEATS", "HURRY"), triggers=1, copies=1, line=2)
WELDS = Scenario(name="welds", on=(), triggers=2)
ALL_AT_ONCE = Scenario(
    name="gate, disk and bundle", on=("GATE_FALLS", "DISK_FALLS", "SWAPS", "HURRY", "REPEATS"), triggers=1, sessions=2, faults=1, copies=1
)
SESSIONS = Scenario(name="sessions", on=("ROBOT_FALLS",), triggers=2, sessions=2, faults=1)
TWO_UP = Scenario(name="sessions, two messages up", on=("ROBOT_FALLS",), triggers=2, sessions=2, faults=1, line_up=2, deep=True)
PARTS = Scenario(name="parts", on=("PARTS",), triggers=3, deep=True)
CHANGES = Scenario(name="change-over", on=("PARTS", "CHANGES"), triggers=3, deep=True)
PARTS_AGAIN = Scenario(name="parts over two sessions", on=("PARTS", "ROBOT_FALLS"), triggers=3, sessions=2, faults=1, deep=True)
SHOWN_IN = {
    "SESSION_WITHOUT_NONCE": SESSIONS,
    "NEWEST_FRAME": WELDS,
    "RECORD_AFTER_SEND": LINE,
    "RESEND_AFTER_DEADLINE": LINE,
    "LATE_ACCEPT": LINE,
    "ACK_WITHOUT_ECHO": TWO_UP,
    "DISPOSITION_FORGOTTEN": SESSIONS,
    "SEQUENCE_REUSED": ALL_AT_ONCE,
    "FAILED_WRITE_ACCEPTED": ALL_AT_ONCE,
    "OLD_BUNDLE_ACCEPTED": ALL_AT_ONCE,
    "ACCEPT_AFTER_DISPOSITION": LINE,
    "PART_OF_EARLIER_SESSION": PARTS_AGAIN,
    "PART_UNCONFIRMED_WELD": PARTS,
    "CHANGE_MID_PART": CHANGES,
    "RECOVERED_TWICE": ALL_AT_ONCE,
    "TWO_VERDICTS": LINE,
    "BUNDLE_AT_THE_END": ALL_AT_ONCE,
    "ROBOT_TAKES_LATE": LINE,
    "NO_LEFTOVERS": ALL_AT_ONCE,
    "ROBOT_COMPARES_NOTHING": WELDS,
    "ACK_BEFORE_ROW": LINE,
    "NO_DISCARD": SESSIONS,
    "CHANGE_OVER_ASSUMED": CHANGES,
    "REJECT_READ_AS_ACCEPT": PARTS,
}
"""The smallest world in which each seeded bug of bugs.pml does harm."""
