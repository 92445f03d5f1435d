"""A gate with one planted defect, as an entry point of its own: what the fault suite's oracle must find out."""
# ruff: noqa: ANN001, ANN202 - each function takes the place of one whose types are known

import sys
import time
from pathlib import Path

import msgspec

from edge.gate.case import Record, Stage
from edge.gate.casework import CaseWork
from edge.gate.codec import Decoder
from edge.gate.daemon import run_gate
from edge.gate.handshake import HandshakeSession
from edge.gate.store import Store


def record_after_send() -> None:
    """ACCEPT leaves first, and the disk takes its time."""

    def conclude(self, case, decision, report, now_ns, *, rows=()):
        if case.stage is Stage.WAITING:
            case.decided = decision
            rows = (*rows, case.verdict_row(decision, report, now_ns))
            self._actions += [case.prepare(decision), Record(rows)]

    commit = Store.commit

    def slow(self, rows):
        time.sleep(0.01)
        commit(self, rows)

    CaseWork._conclude, Store.commit = conclude, slow


def newest_frame() -> None:
    """Whatever frame comes is taken for the open trigger's."""
    reported = HandshakeSession._reported

    def take(self, report, now_ns):
        for case in self._cases.values():
            if case.stage is Stage.WAITING:
                report = msgspec.structs.replace(report, trigger=case.key, part=case.asked.part, weld=case.asked.weld)
        reported(self, report, now_ns)

    HandshakeSession._reported = take


def resends_for_ever() -> None:
    """A verdict is sent again until it is confirmed, whatever the time."""

    def press(self, case, now_ns):
        if now_ns >= case.resend_ns:
            case.resend_ns = now_ns + self.settings.resend_ns
            self._actions.append(case.resend(now_ns + 10**9))

    HandshakeSession._press = press


def no_crc() -> None:
    """The checksum is not looked at."""

    def frame(self, line):
        body = line[1 : self._end(line)]
        read = self._readers.get(body[:2])
        return None if read is None or line[:1] != b"$" else read(body)

    Decoder._frame = frame


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    sys.exit(run_gate(Path(sys.argv[3])))
