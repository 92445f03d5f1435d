"""The Debian package and the wheelhouse: what can be seen without building them; the nightly test builds one and looks inside."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edge.bundle import open_bundle
from edge.config import read_config
from edge.demonstration import KEY

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
SCRIPTS = ("postinst", "prerm", "postrm")


def test_the_example_is_a_configuration_as_it_stands() -> None:
    config, _ = read_config(PACKAGING / "cordon.example.toml")
    assert str(config.gate.records).startswith("/var/lib/cordon/"), "where the unit may write"
    assert str(config.gate.socket) == "/run/cordon/gate.sock"


def test_every_line_that_is_commented_out_is_a_key_with_its_default(tmp_path: Path) -> None:
    text = (PACKAGING / "cordon.example.toml").read_text()
    lines = [line.removeprefix("#") if re.match(r"#(\w+ =|\[)", line) else line for line in text.splitlines()]
    # Tables belong behind the keys of their parents, and push knows no recipes.
    (tmp_path / "c.toml").write_text("\n".join(line for line in lines if not line.startswith("recipes")))
    everything, _ = read_config(tmp_path / "c.toml")
    plain, _ = read_config(PACKAGING / "cordon.example.toml")
    assert everything.gate.challenge is not None
    assert msgspec.structs.replace(everything.gate, challenge=None) == plain.gate
    assert everything.inspector.gpu is not None
    assert everything.inspector.archive is not None
    assert (everything.inspector.backend, everything.inspector.threads) == (plain.inspector.backend, plain.inspector.threads)


@pytest.mark.parametrize("name", SCRIPTS)
def test_maintainer_scripts_are_shell_and_stop_at_errors(name: str) -> None:
    subprocess.run(["sh", "-n", PACKAGING / "debian" / name], check=True)
    assert "\nset -e\n" in (PACKAGING / "debian" / name).read_text()


def test_nothing_deletes_records_keys_or_configuration() -> None:
    removed = [
        line for name in SCRIPTS for line in (PACKAGING / "debian" / name).read_text().splitlines() if re.search(r"\brm (-|/)", line)
    ]
    assert removed
    for line in removed:
        targets = re.findall(r"/[\w./-]+", line)
        assert all(target.startswith(("/var/cache/cordon", "/run/cordon", "/opt/cordon/lib", "/dev/null")) for target in targets), line


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is missing (Debian: apt install dpkg)")
def test_the_package_holds_what_it_says_and_its_program_runs(tmp_path: Path) -> None:
    python = f"3.{sys.version_info[1]}"
    words = [sys.executable, PACKAGING / "deb.py", "--out", tmp_path, "--python", python]
    package = Path(subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip())
    tree = tmp_path / "tree"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    for line in (tree / "DEBIAN/md5sums").read_text().splitlines():
        digest, path = line.split("  ")
        assert hashlib.md5((tree / path).read_bytes(), usedforsecurity=False).hexdigest() == digest
    assert not (tree / "DEBIAN/conffiles").exists(), "an update never asks"
    assert (tree / "usr/share/doc/cordon/examples/cordon.example.toml").is_file()
    demonstration = tree / "opt/cordon/share/demonstration"
    assert open_bundle(demonstration / "line.cordon", (KEY,)).manifest.name == "DEMONSTRATION"
    assert len((demonstration / "welds.csv").read_text().splitlines()) == 37
    assert "numpy" in (tree / "usr/share/doc/cordon/copyright").read_text()
    assert (tree / "lib/systemd/system/cordon-gate.service").is_file()
    site = tree / f"opt/cordon/lib/python{python}/site-packages"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    told = "import edge.cli, numpy, openvino; print(edge.cli.__file__, numpy.__file__, openvino.__file__)"
    command = [sys.executable, "-S", "-c", told]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=tmp_path).stdout
    assert all(path.startswith(str(site)) for path in shown.split())
