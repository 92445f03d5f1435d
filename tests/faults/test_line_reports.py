"""What the real gate makes of reports that lie, come at the last moment, or carry texts that forge lines."""

from collections.abc import Callable
from pathlib import Path

import pytest

from faults.line import reports
from faults.registry import Effort, Result


@pytest.mark.parametrize("inject", [reports.incomplete_reports, reports.race_at_the_cutoff, reports.forged_lines])
def test_reports_that_lie_are_refused(inject: Callable[[Effort], Result], tmp_path: Path) -> None:
    result = inject(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.passed, result.why_not()


def test_a_report_that_should_be_refused_and_is_not_is_a_false_accept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "refusable", lambda: iter([({"backend": "another"}, "")]))
    result = reports.incomplete_reports(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.false_accepts == 1


def test_a_forged_line_is_told_from_the_gates_own() -> None:
    assert reports._is_log_line(
        'time=2026-11-21T12:00:00.000Z level=info from=gate kind=frame reason=FRAME_CRC text="a \\"b\\" \\\\nforged"'
    )
    assert not reports._is_log_line("forged")
    assert not reports._is_log_line('time=2026-11-21T12:00:00.000Z level=info from=gate text="a" kind="verdict"')
    assert not reports._is_log_line("time=2026-11-21T12:00:00.000Z level=info from=gate text=\x1b[2J")
