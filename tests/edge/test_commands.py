import stat
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from edge.cli import OWN, main


def test_a_new_key_is_private_and_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "signing.key"
    assert main(["keys", "new", str(key)]) == 0
    assert len(capsys.readouterr().out.strip()) == 64
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert main(["keys", "new", str(key)]) == 1
    assert "never overwritten" in capsys.readouterr().err


def test_an_unknown_word_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect"]) == 2
    assert "bundle" in capsys.readouterr().err


def test_the_boxs_own_words_are_the_installed_ones() -> None:
    installed = {point.name: point.value for point in entry_points(group="cordon.commands")}
    assert {word: target for word, target in installed.items() if target.startswith("edge.")} == OWN


START = "import sys; from edge.cli import main; main(['run', 'gate', '--config', sys.argv[1]]); print(sorted(sys.modules))"


def test_the_gate_starts_without_asking_all_installed_packages_and_without_what_only_others_need(tmp_path: Path) -> None:
    arguments = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {START}", str(tmp_path / "none.toml")]
    loaded = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert "'edge.gate.daemon'" in loaded
    for name in ("importlib.metadata", "numpy", "pymodbus", "asyncio", "zmq", "cryptography", "edge.manifest", "edge.bundle"):
        assert f"'{name}'" not in loaded


def test_an_unsigned_file_is_refused_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.cordon").write_bytes(b"nothing")
    assert main(["bundle", "verify", str(tmp_path / "x.cordon"), "--key", "ab" * 32]) == 1
    assert "BundleFormatError" in capsys.readouterr().err


def test_a_missing_configuration_is_refused_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "gate", "--config", str(tmp_path / "none.toml")]) == 1
    assert "ConfigError" in capsys.readouterr().err


def test_the_public_half_of_a_key_is_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "box.key"
    assert main(["keys", "new", str(key)]) == 0
    public = capsys.readouterr().out
    assert main(["keys", "show", str(key)]) == 0
    assert capsys.readouterr().out == public
    key.chmod(0o644)
    assert main(["keys", "show", str(key)]) == 1
    assert "chmod 600" in capsys.readouterr().err
