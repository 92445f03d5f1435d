"""The pure rules: what makes a score, what names a typology, and what a frame counter says."""

from __future__ import annotations

import math

import pytest

from edge.bundle import Member
from edge.contract import Reason
from edge.errors import FrameError
from edge.inspector.scoring import route, typology_score
from edge.inspector.sequence import FrameSequence

LABELS = ("bad", "good")


def member(name: str, classes: tuple[str, ...] = LABELS) -> Member:
    return Member(name=name, file=f"{name}.onnx", architecture="tiny", input="heightmap", output="scores", classes=classes)


def test_badness_is_the_mean_over_the_members_by_label_and_not_by_place() -> None:
    score = typology_score([[0.9, 0.1], [0.4, 0.6]], [member("a"), member("b", ("good", "bad"))], "mean", "bad")
    assert score.members == (0.9, 0.6)
    assert score.value == pytest.approx(0.75)


@pytest.mark.parametrize(
    "answer",
    [[math.nan, 1.0], [1.0, math.nan], [math.inf, 0.0], [-0.1, 1.1], [0.5, 0.4], [0.6, 0.5], [0.0, 0.0], [1.0], [0.3, 0.3, 0.4], []],
)
def test_what_is_no_set_of_probabilities_gives_no_score(answer: list[float]) -> None:
    for rule in (lambda: typology_score([answer], [member("a")], "mean", "bad"), lambda: route(answer, LABELS)):
        with pytest.raises(FrameError) as caught:
            rule()
        assert caught.value.reason is Reason.SCORE_INVALID


@pytest.mark.parametrize("answers", [[], [[0.1, 0.9]], [[0.1, 0.9]] * 3])
def test_a_missing_or_surplus_member_gives_no_score(answers: list[list[float]]) -> None:
    with pytest.raises(FrameError, match="missing"):
        typology_score(answers, [member("a"), member("b")], "mean", "bad")


def test_the_router_names_the_likeliest() -> None:
    found = route([0.2, 0.7, 0.1], ("T2", "T3", "T4"))
    assert (found.typology, found.confidence) == ("T3", 0.7)


def kinds(*counters: int) -> list[str]:
    sequence = FrameSequence()
    return [sequence.frame(counter, captured_ns).kind for captured_ns, counter in enumerate(counters)]


@pytest.mark.parametrize(
    ("counters", "expected"),
    [
        ((5, 6, 7), ["next", "next", "next"]),
        ((5, 8, 9), ["next", "gap", "next"]),
        ((5, 5, 6), ["next", "duplicate", "next"]),
        ((5, 4, 6), ["next", "duplicate", "next"]),
        ((812, 1, 2), ["next", "restart", "next"]),
        ((812, 0, 1), ["next", "restart", "next"]),
        ((812, 2, 813), ["next", "duplicate", "next"]),
        ((1, 1, 2), ["next", "restart", "next"]),
    ],
)
def test_counters_tell_what_happened(counters: tuple[int, ...], expected: list[str]) -> None:
    assert kinds(*counters) == expected


def test_the_first_frame_repeated_with_its_stamp_is_a_duplicate() -> None:
    sequence = FrameSequence()
    assert [sequence.frame(1, 55).kind for _ in range(2)] == ["next", "duplicate"]


def test_a_gap_counts_what_is_missing() -> None:
    sequence = FrameSequence()
    sequence.frame(5, 0)
    assert sequence.frame(9, 0).missed == 3
    assert sequence.alive(11).missed == 2
    assert sequence.frame(12, 0).kind == "next"


def test_an_alive_message_with_a_lower_counter_starts_a_new_run() -> None:
    sequence = FrameSequence()
    sequence.frame(900, 0)
    assert sequence.alive(3).kind == "restart"
    assert sequence.frame(4, 0).kind == "next"


def test_an_alive_message_before_the_first_frame_sets_the_start() -> None:
    sequence = FrameSequence()
    assert sequence.alive(0).kind == "next"
    assert sequence.frame(3, 0).missed == 2
