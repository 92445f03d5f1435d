"""The gate of model/gate.pml in Python: the same steps under the same names, on sequences and outcomes only."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.contract import Outcome

MS = 1_000_000
BUDGET, CUTOFF, ACK_TIMEOUT, RESEND = 100 * MS, 95 * MS, 50 * MS, 40 * MS
WELDS = ("W1", "W2")


@dataclass
class Open:
    """The case that is open: `case_of`, `case_stage`, `case_sending` and its times."""

    sequence: int
    weld: str
    opened: int
    stage: str = "WAITING"
    sending: Outcome | None = None
    sent: int = 0
    resent: int = 0


@dataclass
class ModelGate:
    """What the model's gate holds; `left` and `rows` collect what a step let leave and recorded."""

    session: str | None = None
    last: int = 0
    case: Open | None = None
    closed: dict[int, tuple[str, Outcome | None]] = field(default_factory=dict)
    welds: dict[str, str] = field(default_factory=dict)
    part_open: bool = False
    heals: bool = True
    left: list[tuple[int, Outcome]] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=lambda: {"trigger": 0, "verdict": 0, "disposition": 0})

    def begin(self, session: str) -> None:
        """_begin."""
        self.void()
        self.session, self.last = session, 0

    def void(self) -> None:
        """void_session."""
        if self.case is not None:
            self.rows["verdict"] += self.case.stage == "WAITING"
            self.close()
        self.session, self.closed = None, {}
        self.forget_part()

    def forget_part(self) -> None:
        """forget_part."""
        self.part_open, self.welds = False, {}

    def close(self, *, accepted: bool = False) -> None:
        """close_case, and what it means for the part."""
        assert self.case is not None
        case, self.case = self.case, None
        self.rows["disposition"] += 1
        self.closed[case.sequence] = (case.weld, case.sending)
        if accepted and self.welds.get(case.weld) == "JUDGED":
            self.welds[case.weld] = "CONFIRMED"

    def hand_over(self, now: int) -> None:
        """hand_over: the answer of the open case leaves for the first time."""
        assert self.case is not None
        assert self.case.sending is not None
        self.case.stage, self.case.sent, self.case.resent = "SENT", now, now + RESEND
        self.left.append((self.case.sequence, self.case.sending))

    def conclude(self, outcome: Outcome, now: int) -> None:
        """conclude."""
        assert self.case is not None
        self.rows["verdict"] += 1
        if outcome is Outcome.ACCEPT:
            self.case.stage = "COMMITTING"
        else:
            self.case.sending = outcome
            self.hand_over(now)

    def withhold(self, now: int) -> None:
        """withhold."""
        assert self.case is not None
        self.case.sending = Outcome.REJECT
        self.welds[self.case.weld] = ""
        self.hand_over(now)

    def ask(self, sequence: int, weld: str, now: int) -> None:
        """triggered, new_case, repeat_of."""
        known = self.closed.get(sequence)
        if self.case is not None and (self.case.sequence, self.case.weld) == (sequence, weld):
            self._repeat_open(now)
        elif known is not None and known[0] == weld:
            if known[1] is Outcome.REJECT:
                self.left.append((sequence, Outcome.REJECT))
        elif sequence > self.last:
            self.last = sequence
            self._new(sequence, weld, now)

    def _repeat_open(self, now: int) -> None:
        assert self.case is not None
        if self.case.stage == "SENT" and (self.case.sending is Outcome.REJECT or now < self.case.opened + CUTOFF):
            assert self.case.sending is not None
            self.left.append((self.case.sequence, self.case.sending))

    def _new(self, sequence: int, weld: str, now: int) -> None:
        busy = self.case is not None and self.case.stage != "SENT"
        whole = all(self.welds.get(name) == "CONFIRMED" for name in WELDS)
        self.rows["trigger"] += 1
        if not busy and self.case is not None:
            self.close()
            whole = all(self.welds.get(name) == "CONFIRMED" for name in WELDS)
        if not weld:
            self.forget_part()
        else:
            self.part_open = True
            if self.welds.get(weld) != "DEFECT":
                self.welds[weld] = ""
        if busy:
            self.rows["verdict"] += 1
            self.rows["disposition"] += 1
            self.closed[sequence] = (weld, None)
            return
        self.case = Open(sequence, weld, now)
        if not weld:
            self.conclude(Outcome.ACCEPT if whole and self.heals else Outcome.REJECT, now)
        elif not self.heals or self.welds.get(weld) == "DEFECT":
            self.conclude(Outcome.REJECT, now)

    def report(self, sequence: int, *, good: bool, now: int) -> None:
        """judge."""
        case = self.case
        if case is None or case.stage != "WAITING" or case.sequence != sequence:
            return
        accept = good and self.welds.get(case.weld) != "DEFECT"
        if not good or self.welds.get(case.weld) == "DEFECT":
            self.welds[case.weld] = "DEFECT"
        else:
            self.welds[case.weld] = "JUDGED"
        self.conclude(Outcome.ACCEPT if accept else Outcome.REJECT, now)

    def durable(self, sequence: int, now: int) -> None:
        """recorded."""
        if self.case is not None and self.case.sequence == sequence and self.case.stage == "COMMITTING":
            self.case.sending = Outcome.ACCEPT
            self.hand_over(now)

    def failed(self, now: int) -> None:
        """record_failed, reject_hopeless."""
        self.heals = False
        if self.case is not None and self.case.stage == "COMMITTING":
            self.withhold(now)
        elif self.case is not None and self.case.stage == "WAITING":
            self.conclude(Outcome.REJECT, now)

    def ack(self, sequence: int, outcome: Outcome, *, accepted: bool) -> None:
        """confirmed."""
        case = self.case
        if case is None or case.stage != "SENT" or case.sequence != sequence:
            return
        if outcome is not case.sending:
            self.close()
            self.void()
        else:
            self.close(accepted=accepted)

    def tick(self, now: int) -> None:
        """cutoff, no_frame, record_late, resends, ack_timeout."""
        case = self.case
        if case is None:
            return
        if case.stage == "WAITING" and now >= case.opened + CUTOFF:
            self.conclude(Outcome.REJECT, now)
        elif case.stage == "COMMITTING" and now >= case.opened + CUTOFF:
            self.withhold(now)
        elif case.stage == "SENT" and now >= case.sent + ACK_TIMEOUT:
            self.close()
        elif case.stage == "SENT" and case.resent < case.opened + CUTOFF and now >= case.resent:
            case.resent += RESEND
            if now < case.opened + CUTOFF:
                assert case.sending is not None
                self.left.append((case.sequence, case.sending))
