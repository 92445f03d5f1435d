"""What a change of the inspector's bundle means to triggers that are under way: the rules that `edge.inspector.quiet` counts on."""

from gate_kit import BUNDLE, Driven, a_state

from edge.contract import FrameEvent, Outcome, Reason

OTHER = "c" * 64


def last(driven: Driven) -> tuple[Outcome, Reason]:
    return driven.verdicts[-1].outcome, driven.verdicts[-1].reason


def test_a_trigger_that_waits_for_its_frame_may_be_judged_by_the_next_bundle() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.tell(a_state(bundle=OTHER))
    assert not driven.verdicts
    driven.report(key, bundle=OTHER)
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)
    assert driven.verdict_rows[-1].bundle == OTHER


def test_a_report_before_the_change_counts_and_one_after_it_does_not() -> None:
    driven = Driven().ready()
    driven.report(driven.trigger(1))
    driven.tell(a_state(bundle=OTHER))
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)
    assert driven.verdict_rows[-1].bundle == BUNDLE
    driven.report(driven.trigger(2))
    assert last(driven) == (Outcome.REJECT, Reason.BUNDLE_DIFFERS)


def test_a_bundle_that_could_not_take_over_is_an_event_and_rejects_nothing() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.tell(FrameEvent(camera="", counter=None, reason=Reason.BUNDLE_FAULT, detail="the active bundle cannot be used"))
    event = driven.events[-1]
    assert (event.kind, event.reason, event.detail) == ("bundle", "BUNDLE_FAULT", "the active bundle cannot be used")
    driven.report(key)
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)
    driven.trigger(2)
    driven.pass_ms(95)
    assert driven.verdict_rows[-1].detail == "frame judged: no frame for this trigger", "it says nothing of frames"
