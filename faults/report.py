"""What a run of the fault suite looks like in words: the table on the screen and the page `docs/faults.md`."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from faults.registry import Effort, Result
from faults.rows import ROWS, SECTIONS
from faults.runner import Ran, covered, of_row, totals

_INTRO = """# Faults

Every fault of the catalogue that a Linux machine can inject, what Cordon has to do about it, and what it did. Written by
`cordon faults --report docs/faults.md`; not edited by hand.

- **Row**: the fault's number; its first letter is the section.
- **Injector**: the function that injects the fault, and the test that shows the same in small.
- **Injections**: how often the fault was injected in this run.
- **Counter**: the product's counter or record that showed the fault.
- **False accept**: the robot let a part pass although the weld was bad, no frame of it had been judged in time, or a rule of the
  design (one verdict per trigger, durable before ACCEPT, bound to its frame) was broken. The injector knows the truth of each weld;
  the product's opinion does not count.
- **Lost record**: a verdict or disposition that the robot saw and that is not in the records, or a trigger without exactly one of each.
- **Cycle**: one trigger from its opening to its disposition; simulated on a virtual clock, or real between processes.

## How to run it

```
cordon faults                          # everything, about ten minutes on two cores
cordon faults --effort quick           # a twentieth of it
cordon faults --effort long            # ten times as much
cordon faults --rows C03,D*            # some rows
cordon faults --replay SEED[:CYCLE]    # the event log of one simulated run
```

The exit status is 0 only when nothing failed. The last line is JSON: `cycles_simulated, cycles_real, false_accepts, lost_records,
rows_covered, rows_total`.
"""


def result_word(result: Result | None) -> str:
    """The word for a result: passed, FAILED or skipped."""
    return "skipped" if result is None else "passed" if result.passed else "FAILED"


def line_of(ran: Ran) -> str:
    """One line for one injector that was run."""
    rows = ran.injector.rows
    shown = ",".join(rows) if len(rows) <= 6 else f"{','.join(rows[:5])},... ({len(rows)} rows)"
    head = f"{result_word(ran.result):7} {ran.seconds:8.1f} s  {ran.injector.name}  [{shown}]"
    if ran.result is None:
        return f"{head}  {ran.skipped}"
    if ran.failed:
        return f"{head}  {'; '.join(ran.result.why_not())}"
    return f"{head}  {ran.result.injections} injections{_figures(ran.result)}"


def _figures(result: Result) -> str:
    cycles = [(result.cycles_real, "cycles"), (result.cycles_simulated, "simulated cycles")]
    parts = [f"{count} {name}" for count, name in cycles if count]
    if result.worst_ms is not None:
        parts.append(f"worst {result.worst_ms:.1f} ms")
    parts += [text for text in (result.counter, result.note) if text]
    return "".join(f", {part}" for part in parts)


def table(ran: Sequence[Ran], rows: Sequence[str]) -> list[str]:
    """The lines of the table on the screen: one per row that was asked for."""
    lines = [f"{'row':4} {'injections':>10}  {'result':11}  fault"]
    return [*lines, *(f"{row:4} {_injections(ran, row):10}  {state(ran, row):11}  {ROWS[row].fault}" for row in rows)]


def state(ran: Sequence[Ran], row: str) -> str:
    """What became of a row: passed, FAILED, skipped, or not covered."""
    mine = of_row(ran, row)
    if any(each.failed for each in mine):
        return "FAILED"
    if covered(ran, row):
        return "passed"
    return "skipped" if mine else "not covered"


def _injections(ran: Sequence[Ran], row: str) -> int:
    return sum(each.result.times(row) for each in of_row(ran, row) if each.result is not None)


def write_report(path: Path, ran: Sequence[Ran], effort: Effort) -> None:
    """Write the page: totals, a table per section, and the rows that were not covered with their reasons. Raises OSError."""
    parts = [_INTRO, _summary(ran, effort)]
    parts += [_section(letter, ran) for letter in SECTIONS]
    parts += [_not_covered(ran), _failures(ran)]
    path.write_text("\n".join(part for part in parts if part), encoding="utf-8")


def _summary(ran: Sequence[Ran], effort: Effort) -> str:
    sums = totals(ran)
    seconds = sum(each.seconds for each in ran)
    cycles = f"{sums.cycles_simulated:,} | {sums.cycles_real:,}"
    lines = [
        "## This run",
        "",
        f"Effort {effort.name}, seed {effort.seed}, Python {platform.python_version()} on {platform.machine()}, {seconds:.0f} s.",
        "",
        "| Simulated cycles | Real cycles | False accepts | Lost records | Rows covered |",
        "|---:|---:|---:|---:|---:|",
        f"| {cycles} | {sums.false_accepts} | {sums.lost_records} | {sums.rows_covered} of {sums.rows_total} |",
    ]
    return "\n".join([*lines, ""])


def _section(letter: str, ran: Sequence[Ran]) -> str:
    lines = [
        f"## {letter}: {SECTIONS[letter]}",
        "",
        "| Row | Fault | Reaction demanded | Injector (test) | Injections | Result | Counter |",
        "|---|---|---|---|---:|---|---|",
    ]
    for row in ROWS.values():
        if row.section == letter:
            lines += _row_lines(row.id, ran)
    return "\n".join([*lines, ""])


def _row_lines(row: str, ran: Sequence[Ran]) -> list[str]:
    head = f"| {row} | {_cell(ROWS[row].fault)} | {_cell(ROWS[row].reaction)} |"
    mine = of_row(ran, row)
    if not mine:
        return [f"{head} | 0 | not covered | |"]
    lines = []
    for each in mine:
        injector = f"`{each.injector.name}`" + (f" (`{each.injector.test}`)" if each.injector.test else "")
        times = each.result.times(row) if each.result is not None else 0
        counter = each.result.counter if each.result is not None else ""
        worst = f"; worst {each.result.worst_ms:.1f} ms" if each.result is not None and each.result.worst_ms is not None else ""
        lines.append(f"{head} {injector} | {times:,} | {result_word(each.result)} | {_cell(counter + worst)} |")
        head = "| | | |"
    return lines


def _not_covered(ran: Sequence[Ran]) -> str:
    lines = []
    for row in ROWS.values():
        if not covered(ran, row.id):
            reasons = [each.skipped for each in of_row(ran, row.id) if each.skipped]
            if any(each.failed for each in of_row(ran, row.id)):
                reasons.append("Failed, see below.")
            lines.append(f"- **{row.id}** {row.fault}: {' '.join(reasons) or 'No injector yet.'}")
    return "\n".join(["## Not covered", "", *(lines or ["None."]), ""])


def _failures(ran: Sequence[Ran]) -> str:
    lines = [f"- `{each.injector.name}`: {'; '.join(each.result.why_not())}" for each in ran if each.result is not None and each.failed]
    return "\n".join(["## Failures", "", *lines, ""]) if lines else ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
