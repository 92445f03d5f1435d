"""`cordon status` says whether the challenge parts passed, when the next ones are due, and what to show."""

from __future__ import annotations

from pathlib import Path

import pytest
from health_kit import Box, gate_state

from edge.health.look import look
from edge.health.report import report
from edge.health.screen import page
from edge.health.words import ChallengeShown


@pytest.mark.parametrize(
    ("challenge", "line"),
    [
        (
            ChallengeShown(missing=(), why="overdue since 06:00; show BAD W1 (known bad)"),
            "DUE: overdue since 06:00; show BAD W1 (known bad)",
        ),
        (ChallengeShown(missing=(), accepting=True, bundle="b" * 64, due_in_s=14_400.0), "passed by bundle bbbbbbbbbbbb, due in 4 h"),
        (ChallengeShown(missing=(), accepting=True, bundle="b" * 64, due_in_s=-120.0), "passed by bundle bbbbbbbbbbbb, due since 2 min"),
        (ChallengeShown(missing=(), accepting=True, bundle="b" * 64), "passed by bundle bbbbbbbbbbbb, not due again by time"),
    ],
)
def test_the_page_says_how_the_challenge_parts_stand(tmp_path: Path, challenge: ChallengeShown, line: str) -> None:
    box = Box(tmp_path)
    box.say(gate_state(challenge=challenge)).work()
    text = page(report(look(box.folder), {}))
    box.end()
    (shown,) = [found for found in text.splitlines() if found.startswith("challenge")]
    assert shown.endswith(line)


def test_without_the_rule_the_page_says_nothing_of_it(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.say().work()
    text = page(report(look(box.folder), {}))
    box.end()
    assert "challenge" not in text
