import re
from pathlib import Path

import pytest

from edge.config import load_config
from edge.dla import DLA_REFUSED
from edge.engines.cli import _parser
from edge.errors import ConfigError

DOCS = Path(__file__).parents[2] / "docs"
CELL = """
[gate]
port = "/dev/ttyUSB0"
records = "/var/lib/cordon/records.db"
socket = "/run/cordon/gate.sock"

[[inspector.camera]]
name = "cam0"
endpoint = "tcp://192.168.1.20:5555"
"""


def text(name: str) -> str:
    return (DOCS / name).read_text()


def test_every_option_of_the_build_is_explained() -> None:
    told = text("engines.md")
    build = next(action for action in _parser()._actions if action.dest == "action").choices["build"]  # type: ignore[index]
    options = [option for action in build._actions for option in action.option_strings if option.startswith("--") and option != "--help"]
    assert len(options) > 8
    assert [option for option in options if f"`{option}" not in told] == []


@pytest.mark.parametrize("guide", ["gpu.md", "jetson.md"])
def test_the_configuration_of_a_guide_is_one_that_loads(tmp_path: Path, guide: str) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", text(guide), re.DOTALL)
    key = "ab" * 32
    head = f'[inspector]\nbundle = "line.cordon"\ntrusted_keys = ["{key}"]\n'
    example = example.replace("[inspector]\n", head).replace("64 hex digits of this box's public key", key)
    path = tmp_path / "cordon.toml"
    path.write_text(CELL + example)
    config = load_config(path)
    assert config.inspector.gpu is not None
    assert config.inspector.gpu.engines == Path("/var/lib/cordon/engines")
    path.write_text(CELL + example.replace("streams", "lanes"))
    with pytest.raises(ConfigError, match="lanes"):
        load_config(path)


@pytest.mark.parametrize("page", ["gpu.md", "jetson.md", "engines.md"])
def test_a_guide_points_at_pages_that_exist(page: str) -> None:
    links = re.findall(r"\]\(([a-z.-]+\.md)", text(page))
    assert links
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_the_guide_says_of_dla_what_the_refusal_says() -> None:
    for fact in ("10.7", "11.4.1", "FP16", "AGX Orin"):
        assert fact in DLA_REFUSED
        assert fact in text("jetson.md")
