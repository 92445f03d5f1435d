"""What a robot program must do about sessions: hello, version, heartbeats, silence, and a fresh nonce each time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import msgspec

from edge.contract import Outcome
from edge.gate.codec import encode_frame
from edge.gate.messages import Ack, Done, Heartbeat, Hello, Nak, Refusal, State, Trigger
from sim.acceptance.answers import accept
from sim.acceptance.findings import failed, judged, passed, span, unanswered
from sim.acceptance.played_gate import Heard
from sim.acceptance.trial import Outcomes, Trial, no_trigger

NS_PER_MS = 1e6
SILENCE_MS = 240.0
NOTICED_MS = 400.0
"""From the gate's last heartbeat to the robot's next hello: 240 ms of silence, one interval of 80 ms, polling and wire."""
LONGEST_GAP_MS = 160.0
"""Between two heartbeats of the robot: one may be late, none may be left out."""
ADAPTER_MS = 1.0
WATCH_S = 1.2
STRANGE = "00000000"


def hello_form(trial: Trial) -> Outcomes:
    """Says hello again and again, with zeros as peer, one nonce, the version, the profile and a deadline not below the budget."""
    gate = trial.gate
    gate.welcoming = False
    try:
        mark = len(gate.heard)
        gate.pump(trial.wait_s, lambda: len(gate.since(mark, Hello)) >= 3)
    finally:
        gate.welcoming = True
    hellos = gate.since(mark, Hello)
    if len(hellos) < 3:
        return failed(f"{len(hellos)} hellos within {trial.wait_s:g} s. {_what_came(trial)}")
    said = [heard.message for heard in hellos if isinstance(heard.message, Hello)]
    gap_ms = max((later.at_ns - earlier.at_ns) / NS_PER_MS for earlier, later in pairwise(hellos))
    wrong = [
        text
        for met, text in (
            (len({hello.nonce for hello in said}) == 1, "the nonce changed between hellos"),
            (said[-1].peer == STRANGE, f"peer is {said[-1].peer}, not zeros"),
            (said[-1].major == 1 and said[-1].lowest <= 1, f"version {said[-1].major}.{said[-1].minor}, lowest {said[-1].lowest}"),
            (said[-1].profile == "H", f"profile {said[-1].profile}"),
            (
                trial.robot_deadline_ms >= gate.budget_ms,
                f"deadline {trial.robot_deadline_ms:g} ms below the budget of {gate.budget_ms:g} ms",
            ),
            (gap_ms <= 2 * LONGEST_GAP_MS, f"{gap_ms:.0f} ms between two hellos"),
        )
        if not met
    ]
    return judged(not wrong, "; ".join(wrong) or f"every {gap_ms:.0f} ms at most, deadline {trial.robot_deadline_ms:g} ms")


def has_room(trial: Trial) -> Outcomes:
    """The robot's deadline covers budget, question, verdict, a heartbeat each way and the adapters (docs/robot-link.md)."""
    if not trial.byte_ms:
        return unanswered("a pseudo-terminal has no wire")
    asked = trial.trigger()
    if asked is None:
        return no_trigger(trial)
    trigger = asked[0]
    gate = trial.gate
    gate.say_bytes(accept(gate)(trigger))
    beat = encode_frame(Heartbeat(session=trigger.session, state=State.READY, counter=65_535), "R", gate.framing)
    on_wire = len(encode_frame(trigger, "R", gate.framing)) + len(accept(gate)(trigger)) + 2 * len(beat)
    least_ms = gate.budget_ms + on_wire * trial.byte_ms + 2 * ADAPTER_MS
    text = f"{trial.robot_deadline_ms:.0f} ms; at least {least_ms:.0f} ms and its own polling, with names as long as these"
    return judged(trial.robot_deadline_ms >= least_ms, text)


def knows_budget(trial: Trial) -> Outcomes:
    """A robot whose hello says how long it waits is refused by the gate where that is too short; any other has to look itself."""
    trial.gate.pump(trial.wait_s, lambda: trial.gate.hello is not None)
    if trial.gate.hello is not None and trial.gate.hello.deadline_ms:
        return passed(f"its hello says {trial.gate.hello.deadline_ms} ms, by which the gate refuses it")
    return refuses_hello(lambda hello: msgspec.structs.replace(hello, deadline_ms=60_000))(trial)


