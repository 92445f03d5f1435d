from pathlib import Path

import cv2
import numpy as np
import pytest

from calib.prepare import Prepared, prepare_scans
from edge.errors import ExportError
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow
from edge.manifest import Golden
from export.proof.golden import choose_golden, choose_router_golden
from scans.folder import Scale, Scan

SPEC = HeightmapSpec(window=MillimetreWindow(low_mm=0.0, high_mm=5.0), height=16, width=16)


def proof(folder: Path, labels: list[str], *, dtype: type = np.uint8, scale: Scale | None = None) -> Prepared:
    scans = []
    for number, label in enumerate(labels):
        image = np.arange(256).reshape(16, 16).astype(dtype)
        image[0, 0] = number + 7
        path = folder / f"{number}.npy"
        np.save(path, image)
        scans.append(Scan(path, "bad" if label == "bad" else "good", str(number)))
    found = prepare_scans(scans, SPEC, scale or Scale())
    return Prepared(images=found.images, labels=tuple(labels), scans=found.scans, refused={})


def chosen(scores: list[float], found: Prepared, scale: Scale | None = None) -> tuple[tuple[Golden, ...], dict[str, bytes]]:
    """Chosen with a threshold of 0.5 and a single member."""
    values = np.array(scores)
    away = np.where([label == "bad" for label in found.labels], values - 0.5, 0.5 - values)
    return choose_golden(values, [values], away, found, scale or Scale(), folder="T3")


def test_two_of_each_label_from_the_middle_of_their_scores(tmp_path: Path) -> None:
    scores = [0.01, 0.1, 0.2, 0.3, 0.45, 0.55, 0.7, 0.8, 0.9, 0.99]
    golden, frames = chosen(scores, proof(tmp_path, ["good"] * 5 + ["bad"] * 5))
    assert [(g.label, g.score) for g in golden] == [("good", 0.1), ("good", 0.3), ("bad", 0.7), ("bad", 0.9)]
    assert [g.file for g in golden] == list(frames)
    assert all(g.tolerance == 0.02 for g in golden)


def test_near_the_threshold_the_tolerance_shrinks_so_that_the_side_stays_certain(tmp_path: Path) -> None:
    golden, _ = chosen([0.47, 0.1, 0.52, 0.9], proof(tmp_path, ["good"] * 2 + ["bad"] * 2))
    assert {round(g.score, 2): round(g.tolerance, 3) for g in golden} == {0.1: 0.02, 0.47: 0.015, 0.52: 0.01, 0.9: 0.02}


@pytest.mark.parametrize("scores", [[0.1, 0.495, 0.8, 0.9], [0.1, 0.2, 0.505, 0.9], [0.1, 0.7, 0.8, 0.9]])
def test_too_few_clear_frames_are_refused(tmp_path: Path, scores: list[float]) -> None:
    with pytest.raises(ExportError, match=r"too few (good|bad) held-out scans are clear"):
        chosen(scores, proof(tmp_path, ["good"] * 2 + ["bad"] * 2))


def test_the_same_frame_twice_counts_once(tmp_path: Path) -> None:
    same = proof(tmp_path, ["good"] * 2 + ["bad"] * 2)
    same.images[1] = same.images[0]
    with pytest.raises(ExportError, match="too few good"):
        chosen([0.1, 0.1, 0.8, 0.9], same)


@pytest.mark.parametrize(("dtype", "code"), [(np.uint8, "u1"), (np.uint16, "u2"), (np.float32, "f4")])
def test_a_payload_prepared_again_is_the_image_that_was_scored(tmp_path: Path, dtype: type, code: str) -> None:
    scale = Scale(pitch_mm=(0.2, 0.3), z_scale_mm=0.02, z_offset_mm=0.1, no_data=float("nan") if dtype is np.float32 else 0.0)
    found = proof(tmp_path, ["good"] * 2 + ["bad"] * 2, dtype=dtype, scale=scale)
    golden, frames = chosen([0.1, 0.2, 0.8, 0.9], found, scale)
    out = np.empty((16, 16), np.uint8)
    for made, wanted in zip(golden, found.images, strict=True):
        assert (made.dtype, made.shape, made.pitch_mm) == (code, (16, 16), (0.2, 0.3))
        image = np.frombuffer(frames[made.file], np.dtype(f"<{code}")).reshape(made.shape)
        Preparer(SPEC).prepare(
            image, kind=made.kind, z_scale_mm=made.z_scale_mm, z_offset_mm=made.z_offset_mm, no_data=made.no_data, out=out
        )
        assert np.array_equal(out, wanted[0])


def test_missing_points_marked_nan_become_a_number_json_can_hold(tmp_path: Path) -> None:
    image = np.linspace(0, 5, 256, dtype=np.float32).reshape(16, 16)
    image[3] = np.nan
    scans = []
    for number in range(4):
        image[0, 0] = number
        cv2.imwrite(str(tmp_path / f"{number}.tiff"), image)
        scans.append(Scan(tmp_path / f"{number}.tiff", "good", str(number)))
    scale = Scale(no_data=float("nan"))
    prepared = prepare_scans(scans, SPEC, scale)
    found = Prepared(images=prepared.images, labels=("good", "good", "bad", "bad"), scans=prepared.scans, refused={})
    golden, frames = chosen([0.1, 0.2, 0.8, 0.9], found, scale)
    out = np.empty((16, 16), np.uint8)
    raw = np.frombuffer(frames[golden[0].file], "<f4").reshape(16, 16)
    Preparer(SPEC).prepare(raw, kind="range", no_data=golden[0].no_data, out=out)
    assert np.isfinite(raw).all()
    assert np.array_equal(out, found.images[0, 0])


def test_the_router_has_one_frame_per_typology_named_with_room_to_spare(tmp_path: Path) -> None:
    found = proof(tmp_path, ["T3", "T3", "T9", "T9"])
    answers = np.array([[0.95, 0.05], [0.905, 0.095], [0.02, 0.98], [0.6, 0.4]], np.float32)
    golden, _ = choose_router_golden(answers, found, ("T3", "T9"), 0.9, {"T3": Scale(), "T9": Scale()})
    assert [(g.label, round(g.score, 2), round(g.tolerance, 3)) for g in golden] == [("T3", 0.95, 0.02), ("T9", 0.98, 0.02)]
    with pytest.raises(ExportError, match=r"no held-out scan of T3 with confidence \(seen: highest 0.0950, wanted 0.91"):
        choose_router_golden(answers[:, ::-1], found, ("T3", "T9"), 0.9, {"T3": Scale(), "T9": Scale()})
