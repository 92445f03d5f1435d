from pathlib import Path

import pytest

from export.order import LineOrder, MemberOrder, RouterOrder, TypologyOrder

DOCUMENT = Path(__file__).parents[2] / "docs" / "export.md"


@pytest.mark.parametrize("table", [TypologyOrder, MemberOrder, RouterOrder])
def test_every_key_is_documented_with_its_default(table: type) -> None:
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    rows = {name.strip().strip("`"): line for line in lines for name in line.split("|")[1].split(",")}
    for name, default in zip(table.__struct_fields__, defaults(table), strict=True):
        assert name in rows, name
        if isinstance(default, (int, float)) and not isinstance(default, bool):
            assert str(default) in rows[name], name


def defaults(table: type) -> tuple[object, ...]:
    given = table.__struct_defaults__
    return (None,) * (len(table.__struct_fields__) - len(given)) + tuple(given)


def test_the_example_has_no_other_keys() -> None:
    example = DOCUMENT.read_text().split("```toml\n")[1].split("```")[0]
    keys = {line.split("=")[0].strip() for line in example.splitlines() if "=" in line.split("#")[0]}
    assert keys <= {
        *LineOrder.__struct_fields__,
        *TypologyOrder.__struct_fields__,
        *MemberOrder.__struct_fields__,
        *RouterOrder.__struct_fields__,
    }
