"""The real thing once: ModelOpt, OpenVINO, the box's own loader and signature."""

import hashlib
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from export_workshop import SPEC, Workshop

from calib.images import CalibrationSet, choose_images
from calib.prepare import prepare_scans
from calib.qdq import check_qdq
from calib.quantise import read_model
from edge.bundle import Bundle, file_entries, sign_bundle, verify_bundle
from edge.errors import BundleError, ExportError
from edge.inspector.loader import load_engines
from edge.inspector.machine import CpuMachine
from export.network import full_network, member_of
from export.order import LineOrder, RouterOrder, TypologyOrder
from export.pipeline import Exported, assemble, export_line, prove
from export.progress import Progress
from export.proof.evaluate import Evaluation, gather, settle
from export.proof.half import HalfResult, require_fp16
from export.sets import find_sets
from export.sources.load import load_source
from export.typology import export_typology

pytestmark = pytest.mark.slow


SPLIT = {"held_out": 0.5, "seed": 42, "training_scans": 40, "held_out_scans": 40, "kept_aside": 0, "as_trained": True}
STEPS = ["load", "scans", "calibrate", "onnx", "fp32", "quantise", "int8", "parser", "fp16", "latency", "prove"]


def quiet(_: str) -> None:
    pass


def certificate_of(bundle: Bundle) -> dict:
    return json.loads(bytes(bundle.files["certificate.json"]))


def test_the_bundle_opens_with_the_public_key_and_loads_on_the_box(exported: Exported, workshop: Workshop) -> None:
    bundle = verify_bundle(exported.data, (workshop.public_key,))
    loaded = load_engines(bundle, CpuMachine(threads=1), progress=quiet)
    assert set(loaded.judges) == {"T3", "T9"}
    assert loaded.router is not None
    assert loaded.known_answers == 2 * 4 + 2
    assert (bundle.manifest.name, bundle.manifest.version) == ("line", 3)


def test_every_network_is_checked_int8_with_the_normalisation_inside(exported: Exported) -> None:
    networks = [name for name in exported.bundle.files if name.endswith(".onnx")]
    assert len(networks) == 3
    for name in networks:
        model = read_model(bytes(exported.bundle.files[name]))
        assert check_qdq(model) == []
        ops = [node.op_type for node in model.graph.node]
        assert not {"Expand", "Where", "Shape", "Identity", "Constant", "BatchNormalization"} & set(ops)
        assert ops.count("Cast") == 1


def test_the_separable_line_has_no_escapes_and_no_overkills(exported: Exported) -> None:
    for typology in exported.certificate.typologies:
        found = typology.result
        for at in (found.shipped.shipped, found.shipped.own, found.shipped.crossfit, found.fp32.shipped):
            assert at is not None
            assert (at.escapes, at.overkills) == (0, 0)
            assert at.escape_rate_bound == pytest.approx(1 - 0.05 ** (1 / 20))
        assert (found.good, found.bad, found.flips.total) == (20, 20, 0)
        assert found.shipped.auroc == 1.0
        assert found.margin > 0.05
        (network,) = typology.networks
        assert (network.precision, network.float_layers) == ("int8", ())
        assert network.source_difference < 1e-4
        assert typology.fp16.difference_max is not None
        assert typology.fp16.difference_max < 0.01
        assert [attempt.precision for attempt in typology.attempts] == ["int8"]


def test_the_certificate_in_the_bundle_is_the_one_returned_and_its_hashes_hold(exported: Exported, workshop: Workshop) -> None:
    written = certificate_of(exported.bundle)
    assert written == json.loads(msgspec.json.encode(exported.certificate))
    for typology, order in zip(written["typologies"], workshop.order.typology, strict=True):
        name = typology["name"]
        (network,) = typology["networks"]
        assert network["shipped_sha256"] == hashlib.sha256(exported.bundle.files[f"{name}/{name}.onnx"]).hexdigest()
        assert network["source_sha256"] == hashlib.sha256(order.source.read_bytes()).hexdigest()
        assert typology["split"] == {
            "held_out": 0.5,
            "seed": 42,
            "training_scans": 40,
            "held_out_scans": 40,
            "kept_aside": 0,
            "as_trained": True,
        }
    assert {"torch", "onnx", "openvino", "nvidia-modelopt", "numpy"} <= set(written["tools"])


def test_calibration_saw_training_scans_only(exported: Exported, workshop: Workshop) -> None:
    for typology, order in zip(exported.certificate.typologies, workshop.order.typology, strict=True):
        sets = find_sets(order, {"held_out": "0.5", "seed": "42"})
        chosen = choose_images(prepare_scans(sets.training, SPEC, sets.folder.scale), count=order.calibration_images)
        assert typology.calibration.sha256 == chosen.hash


