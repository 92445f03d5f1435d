from pathlib import Path

import pytest

from edge.config import Config, read_config
from edge.errors import ConfigError
from edge.inspector import rereading
from edge.inspector.rereading import reread

FILE = """
[gate]
port = "/dev/robot"
records = "/r.db"
socket = "/s"
[inspector]
bundle = "/line.cordon"
trusted_keys = ["{key}"]
[[inspector.camera]]
name = "cam0"
endpoint = "ipc:///c"
""".format(key="ab" * 32)


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(rereading, "SETTLE_S", 0.0)
    (tmp_path / "cordon.toml").write_text(FILE)
    return read_config(tmp_path / "cordon.toml")[0]


def test_keys_that_may_change_are_taken_and_the_gate_is_told_the_files_hash(tmp_path: Path, running: Config) -> None:
    path, told = tmp_path / "cordon.toml", []
    path.write_text(FILE.replace("ab" * 32, "cd" * 32))
    new = reread(path, running, told.append)
    assert new.inspector.trusted_keys == ("cd" * 32,)
    assert told == [read_config(path)[1]]


@pytest.mark.parametrize("addition", ["threads = 5", "threads = 0", "[gate]"])
def test_of_a_file_that_needs_a_restart_or_is_refused_nothing_is_taken(tmp_path: Path, running: Config, addition: str) -> None:
    told: list[str] = []
    (tmp_path / "cordon.toml").write_text(FILE.replace("ab" * 32, "cd" * 32).replace("[[", f"{addition}\n[["))
    with pytest.raises(ConfigError, match=r"cordon\.toml"):
        reread(tmp_path / "cordon.toml", running, told.append)
    assert told == []
