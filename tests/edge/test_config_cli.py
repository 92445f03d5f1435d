import json
import os
from pathlib import Path

import pytest

from edge.config import load_config
from edge.config_cli import config_main
from edge.config_doubts import doubts
from edge.demonstration import WARNING
from edge.errors import ConfigError, ConfigFileError
from edge.setup.texts import simulators_text

FILE = """
[gate]
port = "{folder}/robot"
records = "{folder}/records.db"
socket = "{folder}/gate.sock"
[gate.storage]
alarm_mb = 0
[inspector]
bundle = "{folder}/line.cordon"
trusted_keys = ["{key}"]
[[inspector.camera]]
name = "cam0"
endpoint = "ipc:///run/cordon/camera"
"""


def write(folder: Path, old: str = "", new: str = "", text: str = FILE) -> Path:
    path = folder / "cordon.toml"
    path.write_text(text.format(folder=folder, key="ab" * 32).replace(old, new, 1))
    path.chmod(0o640)
    return path


def keys_of(path: Path) -> list[str]:
    return [doubt.key for doubt in doubts(load_config(path), path)]


def test_a_valid_file_is_called_valid_with_what_is_doubtful_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert config_main(["check", str(write(tmp_path))]) == 0
    out, err = capsys.readouterr()
    assert "is valid, " in out
    assert "warning: line 3: gate.port: " in err
    assert "warning: line 9: inspector.bundle: the inspector has nothing to judge with" in err


def test_every_mistake_is_told_and_the_status_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "alarm_mb = 0", "alarm_mb = -1\nkeepdays = 3")
    with pytest.raises(ConfigFileError, match="has 2 mistakes"):
        config_main(["check", str(path)])
    assert config_main(["check", "--json", str(path)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert [(m["line"], m["key"]) for m in told["mistakes"]] == [(7, "gate.storage.alarm_mb"), (8, "gate.storage.keepdays")]


def test_as_json_a_valid_file_has_its_hash_and_warnings_with_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert config_main(["check", "--json", str(write(tmp_path))]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], len(told["sha256"]), told["mistakes"]) == (True, 64, [])
    assert ("gate.port", 3) in [(warning["key"], warning["line"]) for warning in told["warnings"]]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("alarm_mb = 0", "alarm_mb = 1_000_000_000", "gate.storage.alarm_mb"),
        ("alarm_mb = 0", "reserve_mb = 65536\nalarm_mb = 0\nkeep_mb = 100", "gate.storage.keep_mb"),
        ("[gate.storage]", "baudrate = 9600\n[gate.storage]", "gate.baudrate"),
        ("[gate.storage]", "budget_ms = 12\n[gate.storage]", "gate.budget_ms"),
        ("[gate.storage]", "heartbeat_ms = 200\n[gate.storage]", "gate.heartbeat_ms"),
        ("[gate.storage]", "resend_ms = 200\n[gate.storage]", "gate.resend_ms"),
        ("[gate.storage]", "latch_noise = 0\n[gate.storage]", "gate.latch_noise"),
        ("ipc:///run/cordon/camera", "tcp://192.168.1.20:5555", "inspector.camera[0].keys"),
        ("[inspector]", "[inspector]\nthreads = 256", "inspector.threads"),
        ("ab" * 32, "0" * 64, "inspector.trusted_keys"),
        ("[[inspector", '[inspector.archive]\nfolder = "/none"\n[[inspector', "inspector.archive.folder"),
        (
            "[[inspector",
            '[[inspector.camera]]\nname = "c"\nendpoint = "ipc:///run/cordon/camera"\n[[inspector',
            "inspector.camera[1].endpoint",
        ),
    ],
)
def test_what_is_legal_and_doubtful_is_told(tmp_path: Path, old: str, new: str, key: str) -> None:
    assert key not in keys_of(write(tmp_path))
    assert key in keys_of(write(tmp_path, old, new))


def test_a_camera_whose_socket_anybody_may_make_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "sockets"
    folder.mkdir()
    for mode, told in ((0o755, False), (0o1777, True)):
        folder.chmod(mode)
        path = write(tmp_path, "ipc:///run/cordon/camera", f"ipc://{folder}/camera")
        assert ("inspector.camera[0].endpoint" in keys_of(path)) is told


