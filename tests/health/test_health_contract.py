"""What the start-up contract measured is shown with the inspector."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from health_kit import Box, inspector_state

from edge.health.inspector import InspectorHealth
from edge.health.look import look
from edge.health.report import report
from edge.health.samples import samples
from edge.health.screen import page


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.end()


def test_the_slowest_case_and_its_room_are_on_the_page_and_in_the_metrics(box: Box) -> None:
    box.say(inspector=inspector_state(worst_ms={"T2": 12.0, "T5": 38.25}, room_ms=182.2)).work()
    seen = look(box.folder)
    assert "T5: 38.2 ms at worst of 182.2 ms, measured at start" in page(report(seen, {}))
    found = {(name, labels): value for name, labels, value in samples(seen, {})}
    assert found["cordon_inspector_worst_case_seconds", ("T5",)] == pytest.approx(0.03825)
    assert found["cordon_inspector_room_seconds", ()] == pytest.approx(0.1822)


def test_nothing_is_said_of_it_before_it_was_measured(box: Box) -> None:
    seen = look(box.say().work().folder)
    assert "at worst" not in page(report(seen, {}))
    assert not any(name in ("cordon_inspector_worst_case_seconds", "cordon_inspector_room_seconds") for name, _, _ in samples(seen, {}))


def test_the_inspector_writes_what_was_measured_last(tmp_path: Path) -> None:
    health = InspectorHealth(tmp_path / "gate.sock")
    health.measured({"T2": 40.0}, 80.0)
    health.measured({"T2": 3.0}, 82.2)
    health.loading("almost there")
    state = look(tmp_path).inspector_state
    health.close()
    assert state is not None
    assert (state.worst_ms, state.room_ms) == ({"T2": 3.0}, 82.2)
