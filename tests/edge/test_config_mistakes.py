from pathlib import Path

import pytest

from edge.config import load_config
from edge.errors import ConfigFileError

GOOD = """
[gate]
port = "/dev/robot"
records = "/var/lib/cordon/records.db"
socket = "/run/cordon/gate.sock"
[inspector]
bundle = "/var/lib/cordon/line.cordon"
trusted_keys = ["{key}"]
[[inspector.camera]]
name = "cam0"
endpoint = "tcp://127.0.0.1:5555"
""".format(key="ab" * 32)

MANY = """[gate]
port = "/dev/robot"
records = ""
budget_ms = "200 ms"
margin_ms = 900
bugdet_ms = 3
threads = 4
profile = "Handshake"
unit = 300
baudrate = 9600.0

[gate.storage]
keep_mb = 5368709120000

[inspector]
trusted_keys = [
  # a comment
  "0000000000000000000000000000000000000000000000000000000000000001",
  "xyz",
  3,
]
backend = "tensorrt"
bundle = 3
bundles = "x"

[[inspector.camera]]
name = "cam0"
endpoint = "tcp://192.168.1.20:5555"
[[inspector.camera]]
name = "cam1"
endpoint = "192.168.1.20:5555"
heartbeat_ms = 1e9
[extra]
a = 1
"""


def refusal(folder: Path, text: str | bytes) -> ConfigFileError:
    path = folder / "cordon.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigFileError) as caught:
        load_config(path)
    return caught.value


def test_all_mistakes_are_told_at_once_each_with_its_line_and_key(tmp_path: Path) -> None:
    error = refusal(tmp_path, MANY)
    assert [(mistake.line, mistake.key) for mistake in error.mistakes] == [
        (1, "gate.socket"),
        (3, "gate.records"),
        (4, "gate.budget_ms"),
        (5, "gate.margin_ms"),
        (6, "gate.bugdet_ms"),
        (7, "gate.threads"),
        (8, "gate.profile"),
        (9, "gate.unit"),
        (10, "gate.baudrate"),
        (13, "gate.storage.keep_mb"),
        (15, "inspector.gpu"),
        (19, "inspector.trusted_keys[1]"),
        (20, "inspector.trusted_keys[2]"),
        (23, "inspector.bundle"),
        (24, "inspector.bundles"),
        (31, "inspector.camera[1].endpoint"),
        (32, "inspector.camera[1].heartbeat_ms"),
        (33, "extra"),
    ]
    assert all(mistake.remedy for mistake in error.mistakes)
    assert all(str(mistake) in str(error) for mistake in error.mistakes)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("bugdet_ms = 100", "gate.bugdet_ms is no key of [gate] (seen: 100). Did you mean budget_ms?"),
        ("threads = 4", "It belongs into [inspector]"),
        ("keep_days = 4", "It belongs into [gate.storage]"),
        ('budget_ms = "200"', 'must be a number (seen: "200"). Write budget_ms = 200, without quotes'),
        ('budget_ms = "200 ms"', "without a unit (it is in milliseconds)"),
        ("budget_ms = true", "gate.budget_ms must be a number (seen: true)"),
        ("budget_ms = nan", "gate.budget_ms is not usable (seen: nan)"),
        ("budget_ms = 0.2", "that would be seconds; did you mean 200?"),
        ("budget_ms = 200000.0", "that would be microseconds; did you mean 200?"),
        ("budget_ms = 5", "gate.margin_ms is not usable (seen: 5.0, the default). Choose a value from 0 to 2.5"),
        ("baudrate = 9600.0", "Write baudrate = 9600, without a decimal point"),
        ("bundle = 5", 'Put it into quotes: bundle = "5"'),
        ('recipe = ["R1"]', "Write it without brackets"),
        ('profile = "Push"', 'Did you mean "push"?'),
        ('link = "modbus"\nframing = "twice"', "gate.link is not usable (seen: modbus with handshake, twice)"),
        ("budget_ms = 4\nmargin_ms = 150", "gate.budget_ms is not usable (seen: 4)"),
        ("storage = 1", "Write [gate.storage] and its keys below"),
        ("recipe = 1979-05-27", "gate.recipe must be a text in quotes (seen: 1979-05-27)"),
        ('recipes = "a\\u0000b"', "gate.recipes must be a path in quotes"),
    ],
)
def test_a_mistake_says_what_was_probably_meant(tmp_path: Path, line: str, told: str) -> None:
    error = refusal(tmp_path, GOOD.replace("[inspector]", f"{line}\n[inspector]", 1))
    assert told in str(error)
    assert len(error.mistakes) == 1
    assert error.mistakes[0].line == (2 if "default" in told else 6)
    assert str(tmp_path / "cordon.toml") in str(error)


