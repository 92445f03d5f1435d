from pathlib import Path

import pytest
from export_workshop import Workshop

from edge.bundle import open_bundle
from edge.cli import main as cordon
from edge.commands import new_key


@pytest.mark.slow
def test_one_command_exports_one_network(workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public = new_key(tmp_path / "key")
    typology = workshop.order.typology[0]
    words = [str(typology.source), "--scans", str(typology.scans), "--name", "T3", "--bundle-version", "7"]
    assert cordon(["export", *words, "--key", str(tmp_path / "key"), "--out", str(tmp_path / "T3.cordon")]) == 0
    bundle = open_bundle(tmp_path / "T3.cordon", (public,))
    assert (bundle.manifest.name, bundle.manifest.version, [t.name for t in bundle.manifest.typologies]) == ("T3", 7, ["T3"])
    shown = capsys.readouterr().out
    assert bundle.hash in shown
    assert public in shown


@pytest.mark.slow
def test_one_file_exports_a_line_with_two_processes(workshop: Workshop, tmp_path: Path) -> None:
    public = new_key(tmp_path / "key")
    tables = [f'[[typology]]\nname = "{t.name}"\nsource = "{t.source}"\nscans = "{t.scans}"' for t in workshop.order.typology]
    assert workshop.order.router is not None
    (tmp_path / "line.toml").write_text(
        "\n".join(['name = "line"\nversion = 1', *tables, f'[router]\nsource = "{workshop.order.router.source}"'])
    )
    out = tmp_path / "line.cordon"
    assert cordon(["export", "--spec", str(tmp_path / "line.toml"), "--key", str(tmp_path / "key"), "--out", str(out), "--jobs", "2"]) == 0
    bundle = open_bundle(out, (public,))
    assert [t.name for t in bundle.manifest.typologies] == ["T3", "T9"]
    assert bundle.manifest.router is not None


REFUSED = {
    "nothing to export": ([], "nothing to export"),
    "a checkpoint without scans": (["a.safetensors", "--name", "T3"], "nothing to export"),
    "both forms": (["a.safetensors", "--spec", "line.toml"], "either of the two"),
    "no order": (["--spec", "missing.toml"], "cannot read missing.toml"),
}


@pytest.mark.parametrize("refused", REFUSED)
def test_wrong_use_is_refused_with_a_reason(refused: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, message = REFUSED[refused]
    assert cordon(["export", *words, "--key", str(tmp_path / "key"), "--out", str(tmp_path / "x.cordon")]) == 1
    assert message in capsys.readouterr().err


def test_a_wrong_key_or_folder_is_noticed_before_the_work_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", "none.safetensors", "--scans", "none", "--name", "T3", "--key", str(tmp_path / "key")]
    assert cordon([*words, "--out", str(tmp_path / "x.cordon")]) == 1
    assert "cordon keys new" in capsys.readouterr().err
    new_key(tmp_path / "key")
    assert cordon([*words, "--out", str(tmp_path / "none" / "x.cordon")]) == 1
    assert "no folder for the bundle" in capsys.readouterr().err
