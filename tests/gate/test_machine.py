"""The boot's identity, and what stands in its place where it cannot be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge.gate.machine import BOOT_ID, boot_id, boot_problem


def test_the_kernels_identity_is_taken_as_it_is() -> None:
    assert boot_id() == BOOT_ID.read_text().strip()
    assert boot_problem() == ""


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"0" * 35 + b"\n", b"\n" * 36])
def test_where_it_cannot_be_read_nothing_counts_as_of_the_same_boot_and_somebody_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "boot_id"
    if content is not None:
        path.write_bytes(content)
    assert boot_id(path) == boot_id(path), "one process is one boot"
    code = "import sys; from pathlib import Path; from edge.gate.machine import boot_id; print(boot_id(Path(sys.argv[1])))"
    other = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout.strip()
    assert {boot_id(path)[:8], other[:8]} == {"unknown-"}
    assert other != boot_id(path)
    assert "identity of this boot cannot be read" in boot_problem(path)
    assert str(path) in boot_problem(path)
