"""One network in every kind of file gives one set of scores."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import source_kit as kit
import torch
from torch import nn

from export.sources.load import Source, load_source, source_from_module

CLASSES = kit.CLASSES


def load(path: Path, **options: object) -> Source:
    given = {"heightmap": kit.SPEC, "classes": CLASSES, **options}
    return load_source(path, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return kit.network()


def require_same(source: Source, wanted: np.ndarray) -> bytes:
    """The source's own runtime, the graph, and the graph built for three at once all answer as wanted."""
    exported = source.to_onnx()
    assert np.abs(wanted[:, 0] - wanted[0, 0]).max() > 1e-3, "the images must matter"
    assert np.allclose(source.run(kit.images()), wanted, atol=1e-4)
    assert np.allclose(kit.scores(exported), wanted, atol=1e-4)
    assert np.allclose(kit.scores(exported, batch=3), wanted, atol=1e-4)
    assert all(target[0] in {0, -1} for target in kit.reshapes(exported))
    assert source.to_onnx() == exported
    return exported


def test_checkpoint_and_state_dict_agree(model: nn.Module, tmp_path: Path) -> None:
    wanted = kit.wanted(model)
    require_same(load_source(kit.checkpoint(model, tmp_path / "a.safetensors")), wanted)
    require_same(load(kit.state_dict(model, tmp_path / "a.pth"), architecture="small"), wanted)


@pytest.mark.parametrize("batch", [1, 4, None])
def test_a_torch_export_program_agrees(batch: int | None, model: nn.Module, tmp_path: Path) -> None:
    require_same(load(kit.program(model, tmp_path / "a.pt2", batch)), kit.wanted(model))


@pytest.mark.slow
def test_a_program_of_core_aten_operators_agrees(model: nn.Module, tmp_path: Path) -> None:
    """Tracing knows no ONNX form of its batch norm; torch.export does."""
    require_same(load(kit.program(model, tmp_path / "a.pt2", 1, core=True)), kit.wanted(model))


@pytest.mark.parametrize(("batch", "opset"), [(1, 9), (4, 9), (None, 9), (1, 13), (4, 17), (None, 19), (None, 20)])
def test_an_onnx_file_agrees(batch: int | None, opset: int, model: nn.Module, tmp_path: Path) -> None:
    exported = require_same(load(kit.onnx_file(model, tmp_path / "a.onnx", batch, opset=opset)), kit.wanted(model))
    assert {o.domain: o.version for o in onnx.load_model_from_string(exported).opset_import} == {"": 19}


@pytest.mark.slow
def test_a_learner_agrees_and_is_kept(model: nn.Module, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fastai.vision.all import CategoryBlock, DataBlock, ImageBlock, Learner, Normalize, PILImage, parent_label  # noqa: PLC0415
    for label in CLASSES:
        for number in range(4):
            (tmp_path / label).mkdir(exist_ok=True)
            PILImage.create(kit.images()[number, 0]).save(tmp_path / label / f"{number}.png")
    block = DataBlock((ImageBlock, CategoryBlock), get_y=parent_label, batch_tfms=Normalize.from_stats(kit.SPEC.mean, kit.SPEC.std))
    data = block.dataloaders([*tmp_path.glob("*/*.png")], bs=2, num_workers=0)
    learner = Learner(data, model, loss_func=nn.CrossEntropyLoss(), path=tmp_path)
    learner.export("a.pkl")
    found = load_source(tmp_path / "a.pkl", heightmap=kit.SPEC, trust_pickle=True)
    require_same(found, kit.wanted(model))
    assert found.classes == CLASSES
    assert type(found.learner).__name__ == "Learner"


def test_batch_norms_are_folded_and_flattening_fixes_no_batch(tmp_path: Path) -> None:
    class Viewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Sequential(*list(kit.tiny())[:4]), nn.Linear(32, 2)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(image).view(image.size(0), -1))

    model = Viewed().eval()
    for file in (kit.onnx_file(model, tmp_path / "a.onnx", 4, do_constant_folding=False), kit.program(model, tmp_path / "a.pt2", 4)):
        exported = require_same(load(file), kit.wanted(model))
        assert "BatchNormalization" not in kit.operators(exported)
        assert "Flatten" in kit.operators(exported)
    require_same(source_from_module(model, classes=CLASSES, heightmap=kit.SPEC), kit.wanted(model))