def refuses_hello(change: Callable[[Hello], Hello], *, broken: bool = False) -> Callable[[Trial], Outcomes]:
    """The robot opens no session on a hello that differs so from the right one."""

    def check(trial: Trial) -> Outcomes:
        gate = trial.gate
        lose_session(trial)
        gate.welcoming = False
        try:
            mark = len(gate.heard)
            if not gate.pump(trial.wait_s, lambda: bool(gate.since(mark, Hello))):
                return failed(f"no hello within {trial.wait_s:g} s")
            own = gate.hello
            assert own is not None
            answer = change(Hello(nonce="cafe0001", peer=own.nonce, must=gate.must, deadline_ms=int(gate.budget_ms)))
            session = own.nonce + answer.nonce
            _say_hello(trial, answer, broken=broken)
            gate.pump(0.1)
            gate.beat(session=session)
            gate.pump(0.2)
            took = [heard.message for heard in gate.heard[mark:] if getattr(heard.message, "session", None) == session]
        finally:
            gate.welcoming = True
        return judged(not took, f"the robot took it: {took[0]}" if took else "no session")

    return check


def _say_hello(trial: Trial, hello: Hello, *, broken: bool) -> None:
    if not broken:
        trial.gate.say(hello)
        return
    frame = bytearray(encode_frame(hello, "G", trial.gate.framing))
    frame[5] ^= 1
    trial.gate.say_bytes(bytes(frame))


def opens(trial: Trial) -> Outcomes:
    """A right hello opens the session: the robot's heartbeats name it."""
    begun_ns = trial.gate.clock.now_ns()
    if not trial.gate.open_session(trial.wait_s):
        return failed(f"no session within {trial.wait_s:g} s. {_what_came(trial)}")
    return passed(f"after {(trial.gate.clock.now_ns() - begun_ns) / NS_PER_MS:.0f} ms")


def beats(trial: Trial) -> Outcomes:
    """Heartbeats come at the interval, each with another counter."""
    gate = trial.gate
    if not gate.open_session(trial.wait_s):
        return failed("no session")
    mark = len(gate.heard)
    gate.pump(WATCH_S)
    beaten = gate.since(mark, Heartbeat)
    if len(beaten) < 3:
        return failed(f"{len(beaten)} heartbeats in {WATCH_S:g} s")
    gaps = [(later.at_ns - earlier.at_ns) / NS_PER_MS for earlier, later in pairwise(beaten)]
    counters = [heard.message.counter for heard in beaten if isinstance(heard.message, Heartbeat)]
    stuck = any(earlier == later for earlier, later in pairwise(counters))
    states = {heard.message.state for heard in beaten if isinstance(heard.message, Heartbeat)}
    met = max(gaps) <= LONGEST_GAP_MS and not stuck and states <= {State.READY, State.BUSY}
    return judged(met, f"every {span(gaps, 'ms')}{'; the counter stood still' if stuck else ''}")


def beats_on(trial: Trial) -> Outcomes:
    """Over everything heard: no pause between two heartbeats of one session that makes the gate end it."""
    beaten = [heard for heard in trial.gate.heard if isinstance(heard.message, Heartbeat)]
    longest_ms = max(
        ((later.at_ns - earlier.at_ns) / NS_PER_MS for earlier, later in pairwise(beaten) if _session(earlier) == _session(later)),
        default=0.0,
    )
    return judged(longest_ms <= SILENCE_MS, f"{longest_ms:.0f} ms at most, {SILENCE_MS:g} ms end the session")


def _session(heard: Heard) -> object:
    return getattr(heard.message, "session", None)


def silence(how: str) -> Callable[[Trial], Outcomes]:
    """With a question open the gate falls silent: reject, no new question, a fresh hello; an ACCEPT after that is of the past."""

    def check(trial: Trial) -> Outcomes:
        gate = trial.gate
        asked = trial.trigger()
        if asked is None:
            return no_trigger(trial)
        trigger, at_ns = asked
        mark, session = len(gate.heard), trigger.session
        gate.beating = gate.welcoming = False
        try:
            gate.beat()
            last_ns = gate.clock.now_ns()
            counter = gate._counter  # noqa: SLF001 - the same value again is the point
            while (gate.clock.now_ns() - last_ns) / NS_PER_MS < NOTICED_MS + 100 and not gate.since(mark, Hello):
                _whisper(trial, how, counter)
                gate.pump(0.02)
            hellos = gate.since(mark, Hello)
            gate.say_bytes(accept(gate)(trigger))
            gate.pump(0.25)
            asked_on = [heard for heard in gate.since(mark, Trigger) if hellos and heard.at_ns > hellos[0].at_ns]
        finally:
            gate.beating = gate.welcoming = True
        if not hellos:
            return failed(f"no hello within {NOTICED_MS + 100:.0f} ms of silence")
        noticed_ms = (hellos[0].at_ns - last_ns) / NS_PER_MS
        first = hellos[0].message
        met = noticed_ms <= NOTICED_MS and not asked_on and isinstance(first, Hello) and first.nonce != session[:8]
        wrong = "; asked on without a session" if asked_on else ""
        result = trial.rejected(trigger, at_ns, mark)
        return judged(met, f"hello after {noticed_ms:.0f} ms{wrong}") if result[0] == "pass" else result

    return check


