"""Camera and inspector of the simulated cell: a frame per weld, a sound report of it, and everything that can be wrong with both."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from edge.contract import CONTRACT_VERSION, InspectorState, Reason, Report, TriggerId
from faults.world.core import MS, US, Core
from faults.world.frames import TYPOLOGIES, FrameFaults
from faults.world.oracle import Shown

BUNDLES = ("b" * 64, "c" * 64, "d" * 64)
CONFIG = "e" * 64
"""Hash of the configuration of gate and inspector."""
THRESHOLD = 0.5
_START_STATE = InspectorState(
    version=CONTRACT_VERSION,
    pid=1,
    ready=True,
    backend="openvino",
    bundle=BUNDLES[0],
    bundle_version=1,
    typologies=TYPOLOGIES,
    known_answers=4,
    camera_alive=True,
    frames=0,
    gaps=0,
    refused=0,
    sent_ns=1,
    config=CONFIG,
)
ToGate = Callable[[object, "Shown | None"], None]


class Cell(FrameFaults):
    """Reports reach the gate through `deliver`; `connect` and `disconnect` tell the gate about the inspector's connection."""

    def __init__(self, core: Core, *, budget_ns: int, margin_ns: int, heartbeat_ns: int, push: bool) -> None:
        self.core, self.budget_ns, self.margin_ns, self.heartbeat_ns, self.push = core, budget_ns, margin_ns, heartbeat_ns, push
        self.deliver: ToGate = lambda _message, _shown: None
        self.connect: Callable[[], None] = lambda: None
        self.disconnect: Callable[[], None] = lambda: None
        self.opened: Callable[[Shown], int] = lambda _shown: 0
        self.state = _START_STATE
        self.armed: str = ""
        self.held_ns = 0
        """Until then nothing is said: the inspector hangs."""
        self.silent_ns = 0
        """Until then there are no heartbeats."""
        self.counter = 0
        self._connection = 0
        self._alive = False
        self.before: tuple[Report, Shown] | None = None

    # life

    def start(self, _argument: object = None) -> None:
        """An inspector starts and connects; it says its state a little later, and every heartbeat from then on."""
        self._alive = True
        self.meet()

    def meet(self) -> None:
        """Connect to the gate that listens now."""
        if self._alive:
            self._connection += 1
            self.connect()
            self.core.at(self.core.now + self.core.between(100 * US, 2 * MS), self._beat, self._connection)

    def gate_gone(self) -> None:
        """The gate's end of the connection is gone: whatever was on its way is lost."""
        self._connection += 1

    def crash(self) -> None:
        """The inspector's process ends and starts again later, perhaps with another bundle."""
        self.core.injected("crash")
        self._alive, self._connection = False, self._connection + 1
        self.disconnect()
        self.state = msgspec.structs.replace(self.state, pid=self.state.pid + 1, ready=True, bundle=self.core.pick(BUNDLES))
        self.core.at(self.core.now + self.core.between(20 * MS, 250 * MS), self.start)

    def hang(self) -> None:
        """Nothing is said for a while; then everything at once."""
        self.core.injected("hang")
        self.held_ns = self.core.now + self.core.between(30 * MS, 500 * MS)

    def silent(self) -> None:
        """Heartbeats stop for a while; reports go on."""
        self.core.injected("silent")
        self.silent_ns = self.core.now + self.core.between(200 * MS, 600 * MS)

    def hot_swap(self) -> None:
        """Another bundle from now on; reports of the old one may still be on their way."""
        self.core.injected("hot_swap")
        self.change(bundle=self.core.pick(tuple(name for name in BUNDLES if name != self.state.bundle)))

    def not_ready(self) -> None:
        """Not ready for a while, for one of the reasons there are."""
        self.core.injected("not_ready")
        whole = self.state
        pick = self.core.between(0, 4)
        broken = ({"ready": False}, {"known_answers": 0}, {"fault_reason": Reason.GPU_FAULT}, {"bundle": ""})[pick]
        self.change(**broken)
        self.core.at(self.core.now + self.core.between(10 * MS, 120 * MS), self._restore, whole)

    def camera_lost(self) -> None:
        """The camera is not heard for a while."""
        self.core.injected("camera_lost")
        whole = self.state
        self.change(camera_alive=False)
        self.core.at(self.core.now + self.core.between(10 * MS, 120 * MS), self._restore, whole)

    def change(self, **fields: object) -> None:
        """Another state, said at once."""
        self.state = msgspec.structs.replace(self.state, **fields)
        if self._alive:
            self.send(self.state, None, self.core.now)

    def _restore(self, whole: InspectorState) -> None:
        self.change(ready=True, known_answers=4, fault_reason=None, camera_alive=True, bundle=whole.bundle)

    def _beat(self, connection: int) -> None:
        if connection == self._connection and self._alive:
            if self.core.now >= self.silent_ns:
                self.send(self.state, None, self.core.now)
            self.core.at(self.core.now + self.heartbeat_ns, self._beat, connection)

    # frames

    def capture(self, shown: Shown) -> None:
        """The camera takes the weld that is in front of the robot now; the report follows."""
        core = self.core
        self.counter += 1
        arrives_ns = core.now + 200 * US + int(core.chance() * 6 * MS)
        report = self._sound(shown, arrives_ns)
        due_ns = arrives_ns + MS + int(core.chance() * 8 * MS)
        kind, self.armed = self.armed, ""
        if not kind:
            self.send(report, shown, due_ns)
        else:
            self.spoil(kind, report, shown, due_ns)
        self.before = (report, shown)

    def _sound(self, shown: Shown, arrives_ns: int) -> Report:
        chance = self.core.chance()
        score = round(chance * THRESHOLD, 6) if shown.good is not shown.blind else min(1.0, THRESHOLD + 1e-9 + chance * THRESHOLD)
        typology = shown.typology or shown.planned or TYPOLOGIES[0]
        return Report(
            camera="cam0",
            counter=self.counter,
            trigger=None if shown.key is None else TriggerId(*shown.key),
            part=shown.part,
            weld=shown.weld,
            typology_named=typology,
            typology=typology,
            reason=Reason.OK,
            detail="",
            score=score,
            threshold=THRESHOLD,
            members=(score,),
            members_expected=1,
            router_confidence=None,
            bundle=self.state.bundle,
            backend="openvino",
            payload_hash=f"{self.counter:032x}",
            captured_ns=arrives_ns,
            received_ns=arrives_ns,
            prepared_ns=arrives_ns,
            scored_ns=arrives_ns,
        )

    def send(self, message: object, shown: Shown | None, due_ns: int) -> None:
        """A message reaches the gate then, unless the inspector hangs or ends first."""
        self.core.at(max(due_ns, self.held_ns), self._arrive, (self._connection, message, shown))

    def _arrive(self, packet: tuple[int, object, Shown | None]) -> None:
        connection, message, shown = packet
        if connection != self._connection or not self._alive:
            return
        if self.core.now < self.held_ns:
            self.core.at(self.held_ns, self._arrive, packet)
            return
        self.deliver(message, shown)

    def opened_ns(self, shown: Shown) -> int:
        """When the trigger of that weld reached the gate; 0 when it did not."""
        return self.opened(shown)
