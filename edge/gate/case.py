"""One trigger from opening to disposition: its deadlines, its one decision, what was really sent, and the rows that say so."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgspec

from edge.contract import Outcome, Reason, Report, Settled, ToInspector, TriggerId
from edge.gate.messages import Done, Message, PartQuery, PartVerdict, Trigger, Verdict
from edge.gate.rows import Disposition, DispositionRow, Row, TriggerRow, VerdictRow
from edge.gate.verdict import Asked, Decision, Plan, Role


class Ticket(msgspec.Struct, frozen=True):
    """Asks to be told when a row is durable."""

    what: str
    """`trigger` or `verdict`."""
    key: TriggerId


class Send(msgspec.Struct, frozen=True):
    """Hand this message to the link; what is left of it at `not_after_ns` is dropped, never finished late."""

    message: Message
    not_after_ns: int
    key: TriggerId | None = None
    """Set for verdicts: report back whether the last byte was handed over."""


class Record(msgspec.Struct, frozen=True):
    """Write these rows in one transaction and answer the ticket when they are durable."""

    rows: tuple[Row, ...]
    ticket: Ticket | None = None


class Tell(msgspec.Struct, frozen=True):
    """Tell the inspector."""

    message: ToInspector


class Discard(msgspec.Struct, frozen=True):
    """Forget bytes that were not sent yet: their session is over."""


class Withdraw(msgspec.Struct, frozen=True):
    """Take back what is left of this trigger's verdict, the rest of a half-sent one too: the robot then reads no whole frame."""

    key: TriggerId


class Latch(msgspec.Struct, frozen=True):
    """Make durable that nothing may be accepted until a person acknowledged this; the session itself obeys at once."""

    why: str


class Kept(msgspec.Struct, frozen=True):
    """Keep this as what the last challenge came to, across restarts; None: no challenge counts any more."""

    content: bytes | None


