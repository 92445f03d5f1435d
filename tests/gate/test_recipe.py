import hashlib
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.gate.recipe import load_recipes

FILE = """
[[recipe]]
name = "DOOR-L"
[[recipe.weld]]
name = "W1"
typology = "T2"
[[recipe.weld]]
name = "W2"
typology = "T3"
[[recipe]]
name = "DOOR-R"
weld = [{ name = "W1", typology = "T2" }]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def numbered(count: int) -> str:
    return '[[recipe]]\nname = "R"\n' + "".join(f'[[recipe.weld]]\nname = "W{n}"\ntypology = "T2"\n' for n in range(1, count + 1))


def test_a_recipe_names_its_welds_in_order_with_their_typologies(tmp_path: Path) -> None:
    book = load_recipes(write(tmp_path, FILE), "DOOR-R")
    assert list(book.recipes) == ["DOOR-L", "DOOR-R"]
    door = book.recipes["DOOR-L"]
    assert door.welds == ("W1", "W2")
    assert [door.typology(weld) for weld in ("W1", "W2", "W3")] == ["T2", "T3", None]
    assert book.sha256 == hashlib.sha256(FILE.encode()).hexdigest()


def test_a_part_may_have_999_welds_and_not_one_more(tmp_path: Path) -> None:
    assert len(load_recipes(write(tmp_path, numbered(999))).recipes["R"].weld) == 999
    with pytest.raises(ConfigError, match="1000 welds"):
        load_recipes(write(tmp_path, numbered(1_000)))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"DOOR-R"', '"DOOR-L"', 'line 11: recipe.name of "DOOR-L" (table 2) is not usable'),
        ('name = "W2"', 'name = "W1"', 'line 8: recipe.weld.name of "W1" (table 2) of "DOOR-L" (table 1) is not usable'),
        ('weld = [{ name = "W1", typology = "T2" }]', "weld = []", "0 welds"),
        ('"DOOR-L"', '"DOOR L"', 'line 3: recipe.name of "DOOR L" (table 1) is not usable'),
        ('"DOOR-L"', '"DOOR-LEFT-WITH-A-LONG-NAME"', "line 3: recipe.name"),
        ('name = "W2"', 'name = "W,2"', "line 8: recipe.weld.name"),
        ('typology = "T3"', 'typology = ""', 'recipe.weld.typology of "W2"'),
        ('typology = "T3"', "", "typology"),
        ('typology = "T3"', 'typology = "T3"\nextra = 1', "extra"),
        ("[[recipe]]", "[recipe", "not valid TOML"),
        (FILE, "", "recipe"),
        (FILE, "recipe = []", "0 recipes"),
    ],
)
def test_every_mistake_is_named_with_its_file(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"recipe\.toml") as caught:
        load_recipes(write(tmp_path, FILE.replace(old, new, 1)))
    assert told in str(caught.value)


def test_an_active_recipe_that_is_not_in_the_file_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Name one of: DOOR-L, DOOR-R"):
        load_recipes(write(tmp_path, FILE), "DOOR")


def test_a_file_that_is_missing_or_no_text_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_recipes(tmp_path / "none.toml")
    (tmp_path / "recipe.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_recipes(tmp_path / "recipe.toml")


def recipes(count: int) -> str:
    return "".join(f'[[recipe]]\nname = "R{n}"\nweld = [{{ name = "W1", typology = "T2" }}]\n' for n in range(1, count + 1))


def test_a_file_may_have_1000_recipes_and_not_one_more(tmp_path: Path) -> None:
    assert len(load_recipes(write(tmp_path, recipes(1_000))).recipes) == 1_000
    with pytest.raises(ConfigError, match="1001 recipes"):
        load_recipes(write(tmp_path, recipes(1_001)))


def test_no_more_than_twenty_recipes_are_offered_for_an_unknown_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Name one of: R1, .*, R19, R20$"):
        load_recipes(write(tmp_path, recipes(22)), "R23")


def test_a_file_of_many_brackets_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_recipes(write(tmp_path, "a = " + "[" * 100_000))


def test_what_is_toml_but_no_recipe_is_told_apart_from_what_is_no_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a list of tables"):
        load_recipes(write(tmp_path, "recipe = 1"))


@pytest.mark.parametrize("name", ["D", "D" * 24, "0.a_b-c"])
def test_a_name_may_be_as_long_as_the_line_allows(tmp_path: Path, name: str) -> None:
    assert load_recipes(write(tmp_path, FILE.replace("DOOR-L", name)), name).recipes[name].name == name
