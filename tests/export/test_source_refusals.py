"""What is no network, or not the one it is said to be, is refused with the thing that is wrong named."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import source_kit as kit
import torch
from onnx import helper
from torch import nn

from edge.errors import ExportError
from export.sources.load import Source, load_source, source_from_module

NAN = float("nan")


def load(path: Path, **options: Any) -> Source:
    given: dict[str, Any] = {"heightmap": kit.SPEC, "classes": kit.CLASSES, **options}
    return load_source(path, **given)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.proof, "executed")


@pytest.mark.parametrize("suffix", [".safetensors", pytest.param(".pkl", marks=pytest.mark.slow), ".pth", ".pt2", ".onnx"])
@pytest.mark.parametrize(("data", "said"), [(None, "cannot read"), (b"", "is empty"), (b"garbage\x00\xff" * 99, r"cannot|is not|holds no")])
def test_missing_empty_and_garbage_files_are_named(suffix: str, data: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / f"network{suffix}"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ExportError, match=rf"network\{suffix}") as refused:
        load(path, architecture="small", trust_pickle=suffix == ".pkl")
    assert re.search(said, str(refused.value))


@pytest.mark.parametrize("suffix", [".pth", ".pt2", ".onnx"])
def test_files_that_name_nothing_need_classes_and_heightmap(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"network{suffix}"
    with pytest.raises(ExportError, match=r"does not name its classes .* Give --classes"):
        load(path, classes=None)
    with pytest.raises(ExportError, match=r"how its heightmaps are made. Give --heightmap"):
        load(path, heightmap=None)
    with pytest.raises(ExportError, match="tells two classes apart"):
        load(path, classes=("a", "b", "c"), output="sigmoid")


def test_a_state_dict_needs_its_architecture(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"weights without their network \(seen: no --arch\).*resnet18"):
        load(kit.state_dict(kit.tiny(), tmp_path / "a.pth"))


def test_a_state_dict_with_code_in_it_is_refused_and_the_code_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    torch.save({"model": kit.tiny().state_dict(), "extra": Trap(proof)}, tmp_path / "a.pth")
    with pytest.raises(ExportError, match=r"would execute code from the file \(seen: getattr\)"):
        load(tmp_path / "a.pth", architecture="small")
    assert not proof.exists()


def test_a_whole_model_in_a_pth_is_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.save(kit.tiny(), tmp_path / "a.pth")
    with pytest.raises(ExportError, match=r"torch\.save\(model\.state_dict\(\)"):
        load(tmp_path / "a.pth", architecture="small")


def test_torchscript_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(kit.tiny(), torch.zeros(1, 3, 32, 64)), tmp_path / "a.pt")
    with pytest.raises(ExportError, match=r"is TorchScript .* as ONNX or .pt2"):
        load(tmp_path / "a.pt", architecture="small")


def test_weights_of_another_network_are_listed(tmp_path: Path) -> None:
    weights = kit.network().state_dict()
    weights["head.1.weight"] = weights["head.1.weight"][:, :7]
    weights["extra.weight"] = weights.pop("stem.0.0.weight")
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(ExportError) as refused:
        load(tmp_path / "a.pth", architecture="small")
    said = str(refused.value)
    assert "1 missing: stem.0.0.weight" in said
    assert "1 not part of it: extra.weight" in said
    assert "1 misshapen: head.1.weight is (2, 7) instead of (2, 320)" in said
    with pytest.raises(ExportError, match=r"misshapen: head.1.weight is \(2, 320\) instead of \(3, 320\)"):
        load(kit.state_dict(kit.network(), tmp_path / "b.pth"), architecture="small", classes=("a", "b", "c"))


def test_a_file_of_other_things_holds_no_state_dict(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "loss": 0.1}, tmp_path / "a.pth")
    with pytest.raises(ExportError, match=r"holds no state dict \(seen: epoch, loss\)"):
        load(tmp_path / "a.pth", architecture="small")


def test_broken_weights_are_named_in_every_kind(tmp_path: Path) -> None:
    broken = kit.tiny()
    with torch.no_grad():
        broken[5].weight[0, :3] = NAN
    with pytest.raises(ExportError, match=r"NaN or infinite \(seen: 5.weight: 3 of 64\)"):
        load(kit.program(broken, tmp_path / "a.pt2"))
    with pytest.raises(ExportError, match=r"NaN or infinite \(seen: 5.weight: 3 of 64\)"):
        load(kit.onnx_file(broken, tmp_path / "a.onnx")).to_onnx()
    small = kit.network()
    with torch.no_grad():
        small.head[1].bias[0] = NAN
    with pytest.raises(ExportError, match=r"NaN or infinite \(seen: head.1.bias: 1 of 2\)"):
        load(kit.state_dict(small, tmp_path / "a.pth"), architecture="small")
    with pytest.raises(ExportError, match=r"NaN or infinite \(seen: head.1.bias: 1 of 2\)"):
        load_source(kit.checkpoint(small, tmp_path / "a.safetensors"))


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_another_size_or_number_of_classes_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    (kit.program if kind == "pt2" else kit.onnx_file)(kit.tiny(), path)
    wide = kit.HeightmapSpec(window=kit.SPEC.window, height=32, width=96)
    with pytest.raises(ExportError, match=r"another size than the heightmap spec gives \(seen: 32 x 64, spec 32 x 96\)"):
        load(path, heightmap=wide)
    with pytest.raises(ExportError, match=r"output \(1, 2\), finite: True, for 3 classes"):
        load(path, classes=("a", "b", "c")).to_onnx()
    with pytest.raises(ExportError, match=r"output \(1, 2\)"):
        load(path, output="sigmoid").to_onnx()
    with pytest.raises(ExportError, match="are no probabilities"):
        load(path, output="probabilities").to_onnx()


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_a_dynamic_file_that_cannot_take_the_size_is_refused(kind: str, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 64, 2))
    path = tmp_path / f"a.{kind}"
    if kind == "onnx":
        kit.onnx_file(model, path, dynamic_axes={"image": {2: "h"}})
    else:
        kit.program(model, path)
    with pytest.raises(ExportError, match=r"cannot take heightmaps of this size|another size"):
        load(path, heightmap=kit.HeightmapSpec(window=kit.SPEC.window, height=40, width=64)).to_onnx()


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_one_channel_cannot_be_normalised_three_ways(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    (kit.program if kind == "pt2" else kit.onnx_file)(kit.tiny(channels=1), path, channels=1)
    with pytest.raises(ExportError, match=r"takes one channel, the heightmap spec normalises three differently"):
        load(path)


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_sigmoids_per_class_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    (kit.program if kind == "pt2" else kit.onnx_file)(kit.tiny(nn.Sigmoid()), path)
    with pytest.raises(ExportError, match="sigmoid of its own"):
        load(path).to_onnx()


def test_a_module_whose_answer_is_not_what_is_said_is_refused() -> None:
    for model, output, said in (
        (kit.tiny(nn.Sigmoid()), "logits", "sigmoid of its own"),
        (kit.tiny(outputs=1), "logits", r"one number instead of one per class .* Give --output sigmoid"),
        (kit.tiny(), "sigmoid", r"a sigmoid is one number \(seen: output \(1, 2\)"),
    ):
        with pytest.raises(ExportError, match=said):
            source_from_module(model, classes=kit.CLASSES, heightmap=kit.SPEC, output=output)  # type: ignore[arg-type]


# ---- torch.export -------------------------------------------------------------------------------------------------------------------


def test_a_program_in_training_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"exported in training mode .* model.eval\(\)"):
        load(kit.program(kit.tiny().train(), tmp_path / "a.pt2", 2))
    dropping = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 32 * 64, 2)).train()
    with pytest.raises(ExportError, match="exported in training mode"):
        load(kit.program(dropping, tmp_path / "b.pt2", 2))


def test_a_program_of_two_answers_or_doubles_is_refused(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return image.mean((2, 3)), image

    with pytest.raises(ExportError, match="not a network of one image and one answer"):
        load(kit.program(Two(), tmp_path / "a.pt2"))
    torch.export.save(torch.export.export(kit.tiny().double(), (torch.zeros(1, 3, 32, 64).double(),)), tmp_path / "b.pt2")
    with pytest.raises(ExportError, match=r"does not take float32 images \(seen: torch.float64"):
        load(tmp_path / "b.pt2")


def altered(tmp_path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """A dynamic program whose archive members went through `change`."""
    kit.program(kit.tiny(), tmp_path / "good.pt2", None)
    with zipfile.ZipFile(tmp_path / "good.pt2") as good, zipfile.ZipFile(tmp_path / "a.pt2", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, change(name, good.read(name)))
    return tmp_path / "a.pt2"


def test_an_archive_written_anew_is_still_a_program(tmp_path: Path) -> None:
    assert load(altered(tmp_path, lambda _, data: data)).to_onnx() == load(tmp_path / "good.pt2").to_onnx()


EVIL = "__import__('pathlib').Path('PROOF').write_text('executed')"
INJECTIONS: dict[str, tuple[str, str]] = {
    "expression": (r'"expr_str": "[^"]*"', f'"expr_str": "{EVIL}"'),
    "operator": (r'"target": "torch\.ops\.aten\.relu[^"]*"', '"target": "torch.os.system"'),
    "private operator": (r'"target": "torch\.ops\.aten\.relu[^"]*"', '"target": "torch.ops.aten.__class__.mro"'),
    "file operator": (r'"target": "torch\.ops\.aten\.relu[^"]*"', '"target": "torch.ops.aten.from_file.default"'),
    "name": (r'"input"', f'"input={EVIL}"'),
    "parameter": (r'"parameter_name": "[^"]*"', f'"parameter_name": "{EVIL}"'),
    "pickled weight": (r'"use_pickle": false', '"use_pickle": true'),
}


@pytest.mark.parametrize("where", INJECTIONS)
def test_code_in_a_programs_archive_is_refused_before_pytorch_reads_it(where: str, tmp_path: Path) -> None:
    pattern, evil = INJECTIONS[where]
    proof = tmp_path / "proof"
    count = 0

    def change(name: str, data: bytes) -> bytes:
        nonlocal count
        if not name.endswith(".json"):
            return data
        text, found = re.subn(pattern, lambda _: evil.replace("PROOF", str(proof)), re.sub(r'": *"', '": "', data.decode()))
        count += found
        return text.encode()

    path = altered(tmp_path, change)
    assert count, "the archive must really have been altered"
    with pytest.raises(ExportError, match=r"more than tensors and ATen operators.* Give --trust-pickle"):
        load(path)
    assert not proof.exists()


def test_pickles_in_a_programs_archive_are_refused(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    evil = tmp_path / "evil.pt"
    torch.save(Trap(proof), evil)
    path = altered(tmp_path, lambda name, data: evil.read_bytes() if name.endswith(".pt") else data)
    with pytest.raises(ExportError, match=r"sample_inputs.* would execute code"):
        load(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/data/constants/opaque_obj_0", pickle.dumps(Trap(proof)))
    with pytest.raises(ExportError, match=r"more than tensors|would execute code"):
        load(path)
    assert not proof.exists()


def test_guards_in_a_programs_archive_are_never_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    evil = EVIL.replace("PROOF", str(proof))
    path = altered(tmp_path, lambda _, data: data.replace(b'"guards_code": []', f'"guards_code": ["{evil}"]'.encode()))
    with zipfile.ZipFile(path) as archive:
        assert evil.encode() in b"".join(archive.read(name) for name in archive.namelist())
    source = load(path)
    source.run(kit.images())
    source.to_onnx()
    assert not proof.exists()


# ---- ONNX ---------------------------------------------------------------------------------------------------------------------------

MEAN = helper.make_node("ReduceMean", ["image"], ["m"], axes=[2, 3], keepdims=0)
SLICE = helper.make_node("Gemm", ["m", "w"], ["answer"], name="head")
HEAD = {"w": np.ones((3, 2), np.float32)}


def test_an_operator_the_box_does_not_run_is_named(tmp_path: Path) -> None:
    nodes = [MEAN, helper.make_node("Hardmax", ["m"], ["n"], name="odd one"), helper.make_node("Gemm", ["n", "w"], ["answer"])]
    with pytest.raises(ExportError, match=r"do not all run \(seen: Hardmax \(node odd one"):
        load(kit.onnx_of(nodes, tmp_path / "a.onnx", weights=HEAD)).to_onnx()


def test_a_custom_operator_is_named(tmp_path: Path) -> None:
    nodes = [MEAN, helper.make_node("Fancy", ["m"], ["answer"], name="mine", domain="com.example")]
    with pytest.raises(ExportError, match=r"not part of ONNX \(seen: com.example.Fancy \(node mine"):
        load(kit.onnx_of(nodes, tmp_path / "a.onnx", domains=["com.example"]))


def test_data_dependent_shapes_are_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("NonZero", ["image"], ["where"], name="find"),
        helper.make_node("Cast", ["where"], ["floats"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["some"], axes=[0, 1], keepdims=1),
        helper.make_node("Concat", ["some", "some"], ["answer"], axis=1),
    ]
    with pytest.raises(ExportError, match=r"depend on the data \(seen: NonZero \(node find"):
        load(kit.onnx_of(nodes, tmp_path / "a.onnx")).to_onnx()


def test_pooling_that_tensorrt_does_not_run_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MaxPool", ["image"], ["p"], name="pool", kernel_shape=[2, 2], dilations=[2, 2]),
        helper.make_node("ReduceMean", ["p"], ["m"], axes=[2, 3], keepdims=0),
        SLICE,
    ]
    with pytest.raises(ExportError, match=r"pooling that TensorRT does not run \(seen: MaxPool pool: dilated"):
        load(kit.onnx_of(nodes, tmp_path / "a.onnx", weights=HEAD)).to_onnx()


def test_a_quantised_network_is_refused(tmp_path: Path) -> None:
    weights = {**HEAD, "s": np.float32(0.1), "z": np.int8(0)}
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "s", "z"], ["q"], name="q0"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("ReduceMean", ["d"], ["m"], axes=[2, 3], keepdims=0),
        SLICE,
    ]
    with pytest.raises(ExportError, match=r"quantised already \(seen: .*QuantizeLinear"):
        load(kit.onnx_of(nodes, tmp_path / "a.onnx", weights={k: np.asarray(v) for k, v in weights.items()})).to_onnx()


def test_half_precision_is_refused(tmp_path: Path) -> None:
    nodes = [
        MEAN,
        helper.make_node("Cast", ["w"], ["wide"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Gemm", ["m", "wide"], ["answer"], name="head"),
    ]
    with pytest.raises(ExportError, match=r"half-precision weights \(seen: w is float16"):
        load(kit.onnx_of(nodes, tmp_path / "a.onnx", weights={"w": np.ones((3, 2), np.float16)})).to_onnx()
    with pytest.raises(ExportError, match=r"does not take float32 images \(seen: FLOAT16"):
        load(kit.onnx_of([MEAN], tmp_path / "b.onnx", kind=onnx.TensorProto.FLOAT16))


@pytest.mark.parametrize("shape", [(1, 32, 64, 3), (1, 3, 2048), (1, "c", 32, 64), (1, 4, 32, 64)])
def test_other_inputs_than_images_are_refused(shape: tuple[int | str, ...], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"does not take images \[N, 3, H, W\]"):
        load(kit.onnx_of([MEAN, SLICE], tmp_path / "a.onnx", shape=shape, weights=HEAD))


def test_two_inputs_or_two_answers_are_refused(tmp_path: Path) -> None:
    path = kit.onnx_of([MEAN, SLICE], tmp_path / "a.onnx", weights=HEAD, outputs=("answer", "m"))
    with pytest.raises(ExportError, match=r"more than one output \(seen: \['answer', 'm'\]"):
        load(path)
    model = onnx.load(path)
    del model.graph.initializer[:]
    model.graph.input.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [3, 2]))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=r"exactly one image \(seen: \['image', 'w'\]"):
        load(path)


def test_answers_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    nodes = [MEAN, helper.make_node("Mul", ["m", "m"], ["square"]), helper.make_node("Neg", ["square"], ["minus"])]
    nodes += [helper.make_node("Log", ["minus"], ["nan"]), helper.make_node("Gemm", ["nan", "w"], ["answer"])]
    with pytest.raises(ExportError, match="finite: False"):
        load(kit.onnx_of(nodes, tmp_path / "a.onnx", weights=HEAD)).to_onnx()


def test_external_weights_that_are_gone_are_refused(tmp_path: Path) -> None:
    path = kit.onnx_file(kit.tiny(), tmp_path / "a.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="a.bin", size_threshold=0)
    (tmp_path / "a.bin").unlink()
    with pytest.raises(ExportError, match=r"files of their own cannot be read \(seen: .*a\.bin"):
        load(path)


def test_an_ancient_opset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"too old \(seen: opset 6\)"):
        load(kit.onnx_of([MEAN, SLICE], tmp_path / "a.onnx", weights=HEAD, opset=6))


def test_a_u8_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Cast", ["heightmap"], ["answer"], to=onnx.TensorProto.FLOAT)],
        "g",
        [helper.make_tensor_value_info("heightmap", onnx.TensorProto.UINT8, [1, 1, 32, 64])],
        [helper.make_tensor_value_info("answer", onnx.TensorProto.FLOAT, None)],
    )
    path = tmp_path / "a.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    with pytest.raises(ExportError, match=r"not as Cordon's own files do \(seen: input \[1, 1, 32, 64\], output answer, opset 17"):
        load(path)
