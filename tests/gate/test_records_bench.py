import json
from pathlib import Path

import pytest

from bench.records_bench import main
from edge.gate.audit import verify_chain
from edge.gate.segments import segments_of


def test_the_benchmark_of_the_records_builds_real_ones_and_asks_the_real_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "records"
    arguments = ["--rows", "30000", "--shows", "2", "--commits", "20", "--segment-mb", "3", "--out", str(out), "--keep"]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 30_000 <= result["rows"] == verify_chain(out / "records.db").rows
    assert result["files"] == len(segments_of(out / "records.db")) + 1 >= 3
    assert 0 < result["show_p50_ms"] <= result["show_max_ms"]
    assert result["verify_rows_per_s"] > 1_000
    assert main(arguments) == 0
    assert "as they are" in capsys.readouterr().out
