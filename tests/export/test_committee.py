import numpy as np
import pytest

from edge.errors import ExportError
from edge.manifest import Member
from export.proof.committee import choose_committee, combine

TRUTH = np.array([False, False, True, True])


def member(name: str, **changes: object) -> Member:
    ports = {"input": "heightmap", "output": "scores", "classes": ("bad", "good"), "architecture": "small"}
    return Member(name=name, file=f"{name}.onnx", **{**ports, **changes})  # type: ignore[arg-type]


A, B, C = member("a"), member("b", weight=3.0), member("c")


def test_mean_and_weighted_mean_are_what_they_say() -> None:
    badness = [np.array([0.2, 0.4]), np.array([0.6, 0.0])]
    assert combine(badness, [A, B], "mean") == pytest.approx([0.4, 0.2])
    assert combine(badness, [A, B], "weighted") == pytest.approx([0.5, 0.1])


def test_voters_get_their_own_thresholds_and_a_majority_decides() -> None:
    badness = [np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.01, 0.02, 0.06, 0.07]), np.array([0.3, 0.3, 0.5, 0.9])]
    found = choose_committee(badness, [A, B, C], "vote", TRUTH, max_escape_rate=0.0)
    assert [m.threshold for m in found.members] == pytest.approx([0.5, 0.04, 0.4])
    assert (found.threshold.value, found.threshold.escapes, found.threshold.overkills) == (0.5, 0, 0)
    assert found.scores([np.array([0.9]), np.array([0.05]), np.array([0.3])])[0] == pytest.approx(2 / 3)


def test_a_vote_is_as_far_from_changing_as_its_nearest_member() -> None:
    badness = [np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.01, 0.02, 0.06, 0.07])]
    found = choose_committee(badness, [A, B], "vote", TRUTH, max_escape_rate=0.0)
    assert found.away(badness, TRUTH) == pytest.approx([0.03, 0.02, 0.02, 0.03])
    assert found.away(badness, ~TRUTH) == pytest.approx([-0.03, -0.02, -0.02, -0.03])


def test_an_autoencoder_keeps_the_quantile_rule_unless_bad_welds_lie_below_it() -> None:
    coder = member("a", kind="autoencoder")
    above = choose_committee([np.array([0.2, 0.4, 0.9, 0.95])], [coder], "mean", TRUTH, max_escape_rate=0.0)
    assert above.threshold.value == 0.5
    below = choose_committee([np.array([0.2, 0.3, 0.4, 0.95])], [coder], "mean", TRUTH, max_escape_rate=0.0)
    assert below.threshold.value == pytest.approx(0.35)
    classifier = choose_committee([np.array([0.2, 0.4, 0.9, 0.95])], [A], "mean", TRUTH, max_escape_rate=0.0)
    assert classifier.threshold.value == pytest.approx(0.65)


def test_a_voter_that_tells_nothing_apart_is_refused() -> None:
    with pytest.raises(ExportError, match="no threshold"):
        choose_committee([np.full(4, 0.5), np.array([0.1, 0.2, 0.8, 0.9])], [A, B], "vote", TRUTH, max_escape_rate=0.0)
