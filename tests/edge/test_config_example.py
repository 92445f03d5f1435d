import re
import sys
from pathlib import Path

import msgspec
import pytest

from edge.config import Config
from edge.config.checks import collecting
from edge.config.example import example, ranges
from edge.config.keys import Table, tables
from edge.config.load import checked
from edge.config.places import tables_of
from edge.config.reload import LIVE
from edge.config.show import as_json, as_toml, in_effect

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
FILE = Path("cordon.toml")
TABLES = tables()


def read(text: str) -> Config:
    return checked(FILE, text.encode(), Config)


def in_force(text: str) -> str:
    """With every single # before a key or table taken away."""
    return "\n".join(line.removeprefix("#") if re.match(r"#(\w+ =|\[)", line) else line for line in text.splitlines())


def test_the_example_on_the_box_is_the_one_that_the_command_prints() -> None:
    assert (ROOT / "packaging" / "cordon.example.toml").read_text() == example(), "cordon config example > packaging/cordon.example.toml"


def test_the_document_shows_the_same_keys_with_the_same_words() -> None:
    block = (ROOT / "docs" / "configuration.md").read_text().split("```toml\n")[1].split("```")[0]
    assert block == example(whole=True), "paste example(whole=True) of edge.config.example into docs/configuration.md"


def test_the_example_is_a_configuration_as_it_stands_and_with_everything_in_force() -> None:
    plain, everything = read(example()), read(in_force(example()))
    assert msgspec.structs.replace(everything.gate, recipes=None, challenge=None) == plain.gate
    changed = {name: getattr(plain.inspector, name) for name in ("gpu", "archive", "curve")}
    assert msgspec.structs.replace(everything.inspector, **changed) == plain.inspector
    assert everything.gate.challenge is not None
    assert (everything.inspector.gpu, everything.inspector.archive, everything.inspector.curve) != (None, None, None)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.path)
def test_every_key_of_every_table_is_in_it_described_and_with_its_default(table: Table) -> None:
    assert {path for path, _ in tables_of(Config) if path} == {known.path for known in TABLES}
    given = tomllib.loads(example(whole=True))
    for part in table.path.split("."):
        given = given[part]
        given = given[0] if isinstance(given, list) else given
    below = {known.path.rpartition(".")[2] for known in TABLES if known.path.rpartition(".")[0] == table.path}
    assert set(given) - below == {key.name for key in table.keys} == set(table.kind.__struct_fields__) - below
    for key in table.keys:
        assert key.text.endswith((".", ")")), f"{table.path}.{key.name} has no sentence below it that says what it means"
        if not key.required and key.default is not None:
            assert given[key.name] == (str(key.default) if isinstance(key.default, Path) else _listed(key.default))


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def out_of_range(table: Table, name: str, value: float) -> bool:
    with collecting() as refusals:
        table.kind(**{name: value})
    return any(refusal.low is not None for refusal in refusals if refusal.key == f"{table.path}.{name}")


def test_ranges_are_those_that_the_checks_have() -> None:
    assert ranges(TABLES[0])["unit"] == "1 to 247"
    for table in TABLES:
        required = any(field.required for field in msgspec.structs.fields(table.kind))
        for name, words in ranges(table).items() if not required else ():
            low, high = (float(word) for word in words.split(" to "))
            assert [out_of_range(table, name, value) for value in (low - 1, low, high, high * 2 + 1)] == [True, False, False, True], name


def test_the_document_names_every_key_that_may_change_while_the_line_runs_and_no_other() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text().split("## What may change")[1]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`((?:gate|inspector|metrics)\.[a-z_.]+)`", " ".join(rows))) == LIVE


EVERY_KIND = """
[gate]
port = "/dev/ttyS0" # comment
records = 'C:\\not an escape'
socket = "/run/\\u00e9\\"q\\"\\t"
latch_noise = 0x10
budget_ms = 1_000
storage.keep_mb = 1e3
[inspector]
bundle = "b"
trusted_keys = [
  "{key}",
  "{key}",
]
archive = {{ folder = "/images", payloads = true }}
[[inspector.camera]]
name = "cam0"
endpoint = "ipc:///a"
[[inspector.camera]]
name = "cam1"
endpoint = "ipc:///b"
heartbeat_ms = 0
""".format(key="ab" * 32)


@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize("text", [EVERY_KIND, example(), in_force(example())])
def test_what_is_in_effect_reads_back_to_the_same_configuration(text: str, everything: bool) -> None:
    shown = in_effect(FILE, text.encode())
    assert read(as_toml(shown, everything=everything)) == read(text)


def test_each_key_in_effect_says_where_its_value_comes_from() -> None:
    shown = {key.name: (key.value, key.origin) for table in in_effect(FILE, EVERY_KIND.encode()) for key in table.keys}
    assert shown["gate.budget_ms"] == (1000.0, "line 7")
    assert shown["gate.storage.keep_mb"] == (1000.0, "line 8")
    assert shown["gate.margin_ms"] == (5.0, "default")
    assert shown["gate.recipes"] == (None, "default")
    assert shown["inspector.archive.payloads"] == (True, "line 15")
    assert shown["inspector.camera[1].name"] == ("cam1", "line 20")
    assert shown["inspector.camera[0].heartbeat_ms"] == (2000.0, "default")


def test_as_json_it_says_the_same_and_what_a_reload_takes() -> None:
    rows = {row["key"]: row for row in msgspec.json.decode(as_json(in_effect(FILE, EVERY_KIND.encode()), everything=True))}
    assert (rows["gate.latch_noise"]["value"], rows["gate.latch_noise"]["line"], rows["gate.latch_noise"]["reload"]) == (16, 6, True)
    assert (rows["gate.port"]["origin"], rows["gate.port"]["reload"]) == ("file", False)
    assert rows["inspector.trusted_keys"]["value"] == ["ab" * 32] * 2
