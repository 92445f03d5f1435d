"""The oracle can fail: each planted defect of session, verdict, codec, port, records or robot is found within a few runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge.contract import Outcome, Report
from edge.gate import case, codec, parts, port, push, robot_session, session, verdict
from edge.gate.case import Case, Record, Stage
from edge.gate.casework import CaseWork
from edge.gate.handshake import HandshakeSession
from edge.gate.messages import Ack, Done, PartQuery, Trigger, TriggerAck
from edge.gate.rows import Disposition
from edge.gate.verdict import Asked, Decision
from faults.world.disk import Disk
from faults.world.gate import Gate
from faults.world.world import Profile, World
from sim.robot_protocol import RobotProtocol

RUNS, CYCLES = 30, 300
Plant = Callable[[pytest.MonkeyPatch], None]


def found_by(profile: Profile, *, runs: int = RUNS) -> str:
    """The first violation in a few runs, with its seed: what a developer would see."""
    for seed in range(runs):
        outcome = World(seed, profile).run(CYCLES)
        if outcome.violation is not None:
            print(f"seed {seed}, cycle {outcome.cycles}: {outcome.violation}")
            return str(outcome.violation)
    return ""


def without(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for conditions in ("BEFORE_FRAME", "AFTER_FRAME"):
        kept = tuple(condition for condition in getattr(verdict, conditions) if condition.name != name)
        monkeypatch.setattr(verdict, conditions, kept)


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("inspector ready", "handshake"),
        ("known answers agreed", "handshake"),
        ("camera alive", "handshake"),
        ("frame bound to this trigger", "push"),
        ("frame of this part and weld", "handshake"),
        ("frame usable", "handshake"),
        ("typology agreed", "handshake"),
        ("judged by the announced bundle", "handshake"),
        ("every member answered", "push"),
        ("score valid", "push"),
        ("threshold valid", "push"),
        ("score within the threshold", "handshake-degraded"),
        ("weld in the recipe", "handshake-parts"),
        ("no defect in this part before", "handshake-parts"),
    ],
)
def test_a_condition_that_is_left_out_is_found(name: str, profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, name)
    assert found_by(profile)


def record_after_send(monkeypatch: pytest.MonkeyPatch) -> None:
    conclude = CaseWork._conclude

    def hasty(self: CaseWork, of: Case, *arguments: object, **named: object) -> None:
        conclude(self, of, *arguments, **named)
        if of.stage is Stage.COMMITTING:
            self._actions.insert(len(self._actions) - 1, of.prepare(of.decided))

    monkeypatch.setattr(CaseWork, "_conclude", hasty)


def newest_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report is taken for whatever trigger waits."""

    def reported(self: HandshakeSession, report: Report, now_ns: int) -> None:
        for waiting in list(self._cases.values()):
            if waiting.stage is Stage.WAITING:
                self._judge(waiting, report, now_ns)

    monkeypatch.setattr(HandshakeSession, "_reported", reported)
    without(monkeypatch, "frame bound to this trigger")
    without(monkeypatch, "frame of this part and weld")


def resend_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HandshakeSession, "_may_resend", lambda _self, of: of.sent_ns is not None)
    resend = Case.resend
    monkeypatch.setattr(Case, "resend", lambda self, not_after_ns: resend(self, not_after_ns + 10**9))

    def press(self: HandshakeSession, of: Case, now_ns: int) -> None:
        if now_ns >= of.resend_ns:
            of.resend_ns = now_ns + self.settings.resend_ns
            self._actions.append(of.resend(of.deadline_ns))

    monkeypatch.setattr(HandshakeSession, "_press", press)


