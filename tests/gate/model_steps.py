"""What may happen next in the model's world: one function a step, chosen by weight, its number says which way it goes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec
from model_oracle import MS
from model_world import NEW, OLD, World

from edge.contract import Outcome, Reason
from edge.gate.messages import Ack, ChangeOver, Done, PartQuery, Trigger

T = TypeVar("T")
Step = Callable[[World, int], None]
Plan = list[tuple[str, int]]
WELDS = ("W1", "W2")


def _draw(line: list[T], n: int) -> T | None:
    """Lose it, take a copy, or (mostly) take it; mostly the first."""
    if not line:
        return None
    fate, index = n % 10, 0 if n // 10 % 2 else n // 20 % len(line)
    item = line[index] if fate == 1 else line.pop(index)
    return None if fate == 0 else item


def ask_weld(world: World, n: int) -> None:
    weld = "W9" if n % 16 == 15 else WELDS[n % 2]
    world.ask(world.robot.trigger(world.name, weld, "T3" if n % 16 == 14 else "T2", world.now))


def ask_part(world: World, n: int) -> None:
    recipe = {"R1": "R2", "R2": "R1"}[world.believed] if n % 8 == 7 else world.believed
    world.ask(world.robot.finish_part(world.name, world.now, recipe))


def ask_change(world: World, n: int) -> None:
    world.ask(world.robot.change_over("R9" if n % 8 == 7 else ("R1", "R2")[n % 2], world.now))


def next_part(world: World, n: int) -> None:
    if world.robot.open is None:
        world.next_part(good=n % 3 > 0, bad=WELDS[n // 3 % 2])


def repair(world: World, n: int) -> None:
    if world.robot.open is None:
        world.oracle.good[world.name, WELDS[n % 2]] = True


def _until(world: World, stages: int) -> None:
    """The question of the robot goes its way: heard, judged, durable, answered, confirmed."""
    for stage in range(stages):
        if stage == 0:
            world.collect()
            _all(world, world.up, world.gate_hears)
        elif stage == 1 and world.frames:
            world.report(world.frames.pop())
        elif stage == 2:
            world.commit()
        elif stage == 3:
            world.port_moves()
            _all(world, world.down, world.robot_hears)
        elif stage == 4:
            _all(world, world.up, world.gate_hears)


def _all(world: World, line: list[T], takes: Callable[[T], None]) -> None:
    while line:
        takes(line.pop(0))
    world.collect()


def weld(world: World, n: int) -> None:
    """A weld goes well up to some stage."""
    world.wait(5)
    ask_weld(world, n % 2)
    _until(world, min(5, n // 2 % 10))


def part(world: World, n: int) -> None:
    """The query for the part goes well up to some stage."""
    world.wait(5)
    ask_part(world, 7 if n // 10 % 6 == 5 else 0)
    _until(world, min(5, n % 10))


def whole_part(world: World, n: int) -> None:
    """A new good part, both welds, and its query."""
    next_part(world, 1)
    weld(world, 18)
    weld(world, 19 if n % 4 else 1 + n // 4 % 5 * 2)
    part(world, 9)


def change_over(world: World, n: int) -> None:
    """A change-over between two parts, or in the middle of one."""
    world.wait(5)
    ask_change(world, n)
    _until(world, 5 if n % 3 else 1)


# what is under way


def gate_hears(world: World, n: int) -> None:
    message = _draw(world.up, n)
    if message is not None:
        world.gate_hears(message)


def robot_hears(world: World, n: int) -> None:
    message = _draw(world.down, n)
    if message is not None:
        world.robot_hears(message)


def camera(world: World, n: int) -> None:
    frame = _draw(world.frames, n)
    if frame is not None:
        world.report(frame, Reason.ENGINE_FAILED if n // 20 % 16 == 1 else Reason.OK)


def disk_commits(world: World, n: int) -> None:
    world.commit(1 + n % 4)


def port_moves(world: World, _: int) -> None:
    world.port_moves()


def wait(world: World, n: int) -> None:
    world.wait((5, 5, 20, 40, 60, 95, 160)[n % 7])


def nothing_is_heard(world: World, n: int) -> None:
    """Heartbeats stay out, one way or both, for longer than either side bears."""
    world.mute, world.deaf = n % 3 > 0, n % 3 < 2
    world.now += 320 * MS * (n % 4 == 3)
    world.wait(320)
    world.mute = world.deaf = False


# faults


def robot_reboots(world: World, n: int) -> None:
    world.robot = world.new_robot()
    if n % 3:
        world.robot.tick(world.now)


def cable_pulled(world: World, n: int) -> None:
    world.cable_pulled()
    if n % 2:
        world.robot.line_lost(world.now)
        world.collect()


def gate_killed(world: World, _: int) -> None:
    world.gate_killed()


def gate_stopped(world: World, _: int) -> None:
    world.gate_stopped()


def inspector_falls(world: World, n: int) -> None:
    """It is killed, silent, not ready, or there again without its frames."""
    world.seen["inspector falls with a trigger open"] += world.stage == "WAITING"
    if n % 4 == 0:
        world.call("inspector_down", "killed")
        world.frames.clear()
    elif n % 4 == 1:
        world.mum = True
        world.wait(245)
    elif n % 4 == 2:
        world.announce(ready=False)
    else:
        world.frames.clear()
        world.connect()


def engines_fail(world: World, n: int) -> None:
    """Every frame that is under way comes back as a failure of the engine, and so does the next one."""
    ask_weld(world, n % 2)
    _all(world, world.up, world.gate_hears)
    _all(world, [*world.frames, *world.frames[-1:]], lambda frame: world.report(frame, Reason.ENGINE_FAILED))


def bundle_swapped(world: World, n: int) -> None:
    """Another bundle judges from now on; the gate hears of it now or with the next sign of life."""
    world.bundle = NEW if world.bundle == OLD else OLD
    world.seen["bundle swapped with a frame under way"] += bool(world.frames) and world.stage == "WAITING"
    if n % 2 and world.model.connected:
        world.announce()


def disk_fails(world: World, n: int) -> None:
    (world.other_write_fails, world.disk_fails)[n % 2]()


def line_is_slow(world: World, n: int) -> None:
    world.slow, world.jammed = n % 3 > 0, n % 3 == 0


def latched(world: World, n: int) -> None:
    """Noise, or what the records say."""
    world.seen["latched with ACCEPT under way"] += world.stage in ("COMMITTING", "SENT") and world.model.latched is False
    if n % 2:
        world.call("noise", "crc", 101)
    else:
        world.call("latched_for", ("damaged records",))
    world.latched("noise" if n % 2 else "records")


def robot_lies(world: World, n: int) -> None:
    """A confirmation that is not what the robot was told: of the newest answer, only for a REJECT does it say ACCEPTED."""
    if not world.oracle.words:
        return
    (session, sequence), word = list(world.oracle.words.items())[-1 - n // 4 % 2 % len(world.oracle.words)]
    if word.outcome is Outcome.ACCEPT:
        lie = (Outcome.REJECT, Done.REJECTED)
    else:
        lie = ((Outcome.ACCEPT, Done.ACCEPTED), (Outcome.REJECT, Done.ACCEPTED), (Outcome.ACCEPT, Done.REJECTED))[n % 3]
    known = session == world.session.session
    world.seen[f"lie {word.outcome.value} {lie[0].value} {lie[1].value}"] += known
    world.call("received", Ack(session=session, sequence=sequence, outcome=lie[0], done=lie[1]))
    if known and word.outcome is Outcome.REJECT and lie[1] is Done.ACCEPTED:
        world.latched("a robot that let pass what was rejected")


def robot_program_errs(world: World, n: int) -> None:
    """Another question under a number that was used before, too early, too far, or a confirmation of nothing."""
    session, last = world.session.session, world.model.last
    if session is None:
        return
    trigger = Trigger(session=session, sequence=last + 1, part=world.name, weld=WELDS[n // 6 % 2], typology="T2")
    if n % 6 == 0 and last:
        world.gate_hears(msgspec.structs.replace(trigger, sequence=max(1, last - n // 6 % 2), weld="W5"))
    elif n % 6 == 1:
        world.seen["a question too early"] += world.stage in ("WAITING", "COMMITTING")
        world.gate_hears(trigger)
        world.gate_hears(trigger)
    elif n % 6 == 2:
        query = PartQuery(session=session, sequence=last + 1, part=world.name, recipe=world.believed)
        world.gate_hears(query)
    elif n % 6 == 3:
        world.gate_hears(msgspec.structs.replace(trigger, sequence=last + 3))
    elif n % 6 == 4:
        world.gate_hears(ChangeOver(session=session, sequence=last + 1, recipe=("R1", "R2")[n // 6 % 2]))
    elif n // 6 % 2:
        world.gate_hears(Ack(session=session, sequence=last + 1, outcome=Outcome.ACCEPT, done=Done.ACCEPTED))
        world.latched("a confirmation of nothing")


def strike(world: World, n: int) -> None:
    """All is well, a weld or a part goes well up to some stage, and there something happens."""
    all_well(world)
    stage, kind = 1 + n % 4, n // 4 % 4
    if kind == 0:
        whole_part(world, 4 * (n // 16))
    if kind == 1:
        weld(world, 18)
    world.slow = kind == 2
    if kind == 3:
        weld(world, 18)
        weld(world, 19)
        part(world, stage)
    else:
        weld(world, n // 16 % 2 + 2 * stage)
    STRIKES[n // 16 % len(STRIKES)](world, n // 3)
    _until(world, 5)


def late_repeat(world: World, n: int) -> None:
    """A trigger is answered late, and repeated around the gate's deadline or after a latch."""
    all_well(world)
    ask_weld(world, n % 2)
    trigger = world.up[-1]
    _until(world, 1)
    world.wait((60, 80)[n // 2 % 2])
    # Time may pass without a tick while the gate is busy with something else.
    world.now += 40 * MS * (n // 4 % 3 == 2)
    world.report(world.frames.pop())
    world.now += 40 * MS * (n // 4 % 3 == 1)
    world.commit()
    if n // 4 % 3 == 0:
        latched(world, n)
    for pause in (5, 20, 20):
        world.wait(pause)
        world.gate_hears(trigger)


def earlier_session(world: World, n: int) -> None:
    """In a new session with the same numbers, something from the one before is heard again."""
    for times in range(2):
        world.robot = world.new_robot()
        all_well(world)
        weld(world, n % 2 + (18, 6)[times])
    for message in [heard for heard in world.heard if isinstance(heard, Ack | Trigger)][-8:]:
        world.gate_hears(message)


def many_parts(world: World, _: int) -> None:
    """One part after another without its query, until the gate takes no further one."""
    all_well(world)
    for _round in range(18):
        next_part(world, 1)
        weld(world, 10)


def all_well(world: World, _: int = 0) -> None:
    """Everything is repaired, and robot and gate find each other."""
    world.slow = world.jammed = False
    world.port_moves()
    world.disk_back()
    if world.oracle.latched:
        world.oracle.latched = False
        world.failures.clear()
        world.call("acknowledged")
    world.connect()
    for _round in range(4):
        world.commit()
        _until(world, 5)
        world.wait(60)


STRIKES: tuple[Step, ...] = (
    wait,
    bundle_swapped,
    inspector_falls,
    engines_fail,
    disk_fails,
    latched,
    gate_killed,
    gate_stopped,
    robot_reboots,
    cable_pulled,
    robot_lies,
    robot_program_errs,
    line_is_slow,
    nothing_is_heard,
)
WEIGHTS: dict[Step, int] = {
    weld: 8,
    part: 4,
    whole_part: 4,
    change_over: 2,
    all_well: 10,
    ask_weld: 3,
    ask_part: 2,
    ask_change: 1,
    next_part: 1,
    repair: 1,
    gate_hears: 8,
    robot_hears: 6,
    camera: 8,
    disk_commits: 6,
    port_moves: 2,
    wait: 6,
    nothing_is_heard: 1,
    robot_reboots: 1,
    cable_pulled: 1,
    gate_killed: 1,
    gate_stopped: 1,
    inspector_falls: 1,
    engines_fail: 1,
    bundle_swapped: 2,
    disk_fails: 2,
    line_is_slow: 1,
    latched: 1,
    robot_lies: 2,
    robot_program_errs: 2,
    strike: 8,
    late_repeat: 1,
    earlier_session: 1,
    many_parts: 1,
}
STEPS = {step.__name__: step for step in WEIGHTS}


def take(world: World, plan: Iterable[tuple[str, int]]) -> None:
    """Go through a plan, and then end: what is open is closed and written."""
    all_well(world)
    for name, n in plan:
        STEPS[name](world, n)
    world.gate_stopped()


def a_plan(seed: int, length: int) -> Plan:
    """Steps by weight, the same for the same seed."""
    chance = random.Random(seed)
    names = chance.choices(list(STEPS), weights=list(WEIGHTS.values()), k=length)
    return [(name, chance.randrange(1_000)) for name in names]
