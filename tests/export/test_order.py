from pathlib import Path

import pytest

from edge.errors import ConfigError
from export.order import load_order

MINIMAL = """
name = "line"
version = 2
[[typology]]
name = "T3"
source = "nets/T3.safetensors"
scans = "/data/T3"
"""


COMMITTEE = (
    MINIMAL.replace('source = "nets/T3.safetensors"\n', 'combine = "vote"\n')
    + """
[[typology.member]]
source = "nets/a.pth"
architecture = "resnet34"
classes = ["good", "bad"]
[[typology.member]]
source = "nets/b.onnx"
weight = 2.0
"""
)


def written(folder: Path, text: str) -> Path:
    path = folder / "line.toml"
    path.write_text(text)
    return path


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    order = load_order(written(tmp_path, MINIMAL + '[router]\nsource = "r.safetensors"\nroot = "scans"\n'))
    assert order.typology[0].source == tmp_path / "nets/T3.safetensors"
    assert order.typology[0].scans == Path("/data/T3")
    assert order.typology[0].table is None
    assert order.router is not None
    assert order.router.root == tmp_path / "scans"


def test_members_of_a_committee_have_their_own_keys(tmp_path: Path) -> None:
    typology = load_order(written(tmp_path, COMMITTEE)).typology[0]
    assert [m.source for m in typology.members] == [tmp_path / "nets/a.pth", tmp_path / "nets/b.onnx"]
    assert (typology.combine, typology.members[0].classes, typology.members[1].weight) == ("vote", ("good", "bad"), 2.0)


def test_one_network_needs_no_member_table(tmp_path: Path) -> None:
    (only,) = load_order(written(tmp_path, MINIMAL + 'architecture = "lenet"\n')).typology[0].members
    assert (only.source, only.architecture) == (tmp_path / "nets/T3.safetensors", "lenet")


BROKEN = {
    "unknown key": (MINIMAL + "tresholds = 1\n", "tresholds"),
    "wrong type": (MINIMAL.replace('"/data/T3"', "3"), r"typology\[0\].scans"),
    "no typology": ('name = "line"\nversion = 1\ntypology = []\n', "at least one"),
    "a typology twice": (MINIMAL + MINIMAL[MINIMAL.index("[[") :], "each typology once"),
    "version 0": (MINIMAL.replace("version = 2", "version = 0"), "version is not usable"),
    "a name that no file may have": (MINIMAL.replace('"T3"', '"T/3"'), "typology.name"),
    "all held out": (MINIMAL + "held_out = 1.0\n", "held_out"),
    "too few calibration images": (MINIMAL + "calibration_images = 8\n", "at least 16"),
    "negative escapes": (MINIMAL + "max_escape_rate = 0.7\n", "max_escape_rate"),
    "negative added escapes": (MINIMAL + "added_escapes = -1\n", "added_escapes"),
    "a floor below chance": (MINIMAL + "auroc_floor = 0.4\n", "auroc_floor"),
    "a bound above one": (MINIMAL + "escape_bound = 1.5\n", "escape_bound"),
    "an unknown precision": (MINIMAL + 'precision = "int4"\n', "precision"),
    "a source and members": (MINIMAL + '[[typology.member]]\nsource = "x.onnx"\n', "either source or"),
    "neither source nor members": (MINIMAL.replace('source = "nets/T3.safetensors"\n', ""), "either source or"),
    "two members of one name": (COMMITTEE.replace("nets/b.onnx", "other/a.onnx"), "name of its own"),
    "a member whose file name is no name": (COMMITTEE.replace("nets/b.onnx", "nets/b (1).onnx"), "name of its own"),
    "a member without weight": (COMMITTEE.replace("weight = 2.0", "weight = 0.0"), "member.weight"),
    "an autoencoder's border below the median": (COMMITTEE + "quantile = 0.2\n", "member.quantile"),
    "an unknown method": (MINIMAL + 'method = "guess"\n', "method"),
    "a router that is never unsure": (MINIMAL + '[router]\nsource = "r"\nconfidence = 0.3\n', "router.confidence"),
    "no TOML": ("name = ", "not valid TOML"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_order_is_refused_by_key(tmp_path: Path, broken: str) -> None:
    text, message = BROKEN[broken]
    with pytest.raises(ConfigError, match=message) as caught:
        load_order(written(tmp_path, text))
    assert "line.toml" in str(caught.value)


def test_a_missing_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_order(tmp_path / "line.toml")