Action = Send | Record | Tell | Discard | Withdraw | Latch | Kept


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A challenge part is in front of the robot, and no part of production."""

    role: Role
    epoch: int
    """Of the challenge it may prove something for; -1: it cannot."""
    wall_ns: int


class Stage(enum.Enum):
    """How far a trigger has come; stages only move forward."""

    WAITING = enum.auto()  # for a report
    COMMITTING = enum.auto()  # ACCEPT decided, its record not yet durable
    SENDING = enum.auto()  # handed to the port, not all of it gone
    SENT = enum.auto()  # waiting for the robot's confirmation
    CLOSED = enum.auto()  # disposition recorded


@dataclass
class Case:
    """A trigger and what became of it."""

    asked: Asked
    opened_ns: int
    cutoff_ns: int
    """Decided and durable before this, or rejected."""
    deadline_ns: int
    """Last moment to hand a byte of the verdict to the port."""
    heard: Trigger | PartQuery | None = None
    """The robot's message; the very same one again is a repetition, anything else under its sequence is not."""
    recipe: str = ""
    """Active when it opened."""
    plan: Plan | None = None
    """What the recipes said of it when it opened."""
    shown: Shown | None = None
    """Set for a challenge part."""
    judged_good: bool | None = None
    """What the networks said of a challenge part; None: its frame proved nothing."""
    missing: tuple[str, ...] = ()
    """Part query: welds that are not accepted, in the recipe's order."""
    stage: Stage = Stage.WAITING
    trigger_durable: bool = False
    decided: Decision | None = None
    sending: Decision | None = None
    """What goes on the wire: the decision, or the REJECT that replaced a withheld ACCEPT."""
    answer: Verdict | PartVerdict | None = None
    """What goes on the wire, made once: every resend is this very message, and so the very same bytes."""
    frame: tuple[str, int] | None = None
    """Camera and counter of the frame that was judged."""
    sent_ns: int | None = None
    resend_ns: int = 0
    note: str = ""
    done: Done | None = None
    refused_busy: bool = False

    @property
    def key(self) -> TriggerId:
        """What names this trigger."""
        return TriggerId(self.asked.session, self.asked.sequence)

    def trigger_row(self) -> TriggerRow:
        """The row that says the trigger was opened."""
        asked = self.asked
        return TriggerRow(
            session=asked.session,
            sequence=asked.sequence,
            part=asked.part,
            weld=asked.weld,
            typology=asked.typology,
            recipe=self.recipe,
            opened_by=asked.by if self.shown is None else f"challenge-{self.shown.role}",
            opened_ns=self.opened_ns,
        )

    def verdict_row(self, decision: Decision, report: Report | None, now_ns: int) -> VerdictRow:
        """The row that says what was decided; written exactly once per case."""
        asked = self.asked
        row = VerdictRow(
            session=asked.session,
            sequence=asked.sequence,
            part=asked.part,
            weld=asked.weld,
            typology=asked.typology,
            outcome=decision.outcome.value,
            reason=decision.reason.value,
            detail=decision.detail,
            opened_ns=self.opened_ns,
            decided_ns=now_ns,
        )
        if report is None:
            return row
        self.frame = (report.camera, report.counter)
        return _with_frame(row, report)

    def disposition_row(self, done: Disposition, detail: str, now_ns: int) -> DispositionRow:
        """The row that says what was really sent and what the robot did; written exactly once per case."""
        sent = self.sending if self.sent_ns is not None else None
        return DispositionRow(
            session=self.asked.session,
            sequence=self.asked.sequence,
            sent=sent.outcome.value if sent else "",
            sent_reason=sent.reason.value if sent else "",
            done=done.value,
            detail="; ".join(text for text in (self.note, detail) if text),
            sent_ns=self.sent_ns,
            closed_ns=now_ns,
        )

    def prepare(self, decision: Decision) -> Send:
        """The one verdict of this case."""
        self.sending = decision
        self.stage = Stage.SENDING
        self.answer = self._part_answer(decision) if self.asked.by == "part" else self._weld_answer(decision)
        # An ACCEPT never leaves after the deadline; a REJECT may follow a little later.
        grace_ns = 0 if decision.outcome is Outcome.ACCEPT else self.deadline_ns - self.opened_ns
        return self.resend(self.deadline_ns + grace_ns)

    def _weld_answer(self, decision: Decision) -> Verdict:
        asked = self.asked
        return Verdict(
            session=asked.session,
            sequence=asked.sequence,
            part=asked.part,
            weld=asked.weld,
            outcome=decision.outcome,
            reason=decision.reason,
        )

    def _part_answer(self, decision: Decision) -> PartVerdict:
        asked = self.asked
        return PartVerdict(
            session=asked.session,
            sequence=asked.sequence,
            part=asked.part,
            missing=len(self.missing),
            first=self.missing[0] if self.missing else None,
            outcome=decision.outcome,
            reason=decision.reason,
        )

    def resend(self, not_after_ns: int) -> Send:
        """The same answer as before."""
        assert self.answer is not None
        return Send(self.answer, not_after_ns, self.key)

    def settled(self) -> Settled:
        """What became of the judged frame, for whoever keeps its image."""
        assert self.frame is not None
        assert self.decided is not None
        final = self.sending or self.decided
        camera, counter = self.frame
        return Settled(trigger=self.key, camera=camera, counter=counter, outcome=final.outcome, reason=final.reason)

    def withhold(self, reason: Reason, why: str) -> Decision:
        """The REJECT that replaces an ACCEPT whose record is not durable in time; the disposition will say so."""
        self.note = f"ACCEPT withheld: {why}"
        return Decision(Outcome.REJECT, reason, self.note)


def _with_frame(row: VerdictRow, report: Report) -> VerdictRow:
    return msgspec.structs.replace(
        row,
        typology=report.typology or row.typology,
        score=report.score,
        threshold=report.threshold,
        members=msgspec.json.encode(report.members[:64]).decode("ascii"),
        bundle=report.bundle,
        backend=report.backend,
        camera=report.camera,
        counter=report.counter,
        payload_hash=report.payload_hash,
        captured_ns=report.captured_ns,
        received_ns=report.received_ns,
        prepared_ns=report.prepared_ns,
        scored_ns=report.scored_ns,
    )
