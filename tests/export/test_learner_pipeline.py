"""A spec read from real fastai Learners, and the box's pixels against theirs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from learner_kit import (
    MEAN,
    STD,
    Brighter,
    Datasets,
    Halved,
    Mirror,
    Normalize,
    NotANumber,
    PILImage,
    PILImageBW,
    RandomResizedCrop,
    Resize,
    Spot,
    ToTensor,
    aug_transforms,
    from_block,
    from_folder,
    learner_of,
    normalise,
    open_by_hand,
    reloaded,
    three_more,
    vision_learner,
    write_scans,
)
from torchvision.models import resnet18

from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, PercentileWindow
from export.sources.learner_spec import AS_IT_IS
from export.sources.pixels import PixelComparison, require_same_pixels, spec_of
from scans.folder import Scale, Scan

SIZE = (32, 64)
PADDED = HeightmapSpec(window=AS_IT_IS, height=32, width=64, resize="fastai-pad", mean=MEAN, std=STD)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[Scan]:
    return write_scans(tmp_path_factory.mktemp("learner") / "scans")


@pytest.fixture
def root(scans: list[Scan]) -> Path:
    return scans[0].path.parents[1]


def padded(**options: Any) -> Any:
    return Resize(SIZE, method="pad", pad_mode="zeros", **options)


def compare(learner: Any, scans: list[Scan], declared: HeightmapSpec | None = None) -> PixelComparison:
    return require_same_pixels(learner, scans, spec_of(learner, declared), Scale())


# -- what a spec can say


@pytest.mark.parametrize("method", ["pad", "squish", "crop"])
@pytest.mark.parametrize("size", [SIZE, (48, 48), (80, 200)])
def test_the_box_sees_what_fastais_resize_makes(scans: list[Scan], root: Path, method: str, size: tuple[int, int]) -> None:
    learner = learner_of(from_folder(root, Resize(size, method=method, pad_mode="zeros"), normalise()), root)
    spec = spec_of(learner, None)
    assert (spec.height, spec.width, spec.resize, spec.mean, spec.std) == (*size, f"fastai-{method}", MEAN, STD)
    found = require_same_pixels(learner, scans, spec, Scale())
    assert (found.images, found.refused, found.pixels) == (8, 0, 8 * size[0] * size[1])
    assert found.max_difference <= 1.0
    assert found.share_over_one == 0.0


def test_a_crop_is_the_default_of_fastai_and_its_padding_mode_does_not_matter(scans: list[Scan], root: Path) -> None:
    learner = learner_of(from_folder(root, Resize(40)), root)
    assert spec_of(learner).resize == "fastai-crop"
    assert compare(learner, scans).max_difference <= 1.0


def test_training_augmentation_does_not_touch_the_validation_set(scans: list[Scan], root: Path) -> None:
    learner = learner_of(from_folder(root, padded(), [*aug_transforms(), normalise()]), root)
    learner.dls.train.one_batch()  # fastai's affine transforms remember which set they saw last
    assert spec_of(learner) == PADDED
    assert compare(learner, scans).max_difference == pytest.approx(0.0, abs=0.05)


def test_a_vision_learner_is_read_like_any_other(scans: list[Scan], root: Path) -> None:
    learner = vision_learner(from_folder(root, padded(), normalise()), resnet18, pretrained=False, path=root)
    assert spec_of(learner) == PADDED
    assert compare(learner, scans).max_difference == 0.0


@pytest.mark.parametrize("make", [from_folder, from_block])
def test_an_exported_learner_says_the_same_as_the_one_in_memory(scans: list[Scan], root: Path, make: Callable[..., Any]) -> None:
    learner = learner_of(make(root, padded(), normalise()), root)
    again = reloaded(learner)
    assert spec_of(again) == spec_of(learner) == PADDED
    assert compare(again, scans) == compare(learner, scans)


def test_one_gray_channel_without_normalisation_is_understood(scans: list[Scan], root: Path) -> None:
    learner = learner_of(from_block(root, padded(), image=PILImageBW), root)
    assert spec_of(learner) == msgspec.structs.replace(PADDED, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    assert compare(learner, scans).max_difference == 0.0


def test_gray_levels_that_are_not_divided_are_said_by_the_statistics(scans: list[Scan], root: Path) -> None:
    sets = Datasets([scan.path for scan in scans], [[PILImage.create]], splits=[[0, 1], [2, 3]])
    dls = sets.dataloaders(bs=2, num_workers=0, device="cpu", after_item=[padded(), ToTensor()], after_batch=[Halved()])
    learner = learner_of(dls, root)
    with pytest.raises(ExportError, match="Halved"):
        spec_of(learner)
    dls.valid.after_batch.fs.clear()
    dls.valid.after_batch.add([Normalize.from_stats((100.0,) * 3, (50.0,) * 3, cuda=False)])
    spec = spec_of(learner)
    assert spec.mean == pytest.approx((100 / 255,) * 3, abs=1e-6)
    assert require_same_pixels(learner, scans, spec, Scale()).max_difference == pytest.approx(0.0, abs=0.01)


def test_without_a_resize_the_size_is_that_of_the_scans(tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "scans", shapes=((40, 90),))
    learner = learner_of(from_folder(tmp_path / "scans", None, normalise()), tmp_path)
    wanted = msgspec.structs.replace(PADDED, height=40, width=90, resize="letterbox")
    assert spec_of(learner) == wanted
    again = reloaded(learner)
    with pytest.raises(ExportError, match="input size is not known"):
        spec_of(again)
    assert spec_of(again, scans=scans) == wanted
    assert compare(again, scans, wanted).max_difference == 0.0


# -- what a spec cannot say


@pytest.mark.parametrize(
    ("item", "batch", "named"),
    [
        (lambda: Resize(SIZE, method="pad"), list, r"Resize\(\(32, 64\), method='pad', pad_mode='reflection'\) fills the border by refl"),
        (lambda: Resize(SIZE, method="pad", pad_mode="border"), list, "fills the border by border"),
        (lambda: Resize(SIZE, resamples=(3, 0)), list, "resamples by Pillow's filter 3"),
        (lambda: RandomResizedCrop(SIZE), list, "RandomResizedCrop"),
        (padded, lambda: aug_transforms(size=24, min_scale=0.75), "RandomResizedCropGPU"),
        (padded, lambda: aug_transforms(size=24), r"resizes batches to \(?24"),
        (lambda: [padded(), Brighter()], list, "Brighter"),
        (lambda: [padded(), three_more], list, "Transform three_more"),
    ],
)
def test_a_transform_that_fits_no_spec_is_refused_by_name(
    root: Path, item: Callable[[], Any], batch: Callable[[], Any], named: str
) -> None:
    learner = learner_of(from_folder(root, item(), batch()), root)
    with pytest.raises(ExportError, match=rf"in a way that no heightmap spec can say .*{named}") as caught:
        spec_of(learner)
    assert "Train with" in caught.value.remedy


def test_two_resizes_are_more_than_a_spec_can_say(root: Path) -> None:
    learner = learner_of(from_folder(root, padded()), root)
    learner.dls.valid.after_item.add([Resize(20)])
    with pytest.raises(ExportError, match=r"seen: Resize\)"):
        spec_of(learner)


def test_images_opened_by_other_code_need_a_declared_spec(scans: list[Scan], root: Path) -> None:
    sets = Datasets([scan.path for scan in scans], [[open_by_hand]], splits=[[0, 1], [2, 3]])
    learner = learner_of(sets.dataloaders(bs=2, num_workers=0, device="cpu", after_item=[padded(), ToTensor()]), root)
    with pytest.raises(ExportError, match="its images are not opened by PILImage"):
        spec_of(learner)


# -- with a declared spec


def test_a_declared_spec_stands_for_what_cannot_be_read_and_the_pixels_decide(scans: list[Scan], root: Path) -> None:
    harmless = learner_of(from_folder(root, [padded(), Brighter(0)], normalise()), root)
    assert compare(harmless, scans, PADDED).max_difference == 0.0
    other_size = msgspec.structs.replace(PADDED, height=40)
    assert spec_of(harmless, other_size) == other_size
    with pytest.raises(ExportError, match="another size"):
        compare(harmless, scans, other_size)
    mirrored_border = learner_of(from_folder(root, Resize(SIZE, method="pad"), normalise()), root)
    assert spec_of(mirrored_border, PADDED) == PADDED
    with pytest.raises(ExportError, match="another crop, resize or window"):
        compare(mirrored_border, scans, PADDED)


def test_a_declared_spec_brings_the_window(scans: list[Scan], root: Path) -> None:
    learner = learner_of(from_folder(root, padded(), normalise()), root)
    declared = msgspec.structs.replace(PADDED, window=MillimetreWindow(low_mm=-1.0, high_mm=6.0))
    assert compare(learner, scans, declared).max_difference == 0.0
    stretched = msgspec.structs.replace(PADDED, window=PercentileWindow(low=5.0, high=95.0))
    with pytest.raises(ExportError, match="other pixels"):
        compare(learner, scans, stretched)


def test_a_declared_spec_that_contradicts_the_learner_is_refused(root: Path) -> None:
    learner = learner_of(from_folder(root, padded(), normalise()), root)
    declared = msgspec.structs.replace(PADDED, resize="letterbox", width=72)
    with pytest.raises(ExportError, match=r"contradicts .*width 72, the Learner's 64; resize letterbox, the Learner's fastai-pad"):
        spec_of(learner, declared)


@pytest.mark.parametrize("item", [padded, lambda: [padded(), Brighter(0)]])
def test_other_statistics_are_refused(root: Path, item: Callable[[], Any]) -> None:
    learner = learner_of(from_folder(root, item(), normalise()), root)
    with pytest.raises(ExportError, match=r"normalises otherwise .* mean \(0.485"):
        spec_of(learner, msgspec.structs.replace(PADDED, mean=(0.5, 0.456, 0.406)))


# -- sabotage


def test_three_gray_levels_more_are_found_and_the_place_is_named(scans: list[Scan], root: Path) -> None:
    learner = learner_of(from_folder(root, [padded(), Brighter(3)], normalise()), root)
    with pytest.raises(ExportError, match="other pixels") as caught:
        compare(learner, scans, PADDED)
    assert f"{scans[0].path}, row 0, column 0: box 0, Learner 3;" in caught.value.seen
    assert "100 % of the pixels of 8 images" in caught.value.seen
    assert "1 x the box's +3" in caught.value.remedy


def test_a_single_changed_pixel_is_found(scans: list[Scan], root: Path) -> None:
    learner = learner_of(from_folder(root, [padded(), Spot()], normalise()), root)
    with pytest.raises(ExportError, match=r"row 20, column 30: box \d+, Learner [\d.]+; 0.0488 % of the pixels of 1 images"):
        require_same_pixels(learner, scans[:1], PADDED, Scale())


def test_a_mirrored_image_is_found(scans: list[Scan], root: Path) -> None:
    learner = learner_of(from_folder(root, [padded(), Mirror()], normalise()), root)
    with pytest.raises(ExportError, match="Learner's image is mirrored left to right"):
        compare(learner, scans, PADDED)


def test_nan_is_a_difference(scans: list[Scan], root: Path) -> None:
    learner = learner_of(from_folder(root, padded(), [normalise(), NotANumber()]), root)
    with pytest.raises(ExportError, match="Learner nan"):
        compare(learner, scans, PADDED)


def test_a_learner_without_a_validation_set_is_refused(scans: list[Scan], root: Path) -> None:
    learner = learner_of(from_folder(root, padded()), root)
    learner.dls.loaders.pop()
    with pytest.raises(ExportError, match="no validation set"):
        spec_of(learner)
    with pytest.raises(ExportError, match="no validation set"):
        require_same_pixels(learner, scans, PADDED, Scale())


def test_a_network_that_is_normalised_otherwise_than_its_graph_is_found_by_its_pixels(scans: list[Scan], root: Path) -> None:
    learner = learner_of(from_folder(root, padded(), normalise()), root)
    with pytest.raises(ExportError, match="normalisation"):
        require_same_pixels(learner, scans, msgspec.structs.replace(PADDED, std=(0.25, 0.25, 0.25)), Scale())


def test_another_way_of_resizing_is_found(scans: list[Scan], root: Path) -> None:
    learner = learner_of(from_folder(root, padded(), normalise()), root)
    with pytest.raises(ExportError, match="another crop, resize or window"):
        require_same_pixels(learner, scans, msgspec.structs.replace(PADDED, resize="letterbox"), Scale())


def test_another_size_is_found(scans: list[Scan], root: Path) -> None:
    learner = learner_of(from_folder(root, padded(), normalise()), root)
    with pytest.raises(ExportError, match=r"another size of .*png \(seen: 32 x 64, the box 40 x 64\)"):
        require_same_pixels(learner, scans, msgspec.structs.replace(PADDED, height=40), Scale())


def test_16_bit_scans_that_pillow_squeezed_are_found(tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "scans")
    learner = learner_of(from_folder(tmp_path / "scans", padded(), normalise()), tmp_path)
    for scan in scans:
        image = cv2.imread(str(scan.path), cv2.IMREAD_UNCHANGED).astype(np.uint16) * 200
        cv2.imwrite(str(scan.path), image)
    declared = msgspec.structs.replace(PADDED, window=MillimetreWindow(low_mm=0.0, high_mm=51.0))
    with pytest.raises(ExportError, match="PILImage squeezes other than 8-bit images"):
        require_same_pixels(learner, scans, spec_of(learner, declared), Scale(z_scale_mm=0.001))


def test_scans_the_box_refuses_are_not_compared(tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "scans")
    learner = learner_of(from_folder(tmp_path / "scans", padded(), normalise()), tmp_path)
    cv2.imwrite(str(scans[1].path), np.zeros((40, 90), np.uint8))
    found = compare(learner, scans)
    assert (found.images, found.refused) == (7, 1)
    with pytest.raises(ExportError, match="the box would refuse every scan"):
        compare(learner, [scans[1]])


def test_a_pipeline_that_fails_is_named_with_the_scan(scans: list[Scan], root: Path) -> None:
    learner = learner_of(from_folder(root, [padded(), Brighter(0)], normalise()), root)
    learner.dls.valid.after_item.fs[-1].more = "three"
    with pytest.raises(ExportError, match=r"cannot open a scan \(seen: .*0.png"):
        compare(learner, scans, PADDED)


# -- our own training


@pytest.mark.parametrize("saved", [False, True])
def test_our_own_learner_sees_exactly_what_the_box_sees(tmp_path: Path, saved: bool) -> None:
    from train.data import PreparedScan, loaders  # noqa: PLC0415 - fastai takes seconds
    from train.options import TrainingOptions  # noqa: PLC0415

    scans = write_scans(tmp_path / "scans")
    spec = HeightmapSpec(window=PercentileWindow(), height=32, width=64)
    labels = {scan.path: str(scan.label) for scan in scans}
    prepared = PreparedScan(spec, Scale())
    dls = loaders(scans[::2], scans[1::2], labels, ("bad", "good"), prepared=prepared, options=TrainingOptions(threads=1))
    learner = learner_of(dls.cpu(), tmp_path)
    learner = reloaded(learner) if saved else learner
    assert spec_of(learner) == spec_of(learner, spec) == spec
    found = compare(learner, scans)
    assert (found.images, found.max_difference, found.share_over_one) == (8, 0.0, 0.0)
    other = msgspec.structs.replace(spec, window=PercentileWindow(low=10.0))
    with pytest.raises(ExportError, match=r"contradicts .*window"):
        spec_of(learner, other)
    with pytest.raises(ExportError, match="other pixels"):
        require_same_pixels(learner, scans, other, Scale())
