"""One injector's time on a line: triggers whose truth is known, and the sceptical audit of everything that came of them."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from edge.errors import CordonError
from edge.gate.audit import read_part, verify_chain
from faults.line.bundles import gray_of, weld_image
from faults.line.camera import Parts, make_header
from faults.line.cell import FaultLine
from faults.registry import Effort, Result
from sim.robot_protocol import RobotResult

RECORDED_S = 5.0
LATE_MS = 100.0
"""Room for a busy machine; whether an ACCEPT left in time is judged by the records, to the nanosecond."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The trigger that is open."""

    session: str
    sequence: int
    part: str
    weld: str
    typology: str


Act = Callable[[Asked], None]


def nothing(_asked: Asked) -> None:
    """Send no frame."""


@dataclass
class Trial:
    """`trigger` asks for a verdict while an act sends what it likes; only a frame from `good` may make it ACCEPT."""

    line: FaultLine
    effort: Effort
    row: str
    seed: int = 0
    injections: int = 0
    failures: list[str] = field(default_factory=list)
    results: list[RobotResult] = field(default_factory=list)
    acceptable: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    """By trigger: hashes of the payloads that may make it ACCEPT."""
    latches: bool = False
    """What is injected may latch the gate; it is acknowledged then, and the trigger asked again."""

    def __post_init__(self) -> None:
        self.line.parts += 1
        self.part = f"{self.row}-{self.line.parts}"
        self.seed = self.effort.seed * 1_000_003 + self.line.parts * 10_007
        self._events, self.line.may_latch = self.line.events(), self.latches

    # frames

    def image(self, typology: str = "T2", *, good: bool) -> NDArray[Any]:
        """A weld nobody has seen before."""
        self.seed += 1
        return weld_image(gray_of(typology, good=good), self.seed)

    def frame(self, asked: Asked, image: NDArray[Any], **changes: Any) -> Parts:
        """A frame for this trigger under the camera's next number; it may not make anything ACCEPT."""
        header = make_header(
            self.line.camera.count(),
            session=asked.session,
            sequence=asked.sequence,
            part=asked.part,
            weld=asked.weld,
            typology=asked.typology,
        )
        return self.line.camera.parts(header, image, **changes)

    def bad(self, asked: Asked, **changes: Any) -> Parts:
        """A frame of a bad weld."""
        return self.frame(asked, self.image(asked.typology, good=False), **changes)

    def looks_good(self, asked: Asked, **changes: Any) -> Parts:
        """A frame of a good weld that must not be accepted all the same (it is altered, late or of another trigger)."""
        return self.frame(asked, self.image(asked.typology, good=True), **changes)

    def good(self, asked: Asked, **changes: Any) -> Parts:
        """The frame of a good weld, which may make this trigger ACCEPT."""
        parts = self.looks_good(asked, **changes)
        digest = hashlib.blake2b(parts[2], digest_size=16).hexdigest()
        self.acceptable.setdefault((asked.session, asked.sequence), set()).add(digest)
        return parts

    def sending(self, make: Callable[..., Parts], *args: Any, **changes: Any) -> Act:
        """The act of publishing what `make(asked, *args, **changes)` gives."""
        return lambda asked: self.send(make(asked, *args, **changes))

    def send(self, parts: Parts) -> None:
        """Publish."""
        self.line.camera.send(*parts)

    # triggers

    def trigger(self, act: Act, *, typology: str = "T2", named: bool = True) -> RobotResult:
        """One trigger from the robot; `act` runs right after it left. The answer is kept for the audit."""
        weld = f"W{len(self.results) + 1}"
        self.line.camera.alive()
        self.line.robot.wait_session(10.0)

        def after(session: str | None, sequence: int | None) -> None:
            if session is not None and sequence is not None:
                act(Asked(session=session, sequence=sequence, part=self.part, weld=weld, typology=typology))

        result = self.line.robot.inspect(self.part, weld, typology if named else None, after_trigger=after)
        self.results.append(result)
        self.line.revive()
        return result

    def refused(self, act: Act, *reasons: str, typology: str = "T2", named: bool = True, count: int = 1) -> RobotResult:
        """An injected fault (`count` of them): the answer must not be ACCEPT, and its reason one of `reasons` where some are given."""
        self.injections += count
        result = self.trigger(act, typology=typology, named=named)
        if self.latches and result.reason == "LATCHED" and "LATCHED" not in reasons:
            self.line.settle()
            result = self.trigger(act, typology=typology, named=named)
        if result.outcome is None or (reasons and result.reason == "NO_FRAME" not in reasons):
            # A busy machine cost the session, or the frame came too late: nothing was injected. Once more; the audit saw both.
            self.line.robot.wait_session(10.0)
            result = self.trigger(act, typology=typology, named=named)
        if result.accepted or result.outcome is None:
            self.fail(f"{result.weld}: accepted={result.accepted} {result.reason} {result.detail}")
        elif reasons and result.reason not in reasons:
            self.fail(f"{result.weld}: {result.reason}, not {' or '.join(reasons)}")
        return result

    def accepted(self, act: Act | None = None, *, tries: int = 6) -> bool:
        """The line still does its work: a good weld is ACCEPT, at the latest at the last of `tries` (this machine is shared)."""
        for _ in range(tries):
            self.line.settle()
            result = self.trigger(act or self.sending(self.good))
            if result.accepted:
                return True
        self.fail(f"a good weld was refused {tries} times, last {result.reason} {result.detail}")
        return False

    def fail(self, what: str) -> None:
        """Note what went wrong."""
        self.failures.append(what)

    # the audit

    def finish(self, counter: str = "", note: str = "", **more: Any) -> Result:
        """Prove that the line still accepts a good weld, audit all records of this trial, and say it all."""
        if self.line.setup.inspector:
            self.accepted()
        self.line.may_latch = False
        false_accepts, lost, reasons = self.audit()
        events = self.line.events() - self._events
        seen = ", ".join(f"{name} {times}" for name, times in (reasons + events).most_common(6))
        asked = {(r.session, r.sequence) for r in self.results if r.session}
        latencies = [r.latency_ms for r in self.results if r.latency_ms is not None]
        return Result(
            injections=self.injections,
            cycles_real=len(asked),
            false_accepts=false_accepts,
            lost_records=lost,
            failures=tuple(self.failures[:8]),
            counter=counter or seen,
            worst_ms=max(latencies, default=None),
            note=note,
            **more,
        )

    def audit(self) -> tuple[int, int, Counter[str]]:
        """False accepts, lost records and the verdicts' reasons; by the robot's own account, the frames sent, and the records."""
        told = {(r.session, r.sequence): r for r in self.results if r.session}
        rows = self._recorded(sum(result.outcome is not None for result in told.values()))
        wrong = {key for key, result in told.items() if result.accepted and key not in self.acceptable}
        wrong |= {key for key, row in rows.items() if self._false_accept(key, row, told.get(key))}
        lost = sum(not {"verdict.outcome", "disposition.done"} <= row.keys() for row in rows.values())
        # A trigger that was never answered may have been lost with its session; the robot rejected, and nobody promised a record.
        missing = [key for key, result in told.items() if key not in rows and result.outcome is not None]
        unanswered = [result for result in told.values() if result.outcome is None]
        if len(unanswered) > max(2, len(told) // 50):
            self.fail(f"{len(unanswered)} of {len(told)} triggers got no answer, such as {unanswered[0].reason} {unanswered[0].detail}")
        for key in missing[:2]:
            self.fail(f"{len(missing)} triggers are not in the records, such as {key}: {told[key].reason} {told[key].detail}")
        try:
            verify_chain(self.line.records)
        except CordonError as exc:
            self.fail(f"the chain of records is broken: {exc}")
        self._check_time()
        return len(wrong), lost + len(missing), Counter(str(row.get("verdict.reason")) for row in rows.values())

    def _false_accept(self, key: tuple[str, int], row: dict[str, Any], result: RobotResult | None) -> bool:
        if row.get("verdict.outcome") != "ACCEPT":
            wrong = result is not None and result.accepted
            if wrong:
                self.fail(f"{key}: the robot accepted what the record calls {row.get('verdict.outcome')}")
            return wrong
        if row.get("verdict.payload_hash") not in self.acceptable.get(key, ()):
            self.fail(f"{key}: ACCEPT on frame {row.get('verdict.counter')}, which was not its own good one")
            return True
        budget_ns = int(self.line.setup.budget_ms * 1e6)
        sent_ns = row.get("disposition.sent_ns")
        late = row["verdict.decided_ns"] >= row["opened_ns"] + budget_ns or (sent_ns is not None and sent_ns > row["opened_ns"] + budget_ns)
        if late and row.get("disposition.sent") == "ACCEPT":
            self.fail(f"{key}: an ACCEPT left after the budget")
            return True
        return False

    def _recorded(self, wanted: int) -> dict[tuple[str, int], dict[str, Any]]:
        """The records of this trial's part, once every trigger has its disposition or enough time went by."""
        rows: dict[tuple[str, int], dict[str, Any]] = {}

        def whole() -> bool:
            rows.clear()
            rows.update({(row["session"], row["sequence"]): row for row in read_part(self.line.records, self.part)})
            return len(rows) >= wanted and all({"verdict.outcome", "disposition.done"} <= row.keys() for row in rows.values())

        end_s = time.monotonic() + RECORDED_S
        while not whole() and time.monotonic() < end_s:
            time.sleep(0.05)
        return rows

    def _check_time(self) -> None:
        limit_ms = 3 * self.line.setup.budget_ms + LATE_MS
        late = [r for r in self.results if r.latency_ms is not None and r.latency_ms > limit_ms]
        if late:
            self.fail(f"{len(late)} answers came after {limit_ms:g} ms, the latest after {max(r.latency_ms or 0 for r in late):.0f} ms")