def test_paths_that_depend_on_a_folder_are_told(tmp_path: Path) -> None:
    assert "gate.socket" in keys_of(write(tmp_path, f"{tmp_path}/gate.sock", "gate.sock"))


def test_a_file_that_everybody_may_write_and_a_key_that_others_may_read_are_told(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = [doubt.told for doubt in doubts(load_config(path), path)]
    path.chmod(0o666)
    (tmp_path / "box.key").write_text("secret")
    (tmp_path / "box.key").chmod(0o640)
    new = [doubt.told for doubt in doubts(load_config(path), path) if doubt.told not in before]
    assert [told.split(str(tmp_path))[0] for told in new] == ["everybody may write ", "others may read "]


def test_a_port_that_is_no_device_is_told_and_one_that_is_not(tmp_path: Path) -> None:
    (tmp_path / "robot").write_text("")
    path = write(tmp_path)
    assert "is no device" in next(doubt.told for doubt in doubts(load_config(path), path) if doubt.key == "gate.port")
    control, terminal = os.openpty()
    try:
        assert "gate.port" not in keys_of(write(tmp_path, f"{tmp_path}/robot", os.ttyname(terminal)))
    finally:
        os.close(control)
        os.close(terminal)


def test_records_on_a_file_system_that_forgets_are_told(tmp_path: Path) -> None:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    forgetful = next((Path(words[1]) for words in mounts if words[2] == "tmpfs" and Path(words[1]).is_dir()), None)
    if forgetful is None:
        pytest.skip("no tmpfs here")
    path = write(tmp_path, f"{tmp_path}/records.db", f"{forgetful}/records.db")
    told = [doubt.told for doubt in doubts(load_config(path), path) if doubt.key == "gate.records"]
    assert told == [f"{forgetful} is on tmpfs: records there may not outlive a power cut"]


def test_recipes_that_the_gate_would_refuse_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('[[recipe]]\nname = "R 1"\nweld = []\n')
    with pytest.raises(ConfigError, match=r"recipe\.toml"):
        config_main(["check", str(write(tmp_path, "[gate.storage]", f'recipes = "{tmp_path}/recipe.toml"\n[gate.storage]'))])


def test_a_legal_file_of_another_machine_has_nothing_but_warnings(tmp_path: Path) -> None:
    away = f'recipes = "{tmp_path}/none/recipe.toml"\n[gate.storage]'
    assert "gate.recipes" in keys_of(write(tmp_path, "[gate.storage]", away))
    unspeakable = '[inspector.archive]\nfolder = "/{name}"\n[[inspector.camera]]'.format(name="x" * 300)
    assert load_config(write(tmp_path, "[[inspector.camera]]", unspeakable)).inspector.archive is not None
    assert config_main(["check", str(tmp_path / "cordon.toml")]) == 0, "no folder of that name can be looked at"


def test_keys_are_looked_for_beside_the_file_and_not_all_over_the_disk(tmp_path: Path) -> None:
    path = write(tmp_path)
    for folder in ("keys", "somebody/else"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.key").write_text("secret")
        (tmp_path / folder / "a.key").chmod(0o644)
    told = [doubt.told for doubt in doubts(load_config(path), path) if "private key" in doubt.told]
    assert [str(tmp_path / "keys/a.key") in text for text in told] == [True]


def test_the_demonstrations_key_is_doubted_wherever_it_may_stand(tmp_path: Path) -> None:
    path = tmp_path / "cordon.toml"
    path.write_text(simulators_text(tmp_path))
    assert WARNING in [doubt.told for doubt in doubts(load_config(path), path)]


def test_what_is_shown_is_the_file_with_lines_or_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path)
    assert config_main(["show", str(path)]) == 0
    short = capsys.readouterr().out
    assert config_main(["show", "--effective", str(path)]) == 0
    long = capsys.readouterr().out
    assert "alarm_mb = 0.0  # line 7" in short
    assert "budget_ms" not in short
    assert "budget_ms = 200.0  # default" in long
    assert "# [inspector.gpu] is not given." in long
    assert config_main(["show", "--json", str(path)]) == 0
    assert {"gate.port", "gate.storage.alarm_mb"} < {row["key"] for row in json.loads(capsys.readouterr().out)}


def test_the_example_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert config_main(["example"]) == 0
    assert "#budget_ms = 200.0" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for action in ("check", "show"):
        with pytest.raises(ConfigError, match="No such file"):
            config_main([action, str(tmp_path / "none.toml")])