def _whisper(trial: Trial, how: str, counter: int) -> None:
    if how == "stuck":
        trial.gate.beat(counter)
    elif how == "strange":
        trial.gate.beat(session="0123456789abcdef")


def unknown_session(trial: Trial) -> Outcomes:
    """`N ... SESSION`: what is open is rejected, and the robot begins anew with a fresh nonce."""
    asked = trial.trigger()
    if asked is None:
        return no_trigger(trial)
    trigger, at_ns = asked
    gate, mark = trial.gate, len(trial.gate.heard)
    gate.welcoming = False
    try:
        gate.say(Nak(session=trigger.session, sequence=trigger.sequence, reason=Refusal.SESSION))
        gate.pump(NOTICED_MS / 1e3, lambda: bool(gate.since(mark, Hello)))
        gate.say_bytes(accept(gate)(trigger))
        gate.pump(0.1)
    finally:
        gate.welcoming = True
    fresh = any(isinstance(h.message, Hello) and h.message.nonce != trigger.session[:8] for h in gate.since(mark, Hello))
    result = trial.rejected(trigger, at_ns, mark)
    return judged(fresh, "a fresh hello" if fresh else "no fresh hello") if result[0] == "pass" else result


def another_hello(trial: Trial) -> Outcomes:
    """A hello of the gate with another nonce in the middle of a session: the gate is another one, what is open is rejected."""
    asked = trial.trigger()
    if asked is None:
        return no_trigger(trial)
    trigger, at_ns = asked
    gate, mark = trial.gate, len(trial.gate.heard)
    gate.welcoming = False
    try:
        gate.say(Hello(nonce="cafe0002", peer=trigger.session[:8], must=gate.must, deadline_ms=int(gate.budget_ms)))
        gate.pump(NOTICED_MS / 1e3, lambda: bool(gate.since(mark, Hello)))
        gate.say_bytes(accept(gate)(trigger))
        gate.pump(0.1)
    finally:
        gate.welcoming = True
    result = trial.rejected(trigger, at_ns, mark)
    begun = any(isinstance(h.message, Hello) for h in gate.since(mark, Hello))
    return judged(begun, "a fresh hello" if begun else "it went on in the old session") if result[0] == "pass" else result


def nonces(trial: Trial) -> Outcomes:
    """No nonce comes twice, over everything heard so far."""
    said: list[str] = []
    for heard in trial.gate.heard:
        if isinstance(heard.message, Hello) and (not said or said[-1] != heard.message.nonce):
            said.append(heard.message.nonce)
    met = len(said) == len(set(said)) and STRANGE not in said and len(said) > 1
    return judged(met, f"{len(said)} sessions, {len(set(said))} nonces")


def whole_frames(trial: Trial) -> Outcomes:
    """Everything the robot sent was a whole frame of the protocol."""
    counters = trial.gate.decoder.counters
    return judged(counters.total() == 0, f"{len(trial.gate.heard)} frames; {counters}")


def no_false_accept(trial: Trial) -> Outcomes:
    """ACCEPTED was never said to anything but an ACCEPT."""
    wrong = [
        heard.message
        for heard in trial.gate.heard
        if isinstance(heard.message, Ack) and heard.message.done is Done.ACCEPTED and heard.message.outcome is not Outcome.ACCEPT
    ]
    return judged(not wrong, f"{wrong[0]}" if wrong else "none")


def lose_session(trial: Trial) -> None:
    """Fall silent until the robot says hello."""
    gate = trial.gate
    if gate.session is None:
        return
    gate.beating = gate.welcoming = False
    mark = len(gate.heard)
    gate.pump(1.0, lambda: bool(gate.since(mark, Hello)))
    gate.beating = gate.welcoming = True


def _what_came(trial: Trial) -> str:
    counters, heard = trial.gate.decoder.counters, trial.gate.transcript
    if not any(" < " in text for text in heard):
        return "Nothing came: check wiring (TX and RX crossed?), port and that the robot's program runs"
    return f"What came were no frames of it ({counters}): check baud rate, parity, CRC and framing"
