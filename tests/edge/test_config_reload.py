from pathlib import Path

import msgspec
import pytest

from edge.config import Config, load_config, read_config
from edge.config.places import tables_of
from edge.config.reload import LIVE, changes, reread
from edge.errors import ConfigError

FILE = """
[gate]
port = "/dev/robot"
records = "/var/lib/cordon/records.db"
socket = "/run/cordon/gate.sock"
latch_noise = 100
recipes = "/etc/cordon/recipe.toml"
[gate.storage]
keep_mb = 100
[inspector]
bundle = "/var/lib/cordon/line.cordon"
trusted_keys = ["{key}"]
[[inspector.camera]]
name = "cam0"
endpoint = "tcp://127.0.0.1:5555"
""".format(key="ab" * 32)


def config(folder: Path, text: str = FILE) -> Config:
    (folder / "cordon.toml").write_text(text)
    return load_config(folder / "cordon.toml")


def test_keys_that_may_change_are_keys() -> None:
    known = {f"{table}.{field.encode_name}" for table, kind in tables_of(Config) for field in msgspec.structs.fields(kind)}
    assert known >= LIVE


def test_only_the_keys_that_differ_are_told_with_both_values(tmp_path: Path) -> None:
    old, new = config(tmp_path), config(tmp_path, FILE.replace("= 100\nrec", "= 50\nrec").replace("keep_mb = 100", "keep_mb = 2.5"))
    assert [str(change) for change in changes(old, new).safe] == ["gate.latch_noise 100 -> 50", "gate.storage.keep_mb 100.0 -> 2.5"]
    assert changes(old, new).restart == ()
    assert changes(old, old) == ((), ())


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('port = "/dev/robot"', 'port = "/dev/ttyS0"', "gate.port"),
        ("latch_noise = 100", "latch_noise = 100\nbudget_ms = 150", "gate.budget_ms"),
        ('recipes = "/etc/cordon/recipe.toml"', "", "gate.recipes"),
        ("[inspector]", "[inspector]\nthreads = 1", "inspector.threads"),
        ("[[inspector.camera]]", '[inspector.archive]\nfolder = "/a"\n[[inspector.camera]]', "inspector.archive"),
        ("[[inspector.camera]]", '[[inspector.camera]]\nname = "c"\nendpoint = "ipc:///x"\n[[inspector.camera]]', "inspector.camera"),
        ('bundle = "/var/lib/cordon/line.cordon"', "[inspector.bundles]\n[inspector]", "inspector.bundle"),
    ],
)
def test_what_makes_another_line_needs_a_restart(tmp_path: Path, old: str, new: str, key: str) -> None:
    text = FILE.replace(old, new, 1).replace("[inspector.bundles]\n[inspector]", "")
    if key == "inspector.bundle":
        text += "[inspector.bundles]\n"
    running = config(tmp_path)
    assert next(change.key for change in changes(running, config(tmp_path, text)).restart) == key
    with pytest.raises(ConfigError, match=f"restart can change .seen: {key}"):
        reread(tmp_path / "cordon.toml", running)


def test_a_file_that_is_refused_is_refused_with_its_line(tmp_path: Path) -> None:
    running = config(tmp_path)
    (tmp_path / "cordon.toml").write_text(FILE.replace("latch_noise = 100", "latch_noise = -1"))
    with pytest.raises(ConfigError, match=r"line 6: gate\.latch_noise is not usable"):
        reread(tmp_path / "cordon.toml", running)


def test_what_the_inspector_was_restarted_for_needs_no_restart_of_the_gate(tmp_path: Path) -> None:
    running = config(tmp_path)
    path, text = tmp_path / "cordon.toml", FILE.replace("[inspector]", "[inspector]\nthreads = 1")
    path.write_text(text)
    digest = read_config(path)[1]
    assert reread(path, running, inspector_on=digest)[0].inspector.threads == 1
    with pytest.raises(ConfigError, match=r"inspector\.threads"):
        reread(path, running, inspector_on="d" * 64)
    path.write_text(text.replace("/dev/robot", "/dev/ttyS0"))
    with pytest.raises(ConfigError, match=r"gate\.port"):
        reread(path, running, inspector_on=read_config(path)[1])


def test_a_file_with_other_comments_is_taken_with_its_hash(tmp_path: Path) -> None:
    running = config(tmp_path)
    (tmp_path / "cordon.toml").write_text(f"# a comment\n{FILE}")
    new, digest = reread(tmp_path / "cordon.toml", running)
    assert (new, len(digest)) == (running, 64)
