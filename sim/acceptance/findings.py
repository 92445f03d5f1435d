"""What an acceptance found: one finding per rule, as a table to read, as Markdown to file and as JUnit for a build server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from edge.errors import SimulationError

Result = Literal["pass", "FAIL", "open"]
"""`open`: nobody could or did look, so that the rule is neither met nor broken."""
_XML_UNUSABLE = {number: None for number in range(32) if chr(number) not in "\t\n\r"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One rule, and what was seen of it."""

    check: str
    rule: str
    result: Result
    seen: str


def passed(seen: str) -> tuple[Result, str]:
    """The rule was met."""
    return "pass", seen


def failed(seen: str) -> tuple[Result, str]:
    """The rule was broken, or what shows it did not come."""
    return "FAIL", seen


def unanswered(seen: str) -> tuple[Result, str]:
    """It could not be looked at."""
    return "open", seen


def judged(met: bool, seen: str) -> tuple[Result, str]:
    """Met or broken."""
    return ("pass" if met else "FAIL"), seen


@dataclass(kw_only=True)
class Report:
    """Findings in the order they were made; `facts` say what was tested and with what."""

    subject: str
    facts: Mapping[str, str]
    findings: list[Finding] = field(default_factory=list)
    transcript: list[str] = field(default_factory=list)
    """What was said, for the file."""

    @property
    def accepted(self) -> bool:
        """Something was looked at, and no rule was broken."""
        results = {finding.result for finding in self.findings}
        return "pass" in results and "FAIL" not in results

    @property
    def failures(self) -> list[Finding]:
        """The broken rules."""
        return [finding for finding in self.findings if finding.result == "FAIL"]

    def summary(self) -> str:
        """One line: how many of each, and the word."""
        counts = Counter(finding.result for finding in self.findings)
        word = "ACCEPTED" if self.accepted else "NOT ACCEPTED"
        return f"{self.subject}: {word}; {counts['pass']} met, {counts['FAIL']} broken, {counts['open']} open"

    def markdown(self) -> str:
        """The page that is filed with the cell's papers."""
        facts = [f"- {name}: {value}" for name, value in self.facts.items()]
        rows = [
            f"| {number} | {_cell(found.check)} | {_cell(found.rule)} | {found.result} | {_cell(found.seen)} |"
            for number, found in enumerate(self.findings, start=1)
        ]
        head = [f"# Acceptance: {self.subject}", "", f"**{self.summary()}**", "", *facts, "", "| | check | rule | result | seen |"]
        said = ["", "## What was said", "", "```", *self.transcript, "```"] if self.transcript else []
        signed = ["", "| tested by | date | signature |", "|---|---|---|", "| | | |", ""]
        return "\n".join([*head, "|---|---|---|---|---|", *rows, *signed, *said, ""])

    def junit(self) -> str:
        """The same as JUnit XML, one test case per rule."""
        counts = Counter(finding.result for finding in self.findings)
        cases = [_case(self.subject, finding) for finding in self.findings]
        numbers = f'tests="{len(cases)}" failures="{counts["FAIL"]}" skipped="{counts["open"]}"'
        suite = f"<testsuite name={quoteattr(self.subject)} {numbers}>"
        return "\n".join(['<?xml version="1.0" encoding="utf-8"?>', suite, *cases, "</testsuite>", ""])

    def save(self, path: Path) -> None:
        """Write Markdown, or JUnit when the name ends in .xml. Raises SimulationError."""
        text = self.junit() if path.suffix == ".xml" else self.markdown()
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as exc:
            raise SimulationError(f"cannot write the report {path}", seen=exc.strerror, remedy="Choose a folder that exists") from exc


def line_of(finding: Finding) -> str:
    """One line of the table on the screen."""
    return f"{finding.result:<5} {finding.check:<34} {finding.seen}"


def today() -> str:
    """Date and time with the zone, for the papers."""
    return datetime.now(timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def span(values: Sequence[float], unit: str) -> str:
    """Median and extremes of what was measured."""
    ordered = sorted(values)
    return f"{ordered[0]:.1f} to {ordered[-1]:.1f} {unit}, median {ordered[len(ordered) // 2]:.1f}" if ordered else "nothing"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _case(subject: str, finding: Finding) -> str:
    seen = quoteattr(finding.seen.translate(_XML_UNUSABLE))
    inside = {"pass": "", "FAIL": f"<failure message={seen}>{escape(finding.rule)}</failure>", "open": f"<skipped message={seen}/>"}
    return f"  <testcase classname={quoteattr(subject)} name={quoteattr(finding.check)}>{inside[finding.result]}</testcase>"
