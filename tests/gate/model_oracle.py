"""I1 to I5, judged from the wire, the disk and the truth alone: nothing here asks the gate what it believes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from model_parts import PRESET

from edge.contract import Outcome, Reason, Report
from edge.gate.case import Send
from edge.gate.messages import ChangeOver, Message, PartQuery, PartVerdict, TriggerAck, Verdict
from edge.gate.rows import DispositionRow, EventRow, Row, TriggerRow, VerdictRow
from sim.robot_protocol import RobotResult

MS = 1_000_000
BUDGET, ROBOT_BUDGET, ACK_TIMEOUT = 100 * MS, 150 * MS, 50 * MS
"""The gate's and the robot's deadline, and how long the gate waits for the confirmation of what left."""
Key = tuple[str, int]
LETS_PASS = Outcome.ACCEPT.value


@dataclass
class Oracle:
    """Told of everything that happens outside the gate; every method asserts what that may not break."""

    recipes: Mapping[str, Sequence[str]]
    seen: Counter[str]
    good: dict[tuple[str, str], bool] = field(default_factory=dict)
    """The truth about every weld of every part."""
    judged_by: dict[int, tuple[Key, str]] = field(default_factory=dict)
    """Frame counter: the trigger it was taken for, and the bundle that really judged it."""
    reported: dict[Key, list[Report]] = field(default_factory=dict)
    """What the inspector told the gate for each trigger."""
    announced: str = ""
    store_failed: bool = False
    latched: bool = False
    agreed: dict[str, str] = field(default_factory=dict)
    """Session: the recipe that the gate confirmed to the robot last; the preset one where it confirmed none."""
    under: dict[Key, str] = field(default_factory=dict)
    """Recipe that was agreed on when a trigger or part query was taken."""
    named: dict[Key, str] = field(default_factory=dict)
    """Recipe that the robot named in a part query."""
    opened: dict[Key, int] = field(default_factory=dict)
    words: dict[Key, Verdict | PartVerdict] = field(default_factory=dict)
    """The one answer of each trigger that left the gate."""
    left_ns: dict[Key, int] = field(default_factory=dict)
    """When it left for the first time."""
    promised: set[Key] = field(default_factory=set)
    """Triggers whose ACCEPT the gate wanted to leave."""
    passed: set[Key] = field(default_factory=set)
    results: list[RobotResult] = field(default_factory=list)
    asked: dict[Key, Row] = field(default_factory=dict)
    verdicts: dict[Key, VerdictRow] = field(default_factory=dict)
    dispositions: dict[Key, DispositionRow] = field(default_factory=dict)
    durable: set[tuple[type[Row], Key]] = field(default_factory=set)

    # the gate's books

    def recorded(self, row: Row, now: int) -> None:
        """The gate handed a row to its recorder: one each, in order, and true."""
        if isinstance(row, EventRow):
            return
        key = (row.session, row.sequence)
        if isinstance(row, TriggerRow):
            assert key not in self.asked, f"I5_ONE_ROW_EACH: second trigger {key}"
            self.asked[key] = row
            self.opened.setdefault(key, now)
            self.under[key] = self.agreed.get(row.session, PRESET)
            assert row.recipe == self.under[key], f"I1_WHOLE_PART: {row}, but agreed is {self.under[key]}"
        elif isinstance(row, VerdictRow):
            assert key in self.asked, f"I5_ONE_ROW_EACH: verdict {key}"
            assert key not in self.verdicts, f"I5_ONE_ROW_EACH: verdict {key}"
            self.verdicts[key] = row
            self.seen[f"verdict {row.reason}"] += 1
            self._bundle(row, key)
        else:
            assert key in self.verdicts, f"I5_ONE_ROW_EACH: disposition {key}"
            assert key not in self.dispositions, f"I5_ONE_ROW_EACH: disposition {key}"
            self.dispositions[key] = row
            self.opened.pop(key, None)
            self.seen[f"disposition {row.done}"] += 1
            if self.verdicts[key].outcome == LETS_PASS != row.sent:
                self.seen[f"withheld {row.sent_reason}"] += 1
            self._truthful(row, key)

    def _bundle(self, row: VerdictRow, key: Key) -> None:
        if row.outcome != LETS_PASS or not row.weld:
            return
        assert row.counter is not None, f"I1_OWN_FRAME: {key} is accepted without a frame"
        frame, bundle = self.judged_by[row.counter]
        assert frame == key, f"I1_OWN_FRAME: {key} was judged by the frame of {frame}"
        assert row.bundle == bundle, f"I4_THE_BUNDLE_THAT_JUDGED: {key}"
        assert row.bundle == self.announced, f"I4_THE_BUNDLE_ANNOUNCED: {key}"

    def _truthful(self, row: DispositionRow, key: Key) -> None:
        word = self.words.get(key)
        assert row.sent == ("" if word is None else word.outcome.value), f"I5_DISPOSITION_TELLS_THE_TRUTH: {row}, left: {word}"
        assert row.done != "ACCEPTED" or key in self.passed, f"I5_DISPOSITION_TELLS_THE_TRUTH: {row}, but the robot did not let it pass"

    def committed(self, row: Row) -> None:
        """The row is on disk."""
        if not isinstance(row, EventRow):
            self.durable.add((type(row), (row.session, row.sequence)))

    def restarted(self, disk: Sequence[Row]) -> None:
        """A new gate: what was not on disk is forgotten, and what was is closed."""
        books: dict[type[Row], list[Key]] = {TriggerRow: [], VerdictRow: [], DispositionRow: []}
        for row in disk:
            if not isinstance(row, EventRow):
                books[type(row)].append((row.session, row.sequence))
        triggers = sorted(books[TriggerRow])
        assert triggers == sorted(set(triggers)), "I5_ONE_ROW_EACH"
        assert triggers == sorted(books[VerdictRow]) == sorted(books[DispositionRow]), "I5_NOTHING_LEFT_OPEN"
        self.opened.clear()

    def time(self, now: int) -> None:
        """No trigger is open longer than deadlines allow; a REJECT may leave up to a budget late, and then waits for its confirmation."""
        due = {key: self.left_ns[key] + ACK_TIMEOUT if key in self.left_ns else opened + 2 * BUDGET for key, opened in self.opened.items()}
        late = [key for key, due_ns in due.items() if now > due_ns]
        assert not late, f"I5_NOTHING_LEFT_OPEN: {late}"

    # the wire

    def wanted(self, message: Message) -> None:
        """The gate wants this to leave; on a slow line that may be a little later."""
        if isinstance(message, ChangeOver):
            self.agreed[message.session] = message.recipe
        if not isinstance(message, Verdict | PartVerdict) or message.outcome is not Outcome.ACCEPT:
            return
        key = (message.session, message.sequence)
        assert (VerdictRow, key) in self.durable, f"I2_DURABLE_BEFORE_ACCEPT: {message}"
        assert key not in self.dispositions, f"I3_NO_ACCEPT_AFTER_DISPOSITION: {message}"
        assert not self.latched, f"nothing is accepted while latched: {message}"
        assert key in self.promised or not self.store_failed, f"nothing is accepted while the records fail: {message}"
        self.promised.add(key)
        if isinstance(message, PartVerdict):
            self._whole_part(message.part, key)

    def leaves(self, send: Send, now: int) -> None:
        """A frame of the gate is handed to the line."""
        message = send.message
        if isinstance(message, TriggerAck):
            self.seen["taken"] += 1
            assert (TriggerRow, (message.session, message.sequence)) in self.durable, f"I5_TAKEN_IS_RECORDED: {message}"
        if not isinstance(message, Verdict | PartVerdict):
            return
        key = (message.session, message.sequence)
        again = key in self.words
        self.left_ns.setdefault(key, now)
        assert self.words.setdefault(key, message) == message, f"I3_ONE_VERDICT: {message} after {self.words[key]}"
        kind = "part" if isinstance(message, PartVerdict) else "weld"
        self.seen[f"{kind} {message.outcome.value} {'resent' if again else 'sent'}"] += 1
        if message.outcome is Outcome.ACCEPT:
            self._accept_leaves(message, key, now, again=again)

    def _accept_leaves(self, message: Verdict | PartVerdict, key: Key, now: int, *, again: bool) -> None:
        assert self.verdicts[key].outcome == LETS_PASS, f"I2_DURABLE_BEFORE_ACCEPT: {self.verdicts[key]}"
        assert again or key not in self.dispositions, f"I3_NO_ACCEPT_AFTER_DISPOSITION: {message}"
        row = self.asked[key]
        assert isinstance(row, TriggerRow)
        assert now < row.opened_ns + BUDGET, f"I1_ACCEPT_IN_TIME: {message}"
        if isinstance(message, Verdict):
            judged = [report for report in self.reported.get(key, []) if report.reason is Reason.OK and report.score <= report.threshold]
            assert judged, f"I1_OWN_FRAME: no good frame of {key} was reported"

    # the robot

    def decided(self, result: RobotResult) -> None:
        """The robot lets a weld or a part pass, or not."""
        self.results.append(result)
        kind = "weld" if result.weld else "part"
        self.seen[f"robot {kind} {'passes' if result.accepted else result.reason}"] += 1
        if not result.accepted:
            return
        key = (result.session, result.sequence)
        assert key not in self.passed, f"I3_USED_ONCE: {key}"
        self.passed.add(key)
        assert result.verdict_ns is not None
        assert result.verdict_ns - result.trigger_ns <= ROBOT_BUDGET, f"I1_BEFORE_THE_ROBOTS_DEADLINE: {result}"
        word = self.words[key]
        assert word.outcome is Outcome.ACCEPT, f"I1: {result}, but {word} left"
        if result.weld:
            assert self.good[result.part, result.weld], f"I1_GOOD_WELD: {result}"
        else:
            self._whole_part(result.part, key)

    def _whole_part(self, part: str, key: Key) -> None:
        """One recipe was agreed on from the first weld that passed to the query, which names it; its welds are good and passed last."""
        shown = self._shown(part, key)
        required = self.named[key]
        others = {self.under[name] for name in (*shown, key) if name in self.passed or name == key} - {required}
        assert not others, f"I1_WHOLE_PART: {key} names {required}, but agreed was {others}"
        for weld in self.recipes[required]:
            triggers = [key for key, name in shown.items() if name == weld]
            assert triggers, f"I1_WHOLE_PART: {key}, {weld} was not shown"
            assert triggers[-1] in self.passed, f"I1_WHOLE_PART: {key} without {weld}"
            assert self.good[part, weld], f"I1_GOOD_WELD: {key} with a bad {weld}"

    def _shown(self, part: str, key: Key) -> dict[Key, str]:
        """Triggers of this part and session that the gate took since the part's last query, in order, with their welds."""
        shown: dict[Key, str] = {}
        for name, row in self.asked.items():
            assert isinstance(row, TriggerRow)
            if name == key:
                break
            if (row.session, row.part) == (key[0], part):
                shown = {} if row.opened_by == "part" else {**shown, name: row.weld}
        return shown

    def hears(self, query: PartQuery) -> None:
        """A query reaches the gate: of two under one number it answers the first, whichever was asked first."""
        if (query.session, query.sequence) not in self.asked:
            self.named[query.session, query.sequence] = query.recipe
