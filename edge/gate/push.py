"""The push profile: the robot only listens, and every judged frame gets exactly one verdict line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.config import NAME
from edge.contract import Outcome, Reason, Report
from edge.gate.case import Case
from edge.gate.messages import Hello, Message, Nak, Refusal
from edge.gate.rows import Disposition
from edge.gate.session import GateSession
from edge.gate.settings import Settings
from edge.gate.verdict import Asked, Decision

if TYPE_CHECKING:
    from edge.gate.challenge import Challenges  # loaded where the rule is configured

MAX_PENDING = 32
"""Verdicts that may wait for their record at a time; further frames are rejected as BUSY."""
MAX_SEQUENCE = 0xFFFF


class PushSession(GateSession):
    """The gate numbers the frames itself; a session lasts as long as the port stays open."""

    def __init__(self, settings: Settings, nonce: Callable[[], str], challenges: Challenges | None = None) -> None:
        super().__init__(settings, nonce, challenges)
        self._sequence: int
        self._judged: deque[tuple[str, int, str]] = deque(maxlen=64)

    def link_up(self, now_ns: int) -> None:
        """The port is open: a new session, numbered from 1."""
        super().link_up(now_ns)
        self._new_session(now_ns)

    def _new_session(self, now_ns: int) -> None:
        self.session, self._sequence = self._nonce() + self._nonce(), 0
        self.note("session", None, f"session {self.session} (push)", now_ns)

    def received(self, message: Message, now_ns: int) -> None:
        """A robot that talks here is set to the other profile; it is told so, and nothing else happens."""
        self.note("link", None, f"the robot sent {type(message).__name__} although the profile is push", now_ns)
        if isinstance(message, Hello):
            self._reply(Nak(session=message.nonce + "0" * 8, sequence=0, reason=Refusal.PROFILE), now_ns)

    def _reported(self, report: Report, now_ns: int) -> None:
        if self.session is None:
            self.note("frame", Reason.SESSION_LOST, f"{report.part} {report.weld}: the port is down", now_ns, camera=report.camera)
            return
        if self._sequence >= MAX_SEQUENCE:
            self._void(Disposition.SESSION_LOST, "sequence used up", now_ns)
            self._new_session(now_ns)
        opened_ns = min(report.received_ns, now_ns) if report.received_ns > 0 else now_ns
        case = self._open(self._asked(report, self.session), opened_ns)
        self._show(case, now_ns)
        rows = (case.trigger_row(),)
        frame = (report.camera, report.counter, report.payload_hash)
        if report.reason is Reason.OK and frame in self._judged:
            again = Decision(Outcome.REJECT, Reason.FRAME_DUPLICATE, f"frame {report.counter} was judged before")
            self._conclude(case, again, report, now_ns, rows=rows)
        elif len(self._cases) > MAX_PENDING:
            busy = Decision(Outcome.REJECT, Reason.BUSY, f"{MAX_PENDING} verdicts wait for their record")
            self._conclude(case, busy, report, now_ns, rows=rows)
        else:
            self._judge(case, report, now_ns, rows=rows)
        self._judged.append(frame)

    def _asked(self, report: Report, session: str) -> Asked:
        self._sequence += 1
        part, weld = (name if NAME.match(name) else "UNKNOWN" for name in (report.part, report.weld))
        return Asked(session=session, sequence=self._sequence, part=part, weld=weld, typology=None, by="frame")

    def _after_sending(self, case: Case, now_ns: int) -> None:
        self._close(case, Disposition.UNCONFIRMED, "", now_ns)
