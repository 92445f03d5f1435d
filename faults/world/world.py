"""One simulated cell: robot, cable, gate, disk, inspector and camera on a virtual clock, and the faults drawn for each cycle."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from edge.config import GateConfig
from edge.gate.challenge import Challenges
from edge.gate.messages import Framing
from edge.gate.settings import settings_from
from faults.world.cell import Cell
from faults.world.challenge import Challenger, ToShow, Wall, rule_for
from faults.world.challenge_oracle import ChallengeOracle
from faults.world.core import MS, Core, Violation
from faults.world.disk import Disk
from faults.world.gate import Gate
from faults.world.kinds import CLOCK, Draw, Kind
from faults.world.line import Line, Side
from faults.world.oracle import Oracle, Shown
from faults.world.part_oracle import PartOracle
from faults.world.program import QUERY, RECIPES, Program, Step
from faults.world.robot import Robot
from sim.robot_protocol import RobotProtocol

Profile = Literal["handshake", "handshake-degraded", "handshake-parts", "push", "handshake-challenge", "parts-challenge"]
BUDGET_MS, ROBOT_BUDGET_MS, HEARTBEAT_MS = 100, 120, 80
RATES = (1.0, 1.0, 1.0, 0.97, 1.03, 0.9, 1.1)
"""The robot's clock against the gate's."""
STUCK_NS = 60_000 * MS
"""Without a single cycle for this long, the cell has come to a stand."""
_BY_TIME = ("hello_version", "trigger_again", "flood")
"""What a robot does wrong at any moment, not with its next frame."""
_PUSH_DRAW, _DRAW = Draw(push=True), Draw(push=False)


@dataclass(kw_only=True)
class Outcome:
    """What a run came to; `violation` is the first rule that was broken, with the cycle it happened in."""

    seed: int
    profile: Profile
    cycles: int = 0
    accepted: int = 0
    bad_shown: int = 0
    rejects_died_with_gate: int = 0
    rows: int = 0
    virtual_ns: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    """Event rows of the records, by kind."""
    violation: Violation | None = None


class World:
    """Everything wired together; `run(cycles)` shows that many welds and then ends the gate in order."""

    def __init__(
        self, seed: int, profile: Profile, *, muted: frozenset[str] = frozenset(), log: Callable[[str], None] | None = None
    ) -> None:
        self.core = Core(seed, muted=muted, log=log)
        self.seed, self.profile = seed, profile
        self.push = profile == "push"
        framing: Framing = "twice" if profile == "handshake-degraded" else "crc"
        settings = settings_from(_config(push=self.push, framing=framing))
        budget_ns, robot_budget_ns = settings.budget_ns, ROBOT_BUDGET_MS * MS
        self.disk = Disk(self.core)
        with_parts = "parts" in profile
        preset = self.core.pick(("", "door", "hood")) if with_parts else ""
        settings = msgspec.structs.replace(settings, recipe=preset)
        parts = PartOracle(preset) if with_parts else None
        self.oracle = Oracle(self.core, self.disk, budget_ns=budget_ns, robot_budget_ns=robot_budget_ns, push=self.push, parts=parts)
        self.line = Line(self.core, self._to_gate, self._to_robot)
        self.gate = Gate(self.core, line=self.line, disk=self.disk, oracle=self.oracle, settings=settings, framing=framing)
        self.cell = Cell(self.core, budget_ns=budget_ns, margin_ns=settings.margin_ns, heartbeat_ns=settings.heartbeat_ns, push=self.push)
        rate = self.core.pick(RATES)
        if rate != 1.0 and CLOCK not in muted:
            self.core.injected(CLOCK, rate)
        self.robot = Robot(
            self.core,
            line=self.line,
            oracle=self.oracle,
            protocol=lambda: _protocol(self.core, settings.heartbeat_ns, self.push, framing),
            framing=framing,
            rate=rate,
        )
        self.gate.recipes = RECIPES if parts is not None else None
        self.program = Program(self.core, preset, lambda: self.robot.protocol, self.robot.change_over) if parts is not None else None
        self.challenger = self._challenger() if profile.endswith("challenge") else None
        self.cycles = self.wanted = self.bad = 0
        self._last: Shown | None = None
        self._draw = _PUSH_DRAW if self.push else _DRAW
        self._wire()

    def _challenger(self) -> Challenger:
        """The rule of challenge parts for gate and oracle, and the person who shows them."""
        parts, wall = self.oracle.parts, Wall(self.core)
        rule = rule_for(self.core, recipes=parts is not None)
        self.oracle.challenge = oracle = ChallengeOracle(self.core, rule, wall, self._recipe_of)
        if parts is not None:
            parts.is_reserved = oracle.is_reserved
        preset = self.gate.settings.recipe
        self.gate.challenges = lambda: Challenges(rule, boot="boot", wall=wall.ns, recipe=preset)
        return Challenger(self.core, rule, wall, lambda: self.program.recipe if self.program is not None else "")

    def _recipe_of(self, session: str) -> str | None:
        parts = self.oracle.parts
        if parts is None:
            return ""
        return parts.recipe(session) if parts.knows(session) else None

    def _wire(self) -> None:
        cell, gate, robot = self.cell, self.gate, self.robot
        cell.deliver = self._told
        cell.connect, cell.disconnect = gate.connected, gate.disconnected
        cell.opened = lambda shown: 0 if shown.key is None else self.oracle.arrived_ns(shown.key)
        gate.born, gate.died = self._meet, cell.gate_gone
        robot.next_weld, robot.triggered = self._next_weld, self._triggered

    def _triggered(self, shown: Shown) -> None:
        if not shown.query:
            self.cell.capture(shown)

    def _to_gate(self, data: bytes) -> None:
        self.gate.heard(data)

    def _to_robot(self, data: bytes) -> None:
        self.robot.heard(data)

    def _told(self, message: object, shown: Shown | None) -> None:
        if self.gate.paused:
            self.core.at(self.gate.paused_ns, self._told_later, (self.gate.life, message, shown))
        else:
            self.gate.told(message, shown)  # type: ignore[arg-type]

    def _told_later(self, packet: tuple[int, object, Shown | None]) -> None:
        life, message, shown = packet
        if life == self.gate.life:
            self._told(message, shown)

    def _meet(self) -> None:
        self.core.at(self.core.now + self.core.between(0, 10 * MS), lambda _: self.cell.meet())

    # the run

    def run(self, cycles: int) -> Outcome:
        """Show `cycles` welds, end the gate, check everything; never raises for what the product does."""
        violation = None
        self.wanted = cycles
        try:
            self._go()
            self._end()
        except Violation as exc:
            violation = exc
        except Exception as exc:  # noqa: BLE001 - whatever the product raises is a finding, and its seed must be named
            where = traceback.extract_tb(exc.__traceback__)[-1]
            violation = Violation("broken rule", f"raised {type(exc).__name__}: {exc} ({Path(where.filename).name}:{where.lineno})")
        if violation is not None:
            self.core.say("VIOLATION", str(violation))
        return Outcome(
            seed=self.seed,
            profile=self.profile,
            cycles=self.cycles,
            accepted=self.oracle.accepted,
            bad_shown=self.bad,
            rejects_died_with_gate=self.oracle.rejects_died_with_gate,
            rows=self.disk.rows,
            virtual_ns=self.core.now,
            counts=self.core.counts,
            events=self.disk.events,
            violation=violation,
        )

    def _go(self) -> None:
        core, gate, robot = self.core, self.gate, self.robot
        gate.start()
        self.cell.start()
        robot.due_ns = core.now
        seen, progress_ns = 0, core.now
        while self.cycles < self.wanted or robot.shown is not None:
            event_ns, gate_ns, robot_ns = core.next_ns(), gate.due_ns, robot.due_ns
            if event_ns <= gate_ns and event_ns <= robot_ns:
                core.run_next()
            elif gate_ns <= robot_ns:
                core.now = gate_ns
                gate.step()
            else:
                core.now = robot_ns
                robot.step()
            if self.cycles != seen:
                seen, progress_ns = self.cycles, core.now
            elif core.now - progress_ns > STUCK_NS:
                raise Violation("broken rule", f"no weld could be shown for {STUCK_NS // MS} ms")

    def _end(self) -> None:
        if self.gate.session is None:
            self.gate.start()
        self.gate.stop(None)
        self.oracle.finish()

    # a cycle

    def _next_weld(self) -> Shown | None:
        if self.cycles >= self.wanted:
            return None
        core = self.core
        special = self._challenge_part()
        step = self.program.step() if self.program is not None and special is None else None
        if self.program is not None and special is None and step is None:
            return None
        self.cycles += 1
        core.cycle = self.cycles
        good = core.chance() < (0.5 if step is None else 0.85) if special is None else special.good
        self.bad += not good
        shown = self._special(special) if special is not None else self._plain(good) if step is None else self._step(step, good)
        self._faults(shown)
        if core.log is not None:
            core.say("robot", f"shows {shown}")
        self._last = shown
        return shown

    def _challenge_part(self) -> ToShow | None:
        if self.challenger is None:
            return None
        session = self.gate.session
        status = session.challenge(self.core.now) if session is not None else None
        return self.challenger.step(asked=status is not None and not status.accepting)

    def _special(self, special: ToShow) -> Shown:
        """A weld of a challenge part; a recipe says of it what it says of any part."""
        recipe = RECIPES.get(self.program.recipe) if self.program is not None else None
        planned = (recipe.typology(special.weld) if recipe is not None else None) or "T2"
        begun_ns = self.core.now
        return Shown(self.cycles, special.part, special.weld, None, special.good, begun_ns, planned=planned, blind=special.blind)

    def _plain(self, good: bool) -> Shown:
        """A weld that was never there before."""
        number = self.cycles
        return Shown(number, f"P{number // 3}", f"W{number % 3}", self.core.pick(("T2", "T3", None)), good, self.core.now)

    def _step(self, step: Step, good: bool) -> Shown:
        """A weld of the recipe, or the question for the whole part."""
        assert self.program is not None
        part, weld = step
        if weld == QUERY:
            believed = self.program.recipe or "NONE"
            return Shown(self.cycles, part, weld, None, good=True, begun_ns=self.core.now, query=True, planned=believed)
        recipe = RECIPES.get(self.program.recipe)
        planned = (recipe.typology(weld) if recipe is not None else None) or "T2"
        named = planned if self.core.chance() < 0.5 else None
        return Shown(self.cycles, part, weld, named, good, self.core.now, planned=planned)

    def _faults(self, shown: Shown) -> None:
        """Draw this cycle's faults and arm them; what the last one left armed is forgotten."""
        self.line.disarm()
        self.robot.armed.clear()
        self.cell.armed = ""
        chance = self.core.chance()
        if self.program is not None and chance < 0.8:
            return
        for _ in range(0 if chance < 0.45 else 1 if chance < 0.85 else 2 if chance < 0.96 else 3):
            kind = self._draw.kind(self.core.chance())
            if kind.name not in self.core.muted:
                self._arm(kind, shown)

    def _arm(self, kind: Kind, shown: Shown) -> None:
        core, name = self.core, kind.name
        if kind.where == "line":
            side: Side = "R" if core.chance() < (0.1 if self.push else 0.5) else "G"
            self.line.arm(name, side, core.between(0, 2 if self.push else 4))
        elif kind.where == "frame":
            self.cell.armed = name
        elif name == "same_weld":
            self._same_weld(shown)
        elif kind.where == "robot" and name not in _BY_TIME:
            self.robot.armed.append(name)
        else:
            soon_ns = core.now + core.between(0, 30 * MS)
            core.at(soon_ns, self._strike, kind)

    def _same_weld(self, shown: Shown) -> None:
        """The robot shows a weld under the names of the one before: its frame counts for nothing any more."""
        reserved = self.oracle.challenge.is_reserved if self.oracle.challenge is not None else lambda _part: False
        if self._last is not None and not (self._last.query or shown.query or reserved(shown.part) or reserved(self._last.part)):
            self.core.injected("same_weld")
            last = self._last
            shown.part, shown.weld, shown.typology, shown.planned = last.part, last.weld, last.typology, last.planned

    def _strike(self, kind: Kind) -> None:
        if kind.where == "inspector":
            getattr(self.cell, kind.name)()
        else:
            getattr(self, f"_{kind.where}_{kind.name}")(kind)

    def _robot_hello_version(self, _kind: Kind) -> None:
        self.robot.wrong_hello()

    def _robot_trigger_again(self, _kind: Kind) -> None:
        self.robot.trigger_again()

    def _robot_flood(self, _kind: Kind) -> None:
        self.robot.flood(self.core.between(1, 6))

    def _disk_slow_sync(self, _kind: Kind) -> None:
        self.disk.slow_ns = self.core.between(5 * MS, 250 * MS)

    def _disk_failed_sync(self, _kind: Kind) -> None:
        self.disk.broken = 1

    def _disk_full(self, _kind: Kind) -> None:
        self.disk.broken = self.core.between(2, 4)

    def _process_gate_crash(self, _kind: Kind) -> None:
        if self.gate.session is not None:
            self.core.injected("gate_crash")
            self.gate.crash(self.core.between(20 * MS, 300 * MS))

    def _process_gate_crash_inside(self, _kind: Kind) -> None:
        self.gate.crash_after = self.core.between(0, 9)

    def _process_gate_stop(self, _kind: Kind) -> None:
        if self.gate.session is not None and not self.gate.paused:
            self.core.injected("gate_stop")
            self.gate.stop(self.core.between(20 * MS, 300 * MS))

    def _process_gate_pause(self, _kind: Kind) -> None:
        if self.gate.session is not None:
            self.core.injected("gate_pause")
            self.gate.pause(self.core.now + self.core.between(MS, 300 * MS))

    def _process_robot_reboot(self, _kind: Kind) -> None:
        self.robot.reboot()

    def _process_unplug(self, _kind: Kind) -> None:
        self.core.injected("unplug")
        self._pull_plug()
        self.core.at(self.core.now + self.core.between(10 * MS, 200 * MS), self._plug_in)

    def _process_stale(self, _kind: Kind) -> None:
        """The plug is pulled, and when it is back, bytes of before come out of some buffer."""
        self.core.injected("stale")
        old = tuple(self.line.past)
        self._pull_plug()
        back_ns = self.core.now + self.core.between(10 * MS, 120 * MS)
        self.core.at(back_ns, self._plug_in)
        for _ in range(self.core.between(1, 7)):
            self.core.at(back_ns + self.core.between(0, 200 * MS), self._stale_bytes, self.core.pick(old or (("R", b"$RT,"),)))

    def _stale_bytes(self, packet: tuple[Side, bytes]) -> None:
        self.line.insert(*packet)

    def _pull_plug(self) -> None:
        self.line.unplug()
        if self.gate.port is not None:
            self.gate.port.gone = True
            self.gate.step()
        if self.core.chance() < 0.5:
            self.robot.line_lost()

    def _plug_in(self, _argument: object) -> None:
        self.line.plugged = True

    def _process_partial_write(self, _kind: Kind) -> None:
        self._fill_port(self.core.between(0, 90), self.core.between(MS // 10, 60 * MS))

    def _process_blocked(self, _kind: Kind) -> None:
        self._fill_port(0, self.core.between(20 * MS, 400 * MS))

    def _fill_port(self, room: int, for_ns: int) -> None:
        port = self.gate.port
        if port is not None:
            self.core.injected("blocked" if room == 0 else "partial_write", f"{room} bytes for {for_ns // MS} ms")
            port.room = room
            self.core.at(self.core.now + for_ns, self._drain_port, port)

    def _drain_port(self, port: object) -> None:
        if port is self.gate.port and self.gate.port is not None:
            self.gate.port.room = None if self.core.chance() < 0.5 else self.core.between(1, 60)
            if self.gate.port.room is not None:
                self.core.at(self.core.now + self.core.between(MS // 10, 40 * MS), self._drain_port, port)
            self.gate.step()


def _config(*, push: bool, framing: Framing) -> GateConfig:
    return GateConfig(
        port="simulated",
        records=Path("simulated"),
        socket=Path("simulated"),
        profile="push" if push else "handshake",
        framing=framing,
        budget_ms=BUDGET_MS,
        heartbeat_ms=HEARTBEAT_MS,
        ack_timeout_ms=60,
        resend_ms=20,
    )


def _protocol(core: Core, heartbeat_ns: int, push: bool, framing: Framing) -> RobotProtocol:
    return RobotProtocol(
        nonce=lambda: f"{core.rng.getrandbits(32):08x}",
        profile="push" if push else "handshake",
        budget_ns=ROBOT_BUDGET_MS * MS,
        heartbeat_ns=heartbeat_ns,
        silence_ns=3 * heartbeat_ns,
        repeat_ns=30 * MS,
        framing=framing,
    )