def test_no_path_of_this_machine_is_in_the_bundle(exported: Exported, workshop: Workshop) -> None:
    assert str(workshop.root).encode() not in exported.data
    assert str(Path.home()).encode() + b"/" not in exported.data


def test_golden_inputs_are_held_out_frames_of_both_labels_clear_of_the_threshold(exported: Exported, workshop: Workshop) -> None:
    for spec, order in zip(exported.bundle.manifest.typologies, workshop.order.typology, strict=True):
        sets = find_sets(order, {"held_out": "0.5", "seed": "42"})
        held_out = {prepare_scans([scan], SPEC, sets.folder.scale).images.tobytes(): scan.label for scan in sets.held_out}
        assert [g.label for g in spec.golden] == ["good", "good", "bad", "bad"]
        assert len({bytes(exported.bundle.files[g.file]) for g in spec.golden}) == 4
        for golden in spec.golden:
            assert held_out[bytes(exported.bundle.files[golden.file])] == golden.label
            assert abs(golden.score - spec.threshold) > golden.tolerance
            assert (golden.score > spec.threshold) == (golden.label == "bad")


@pytest.mark.usefixtures("exported")
def test_progress_names_every_step_with_its_seconds(lines: list[str]) -> None:
    assert [line.split()[1] for line in lines if line.startswith("T3 ")] == STEPS
    assert [line.split()[1] for line in lines if line.startswith("bundle")] == ["sign", "prove"]
    assert all(line.split()[3] == "s" for line in lines)


def test_exporting_again_gives_the_same_parts(exported: Exported, workshop: Workshop) -> None:
    again = export_typology(workshop.order.typology[0], Progress(quiet))
    assert again.spec == exported.bundle.manifest.typologies[0]
    assert again.certificate == exported.certificate.typologies[0]
    assert all(exported.bundle.files[name] == data for name, data in again.files.items())


@pytest.mark.parametrize("place", [0, 9, 60, 120, 600, -5000, -1])
def test_a_bundle_altered_anywhere_is_refused(exported: Exported, workshop: Workshop, place: int) -> None:
    altered = bytearray(exported.data)
    altered[place] ^= 1
    with pytest.raises(BundleError):
        prove(bytes(altered), workshop.public_key)


def test_a_bundle_that_promises_another_score_is_not_written(exported: Exported, workshop: Workshop) -> None:
    spec = exported.bundle.manifest.typologies[0]
    golden = (msgspec.structs.replace(spec.golden[0], score=spec.golden[0].score + 0.05), *spec.golden[1:])
    lying = msgspec.structs.replace(
        exported.bundle.manifest,
        typologies=(msgspec.structs.replace(spec, golden=golden), *exported.bundle.manifest.typologies[1:]),
    )
    data = sign_bundle(lying, {name: bytes(view) for name, view in exported.bundle.files.items()}, workshop.key)
    with pytest.raises(ExportError, match="does not repeat its own answers"):
        prove(data, workshop.public_key)


def test_a_bundle_whose_golden_scores_are_all_alike_is_not_written(exported: Exported, workshop: Workshop) -> None:
    spec = exported.bundle.manifest.typologies[0]
    alike = tuple(msgspec.structs.replace(golden, score=0.5) for golden in spec.golden)
    manifest = msgspec.structs.replace(
        exported.bundle.manifest, typologies=(msgspec.structs.replace(spec, golden=alike), *exported.bundle.manifest.typologies[1:])
    )
    data = sign_bundle(manifest, {name: bytes(view) for name, view in exported.bundle.files.items()}, workshop.key)
    with pytest.raises(ExportError, match="answers everything alike"):
        prove(data, workshop.public_key)


def test_networks_with_exchanged_labels_are_refused(workshop: Workshop, tmp_path: Path) -> None:
    folder = tmp_path / "T3"
    folder.mkdir()
    (folder / "good").symlink_to(workshop.order.typology[0].scans / "bad")
    (folder / "bad").symlink_to(workshop.order.typology[0].scans / "good")
    with pytest.raises(ExportError, match="in FP32 already: no threshold keeps the escapes low"):
        export_typology(msgspec.structs.replace(workshop.order.typology[0], scans=folder), Progress(quiet))


def test_exporting_the_line_again_gives_the_same_bytes(exported: Exported, workshop: Workshop) -> None:
    again = export_line(workshop.order, workshop.key, say=quiet)
    assert again.data == exported.data


