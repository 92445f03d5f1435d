"""The judge of the simulated cell: knows which weld was good, what left on the wire and what was durable, and trusts nobody's opinion."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge.contract import InspectorState, Outcome, Report
from edge.gate.messages import Ack, Done, Message, PartQuery, Trigger
from edge.gate.rows import Disposition, DispositionRow, EventRow, Row, TriggerRow, VerdictRow
from faults.world.challenge_oracle import ChallengeOracle
from faults.world.core import FAR_NS, MS, Core, Violation
from faults.world.disk import Disk, Key
from faults.world.part_oracle import PartOracle
from sim.robot_protocol import RobotResult


@dataclass(slots=True)
class Shown:
    """One weld in front of the robot, with its truth; `proved_ns` is when a sound report of its own frame reached the gate."""

    number: int
    part: str
    weld: str
    typology: str | None
    good: bool
    begun_ns: int
    key: Key | None = None
    proved_ns: int | None = None
    received_ns: int = 0
    bundle: str = ""
    passed: bool = False
    planned: str = ""
    """What the recipe says it is, when the trigger does not."""
    query: bool = False
    """No weld, but the question for the whole part."""
    blind: bool = False
    """The networks take it for the opposite of what it is (a challenge part only)."""
    void: str = ""
    """Why no frame of it may be accepted, though the weld is good: the trigger itself is wrong."""


class Oracle:
    """Raises Violation as soon as a rule is broken; `finish` checks what can only be seen at the end."""

    def __init__(
        self, core: Core, disk: Disk, *, budget_ns: int, robot_budget_ns: int, push: bool, parts: PartOracle | None = None
    ) -> None:
        self.challenge: ChallengeOracle | None = None
        self.core, self.disk, self.parts = core, disk, parts
        self.budget_ns, self.robot_budget_ns, self.push = budget_ns, robot_budget_ns, push
        self.life = 0
        self.latched = False
        """A person must look first: no ACCEPT may begin to leave."""
        self.accepts_sent = 0
        self.accepted = 0
        self.rejects_died_with_gate = 0
        self.reaction_ns = 0
        """Longest time from a trigger's arrival to the first byte of its answer."""
        self._dead: set[int] = set()
        self._state: InspectorState | None = None
        self._shown: dict[Key, Shown] = {}
        self._arrived: dict[Key, int] = {}
        self._answers: dict[Key, bytes] = {}
        self._answered_in: dict[Key, int] = {}
        self._closed: set[Key] = set()
        self._said: dict[Key, set[str]] = {}
        self._heard: dict[Key, set[str]] = {}
        """What the robot did, as far as that reached the gate."""
        self._contradicted: dict[Key, int] = {}
        self._passed: set[Key] = set()
        self._work: dict[tuple[str, str], dict[str, Shown]] = {}
        """Welds that the robot showed of each part since it last asked for the whole of it."""

    # what happens in the cell

    def begins(self, shown: Shown) -> None:
        """A weld is in front of the robot; its trigger has this key (push: it is known by its names)."""
        self._shown[shown.key or (shown.part + shown.weld, 0)] = shown
        if self.parts is not None and shown.key is not None and not shown.query:
            self._work.setdefault((shown.key[0], shown.part), {})[shown.weld] = shown

    def passes(self, shown: Shown, result: RobotResult, took_ns: int) -> None:
        """The robot lets a part pass; `took_ns` is by the robot's own clock."""
        key = (result.session, result.sequence)
        if shown.query:
            self._whole(shown, key)
        if not shown.good or shown.void:
            raise Violation("false accept", f"the robot passed the bad weld {shown}")
        if shown.proved_ns is None and not shown.query:
            raise Violation("false accept", f"the robot passed a weld no frame of which was judged: {shown}")
        if shown.passed or key in self._passed or (shown.key not in (None, key)):
            raise Violation("false accept", f"I3: a verdict of {key} was used for {shown}")
        if took_ns > self.robot_budget_ns:
            raise Violation("false accept", f"the robot passed {shown} after its own deadline")
        shown.passed = True
        self._passed.add(key)
        self.accepted += 1

    def _whole(self, shown: Shown, key: Key) -> None:
        """A whole part passes: every weld of its recipe was in front of the robot, and the last time it passed."""
        assert self.parts is not None
        work = self._work.pop((key[0], shown.part), {})
        bad = [weld for weld in self.parts.welds(key[0]) if weld not in work or not work[weld].passed]
        if (bad or not work) and self.parts.knows(key[0]):
            raise Violation("false accept", f"the robot passed the part of {shown} without its welds {bad}")

    def passes_nothing(self, result: RobotResult) -> None:
        """The robot takes a verdict for a part that is not there."""
        if result.accepted:
            raise Violation("false accept", f"I3: an ACCEPT was used with no weld in front of the robot: {result}")

    def arrived_ns(self, key: Key) -> int:
        """When this trigger reached the gate; 0 when it did not."""
        return self._arrived.get(key, 0)

    def robot_said(self, frame: bytes) -> None:
        """The robot sends a confirmation."""
        _, session, sequence, _, done = body_of(frame).split(b",")
        key = (session.decode(), int(sequence))
        self._said.setdefault(key, set()).add(done.decode())
        if self.parts is not None and done == b"ACCEPTED":
            self.parts.confirmed(key)

    # what reaches the gate

    def state_delivered(self, state: InspectorState | None) -> None:
        """The inspector's state as the gate knows it now; None: not connected or not said yet."""
        self._state = state
        if self.challenge is not None and state is not None and state.ready:
            self.challenge.bundle(state.bundle)

    def report_delivered(self, report: Report, shown: Shown | None) -> None:
        """A report reaches the gate; it proves something only when it is sound and its inspector is ready with that bundle."""
        if shown is None or self._state is None or not _fit(self._state, report):
            return
        shown.proved_ns, shown.bundle = self.core.now, report.bundle
        shown.received_ns = max(shown.received_ns, report.received_ns)

    def gate_received(self, message: Message) -> None:
        """A whole message of the robot reaches the session."""
        log = self.core.log
        if log is not None:
            self.core.say("gate <", repr(message))
        if self.parts is not None:
            self.parts.received(message)
        if isinstance(message, Trigger | PartQuery):
            self._arrived.setdefault((message.session, message.sequence), self.core.now)
        elif isinstance(message, Ack):
            self._heard.setdefault((message.session, message.sequence), set()).add(message.done.value)
            self._confirmed(message)

    def _confirmed(self, ack: Ack) -> None:
        key = (ack.session, ack.sequence)
        answer = self._answers.get(key)
        if answer is None or key in self._closed or self._answered_in[key] != self.life:
            return
        sent = _outcome(answer)
        if ack.outcome is not sent or (ack.done is Done.ACCEPTED and sent is not Outcome.ACCEPT):
            self._contradicted.setdefault(key, self.life)
            self.latched |= ack.done is Done.ACCEPTED and sent is not Outcome.ACCEPT

    def submitted(self, rows: Iterable[Row]) -> None:
        """The gate hands rows to its recorder."""
        for row in rows:
            if self.core.log is not None:
                self.core.say("record", repr(row))
            if isinstance(row, DispositionRow):
                self._closed.add((row.session, row.sequence))
            if self.challenge is not None:
                self._challenged(self.challenge, row)

    def _challenged(self, challenge: ChallengeOracle, row: Row) -> None:
        if isinstance(row, TriggerRow):
            challenge.opened(row)
        elif isinstance(row, VerdictRow):
            if row.outcome == Outcome.ACCEPT.value:
                challenge.accepts(row)
            elif row.reason == "DEFECT":
                challenge.wrong((row.session, row.sequence))
        elif isinstance(row, EventRow):
            if row.kind == "recipe" and not row.reason:
                challenge.changed_over(row.detail.rpartition(" ")[2])
        elif isinstance(row, DispositionRow):
            key = (row.session, row.sequence)
            shown = self._shown.get(key)
            if row.done == Disposition.REFUSED.value:
                challenge.refused(key)
            elif shown is not None and shown.proved_ns is not None and not shown.blind and row.done in self._heard.get(key, ()):
                challenge.closed(key, self._answers.get(key, b""), row.done)

    def gate_died(self) -> None:
        """The process ended without closing anything."""
        self._dead.add(self.life)
        self._state = None
        self.latched = bool(self.disk.latched)
        if self.challenge is not None:
            self.challenge.died(lambda key: key in self.disk.triggers)

    def gate_stopped(self) -> None:
        """The process ended in order."""
        self._state = None

    # what leaves the gate

    def leaving(self, frame: bytes, start: int) -> None:
        """Bytes of this frame, from byte `start` on, leave the gate now."""
        kind = frame[2:3]
        if kind in (b"V", b"W"):
            self._verdict_leaves(frame, start, part=kind == b"W")
        elif kind == b"K" and start == 0:
            self._trigger_acknowledged(frame)
        elif kind == b"N" and start == 0 and self.parts is not None:
            self.parts.answered(_key(frame))
        elif kind == b"C" and start == 0 and self.parts is not None:
            self.parts.changed_over(_key(frame))

    def _trigger_acknowledged(self, frame: bytes) -> None:
        key = _key(frame)
        self._answered_in.setdefault(key, self.life)
        if key not in self.disk.triggers:
            raise Violation("lost record", f"I2: trigger {key} was acknowledged before its row was durable")

    def _verdict_leaves(self, frame: bytes, start: int, *, part: bool) -> None:
        key = _key(frame)
        accept = b",ACCEPT," in frame
        if start == 0:
            first = key not in self._answers
            self._answered_in.setdefault(key, self.life)
            if self._answers.setdefault(key, frame) != frame:
                raise Violation("false accept", f"I3: trigger {key} got two answers: {self._answers[key]!r} and {frame!r}")
            if accept:
                self.accepts_sent += 1
                if self.latched:
                    raise Violation("false accept", f"ACCEPT for {key} left although a person must look first")
                self._must_be_durable(key)
                if part and self.parts is not None:
                    self.parts.part_answered(key)
                else:
                    self._must_be_proved(key, frame)
            if self.parts is not None:
                self.parts.answered(key)
            if self.parts is not None and first and not part:
                if accept:
                    self.parts.sticky(key)
                self.parts.weld_answered(key, frame)
        if accept and self.core.now > self._deadline_ns(key, frame):
            late_ms = (self.core.now - self._deadline_ns(key, frame)) / MS
            raise Violation("false accept", f"byte {start} of the ACCEPT for {key} left {late_ms:.3f} ms after the deadline")

    def _must_be_durable(self, key: Key) -> None:
        verdict = self.disk.verdicts.get(key)
        if key not in self.disk.triggers or verdict is None or verdict.outcome != "ACCEPT":
            raise Violation("lost record", f"I2: ACCEPT for {key} left before its rows were durable: {verdict}")

    def _must_be_proved(self, key: Key, frame: bytes) -> None:
        shown = self._of(key, frame)
        if shown is None and self.push:
            return  # a frame under names that no weld has: the gate cannot know, and the robot must not use it
        if shown is None or not shown.good or shown.void or shown.proved_ns is None:
            raise Violation("false accept", f"I1: ACCEPT for {key} left, the truth is {shown}")
        if self.disk.verdicts[key].bundle != shown.bundle:
            raise Violation("broken rule", f"I4: {key} is recorded with bundle {self.disk.verdicts[key].bundle}, judged by {shown.bundle}")

    def _of(self, key: Key, frame: bytes) -> Shown | None:
        if not self.push:
            return self._shown.get(key)
        fields = frame.split(b",")
        return self._shown.get(((fields[3] + fields[4]).decode(), 0))

    def _deadline_ns(self, key: Key, frame: bytes) -> int:
        if not self.push:
            return self._arrived.get(key, 0) + self.budget_ns
        shown = self._of(key, frame)
        return FAR_NS if shown is None else shown.received_ns + self.budget_ns

    # the end

    def finish(self) -> None:
        """After the last orderly end of the gate: one verdict and one disposition per trigger, and nothing the robot saw is missing."""
        for key in self.disk.triggers:
            if key not in self.disk.verdicts or key not in self.disk.dispositions:
                raise Violation("lost record", f"I5: trigger {key} has no verdict or no disposition")
        for key, life in self._answered_in.items():
            self._seen_by_robot(key, life)
        for key, row in self.disk.dispositions.items():
            self._disposition(key, row)

    def _seen_by_robot(self, key: Key, life: int) -> None:
        answer = self._answers.get(key)
        verdict = self.disk.verdicts.get(key)
        if verdict is None:
            if life not in self._dead or answer is None or b",ACCEPT," in answer:
                raise Violation("lost record", f"I5: what was answered to {key} is not in the records")
            self.rejects_died_with_gate += 1
            return
        if answer is None or verdict.reason == "GATE_RESTARTED":
            return
        word, row = _outcome(answer), self.disk.dispositions[key]
        withheld = verdict.outcome == "ACCEPT" and row.detail.startswith("ACCEPT withheld") and word is Outcome.REJECT
        died = life in self._dead and row.done == Disposition.GATE_RESTARTED.value and word is Outcome.REJECT
        if word.value != verdict.outcome and not withheld and not died:
            raise Violation("broken rule", f"I5: {word} was sent for {key}, the record says {verdict} and {row}")

    def _disposition(self, key: Key, row: DispositionRow) -> None:
        said = self._said.get(key, set())
        if row.done in (Disposition.ACCEPTED.value, Disposition.REJECTED.value) and row.done not in said:
            raise Violation("broken rule", f"the record says that the robot confirmed {row.done} for {key}, it said {sorted(said)}")
        if row.done == Disposition.REJECTED.value and key in self._passed and key not in self._contradicted and "ACCEPTED" in said:
            raise Violation("broken rule", f"the robot passed {key}, the record says REJECTED")
        answer = self._answers.get(key)
        if row.sent and (answer is None or _outcome(answer).value != row.sent):
            raise Violation("broken rule", f"the record says that {row.sent} was sent for {key}, on the wire was {answer!r}")
        life = self._contradicted.get(key)
        if life is not None and row.done != Disposition.MISMATCH.value and life not in self._dead:
            raise Violation("broken rule", f"the robot contradicted the verdict of {key}, the record says {row.done}")


def _fit(state: InspectorState, report: Report) -> bool:
    """Whether an inspector in this state may be believed this report."""
    whole = state.ready and state.known_answers > 0 and state.fault_reason is None and state.camera_alive
    return whole and state.bundle == report.bundle


def body_of(frame: bytes) -> bytes:
    """A frame without what proves it: up to its CRC, or (degraded framing) up to its second copy."""
    return frame.partition(b"*")[0].partition(b"=")[0]


def _key(frame: bytes) -> Key:
    fields = body_of(frame).split(b",", 3)
    return fields[1].decode("ascii"), int(fields[2])


def _outcome(frame: bytes) -> Outcome:
    word = frame.split(b",", 7)[6 if frame[2:3] == b"W" else 5]
    return {b"ACCEPT": Outcome.ACCEPT, b"REJECT": Outcome.REJECT, b"VOID": Outcome.NO_VERDICT}[word]
