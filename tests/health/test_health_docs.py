"""Dashboard, alerts and document name what the exporter gives, all of it, and nothing else."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.health.buckets import RELATIVE_ERROR
from edge.health.gate import LAYOUT as GATE
from edge.health.inspector import LAYOUT as INSPECTOR
from edge.health.metrics import METRICS

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD, RULES, TESTS = (DOCS / "grafana" / name for name in ("cordon.json", "cordon.rules.yml", "cordon.rules.test.yml"))
PAGE = DOCS / "health.md"
NAMES = {
    name
    for metric in METRICS
    for name in ([f"{metric.name}_{part}" for part in ("bucket", "sum", "count")] if metric.kind == "histogram" else [metric.name])
}
LABELS = {metric.name: set(metric.labels) for metric in METRICS}


def named(text: str) -> set[str]:
    return set(re.findall(r"\bcordon_[a-z_]+", text))


def expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    return [*queries, *(note["expr"] for note in dashboard["annotations"]["list"])]


def test_the_dashboard_asks_for_every_name_and_for_no_other() -> None:
    assert named(" ".join(expressions())) == NAMES


def test_its_labels_exist() -> None:
    for query in expressions():
        for name, selector in re.findall(r"\b(cordon_[a-z_]+)\{([^}]*)\}", query):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!=|=)", selector)) - {"instance"}
            base = re.sub(r"_(bucket|sum|count)$", "", name) if name not in LABELS else name
            assert asked <= LABELS[base], query


def test_its_panels_have_places_of_their_own_and_one_source_of_data() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_alerts_watch_what_stops_a_line_or_loses_a_record() -> None:
    text = RULES.read_text()
    assert named(text) <= NAMES
    watched = {
        "accepting",
        "latched",
        "deadline_misses_total",
        "robot_session_open",
        "camera_alive",
        "records_free_bytes",
        "records_healthy",
    }
    assert {f"cordon_{name}" for name in watched} <= named(text)
    assert named(TESTS.read_text()) <= NAMES


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing (Debian: apt install prometheus)")
@pytest.mark.parametrize("words", [("check", "rules", RULES), ("test", "rules", TESTS)], ids=["syntax", "tests"])
def test_promtool_agrees_with_the_alerts(words: tuple[object, ...]) -> None:
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing (Debian: apt install prometheus)")
def test_promtool_understands_every_question_of_the_dashboard(tmp_path: Path) -> None:
    lines = [line.replace("$__rate_interval", "1m").replace("$instance", ".*") for line in expressions()]
    rules = [{"record": f"question_{number}", "expr": line} for number, line in enumerate(lines)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_name_every_stage_and_every_alert_is_explained() -> None:
    text = PAGE.read_text()
    assert {metric.name for metric in METRICS} == set(re.findall(r"^\| `(cordon_[a-z_]+)", text, re.MULTILINE))
    for metric in METRICS:
        (labels,) = re.findall(rf"^\| `{metric.name}(?:\{{([a-z_, ]+)\}})?` \|", text, re.MULTILINE)
        assert tuple(labels.split(", ")) == (metric.labels or ("",)), metric.name
    stages = set(re.findall(r"^\| (?:gate|inspector) \| `(\w+)`", text, re.MULTILINE))
    assert stages == set(GATE.histograms) | set(INSPECTOR.histograms)
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    assert alerts == set(re.findall(r"^\| `(Cordon\w+)`", text, re.MULTILINE))


def test_the_error_that_is_told_is_the_buckets() -> None:
    assert f"{RELATIVE_ERROR:.1%}" in PAGE.read_text().replace(" %", "%")
