"""The Debian package and the wheelhouse: what can be seen without building them; the nightly test builds one and looks inside."""

import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

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


def test_no_script_changes_owner_or_rights_of_anything() -> None:
    for name in SCRIPTS:
        text = (PACKAGING / "debian" / name).read_text()
        assert re.search(r"\b(chown|chmod|chgrp|install|cp|mv|ln)\b [^|]", text) is None, (
            "where the account may write, root would follow its links"
        )


def test_the_units_of_the_scripts_are_those_there_are() -> None:
    texts = load("deb").scripts()
    assert not re.search("@[A-Z]+@", "".join(texts.values())), "every placeholder is filled in"
    enabled = re.search(r'units="([^"]+)"', texts["postinst"])
    assert enabled is not None
    assert "cordon-metrics.service" not in enabled[1].split(), "nobody asked for it yet"
    assert {"cordon.target", "cordon-gate.service", "cordon-inspector.service"} <= set(enabled[1].split())
    assert not any(word.startswith("cordon-sim") for word in enabled[1].split()), "simulators never start at boot"


def load(name: str) -> ModuleType:
    """A script of packaging/, which is no package."""
    sys.path.insert(0, str(PACKAGING))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(PACKAGING))


def test_the_five_commands_of_the_document_are_those_that_are_tried() -> None:
    text = (ROOT / "docs/install.md").read_text()
    block = text[text.index("## Five commands") :].split("```")[1]
    commands = [line.split("#")[0].strip().removeprefix("sudo ") for line in block.splitlines() if line.strip()]
    assert len(commands) == 5
    tried = (PACKAGING / "try_deb.py").read_text().replace("{FIRST_PART}", "P00001")
    for command in commands[1:]:
        assert command in tried, command


def test_a_wheel_without_any_licence_stops_the_build(tmp_path: Path) -> None:
    information = tmp_path / "opt/cordon/lib/python3.11/site-packages/mute-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mute\nVersion: 1\n")
    (information / "RECORD").write_text("mute-1.dist-info/METADATA,,\n")
    papers = load("paperwork")
    with pytest.raises(SystemExit, match=r"mute-1\.dist-info declares no licence"):
        papers.copyright_text(tmp_path)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mute\nVersion: 1\nLicense: MIT\n")
    assert "mute 1: MIT\n" in papers.copyright_text(tmp_path)