def settled_with(workshop: Workshop, sabotage: bool, **changes: object) -> Evaluation:
    """T3's network, calibrated with honest images or with ones without contrast, which make INT8 clip whatever a real weld shows."""
    order = msgspec.structs.replace(workshop.order.typology[0], **changes)
    source = load_source(order.members[0].source)
    sets = find_sets(order, source.provenance)
    training, proof = (prepare_scans(scans, SPEC, sets.folder.scale) for scans in (sets.training, sets.held_out))
    chosen = choose_images(training, count=40)
    if sabotage:
        flat = np.clip(chosen.images, 112, 118)
        chosen = CalibrationSet(**{**vars(chosen), "images": flat})
    network = full_network(source, member_of(source, "T3", folder="T3"), chosen, proof)
    return settle([network], gather([network], proof), order, Progress(quiet))


def test_a_sabotaged_calibration_set_is_refused_with_the_layers_it_hurts(workshop: Workshop) -> None:
    assert settled_with(workshop, sabotage=False).attempts[-1].objections == ()
    with pytest.raises(ExportError, match=r"T3 may not be shipped: int8 \(max\) .*score difference by layer: .*precision = 'auto'"):
        settled_with(workshop, sabotage=True)


def test_where_int8_is_refused_layers_stay_float_or_fp16_is_shipped(workshop: Workshop) -> None:
    found = settled_with(workshop, sabotage=True, precision="auto")
    assert [(a.precision, a.method) for a in found.attempts[:3]] == [("int8", "max"), ("int8", "entropy"), ("int8", "percentile")]
    assert found.attempts[0].objections != ()
    assert (found.attempts[-1].precision, found.attempts[-1].objections) == (found.networks[0].precision, ())
    assert found.networks[0].precision in ("mixed", "fp16")
    assert found.comparison.flips.total == 0
    assert [s.difference for s in found.sensitivity] == sorted((s.difference for s in found.sensitivity), reverse=True)


def test_fp16_is_shipped_when_it_is_asked_for(workshop: Workshop) -> None:
    found = settled_with(workshop, sabotage=True, precision="fp16")
    assert [attempt.precision for attempt in found.attempts] == ["fp16"]
    assert found.comparison.difference_max < 0.01


@pytest.mark.parametrize(
    ("half", "message"),
    [
        (HalfResult(images=40, escapes_added=0, overkills_added=0, difference_max=None), "overflows in FP16"),
        (HalfResult(images=40, escapes_added=1, overkills_added=0, difference_max=0.3), "FP16 adds escapes"),
    ],
)
def test_fp16_that_only_a_gpu_would_get_wrong_is_not_shipped(workshop: Workshop, half: HalfResult, message: str) -> None:
    order = workshop.order.typology[0]
    with pytest.raises(ExportError, match=message):
        require_fp16(settled_with(workshop, sabotage=False, precision="fp16"), half, order)
    require_fp16(settled_with(workshop, sabotage=False), half, order)


def test_a_network_that_is_not_good_enough_itself_is_told_so(workshop: Workshop) -> None:
    order = msgspec.structs.replace(workshop.order.typology[0], escape_bound=0.01)
    with pytest.raises(
        ExportError, match=r"T3: the trained network itself, in FP32, proves an escape rate below 13.91% only, wanted 1.00%"
    ):
        export_typology(order, Progress(quiet))


def test_a_router_for_typologies_the_line_does_not_have_is_refused(workshop: Workshop) -> None:
    assert workshop.order.router is not None
    order = LineOrder(name="line", version=1, typology=workshop.order.typology[:1], router=workshop.order.router)
    with pytest.raises(ExportError, match=r"not in this bundle \(seen: \['T9'\]\)"):
        export_line(order, workshop.key, say=quiet)


def test_a_router_given_as_a_typology_is_refused(workshop: Workshop) -> None:
    assert isinstance(workshop.order.router, RouterOrder)
    order = TypologyOrder(name="T3", source=workshop.order.router.source, scans=workshop.order.typology[0].scans)
    with pytest.raises(ExportError, match="tells good from bad"):
        export_typology(order, Progress(quiet))


def test_a_bundle_without_a_router_is_possible(exported: Exported, workshop: Workshop) -> None:
    first = export_typology(workshop.order.typology[0], Progress(quiet))
    manifest, files, certificate = assemble("single", 1, [first])
    assert (manifest.router, certificate.router, certificate.known_answers) == (None, None, 4)
    assert manifest.files == file_entries(files)
    bundle = prove(sign_bundle(manifest, files, workshop.key), workshop.public_key)
    assert bundle.files["T3/T3.onnx"] == exported.bundle.files["T3/T3.onnx"]
