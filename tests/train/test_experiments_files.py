from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge.errors import ConfigError
from train.amounts import STILL
from train.experiments.kinds import options_of
from train.experiments.reading import chosen, read_experiment, read_experiments
from train.experiments.schema import Experiment, FineTune, Search, Split, Stage
from train.experiments.writing import to_toml

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
PLAIN = 'name = "a"\ndata = "T7"\n'


def written(folder: Path, text: str, name: str = "a.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_two_lines_are_an_experiment(tmp_path: Path) -> None:
    assert read_experiment(written(tmp_path, PLAIN)) == [Experiment(name="a", data="T7")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN + "eposch = 3", "eposch.*Known keys: name"),
        (PLAIN + "epochs = 0", "epochs.*seen: 0"),
        (PLAIN + 'epochs = "many"', "Expected `int`.*epochs"),
        (PLAIN + "[split]\nheld_out = 0.9", "split.held_out.*0.9"),
        (PLAIN + 'kind = "oracle"', "oracle"),
        (PLAIN + 'name = "again"', "overwrite"),
        ('name = "../up"\ndata = "T7"', "name.*letters"),
        ('name = "a"', "data.*Name the folder"),
        (PLAIN + "reduce_on_plateau = {}", 'schedule = "one cycle"'),
        (PLAIN + "fine_tune = {}", "pretrained = false"),
        (PLAIN + 'kind = "committee"\nmembers = ["b"]', "two or more"),
        (PLAIN + 'kind = "search"', "search.space"),
        (PLAIN + 'kind = "search"\nsearch.space.luck = [1, 2]', "luck.*learning_rate"),
        (PLAIN + 'kind = "search"\nsearch.space.dropout = [0.5, 0.1]', "least, greatest"),
        (PLAIN + "over.speed = [1]", "speed.*architecture"),
        (PLAIN + 'over.epochs = ["x"]', "epochs"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_a_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"(?s)a\.toml.*{message}"):
        read_experiment(written(tmp_path, text))


def test_a_matrix_is_one_named_run_per_combination(tmp_path: Path) -> None:
    path = written(tmp_path, 'name = "m"\nepochs = 2\n[over]\ndata = ["T3", "T7"]\narchitecture = ["small", "fastai/resnet18"]\nseed = [1]')
    runs = read_experiment(path)
    assert [run.name for run in runs] == [f"m-{data}-{network}-seed_1" for data in ("T3", "T7") for network in ("small", "fastai_resnet18")]
    assert (runs[3].data, runs[3].architecture, runs[3].seed, runs[3].epochs) == ("T7", "fastai/resnet18", 1, 2)


def test_committees_come_after_what_they_judge(tmp_path: Path) -> None:
    first = written(tmp_path, 'name = "all"\nkind = "committee"\nmembers = ["a", "b"]', "c.toml")
    second = written(tmp_path, 'name = "b"\ndata = "T7"', "b.toml")
    assert [run.name for run in read_experiments([first, second])] == ["b", "all"]


def test_one_name_in_two_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.toml and .*b\.toml"):
        read_experiments([written(tmp_path, PLAIN), written(tmp_path, PLAIN, "b.toml")])


def test_only_takes_names_and_patterns() -> None:
    runs = [Experiment(name=name, data="T") for name in ("a-1", "a-2", "b")]
    assert [run.name for run in chosen(runs, ["a-*"])] == ["a-1", "a-2"]
    with pytest.raises(ConfigError, match="seen: c"):
        chosen(runs, ["c"])


@pytest.mark.parametrize(
    "experiment",
    [
        Experiment(name="a", data='T 7/ñ"x\\', epochs=3, why="two\nlines"),
        Experiment(name="a", data="T", stages=(Stage(size=(32, 48), epochs=1),), split=Split(seed=3), escape_rate=0.0),
        Experiment(name="a", data="T", pretrained="if available", fine_tune=FineTune(), size=(64, 96), balance="cost", dropout=0.1),
        Experiment(name="a", data="T", kind="search", search=Search(space={"dropout": [0.0, 0.5], "balance": ["none", "weights"]})),
        Experiment(name="a", kind="committee", members=("b", "c")),
        Experiment(name="a", data="T", kind="anomaly", options={"architecture": "padim", "epochs": 3}),
    ],
)
def test_an_experiment_reads_back_as_it_was_written(tmp_path: Path, experiment: Experiment) -> None:
    assert read_experiment(written(tmp_path, to_toml(experiment))) == [experiment]


def test_a_kind_s_own_options_are_strict() -> None:
    experiment = Experiment(name="a", data="T", kind="anomaly", epochs=3, options={"reach": 2})
    assert (options_of(experiment, seed=7, threads=1).epochs, options_of(experiment, seed=7, threads=1).reach) == (3, 2)
    for wrong, message in (({"options": {"reech": 2}}, "reech.*reach"), ({"mixup": 0.4}, "mixup"), ({"options": {"reach": "x"}}, "reach")):
        with pytest.raises(ConfigError, match=message):
            options_of(msgspec.structs.replace(experiment, **wrong), seed=7, threads=1)


def test_what_the_file_says_goes_before_a_kind_s_own_default(tmp_path: Path) -> None:
    usual = Experiment(name="a", data="T").epochs
    said = read_experiment(written(tmp_path, PLAIN + f'kind = "autoencoder"\nepochs = {usual}\naugmentation = "none"'))[0]
    options = options_of(said, seed=7, threads=1)
    assert options.epochs == usual != type(options)().epochs
    assert options.augmentation == STILL


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_can_be_read(path: Path) -> None:
    assert read_experiment(path)


def test_an_option_that_is_a_file_is_no_number() -> None:
    experiment = Experiment(name="a", kind="anomaly", data="T", options={"checkpoint": 5})
    with pytest.raises(ConfigError, match="do not fit") as caught:
        options_of(experiment)
    assert "checkpoint" in str(caught.value)