def test_one_of_a_list_is_not_told_to_take_the_lists_place(tmp_path: Path) -> None:
    told = str(refusal(tmp_path, GOOD.replace("trusted_keys = [", "trusted_keys = [1, ", 1)))
    assert "inspector.trusted_keys, entry 1, must be a text in quotes" in told
    assert 'Put it into quotes: "1"' in told


def test_a_value_that_is_hardly_too_large_is_not_taken_for_another_unit(tmp_path: Path) -> None:
    told = str(refusal(tmp_path, GOOD.replace("[inspector]", "margin_ms = 110\n[inspector]", 1)))
    assert "Choose a value from 0 to 100" in told
    assert "did you mean" not in told


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("[gate]", "[gate", 2, "Close the table's name"),
        ("port =", "port", 3, "Write `key = value`"),
        ("records =", 'port = "x"\nrecords =', 4, "gate.port is on line 3 already: keep one of the two"),
        ("[inspector]", "[gate]", 6, "[gate] is on line 2 already: put its keys together there"),
        ('"/dev/robot"', "/dev/robot", 3, "Texts stand in quotes"),
        ('"/dev/robot"', '"/dev/robot', 3, "Close the quotes on the same line"),
        ('"/dev/robot"', '"C:\\dev"', 3, "backslash"),
        ("[[inspector.camera]]", "[inspector.camera]", 9, "inspector.camera must be a list of tables"),
        (
            '"tcp://127.0.0.1:5555"',
            '"tcp://127.0.0.1:5555"\n[[inspector.camera]]\nname="cam0"\nendpoint="ipc:///x"',
            13,
            '"cam0" (table 2)',
        ),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, told: str) -> None:
    error = refusal(tmp_path, GOOD.replace(old, new, 1))
    assert [mistake.line for mistake in error.mistakes] == [line]
    assert told in str(error)


def test_bytes_that_are_no_text_are_told_with_their_line(tmp_path: Path) -> None:
    assert "line 2: not valid TOML: a character is not UTF-8 (seen: byte 0xff)" in str(refusal(tmp_path, b"# \n# \xff"))
    assert "byte-order mark" in str(refusal(tmp_path, b"\xef\xbb\xbf" + GOOD.encode()))
    assert "nested too deep" in str(refusal(tmp_path, "a = " + "[" * 5_000 + "]" * 5_000))


def test_an_empty_file_says_which_tables_it_lacks(tmp_path: Path) -> None:
    assert [mistake.key for mistake in refusal(tmp_path, "").mistakes] == ["gate", "inspector"]


def test_a_camera_that_is_no_good_hides_none_and_blames_no_other(tmp_path: Path) -> None:
    cameras = "".join(f'[[inspector.camera]]\nname = "{name}"\nendpoint = {end}\n' for name, end in (("a", 1), ("b", '"ipc:///x"')))
    error = refusal(tmp_path, GOOD + cameras + '[[inspector.camera]]\nname = "b"\nendpoint = "ipc:///y"\n')
    assert [mistake.key for mistake in error.mistakes] == ["inspector.camera[1].endpoint"]
    error = refusal(
        tmp_path, GOOD + cameras.replace("= 1\n", '= "ipc:///z"\n') + '[[inspector.camera]]\nname = "b"\nendpoint = "ipc:///y"\n'
    )
    assert [(mistake.line, mistake.key) for mistake in error.mistakes] == [(19, "inspector.camera[3].name")]
