"""When the bundle may change: never where the gate would compare one bundle's report with another's announcement."""

from edge.contract import TriggerId
from edge.inspector.quiet import LAST_NS, PATIENCE_NS, Quiet

MS = 1_000_000
FIRST, NEXT = TriggerId("0123456789abcdef", 1), TriggerId("0123456789abcdef", 2)


def test_nothing_is_waited_for_at_the_beginning() -> None:
    assert Quiet(200).allows(1, since_ns=1)


def test_an_open_trigger_is_waited_for_until_its_budget_is_over() -> None:
    quiet = Quiet(200)
    quiet.expects(FIRST, 0)
    assert quiet.waited_for(199 * MS)
    assert not quiet.allows(199 * MS, since_ns=-10 * PATIENCE_NS)
    assert quiet.allows(200 * MS, since_ns=0)


def test_a_report_is_waited_for_until_its_case_is_settled() -> None:
    quiet = Quiet(10_000)
    quiet.expects(FIRST, 0)
    quiet.reported(FIRST, 1 * MS)
    assert not quiet.waited_for(2 * MS)
    assert not quiet.allows(2 * MS, since_ns=0)
    quiet.settled(FIRST)
    assert quiet.allows(3 * MS, since_ns=0)


def test_patience_ends_after_a_report_that_was_judged_as_it_came() -> None:
    quiet = Quiet(10_000)
    quiet.expects(FIRST, 0)
    quiet.reported(FIRST, 1 * MS)
    assert not quiet.allows(PATIENCE_NS - 1, since_ns=0)
    assert quiet.allows(PATIENCE_NS, since_ns=0)
    quiet.expects(NEXT, PATIENCE_NS)
    assert not quiet.allows(2 * PATIENCE_NS, since_ns=0), "never with a trigger open"


def test_no_patience_ends_for_a_report_that_the_gate_keeps_for_its_trigger() -> None:
    quiet = Quiet(10_000)
    quiet.reported(FIRST, 0)
    assert not quiet.allows(2 * PATIENCE_NS, since_ns=0)
    quiet.expects(NEXT, 2 * PATIENCE_NS)
    quiet.settled(NEXT)
    assert not quiet.allows(3 * PATIENCE_NS, since_ns=0), "another trigger settles nothing"
    quiet.settled(FIRST)
    assert quiet.allows(3 * PATIENCE_NS, since_ns=0)


def test_a_kept_report_is_forgotten_with_the_budget() -> None:
    quiet = Quiet(200)
    quiet.reported(FIRST, 0)
    assert not quiet.allows(199 * MS, since_ns=0)
    assert quiet.allows(200 * MS, since_ns=0)


def test_a_frame_without_a_trigger_is_judged_as_it_comes() -> None:
    quiet = Quiet(200)
    quiet.reported(None, 0)
    assert quiet.allows(0, since_ns=0)


def test_an_early_report_is_waited_for_although_another_camera_reported_since() -> None:
    quiet = Quiet(10_000)
    quiet.expects(FIRST, 0)
    quiet.reported(NEXT, 1 * MS)
    quiet.reported(FIRST, 2 * MS)
    quiet.settled(FIRST)
    assert not quiet.allows(3 * MS, since_ns=0)
    quiet.settled(NEXT)
    assert quiet.allows(4 * MS, since_ns=0)


def test_triggers_that_the_gate_rejects_at_once_put_it_off_for_a_while_only() -> None:
    quiet = Quiet(200)
    for number in range(LAST_NS // (20 * MS)):
        quiet.reported(TriggerId("0123456789abcdef", 1 + number), number * 20 * MS)
        assert not quiet.allows(number * 20 * MS, since_ns=0)
    assert quiet.allows(LAST_NS, since_ns=0)


def test_triggers_without_frames_put_it_off_for_a_while_only() -> None:
    quiet = Quiet(200)
    for number in range(1 + LAST_NS // (195 * MS)):
        quiet.expects(TriggerId("0123456789abcdef", 1 + number), number * 195 * MS)
    assert not quiet.allows(LAST_NS - 1, since_ns=0)
    assert quiet.allows(LAST_NS, since_ns=0)