@pytest.mark.parametrize("nested", ["bare", "learn.save", "learn.save with optimiser", "state_dict", "module."])
def test_a_state_dict_is_found_where_training_programs_put_it(nested: str, model: nn.Module, tmp_path: Path) -> None:
    weights = model.state_dict()
    wrapped = {
        "bare": weights,
        "learn.save": {"model": weights},
        "learn.save with optimiser": {"model": weights, "opt": {"state": [], "hypers": [{"lr": 1e-3}]}},
        "state_dict": {"epoch": 3, "state_dict": weights},
        "module.": {f"module.{name}": value for name, value in weights.items()},
    }[nested]
    torch.save(wrapped, tmp_path / "a.pt")
    assert np.allclose(load(tmp_path / "a.pt", architecture="small").run(kit.images()), kit.wanted(model), atol=1e-6)


@pytest.mark.slow
def test_what_fastai_itself_saves_is_read_without_running_its_code(model: nn.Module, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fastai.data.core import DataLoaders  # noqa: PLC0415
        from fastai.learner import Learner  # noqa: PLC0415

    data = DataLoaders.from_dsets(*[[(torch.zeros(3, 32, 64), 0)] * 4] * 2, bs=2, num_workers=0)
    learner = Learner(data, model, loss_func=nn.CrossEntropyLoss(), path=tmp_path, model_dir=".")
    learner.create_opt()
    learner.save("a", with_opt=True)
    assert np.allclose(load(tmp_path / "a.pth", architecture="small").run(kit.images()), kit.wanted(model), atol=1e-6)


def test_weights_beside_the_onnx_file_are_read(model: nn.Module, tmp_path: Path) -> None:
    path = kit.onnx_file(model, tmp_path / "a.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="a.bin", size_threshold=0)
    assert (tmp_path / "a.bin").stat().st_size > 1e6
    first = load(path)
    require_same(first, kit.wanted(model))
    data = bytearray((tmp_path / "a.bin").read_bytes())
    data[-1] ^= 1
    (tmp_path / "a.bin").write_bytes(data)
    assert load(path).sha256 != first.sha256


def test_a_file_of_our_own_form_is_taken_as_it_is(model: nn.Module, tmp_path: Path) -> None:
    exported = source_from_module(model, classes=CLASSES, heightmap=kit.SPEC).to_onnx(embedding=True)
    (tmp_path / "a.onnx").write_bytes(exported)
    found = load(tmp_path / "a.onnx")
    assert found.to_onnx(embedding=True) == exported
    require_same(found, kit.wanted(model))


@pytest.mark.parametrize("kind", ["module", "onnx", "pt2"])
@pytest.mark.parametrize("declared", ["logits", "probabilities"])
def test_a_final_softmax_is_never_done_twice(kind: str, declared: str, tmp_path: Path) -> None:
    model, bare = kit.tiny(nn.Softmax(dim=1)), kit.tiny()
    made = {
        "module": lambda: source_from_module(model, classes=CLASSES, heightmap=kit.SPEC, output=declared),  # type: ignore[arg-type]
        "onnx": lambda: load(kit.onnx_file(model, tmp_path / "a.onnx"), output=declared),
        "pt2": lambda: load(kit.program(model, tmp_path / "a.pt2"), output=declared),
    }[kind]()
    require_same(made, kit.wanted(bare))


@pytest.mark.parametrize("kind", ["module", "onnx", "pt2"])
@pytest.mark.parametrize("head", [(), (nn.Sigmoid(),)], ids=["logit", "sigmoid"])
def test_one_number_is_the_second_classs(kind: str, head: tuple[nn.Module, ...], tmp_path: Path) -> None:
    model, bare = kit.tiny(*head, outputs=1), kit.tiny(outputs=1)
    made = {
        "module": lambda: source_from_module(model, classes=CLASSES, heightmap=kit.SPEC, output="sigmoid"),
        "onnx": lambda: load(kit.onnx_file(model, tmp_path / "a.onnx"), output="sigmoid"),
        "pt2": lambda: load(kit.program(model, tmp_path / "a.pt2"), output="sigmoid"),
    }[kind]()
    with torch.no_grad():
        good = torch.sigmoid(bare(kit.normalised(kit.SPEC))).numpy()
    require_same(made, np.concatenate([1 - good, good], axis=1))


def test_a_one_output_state_dict_goes_into_a_head_of_one(tmp_path: Path) -> None:
    from nets.architectures import build  # noqa: PLC0415

    torch.manual_seed(0)
    model = build("small", 2)
    model.head[-1] = nn.Linear(320, 1)
    torch.save(model.eval().state_dict(), tmp_path / "a.pth")
    with torch.no_grad():
        good = torch.sigmoid(model(kit.normalised(kit.SPEC))).numpy()
    found = load(tmp_path / "a.pth", architecture="small", output="sigmoid")
    assert np.allclose(found.run(kit.images()), np.concatenate([1 - good, good], axis=1), atol=1e-5)


@pytest.mark.parametrize("kind", ["module", "onnx", "pt2"])
def test_networks_of_one_channel_are_normalised_in_one(kind: str, tmp_path: Path) -> None:
    model = kit.tiny(channels=1)
    made = {
        "module": lambda: source_from_module(model, classes=CLASSES, heightmap=kit.GRAY),
        "onnx": lambda: load(kit.onnx_file(model, tmp_path / "a.onnx", channels=1), heightmap=kit.GRAY),
        "pt2": lambda: load(kit.program(model, tmp_path / "a.pt2", channels=1), heightmap=kit.GRAY),
    }[kind]()
    with torch.no_grad():
        wanted = model(kit.normalised(kit.GRAY, channels=1)).softmax(dim=1).numpy()
    require_same(made, wanted)


@pytest.mark.parametrize("kind", ["module", "onnx", "pt2"])
def test_the_embedding_is_what_the_last_layer_decides_on(kind: str, tmp_path: Path) -> None:
    import onnxruntime  # noqa: PLC0415

    model = kit.tiny()
    made = {
        "module": lambda: source_from_module(model, classes=CLASSES, heightmap=kit.SPEC),
        "onnx": lambda: load(kit.onnx_file(model, tmp_path / "a.onnx", None)),
        "pt2": lambda: load(kit.program(model, tmp_path / "a.pt2")),
    }[kind]()
    session = onnxruntime.InferenceSession(made.to_onnx(embedding=True), providers=["CPUExecutionProvider"])
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("scores", [1, 2]), ("embedding", [1, 32])]
    with torch.no_grad():
        features = model[:-1](kit.normalised(kit.SPEC)[:1]).numpy()
    assert np.allclose(session.run(["embedding"], {"heightmap": kit.images()[:1]})[0], features, atol=1e-4)


def test_dynamic_height_and_width_are_fixed_by_the_spec(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    path = tmp_path / "a.onnx"
    kit.onnx_file(model, path, dynamic_axes={"image": {0: "n", 2: "h", 3: "w"}})  # all but the channels
    found = load(path)
    assert [d.dim_value for d in onnx.load_model_from_string(found.to_onnx()).graph.input[0].type.tensor_type.shape.dim] == [1, 1, 32, 64]
    assert np.allclose(kit.scores(found.to_onnx()), kit.wanted(model), atol=1e-4)


def test_operators_that_meant_something_else_in_old_opsets_keep_their_meaning(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Upsample", ["image", "scales"], ["large"], mode="nearest"),
        onnx.helper.make_node("Clip", ["large"], ["clipped"], min=-1.0, max=1.5),
        onnx.helper.make_node("ReduceMean", ["clipped"], ["mean"], axes=[2, 3], keepdims=0),
        onnx.helper.make_node("Gemm", ["mean", "weight", "bias"], ["answer"]),
    ]
    weight = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    weights = {"scales": np.array([1, 1, 2, 2], np.float32), "weight": weight, "bias": np.zeros(2, np.float32)}
    found = load(kit.onnx_of(nodes, tmp_path / "a.onnx", weights=weights, opset=9))
    answers = kit.normalised(kit.SPEC).clip(-1.0, 1.5).mean(dim=(2, 3)) @ torch.from_numpy(weight)
    wanted = answers.softmax(dim=1).numpy()
    assert np.allclose(found.run(kit.images()), wanted, atol=1e-4)
    assert np.allclose(kit.scores(found.to_onnx()), wanted, atol=1e-4)
