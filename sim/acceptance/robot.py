"""The acceptance of a robot program: every rule of docs/robot-link.md that its end has to keep, in an order that a cell can run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from edge.gate.messages import Hello, Refusal
from sim.acceptance import robot_parts as parts
from sim.acceptance import robot_session as session
from sim.acceptance import robot_verdicts as verdicts
from sim.acceptance.answers import BROKEN_FRAMES, WRONG_FIELDS
from sim.acceptance.findings import Finding, Report, line_of, unanswered
from sim.acceptance.trial import Outcomes, Trial

ALL_BITS = 0xFFFF


class Check(NamedTuple):
    """One rule and how to look at it."""

    check: str
    rule: str
    run: Callable[[Trial], Outcomes]


def _hello(**change: object) -> Callable[[Trial], Outcomes]:
    def changed(hello: Hello) -> Hello:
        return msgspec.structs.replace(hello, **change)

    return session.refuses_hello(changed)


OPENING = (
    Check("its hello", "says hello until it is answered: fresh nonce, version, profile, deadline", session.hello_form),
    Check("session", "opens a session on the gate's hello", session.opens),
    Check("heartbeats", "sends heartbeats, each with another counter", session.beats),
    Check("accepts ACCEPT", "takes the one right ACCEPT and confirms it", verdicts.takes_accept),
    Check("its deadline", "waits for budget, wire and adapters", session.has_room),
    Check("rejects REJECT", "rejects on REJECT and confirms that", verdicts.takes_reject),
    Check("rejects VOID", "rejects on VOID and confirms that", verdicts.takes_void),
    Check("questions", "sequences rise by one; a repetition is the same question", verdicts.trigger_form),
    Check("frames may end in LF", "CR, LF and CR LF end a frame", partial(verdicts.ends_with, b"\n", b"")),
    Check("frames may end in CR LF", "CR, LF and CR LF end a frame", partial(verdicts.ends_with, b"\r\n", b"\r\n")),
    Check("noise before a frame", "bytes outside of frames are nothing", partial(verdicts.ends_with, b"\r", b"\xff\x00noise*07\r")),
    Check("a break before a frame", "bytes outside of frames are nothing", verdicts.after_break),
    Check("a frame cut short before it", "a $ begins a frame anew", partial(verdicts.ends_with, b"\r", b"$GB,0123456789abcdef,REA")),
)
ANSWERS = tuple(Check(wrong.check, wrong.rule, partial(verdicts.wrong, wrong)) for wrong in (*WRONG_FIELDS, *BROKEN_FRAMES))
TIMES = (
    Check("a verdict at the end of the budget", "waits as long as its hello says", verdicts.waits_long_enough),
    Check("no verdict", "silence is a reject, and the work goes on", verdicts.silence),
    Check("no verdict, again and again", "no number of silences makes an accept", verdicts.silence_again),
    Check("a late ACCEPT", "an ACCEPT after the robot's own deadline does not count", verdicts.late),
    Check("a late ACCEPT to a repetition", "the deadline counts from the question", verdicts.late_to_repetition),
    Check("a repeated ACCEPT", "a verdict counts once", verdicts.repeated),
    Check("ACCEPT after REJECT", "the first verdict counts", verdicts.first_counts),
    Check("ACCEPT before the question", "a verdict nobody asked for decides nothing", verdicts.unasked),
    *(Check(f"refused: {reason.value}", "what the gate does not take is rejected", partial(verdicts.refused, reason))
      for reason in (Refusal.BUSY, Refusal.SEQUENCE, Refusal.DEADLINE)),
)  # fmt: skip
SESSIONS = (
    Check("the gate falls silent", "three missed heartbeats: reject, no question, a fresh hello", session.silence("silent")),
    Check("the gate's counter stands still", "a heartbeat counts only with another counter", session.silence("stuck")),
    Check("another session's heartbeats", "frames of another session are ignored", session.silence("strange")),
    Check("refused: SESSION", "rejects what is open and begins anew", session.unknown_session),
    Check("another gate says hello", "rejects what is open and begins anew", session.another_hello),
    Check("hello to another nonce", "takes only the answer to its own hello", _hello(peer="00000001")),
    Check("hello of another version", "takes only major version 1", _hello(major=2, lowest=2)),
    Check("hello that asks for the unknown", "takes no gate whose must bits it does not know", _hello(must=0x8000)),
    Check("hello of another profile", "takes only profile H", _hello(profile="P")),
    Check("hello of a longer budget", "works with no gate whose budget is beyond its deadline", session.knows_budget),
    Check("broken hello", "a frame whose check is wrong is none", session.refuses_hello(lambda hello: hello, broken=True)),
    Check("works again", "after all this the right ACCEPT still counts", verdicts.takes_accept),
)
PARTS = (
    Check("names its recipe", "names the recipe in each session before the first weld", parts.names_recipe),
    Check("recipe refused", "starts no part under a recipe that was not confirmed", parts.other_recipe),
    Check("part: ACCEPT", "takes the one right ACCEPT of a part", parts.passes),
    *(Check(name, rule, parts.fails(answer)) for name, rule, answer in parts.WRONG_PARTS),
)
BOOKS = (
    Check("first sequence", "the first question of a session has sequence 1", verdicts.first_sequence),
    Check("heartbeats all the while", "sends heartbeats whatever its arm does", session.beats_on),
    Check("nonces", "no nonce comes twice", session.nonces),
    Check("confirmations", "ACCEPTED is said to ACCEPT only", session.no_false_accept),
    Check("whole frames", "everything the robot sends is a whole frame of the protocol", session.whole_frames),
)


def at_cell(what: str, rule: str, do: str, then: Callable[[Trial], Outcomes]) -> Check:
    """A rule that needs a hand at the cell first."""

    def run(trial: Trial) -> Outcomes:
        if not trial.observer.do(do):
            return unanswered("nobody at the cell")
        return then(trial)

    return Check(what, rule, run)


BY_HAND = (
    at_cell("the cable is pulled", "goes on by itself when the cable is back, in a new session",
            "Pull the robot's cable, wait until the robot has rejected the weld it asked about, and plug it in again.",
            verdicts.takes_accept),
    at_cell("the controller is switched off and on", "nonces differ from those before the power cut",
            "Switch the robot controller off and on again, and start its program.", verdicts.takes_accept),
)  # fmt: skip


def checks_for(trial: Trial, *, by_hand: bool) -> tuple[Check, ...]:
    """Which rules are looked at, in order."""
    extra = (*(PARTS if trial.recipe else ()), *(BY_HAND if by_hand else ()))
    return (*OPENING, *ANSWERS, *TIMES, *SESSIONS, *extra, *BOOKS)


def accept_robot(trial: Trial, checks: Sequence[Check], report: Report, tell: Callable[[str], None] = lambda _: None) -> Report:
    """Look at each rule in turn; the first one that needs a session waits for it. Ends early where the robot says nothing at all."""
    for check in checks:
        result, seen = check.run(trial)
        finding = Finding(check=check.check, rule=check.rule, result=result, seen=seen)
        report.findings.append(finding)
        tell(line_of(finding))
        if result == "FAIL" and check in OPENING[:2]:
            break
    report.transcript = trial.gate.transcript
    return report
