from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.errors import ConfigError, DatasetError
from export.order import TypologyOrder
from export.sets import find_sets, heightmap_of


@pytest.fixture
def order(tmp_path: Path) -> TypologyOrder:
    for label in ("good", "bad"):
        (tmp_path / label).mkdir()
        for number in range(20):
            np.save(tmp_path / label / f"{number:02d}.npy", np.full((8, 8), number, np.uint8))
    rows = [f"{label}/{number:02d}.npy,part-{number // 2}" for label in ("good", "bad") for number in range(20)]
    (tmp_path / "groups.csv").write_text("\n".join(["file,group", *rows]))
    return TypologyOrder(name="T3", source=tmp_path / "T3.safetensors", scans=tmp_path)


def test_no_group_is_on_both_sides(order: TypologyOrder) -> None:
    sets = find_sets(order, {})
    assert not {s.group for s in sets.training} & {s.group for s in sets.held_out}
    assert (sets.split.held_out, sets.split.seed) == (0.2, 42)
    assert (sets.split.training_scans, sets.split.held_out_scans) == (len(sets.training), len(sets.held_out)) == (32, 8)


def test_the_split_is_the_one_the_network_was_trained_with(order: TypologyOrder) -> None:
    sets = find_sets(order, {"held_out": "0.5", "seed": "7"})
    assert (sets.split.held_out, sets.split.seed, len(sets.held_out)) == (0.5, 7, 20)
    ordered = TypologyOrder(name="T3", source=order.source, scans=order.scans, held_out=0.2, seed=1)
    assert find_sets(ordered, {"held_out": "0.5", "seed": "7"}).split.seed == 1


def test_a_split_counts_as_trained_only_when_every_member_says_so(order: TypologyOrder) -> None:
    says, silent = {"held_out": "0.5", "seed": "7"}, {"framework": "onnx"}
    assert find_sets(order, says, says).split.as_trained
    assert not find_sets(order, says, silent).split.as_trained
    assert not find_sets(order, silent).split.as_trained
    assert find_sets(order, silent, says).split.seed == 7


def test_members_trained_with_different_splits_prove_nothing_together(order: TypologyOrder) -> None:
    one, other = {"held_out": "0.5", "seed": "7"}, {"held_out": "0.5", "seed": "8"}
    with pytest.raises(DatasetError, match=r"different splits \(seen: held_out 0.5 seed 7, held_out 0.5 seed 8\)"):
        find_sets(order, one, other)
    said = msgspec.structs.replace(order, held_out=0.5, seed=7)
    assert not find_sets(said, one, other).split.as_trained


def test_scans_kept_aside_are_on_neither_side(order: TypologyOrder, tmp_path: Path) -> None:
    names = [f"{label}/{number:02d}.npy" for label in ("good", "bad") for number in (0, 1)]
    aside = tmp_path / "aside.csv"
    aside.write_text("\n".join(["file,label", *(f"{name},x" for name in names)]))
    sets = find_sets(TypologyOrder(name="T3", source=order.source, scans=order.scans, table=tmp_path / "groups.csv", keep_aside=aside), {})
    used = {scan.path.relative_to(tmp_path).as_posix() for scan in (*sets.training, *sets.held_out)}
    assert not used & set(names)
    assert (len(used), sets.split.kept_aside) == (36, 4)


@pytest.mark.parametrize("text", ["name\nx.npy\n", "file\ngood/99.npy\n"])
def test_a_list_of_other_scans_is_refused(order: TypologyOrder, tmp_path: Path, text: str) -> None:
    aside = tmp_path / "aside.csv"
    aside.write_text(text)
    with pytest.raises(DatasetError, match="aside"):
        find_sets(TypologyOrder(name="T3", source=order.source, scans=order.scans, keep_aside=aside), {})


def test_a_folder_may_come_without_a_heightmap_but_a_named_file_must_exist(tmp_path: Path) -> None:
    assert heightmap_of(None, tmp_path) is None
    with pytest.raises(ConfigError, match="cannot read the heightmap spec"):
        heightmap_of(tmp_path / "missing.json", tmp_path)
