from collections import Counter

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from model_steps import STEPS, Plan, a_plan, take
from model_world import World

PLANS = st.lists(st.tuples(st.sampled_from([*STEPS, "strike", "strike", "whole_part"]), st.integers(0, 999)), max_size=40)
REACHED = {
    # what the gate says
    "weld ACCEPT sent": 500,
    "weld ACCEPT resent": 10,
    "weld REJECT resent": 10,
    "part ACCEPT sent": 100,
    "part ACCEPT resent": 3,
    "part REJECT sent": 100,
    "taken": 500,
    "change-over R1": 10,
    "change-over R2": 10,
    "NAK BUSY": 10,
    "NAK DEADLINE": 5,
    "NAK PART": 10,
    "NAK RECIPE": 3,
    "NAK SEQUENCE": 10,
    "NAK SESSION": 50,
    # what the robot does with it
    "robot weld passes": 500,
    "robot part passes": 100,
    "robot weld SESSION_LOST": 10,
    "robot weld NO_ANSWER": 10,
    # every verdict that this world can bring about
    "verdict OK": 500,
    "verdict DEFECT": 10,
    "verdict NO_FRAME": 10,
    "verdict FRAME_PART": 1,
    "verdict BUNDLE_DIFFERS": 10,
    "verdict ENGINE_FAILED": 10,
    "verdict INSPECTOR_DOWN": 10,
    "verdict NOT_READY": 3,
    "verdict TYPOLOGY_DIFFERS": 3,
    "verdict WELD_UNKNOWN": 10,
    "verdict WELDS_MISSING": 50,
    "verdict PARTS_OPEN": 50,
    "verdict RECIPE": 3,
    "verdict RECORD_FAULT": 50,
    "verdict LATCHED": 50,
    "verdict BUSY": 10,
    "verdict SESSION_LOST": 5,
    "verdict GATE_RESTARTED": 3,
    # an ACCEPT that was decided and then did not leave
    "withheld RECORD_FAULT": 5,
    "withheld RECORD_LATE": 5,
    "withheld LATCHED": 5,
    "withheld GATE_RESTARTED": 3,
    # how it ends
    "disposition ACCEPTED": 500,
    "disposition REJECTED": 200,
    "disposition TIMEOUT": 50,
    "disposition MISMATCH": 10,
    "disposition SUPERSEDED": 10,
    "disposition REFUSED": 10,
    "disposition SESSION_LOST": 30,
    "disposition GATE_RESTARTED": 20,
    # faults, at the moments that matter
    "gate killed WAITING": 3,
    "gate killed COMMITTING": 5,
    "gate killed SENDING": 1,
    "gate killed SENT": 10,
    "gate stopped WAITING": 3,
    "gate stopped COMMITTING": 5,
    "gate stopped SENDING": 1,
    "gate stopped SENT": 10,
    "disk failed with ACCEPT under way": 3,
    "latched with ACCEPT under way": 10,
    "inspector falls with a trigger open": 3,
    "bundle swapped with a frame under way": 3,
    "dropped by the port": 10,
    "early frame": 10,
    "a question too early": 3,
    "lie REJECT ACCEPT ACCEPTED": 5,
    "lie REJECT REJECT ACCEPTED": 5,
    "lie REJECT ACCEPT REJECTED": 5,
    "lie ACCEPT REJECT REJECTED": 5,
    "latched: noise": 10,
    "latched: records": 10,
    "latched: three engine failures": 5,
    "latched: a robot that let pass what was rejected": 5,
    "latched: a confirmation of nothing": 5,
}
"""How often each situation must have been reached by the seeded plans, so that what held there was really tried."""


def play(plan: Plan, seen: Counter[str] | None = None) -> None:
    """Session and model agree after every step, and I1 to I5 hold on the wire, on the disk and against the truth."""
    take(World(seen), plan)


@pytest.mark.slow
@hypothesis_settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(PLANS)
def test_session_and_model_agree_whatever_happens(plan: Plan) -> None:
    play(plan)


@pytest.mark.slow
def test_session_and_model_agree_in_every_situation_that_matters() -> None:
    seen = Counter[str]()
    for seed in range(110):
        play(a_plan(seed, 120), seen)
    missing = {what: (seen[what], least) for what, least in REACHED.items() if seen[what] < least}
    assert not missing, f"reached too seldom: {missing}"


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_session_and_model_agree_for_long() -> None:
    for seed in range(1_000, 4_000):
        play(a_plan(seed, 150))


@pytest.mark.nightly
@pytest.mark.timeout(900)
@hypothesis_settings(max_examples=2_000, deadline=None, database=None)
@given(PLANS)
def test_session_and_model_agree_on_plans_not_tried_before(plan: Plan) -> None:
    play(plan)
