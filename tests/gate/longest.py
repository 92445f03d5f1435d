"""Every type of frame with every field at its longest."""

from __future__ import annotations

from edge.contract import Outcome, Reason
from edge.gate.messages import (
    Ack,
    ChangeOver,
    Direction,
    Done,
    Heartbeat,
    Hello,
    Message,
    Nak,
    PartQuery,
    PartVerdict,
    Refusal,
    State,
    Trigger,
    TriggerAck,
    Verdict,
)

SESSION = "0123456789abcdef"


def longest_messages() -> list[tuple[Direction, Message]]:
    head = {"session": SESSION, "sequence": 65535}
    reason, name = max(Reason, key=lambda each: len(each.value)), "n" * 24
    coded = {**head, "part": name, "outcome": Outcome.ACCEPT, "reason": reason}
    hello = Hello(nonce="deadbeef", peer="cafe0001", major=65535, minor=65535, lowest=65535, must=0xFFFF, deadline_ms=65535)
    beat = Heartbeat(session=SESSION, state=State.READY, counter=65535)
    return [
        ("R", hello),
        ("G", hello),
        ("R", beat),
        ("G", beat),
        ("R", Trigger(**head, part=name, weld=name, typology=name)),
        ("G", TriggerAck(**head)),
        ("G", Nak(**head, reason=Refusal.SEQUENCE)),
        ("G", Verdict(**coded, weld=name)),
        ("R", Ack(**head, outcome=Outcome.REJECT, done=Done.ACCEPTED)),
        ("R", ChangeOver(**head, recipe=name)),
        ("G", ChangeOver(**head, recipe=name)),
        ("R", PartQuery(**head, part=name, recipe=name)),
        ("G", PartVerdict(**coded, missing=999, first=name)),
    ]
