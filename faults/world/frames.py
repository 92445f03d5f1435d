"""What can be wrong with a camera's frame or its report; each fault is a method named as its kind in `kinds.py`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import msgspec

from edge.contract import Reason, Report, TriggerId
from faults.world.core import MS, US, Core
from faults.world.oracle import Shown

TYPOLOGIES = ("T2", "T3")
_NAN, _INF = math.nan, math.inf
_SCORES = (_NAN, _INF, -_INF, -0.1, -1e-9, 1.0000001, 1e300)
_THRESHOLDS = (_NAN, _INF, -_INF, 0.0, 1.0, -0.5, 2.0)
_OTHERS = (Reason.ROUTER_UNSURE, Reason.CROSS_CHECK)
_REFUSALS = tuple(reason for reason in Reason if reason.value.startswith("FRAME_") or reason in _OTHERS)


class FrameFaults(ABC):
    """Faults of one frame; whoever mixes this in says how a report travels, and when the trigger of a weld opened."""

    core: Core
    push: bool
    budget_ns: int
    margin_ns: int
    counter: int
    """Frames taken so far."""
    before: tuple[Report, Shown] | None
    """The report of the frame before, and its weld."""

    @abstractmethod
    def send(self, message: object, shown: Shown | None, due_ns: int) -> None:
        """A message of the inspector reaches the gate then; `shown` when it is a sound report of that weld's own frame."""

    @abstractmethod
    def opened_ns(self, shown: Shown) -> int:
        """When the trigger of that weld reached the gate; 0 when it did not."""

    def spoil(self, kind: str, report: Report, shown: Shown, due_ns: int) -> None:
        """Let this fault happen to this frame."""
        self.core.injected(kind)
        getattr(self, f"_{kind}")(report, shown, due_ns)

    def _wrong(self, report: Report, due_ns: int, **changes: object) -> None:
        """A report that must not be accepted, whatever its score; mostly one that looks good."""
        looks = {} if self.core.chance() < 0.2 else {"score": 0.01, "members": (0.01,)}
        self.send(msgspec.structs.replace(report, **{**looks, **changes}), None, due_ns)

    def _missing(self, _report: Report, _shown: Shown, _due_ns: int) -> None:
        return

    def _late(self, report: Report, shown: Shown, due_ns: int) -> None:
        self.send(report, shown, due_ns + self.core.between(self.budget_ns // 2, 3 * self.budget_ns))

    def _slow(self, report: Report, shown: Shown, due_ns: int) -> None:
        self.send(report, shown, due_ns + self.core.between(0, self.budget_ns))

    def _on_the_edge(self, report: Report, shown: Shown, _due_ns: int) -> None:
        """Within microseconds of the moment at which the gate gives up."""
        self.core.at(report.received_ns + self.budget_ns // 2, self._to_the_edge, (report, shown))

    def _to_the_edge(self, packet: tuple[Report, Shown]) -> None:
        report, shown = packet
        begin_ns = report.received_ns if self.push else self.opened_ns(shown)
        around = self.core.pick((-500 * US, -2 * US, -US, -1, 0, 1, US, 2 * US))
        if begin_ns:
            self.send(report, shown, begin_ns + self.budget_ns - self.margin_ns + around)

    def _twice(self, report: Report, shown: Shown, due_ns: int) -> None:
        for _ in range(self.core.between(2, 6)):
            self.send(report, shown, due_ns)
            due_ns += self.core.between(0, 60 * MS)

    def _previous(self, report: Report, shown: Shown, due_ns: int) -> None:
        """The frame of the weld before comes again, in place of the right one or just before it."""
        again, its_weld = self.before or (report, shown)
        self.send(msgspec.structs.replace(again, received_ns=report.received_ns), its_weld, due_ns)
        if self.core.chance() < 0.5:
            self.send(report, shown, due_ns + self.core.between(1, 5 * MS))

    def _unbound(self, report: Report, _shown: Shown, due_ns: int) -> None:
        self._wrong(report, due_ns, trigger=TriggerId("0" * 16, self.counter & 0xFFFF or 1) if self.push else None)

    def _other_trigger(self, report: Report, shown: Shown, due_ns: int) -> None:
        assert shown.key is not None
        session, sequence = shown.key
        other = self.core.pick(((session, sequence - 1 or 1_000), ("f" * 16, sequence), (session[::-1], sequence)))
        self._wrong(report, due_ns, trigger=TriggerId(*other))

    def _frozen(self, report: Report, _shown: Shown, due_ns: int) -> None:
        self._wrong(report, due_ns, reason=Reason.FRAME_FROZEN, detail="payload as before")

    def _refused(self, report: Report, _shown: Shown, due_ns: int) -> None:
        self._wrong(report, due_ns, reason=self.core.pick(_REFUSALS))

    def _wrong_part(self, report: Report, shown: Shown, due_ns: int) -> None:
        name = self.core.pick(({"part": "X1"}, {"weld": "W99"}, {"part": shown.weld, "weld": shown.part}, {"part": ""}))
        self._wrong(report, due_ns, **name)

    def _other_typology(self, report: Report, _shown: Shown, due_ns: int) -> None:
        other = TYPOLOGIES[1] if report.typology == TYPOLOGIES[0] else TYPOLOGIES[0]
        changes = ({"typology": other}, {"typology_named": other}, {"typology": None}, {"typology": "T9", "typology_named": "T9"})
        self._wrong(report, due_ns, **self.core.pick(changes))

    def _camera_clock(self, report: Report, shown: Shown, due_ns: int) -> None:
        """The camera's own stamp is information only: the report stays sound."""
        self.send(msgspec.structs.replace(report, captured_ns=self.core.pick((-1, 0, 1 << 62, report.captured_ns - 10**14))), shown, due_ns)

    def _arrival_clock(self, report: Report, _shown: Shown, due_ns: int) -> None:
        self._wrong(report, due_ns, received_ns=self.core.pick((0, -1, due_ns + 10**12)))

    def _score_invalid(self, report: Report, _shown: Shown, due_ns: int) -> None:
        score = self.core.pick(_SCORES)
        self._wrong(report, due_ns, score=score, members=(score,) if self.core.chance() < 0.5 else (0.1,))

    def _threshold_invalid(self, report: Report, _shown: Shown, due_ns: int) -> None:
        self._wrong(report, due_ns, threshold=self.core.pick(_THRESHOLDS))

    def _member_missing(self, report: Report, _shown: Shown, due_ns: int) -> None:
        members = ((), (0.1,), (0.1, _NAN, 0.1), (_INF, 0.1, 0.1))
        self._wrong(report, due_ns, members=self.core.pick(members), members_expected=3 if self.core.chance() < 0.9 else 0)

    def _engine_failed(self, report: Report, _shown: Shown, due_ns: int) -> None:
        self._wrong(report, due_ns, reason=Reason.ENGINE_FAILED, score=0.0, members=())

    def _gpu_fault(self, report: Report, _shown: Shown, due_ns: int) -> None:
        self._wrong(report, due_ns, reason=Reason.GPU_FAULT)

    def _wrong_bundle(self, report: Report, _shown: Shown, due_ns: int) -> None:
        self._wrong(report, due_ns, bundle=self.core.pick(("", "e" * 64, report.bundle[:63], report.bundle.upper())))