def finish_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port writes on what was begun, whatever the time."""
    send = port.SerialPort.send
    monkeypatch.setattr(port.SerialPort, "send", lambda self, data, _not_after_ns, now_ns, key=None: send(self, data, 1 << 62, now_ns, key))


def nonces_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "_nonce", lambda _self: "00000001")
    made = RobotProtocol.__post_init__

    def always_the_same(self: RobotProtocol) -> None:
        self.nonce = lambda: "0000000a"
        made(self)

    monkeypatch.setattr(RobotProtocol, "__post_init__", always_the_same)


def crc_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def frame(self: codec.Decoder, line: bytes) -> object:
        body = line[1 : self._end(line)]
        read = self._readers.get(body[:2])
        return None if read is None else read(body)

    monkeypatch.setattr(codec.Decoder, "_frame", frame)


def accept_after_a_failed_write(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(self: session.GateSession, ticket: object, _why: str, now_ns: int) -> None:
        if ticket is not None:
            self.recorded(ticket, now_ns)

    monkeypatch.setattr(session.GateSession, "record_failed", failed)


def two_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = CaseWork._judge

    def again(self: CaseWork, of: Case, *arguments: object, **named: object) -> None:
        judge(self, of, *arguments, **named)
        if of.stage is not Stage.CLOSED:
            of.stage = Stage.WAITING
            judge(self, of, *arguments, **named)

    monkeypatch.setattr(CaseWork, "_judge", again)


def leftovers_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Disk, "_leftovers", lambda _self: [])


def void_without_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def void(self: CaseWork, _done: Disposition, _why: str, _now_ns: int) -> None:
        self.session = None
        self._cases.clear()
        self._closed.clear()

    monkeypatch.setattr(CaseWork, "_void", void)


def latch_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CaseWork, "_latch", lambda _self, _why, _now_ns: None)


def contradiction_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    def confirmed(self: HandshakeSession, ack: Ack, now_ns: int) -> None:
        known = self._cases.get(ack.sequence)
        if known is not None and known.sending is not None:
            if ack.done is Done.ACCEPTED and known.sending.outcome is not Outcome.ACCEPT:
                self._latch("escape", now_ns)
            self._close(known, Disposition(ack.done.value), "", now_ns)

    monkeypatch.setattr(HandshakeSession, "_confirmed", confirmed)


def acknowledged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    case_for = HandshakeSession._case_for

    def hasty(self: HandshakeSession, message: Trigger | PartQuery, now_ns: int) -> None:
        self._reply(TriggerAck(session=message.session, sequence=message.sequence), now_ns)
        case_for(self, message, now_ns)

    monkeypatch.setattr(HandshakeSession, "_case_for", hasty)


def robot_without_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    made = RobotProtocol.__post_init__

    def patient(self: RobotProtocol) -> None:
        made(self)
        self.budget_ns *= 50

    monkeypatch.setattr(RobotProtocol, "__post_init__", patient)
    monkeypatch.setattr(Case, "resend", lambda self, _not_after_ns: case.Send(self.answer, 1 << 62, self.key))


def robot_that_takes_any_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RobotProtocol, "_differs", lambda _self, _verdict, _asked: "")


def polls_for_a_frame_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port.SerialPort, "due_ns", lambda self: min((frame.not_after_ns for frame in self._waiting), default=None))


def duplicate_frames_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that was judged may be judged again, and its verdict used again."""
    asked = push.PushSession._asked

    def forgetful(self: push.PushSession, report: Report) -> object:
        self._judged.clear()
        self._sequence = max(0, self._sequence - 1)
        return asked(self, report)

    monkeypatch.setattr(push.PushSession, "_asked", forgetful)


def accept_while_committing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is believed durable as soon as it was asked for."""
    take = CaseWork._conclude

    def conclude(self: session.GateSession, of: Case, *arguments: object, **named: object) -> None:
        take(self, of, *arguments, **named)
        for action in [action for action in self._actions if isinstance(action, Record) and action.ticket is not None]:
            self.recorded(action.ticket, of.opened_ns)

    monkeypatch.setattr(CaseWork, "_conclude", conclude)


def incomplete_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tuple(condition for condition in parts.PART if not condition.name.endswith(("weld accepted", "recipe has")))
    monkeypatch.setattr(parts, "PART", kept)


def unconfirmed_welds(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ACCEPT counts for the part as soon as it was sent; the robot may have rejected."""
    settle = parts.Parts.settle

    def settled(self: parts.Parts, asked: Asked, decided: Decision | None, sent: Decision | None, _done: Disposition) -> None:
        settle(self, asked, decided, sent, Disposition.ACCEPTED)

    monkeypatch.setattr(parts.Parts, "settle", settled)


def change_over_inside_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(self: parts.Parts, name: str) -> None:
        self._open.clear()
        self.recipe = self._recipes.get(name, self.recipe)

    monkeypatch.setattr(parts.Parts, "change_over", change)


def parts_outlive_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.Parts, "forget", lambda _self: None)


@pytest.mark.parametrize(
    ("plant", "profile", "named"),
    [
        (record_after_send, "handshake", "I2"),
        (record_after_send, "push", "I2"),
        (accept_while_committing, "handshake", "I2"),
        (acknowledged_at_once, "handshake", "I2"),
        (accept_after_a_failed_write, "handshake", "I2"),
        (newest_frame, "handshake", "I1"),
        (nonces_ignored, "handshake", ""),
        (two_verdicts, "push", "I5"),
        (leftovers_left, "handshake", "I5"),
        (void_without_rows, "handshake", "I5"),
        (resend_for_ever, "handshake", "after the deadline"),
        (finish_late, "handshake", "after the deadline"),
        (crc_off, "handshake", ""),
        (latch_forgotten, "handshake", "a person must look"),
        (contradiction_believed, "handshake", "contradicted"),
        (robot_that_takes_any_verdict, "handshake", ""),
        (robot_without_a_deadline, "handshake", "deadline"),
        (duplicate_frames_judged, "push", ""),
        (polls_for_a_frame_behind, "handshake", "in circles"),
        (incomplete_parts, "handshake-parts", "without"),
        (unconfirmed_welds, "handshake-parts", "without"),
        (parts_outlive_sessions, "handshake-parts", ""),
        (change_over_inside_a_part, "handshake-parts", "changed over"),
    ],
)
def test_a_planted_defect_is_found(plant: Plant, profile: Profile, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    found = found_by(profile)
    assert found
    assert named in found


def test_nothing_is_found_where_nothing_was_planted() -> None:
    assert [found_by(profile, runs=3) for profile in ("handshake", "handshake-degraded", "handshake-parts", "push")] == [""] * 4


def test_what_the_product_raises_is_a_finding_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: object, _now_ns: int) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(robot_session.RobotSession, "_heartbeat", broken)
    assert "raised KeyError: 'lost' (test_world_planted.py:" in found_by("handshake", runs=1)
