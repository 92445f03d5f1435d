"""CURVE keys as text and as files: made once, read by their owner alone, and told in both spellings."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

from edge.cli import main
from edge.config import CameraConfig
from edge.curve_keys import CurvePair, new_curve_pair, read_curve_pair
from edge.errors import ConfigError
from edge.z85 import decode_key, decode_z85, encode_z85


def test_z85_agrees_with_zeromqs_own() -> None:
    for seed in range(20):
        data = os.urandom(4 * (1 + seed))
        assert encode_z85(data) == z85.encode(data).decode()
        assert decode_z85(encode_z85(data)) == data


@pytest.mark.parametrize("text", ["", "a", "aaaa", "#####", "aaaa~", "a" * 41, "g" * 64, '"' * 40, "é" * 40])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_key(text)


def test_a_key_is_read_in_both_spellings() -> None:
    public, _ = zmq.curve_keypair()
    assert decode_key(public.decode()) == decode_key(decode_key(public.decode()).hex()) == z85.decode(public)


def test_a_pair_is_written_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    pair, path = new_curve_pair(tmp_path, "cam0")
    assert (path.name, path.stat().st_mode & 0o777) == ("cam0.curve", 0o600)
    assert read_curve_pair(path) == pair
    assert (tmp_path / "cam0.curve.pub").read_bytes().strip() == pair.public
    with pytest.raises(ConfigError, match="never overwritten"):
        new_curve_pair(tmp_path, "cam0")
    assert read_curve_pair(path) == pair


def test_a_pair_whose_public_half_cannot_be_written_is_not_left_in_half(tmp_path: Path) -> None:
    (tmp_path / "cam0.curve.pub").write_text("another's\n")
    with pytest.raises(ConfigError, match="never overwritten"):
        new_curve_pair(tmp_path, "cam0")
    assert not (tmp_path / "cam0.curve").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_key_that_root_makes_belongs_to_the_folders_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 1235)
    _, path = new_curve_pair(tmp_path, "box")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1235)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes keys for a group")
def test_a_key_in_a_folder_for_one_group_is_that_groups_and_nobody_elses(tmp_path: Path) -> None:
    os.chown(tmp_path, 0, 1235)
    tmp_path.chmod(0o750)
    pair, path = new_curve_pair(tmp_path, "box")
    assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o777) == (0, 1235, 0o640)
    assert read_curve_pair(path) == pair
    for folder, owner, group in ((0o755, 0, 1235), (0o750, 0, 1236), (0o750, 1234, 1235)):
        tmp_path.chmod(folder)
        os.chown(path, owner, group)
        with pytest.raises(ConfigError, match="others may read"):
            read_curve_pair(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused_with_the_command_that_mends_it(tmp_path: Path, mode: int) -> None:
    _, path = new_curve_pair(tmp_path, "box")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        read_curve_pair(path)


@pytest.mark.parametrize("text", [b"", b"abc", b"\xff" * 40, b"-" * 4000])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "box.curve"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="CURVE key"):
        read_curve_pair(path)
    with pytest.raises(ConfigError, match="cordon keys box"):
        read_curve_pair(tmp_path / "none.curve")


def test_the_private_half_is_in_no_text_about_the_pair() -> None:
    pair = CurvePair(*zmq.curve_keypair())
    assert pair.secret.decode() not in f"{pair} {pair!r}"


def test_a_zeromq_without_curve_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = new_curve_pair(tmp_path, "box")
    monkeypatch.setattr(zmq, "has", lambda _name: False)
    for work in (lambda: read_curve_pair(path), lambda: new_curve_pair(tmp_path, "cam1")):
        with pytest.raises(ConfigError, match="knows no CURVE"):
            work()


def test_the_command_prints_the_line_for_the_box_and_what_the_camera_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "box", "--out", str(tmp_path)]) == 0
    box = (tmp_path / "box.curve.pub").read_text().strip()
    assert f'key = "{tmp_path}/box.curve"' in capsys.readouterr().out
    assert main(["keys", "camera", "cam0", "--out", str(tmp_path), "--box", str(tmp_path / "box.curve.pub")]) == 0
    told = capsys.readouterr().out
    (key,) = re.findall(r'keys = \["(.*)"\]', told)
    assert CameraConfig(name="cam0", endpoint="tcp://192.168.1.20:5555", keys=(key,)).proved
    assert {key, decode_key(key).hex(), box, str(tmp_path / "cam0.curve")} <= set(told.split())
    private = read_curve_pair(tmp_path / "cam0.curve").secret.decode()
    assert private not in told
    for file in ("cam0.curve", "cam0.curve.pub"):
        assert main(["keys", "show", str(tmp_path / file)]) == 0
        assert capsys.readouterr().out.split() == ["Z85", key, "hex", decode_key(key).hex()]


@pytest.mark.parametrize("name", ["box", "a b", "../x", ""])
def test_a_name_that_no_camera_can_have_is_refused(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "camera", name, "--out", str(tmp_path)]) == 1
    assert "camera's name" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
