from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edge.errors import ConfigError, DatasetError
from export.order import TypologyOrder
from export.sets import find_sets
from nets.checkpoint import load_checkpoint
from scans.folder import find_scans
from train.cli import main
from train.data import PreparedScan
from train.experiments.reading import read_experiment
from train.experiments.records import load_record, only_writer
from train.experiments.rows import per_defect
from train.experiments.schema import Experiment
from train.experiments.tasks import DataStore, read_scores, task_of
from train.scoring import heightmaps, probabilities

QUICK = 'data = "T"\narchitecture = "six_convolutions_8"\nbatch_size = 8\nsize = [32, 48]\n'
ONE = 'name = "one"\nepochs = 2\n' + QUICK


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_folder: Any) -> Path:
    root = tmp_path_factory.mktemp("data")
    make_folder(root / "T", count=12)
    return root


def run(data: Path, out: Path, *texts: str, more: tuple[str, ...] = ()) -> Path:
    out.mkdir(exist_ok=True)
    files = [out / f"{number}.toml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="utf-8")
    results = out / "results"
    assert main(["run", *map(str, files), "--data", str(data), "--out", str(results), "--threads", "1", *more]) == 0
    return results


def rows(results: Path) -> dict[str, dict[str, str]]:
    with (results / "results.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(data, tmp_path_factory.mktemp("finished"), ONE)


def test_a_run_leaves_its_network_its_scores_its_log_and_a_row(finished: Path, data: Path) -> None:
    folder = finished / "one"
    network = load_checkpoint(folder / "network.safetensors")
    scans, badness = read_scores(folder / "scores.csv", data / "T", "held_out")
    again = probabilities(network, heightmaps(scans, PreparedScan(network.heightmap, find_scans(data / "T").scale)))[:, 0]
    assert np.allclose(again, badness, atol=1e-6)
    row = rows(finished)["one"]
    wrong = sum((value <= float(row["threshold"])) == (scan.label == "bad") for scan, value in zip(scans, badness, strict=True))
    assert float(row["error"]) == pytest.approx(wrong / len(scans), abs=1e-6)
    assert int(row["escapes"]) + int(row["overkills"]) == wrong
    assert float(row["error_low"]) <= float(row["error"]) <= float(row["error_high"])
    assert len((folder / "log.csv").read_text().splitlines()) == 1 + int(row["epochs"]) == 3
    assert read_experiment(folder / "experiment.toml") == read_experiment(finished.parent / "0.toml")


def test_no_group_is_in_two_parts(data: Path) -> None:
    experiment = Experiment(name="a", data="T")
    task = task_of(experiment, DataStore(data).of(experiment))
    groups = [{scan.group for scan in part} for part in (task.training, task.validation, task.held_out)]
    assert len(set.union(*groups)) == sum(map(len, groups)) == 6
    assert all({scan.label for scan in part} == {"good", "bad"} for part in (task.training, task.validation, task.held_out))


def test_the_same_experiment_gives_the_same_bytes(finished: Path, data: Path, tmp_path: Path) -> None:
    torch.manual_seed(123)
    again = run(data, tmp_path / "again", ONE + 'why = "a comment changes nothing"')
    other = run(data, tmp_path / "other", ONE + "seed = 7")
    for name in ("network.safetensors", "scores.csv"):
        assert (finished / "one" / name).read_bytes() == (again / "one" / name).read_bytes()
        assert (finished / "one" / name).read_bytes() != (other / "one" / name).read_bytes()


def test_what_is_finished_is_not_done_again(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = run(data, tmp_path, ONE)
    with pytest.raises(DatasetError, match=r"already has.*one.*--resume"):
        run(data, tmp_path, ONE)
    before = (results / "one" / "run.json").stat().st_mtime_ns
    run(data, tmp_path, ONE, more=("--resume",))
    assert "one is finished, skipped" in capsys.readouterr().err
    assert (results / "one" / "run.json").stat().st_mtime_ns == before
    (results / "one" / "scores.csv").write_text("file,part\n")
    assert load_record(results / "one") is None
    run(data, tmp_path, ONE, more=("--resume",))
    run(data, tmp_path, ONE.replace("epochs = 2", "epochs = 1"), more=("--resume",))
    assert rows(results)["one"]["epochs"] == "1"


def test_other_scans_make_it_another_run(make_folder: Any, tmp_path: Path) -> None:
    make_folder(tmp_path / "T", count=12)
    results = run(tmp_path, tmp_path / "out", ONE)
    key = json.loads((results / "one" / "run.json").read_text())["key"]
    path = tmp_path / "T" / "good" / "0.png"
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    image[0, 0] += 1
    cv2.imwrite(str(path), image)
    run(tmp_path, tmp_path / "out", ONE, more=("--resume",))
    assert json.loads((results / "one" / "run.json").read_text())["key"] != key


def test_every_option_of_the_training_works_together(data: Path, tmp_path: Path) -> None:
    text = """name = "all"
        mixup = 0.4
        label_smoothing = 0.1
        test_time_augmentation = 2
        keep = "best"
        schedule = "constant"
        balance = "oversample"
        early_stopping = { patience = 1 }
        reduce_on_plateau = { patience = 1 }
        stages = [{ size = [32, 32], epochs = 2 }, { size = [32, 48], epochs = 2 }]
    """
    results = run(data, tmp_path, text + QUICK.replace("size = [32, 48]\n", ""))
    row = rows(results)["all"]
    assert "test-time augmentation" in row["notes"]
    assert 2 <= int(row["epochs"]) <= 4
    assert (results / "all" / "log.csv").read_text().count("epoch,") == 1
    assert load_checkpoint(results / "all" / "network.safetensors").heightmap.width == 48
    assert not (results / "all" / "models").exists()


def test_the_rate_that_lr_find_suggests_is_used(data: Path, tmp_path: Path) -> None:
    note = rows(run(data, tmp_path, ONE + 'lr_find = "use"'))["one"]["notes"]
    assert note.startswith("lr_find suggests")
    assert note.endswith(", used")


def test_a_search_that_was_interrupted_ends_like_one_that_was_not(data: Path, tmp_path: Path) -> None:
    text = 'name = "s"\nkind = "search"\nepochs = 1\n' + QUICK
    space = '[search.space]\nlearning_rate = [1e-4, 1e-2]\narchitecture = ["six_convolutions_8", "lenet"]\n'
    whole = run(data, tmp_path / "whole", f"{text}[search]\ntrials = 4\nwarm_up_trials = 2\n{space}")
    run(data, tmp_path / "parts", f"{text}[search]\ntrials = 2\nwarm_up_trials = 2\n{space}")
    parts = run(data, tmp_path / "parts", f"{text}[search]\ntrials = 4\nwarm_up_trials = 2\n{space}", more=("--resume",))
    for name in ("best.toml", "trials.csv", "network.safetensors"):
        assert (whole / "s" / name).read_bytes() == (parts / "s" / name).read_bytes()
    best = read_experiment(whole / "s" / "best.toml")[0]
    assert (best.kind, best.name) == ("classifier", "s-best")


def test_kinds_share_one_table_and_a_committee_judges_them(make_folder: Any, tmp_path: Path) -> None:
    make_folder(tmp_path / "T", count=40)
    quick = 'data = "T"\nsize = [32, 64]\nepochs = 1\nsplit.validation = 0.3\nbatch_size = 8\n'
    texts = [f'name = "{kind}"\nkind = "{kind}"\n{quick}' for kind in ("siamese", "autoencoder", "anomaly")]
    members = 'name = "together"\nkind = "committee"\nmembers = ["siamese", "anomaly", "autoencoder"]'
    results = run(tmp_path, tmp_path / "out", members, *texts)
    table = rows(results)
    assert list(table) == ["anomaly", "autoencoder", "siamese", "together"]
    assert len({(row["good"], row["bad"], row["validation"]) for row in table.values()}) == 1
    chosen = table["together"]
    assert " committees; " in chosen["notes"]
    wrong = int(chosen["escapes"]) + int(chosen["overkills"])
    tried = json.loads((results / "together" / "committees.json").read_text())
    assert wrong == next(row["escapes"] + row["overkills"] for row in tried["committees"] if row["name"] == tried["chosen"])
    (tmp_path / "out" / "1.toml").write_text(texts[0].replace("epochs = 1", "epochs = 2"))
    names = [str(tmp_path / "out" / f"{number}.toml") for number in range(4)]
    before = (results / "together" / "run.json").read_text()
    assert main(["run", *names, "--data", str(tmp_path), "--out", str(results), "--threads", "1", "--resume"]) == 0
    assert (results / "together" / "run.json").read_text() != before


@pytest.mark.slow
def test_a_killed_run_leaves_no_row_and_starts_again(data: Path, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text(ONE.replace("epochs = 2", "epochs = 9999").replace('"one"', '"long"'))
    (tmp_path / "one.toml").write_text(ONE)
    out = tmp_path / "results"
    files = [str(tmp_path / name) for name in ("one.toml", "long.toml")]
    line = [sys.executable, "-c", "import sys; from train.cli import main; main(sys.argv[1:])", "run", *files]
    process = subprocess.Popen([*line, "--data", str(data), "--out", str(out), "--threads", "1"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 90
        log = out / "long" / "log.csv"
        while not (log.is_file() and log.read_text().count("\n") > 3):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(rows(out)) == ["one"]
    files_of = [(folder / "one" / "network.safetensors").read_bytes() for folder in (out, finished)]
    assert files_of[0] == files_of[1]
    (tmp_path / "long.toml").write_text(ONE.replace('"one"', '"long"'))
    assert main(["run", *files, "--data", str(data), "--out", str(out), "--threads", "1", "--resume"]) == 0
    assert list(rows(out)) == ["long", "one"]


def test_two_processes_do_not_write_one_table(data: Path, tmp_path: Path) -> None:
    with only_writer(tmp_path / "results"), pytest.raises(DatasetError, match="another process"):
        run(data, tmp_path, ONE)


def test_errors_are_counted_by_defect(data: Path) -> None:
    scans = find_scans(data / "T").scans[:2]
    assert per_defect(scans, np.array([0.4, 0.9]), 0.3) == {"bad": [2, 1, 0]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('architecture = "resnet19"', "resnet19.*resnet18"),
        ('architecture = "scratch"\nstages = [{size = [32, 64], epochs = 1}, {size = [64, 96], epochs = 1}]', "cannot change its size"),
        ('architecture = "alexnet"\nsize = [32, 32]', "cannot take this size.*32 x 32"),
        ('pretrained = true\narchitecture = "small"', "no pretrained weights.*fastai/resnet18"),
        ('kind = "committee"\nmembers = ["ok", "gone"]', "seen: gone.*planned are"),
        ('kind = "anomaly"\n[options]\nreech = 1', "reech"),
        ("split.held_out = 0.02\nsplit.validation = 0.02", "folds"),
    ],
)
def test_nothing_is_trained_when_one_experiment_cannot_be(data: Path, tmp_path: Path, text: str, message: str) -> None:
    head = 'name = "wrong"\n' + ("" if "committee" in text else 'data = "T"\n')
    with pytest.raises((ConfigError, DatasetError), match=f"(?s){message}"):
        run(data, tmp_path, ONE.replace('"one"', '"ok"'), head + text)
    assert not (tmp_path / "results" / "ok").exists()


WEIGHTS = 'name = "w"\nepochs = 1\ndata = "T"\narchitecture = "fastai/squeezenet1_1"\nsize = [32, 48]\nfine_tune = {}\n'


@pytest.fixture
def cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a net: its folder for downloaded weights."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("urllib.request._opener", None)  # made once, with the proxies of then: it would outlive this test
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "weights"))
    return tmp_path / "weights" / "hub" / "checkpoints"


def test_pretrained_weights_that_cannot_be_had_stop_the_run_before_it_starts(data: Path, tmp_path: Path, cut_off: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)squeezenet1_1 cannot be had.*if available"):
        run(data, tmp_path, ONE, WEIGHTS + "pretrained = true")
    assert not (tmp_path / "results" / "one").exists()
    assert not list(cut_off.glob("*.pth"))


def test_if_available_goes_on_from_scratch_and_says_so(data: Path, tmp_path: Path, cut_off: Path) -> None:
    row = rows(run(data, tmp_path, WEIGHTS + 'pretrained = "if available"'))["w"]
    assert "not available: from scratch" in row["notes"]
    assert row["epochs"] == "2"
    assert not list(cut_off.glob("*.pth"))


def test_pretrained_weights_of_the_cache_are_frozen_first(data: Path, tmp_path: Path, cut_off: Path) -> None:
    from torchvision import models  # noqa: PLC0415

    torch.manual_seed(0)
    donor = models.squeezenet1_1()
    cut_off.mkdir(parents=True)
    torch.save(donor.state_dict(), cut_off / Path(models.SqueezeNet1_1_Weights.DEFAULT.url).name)
    results = run(data, tmp_path, WEIGHTS + "pretrained = true\nlearning_rate = 1e-7")
    assert "pretrained on ImageNet" in rows(results)["w"]["notes"]
    trained = load_checkpoint(results / "w" / "network.safetensors").model.state_dict()
    assert torch.allclose(trained["0.0.0.weight"], donor.state_dict()["features.0.weight"], atol=1e-5)


def test_the_export_proves_on_the_scans_that_the_run_held_out(data: Path, tmp_path: Path) -> None:
    results = run(data, tmp_path, ONE.replace("epochs = 2", "epochs = 1\nseed = 5\nsplit = { held_out = 0.4, validation = 0.2, seed = 9 }"))
    network = results / "one" / "network.safetensors"
    order = TypologyOrder(name="T", source=network, scans=data / "T")
    sets = find_sets(order, load_checkpoint(network).provenance)
    held_out, _ = read_scores(results / "one" / "scores.csv", data / "T", "held_out")
    assert sets.split.as_trained
    assert {scan.path for scan in sets.held_out} == {scan.path for scan in held_out}


def test_a_calibration_is_inside_the_network_and_the_row_says_what_it_did(data: Path, tmp_path: Path) -> None:
    texts = [ONE.replace('"one"', f'"{way}"') + f'calibrate = "{way}"\n' for way in ("no", "temperature")]
    results = run(data, tmp_path, *texts)
    plain, cooled = ((read_scores(results / name / "scores.csv", data / "T", "held_out")[1]) for name in ("no", "temperature"))
    note = rows(results)["temperature"]["notes"]
    assert note.startswith("temperature: scale ")
    assert rows(results)["no"]["notes"] == ""
    assert list(np.argsort(plain)) == list(np.argsort(cooled))
    assert not np.allclose(plain, cooled, atol=1e-4)
    network = load_checkpoint(results / "temperature" / "network.safetensors")
    scans, badness = read_scores(results / "temperature" / "scores.csv", data / "T", "held_out")
    images = heightmaps(scans, PreparedScan(network.heightmap, find_scans(data / "T").scale))
    assert np.allclose(probabilities(network, images)[:, 0], badness, atol=1e-5)


def test_only_a_classifier_is_calibrated(data: Path, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('name = "a"\nkind = "anomaly"\ndata = "T"\ncalibrate = "platt"\n')
    with pytest.raises(ConfigError, match="calibrate cannot be used") as caught:
        main(["run", str(tmp_path / "a.toml"), "--data", str(data), "--out", str(tmp_path / "out")])
    assert "leave it out" in str(caught.value)
    assert not (tmp_path / "out").exists()
