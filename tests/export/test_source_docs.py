import shlex
from pathlib import Path

from export.cli import _parser
from export.sources.base import OUTPUTS
from export.sources.load import SUFFIXES

TEXT = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()


def test_every_example_is_a_command_and_every_kind_of_file_has_one() -> None:
    commands = [line for line in TEXT.splitlines() if line.startswith("cordon export ")]
    given = [_parser().parse_args(shlex.split(line)[2:]).source.suffix for line in commands]
    assert set(given) == set(SUFFIXES) - {".pt"}
    assert "`.pth`, `.pt`" in TEXT


def test_every_meaning_of_an_output_is_described() -> None:
    assert all(f"| `{output}`" in TEXT for output in OUTPUTS)
