"""The suite's frame: whatever goes wrong inside an injector ends in exit status 1 and is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.errors import ConfigError
from faults import cli, registry, report
from faults.registry import Effort, Result, Skipped, injects, select
from faults.rows import ROWS, SECTIONS


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "REGISTERED", {})
    monkeypatch.setattr(registry, "PACKAGES", ())
    return


def run(*words: str) -> int:
    return cli.main(["--effort", "quick", "--rows", "C03,D*", *words])


def register(result: Callable[[], Result], *rows: str) -> None:
    def injector(_effort: Effort) -> Result:
        return result()

    injector.__qualname__ = f"of_{rows[0]}"
    injects(*rows)(injector)


def refuse(exc: Exception) -> Callable[[], Result]:
    def raise_it() -> Result:
        raise exc

    return raise_it


def test_the_catalogue_has_its_93_rows_in_sections() -> None:
    lengths = {letter: sum(row.section == letter for row in ROWS.values()) for letter in SECTIONS}
    assert lengths == {"A": 15, "B": 11, "C": 19, "D": 13, "E": 13, "F": 14, "G": 8}
    assert all(row.fault and row.reaction for row in ROWS.values())


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(
    ("result", "named"),
    [
        (lambda: Result(injections=5, failures=("the robot moved",)), "the robot moved"),
        (lambda: Result(injections=5, false_accepts=1), "1 false accepts"),
        (lambda: Result(injections=5, lost_records=2), "2 lost records"),
        (lambda: Result(injections=0), "nothing was injected"),
        (refuse(ValueError("no such pipe")), "ValueError: no such pipe"),
    ],
)
def test_whatever_goes_wrong_makes_exit_1_and_is_named(
    result: Callable[[], Result], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    register(lambda: Result(injections=3, cycles_real=3), "D05")
    register(result, "C03")
    assert run() == 1
    out = capsys.readouterr().out
    assert named in out.split("FAILED test_registry.of_C03: ", 1)[1]
    assert json.loads(out.splitlines()[-1])["rows_covered"] == 1


@pytest.fixture
def good(empty: None) -> None:  # noqa: ARG001
    @injects("D01", "D02", test="tests/x.py")
    def full_disk(effort: Effort) -> Result:
        assert effort.folder.is_dir()
        assert len(str(effort.folder)) < 40
        return Result(injections=effort.times(100), cycles_real=7, counter="storage 3", worst_ms=1.5)

    @injects("D03")
    def failed_sync(_effort: Effort) -> Result:
        raise Skipped("strace is missing: apt-get install strace")


@pytest.mark.usefixtures("good")
def test_what_passes_makes_exit_0_and_the_last_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "cycles_simulated": 0,
        "cycles_real": 7,
        "false_accepts": 0,
        "lost_records": 0,
        "rows_covered": 2,
        "rows_total": 93,
    }


@pytest.mark.usefixtures("empty")
def test_nothing_registered_for_a_row_is_no_pass() -> None:
    assert run() == 1


@pytest.mark.usefixtures("good")
def test_the_report_has_every_row_its_injector_and_why_others_are_not_covered(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    assert run("--report", str(page)) == 0
    text = page.read_text()
    row = next(line for line in text.splitlines() if line.startswith("| D01 |"))
    assert "full_disk" in row
    assert "(`tests/x.py`) | 5 | passed | storage 3; worst 1.5 ms |" in row
    assert all(f"| {row} |" in text for row in ROWS)
    assert "**D03** input/output error, failed sync: strace is missing" in text
    assert "**F04** expired metadata, clock frozen: No injector yet." in text
    assert "**A01** flood of frames: No injector yet." in text


@pytest.mark.usefixtures("good")
def test_an_interrupt_prints_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    @injects("D13")
    def stopped(_effort: Effort) -> Result:
        raise KeyboardInterrupt

    assert run() == 130
    out = capsys.readouterr().out
    assert "full_disk" in out
    assert "interrupted" in out
    assert json.loads(out.splitlines()[-1])["rows_covered"] == 2


@pytest.mark.usefixtures("empty")
def test_unknown_rows_and_patterns_are_refused() -> None:
    with pytest.raises(ConfigError, match="X09"):
        injects("X09")
    register(lambda: Result(injections=1), "A01")
    with pytest.raises(ConfigError, match="one name"):
        register(lambda: Result(injections=1), "A01")
    with pytest.raises(ConfigError, match="Q"):
        select({}, "A01,Q*")


@pytest.mark.usefixtures("empty")
def test_a_row_that_one_injector_never_reached_is_not_covered(capsys: pytest.CaptureFixture[str]) -> None:
    register(lambda: Result(injections=4, injections_by_row={"D01": 4}), "D01", "D02")
    assert run() == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows_covered"] == 1


def test_efforts_scale() -> None:
    times = [Effort(name=name, seed=1, folder=Path()).times(30) for name in ("quick", "ci", "long")]
    assert times == [1, 30, 300]
    assert Effort(name="quick", seed=1, folder=Path()).times(3) == 1


def test_a_cell_of_the_report_keeps_its_column() -> None:
    assert report._cell("a | b\nc") == "a \\| b c"


def test_an_error_while_a_package_of_injectors_loads_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_injectors.py").write_text("raise RuntimeError('broken')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "PACKAGES", ("absent_injectors", "broken_injectors"))
    with pytest.raises(RuntimeError, match="broken"):
        registry.load()
