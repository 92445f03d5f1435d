"""The resize of fastai Learners against Pillow itself; tests/export compares it with fastai's own Resize."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edge.contract import Reason
from edge.errors import ConfigError, FrameError
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.fastai_resize import FastaiResize, Method, visible_part
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, PercentileWindow, spec_from_json, spec_to_json

MILLIMETRE = MillimetreWindow(low_mm=0.0, high_mm=10.0)
BILINEAR = Image.Resampling.BILINEAR


def resized(image: NDArray[np.uint8], height: int, width: int, method: Method = "fastai-squish") -> NDArray[np.uint8]:
    out = np.full((height, width), 77, np.uint8)
    FastaiResize((image.shape[0], image.shape[1]), height, width, method).place(image, out)
    return out


def noise(shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def bead(shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """A rounded ridge on a tilted sheet with a shadow beside it and missing points all over."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    ridge = 150 * np.exp(-(((rows - shape[0] / 2 - 3 * np.sin(cols / 20)) / (shape[0] / 8)) ** 2))
    image = np.clip(40 + 0.1 * cols + ridge + rng.normal(0, 2, shape), 1, 255).astype(np.uint8)
    image[int(shape[0] * 0.7) : int(shape[0] * 0.8)] = 0
    image[rng.random(shape) < 0.02] = 0
    return image


sides = st.tuples(st.integers(1, 300), st.integers(1, 300))


@settings(max_examples=120, deadline=None)
@given(sides, st.tuples(st.integers(8, 260), st.integers(8, 260)), st.integers(0, 2**32 - 1))
def test_every_pixel_is_pillows(shape: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    image = noise(shape, seed)
    out = resized(image, *size)
    rows_first = Image.fromarray(image).resize((size[1], shape[0]), BILINEAR).resize((size[1], size[0]), BILINEAR)
    assert (out == np.asarray(rows_first)).all()
    # In one call Pillow from version 13 on takes the columns first where that is less work, and then rounds otherwise.
    at_once = np.asarray(Image.fromarray(image).resize((size[1], size[0]), BILINEAR))
    assert np.abs(out.astype(int) - at_once).max() <= 1


@pytest.mark.parametrize(("shape", "size"), [((128, 352), (224, 224)), ((480, 640), (128, 352)), ((96, 300), (128, 352))])
def test_heightmaps_are_resized_as_by_pillow(shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = bead(shape)
    assert np.abs(resized(image, *size).astype(int) - np.asarray(Image.fromarray(image).resize(size[::-1], BILINEAR))).max() <= 1


def test_white_stays_white_and_black_black_at_every_scale() -> None:
    for size in ((8, 8), (33, 97), (500, 9), (211, 211)):
        for gray in (0, 255):
            assert set(np.unique(resized(np.full((57, 101), gray, np.uint8), *size))) == {gray}


def test_padding_puts_zeros_around_and_mixes_them_into_the_border() -> None:
    image = np.full((40, 40), 200, np.uint8)
    out = resized(image, 16, 64, "fastai-pad")
    padded = np.zeros((40, 160), np.uint8)
    padded[:, 60:100] = image
    assert (out == np.asarray(Image.fromarray(padded).resize((64, 16), BILINEAR))).all()
    assert 0 < out[8, 23] < 200, "a pixel half on the border is half as high"


def test_cropping_takes_the_middle() -> None:
    image = noise((40, 41))
    assert (resized(image, 20, 10, "fastai-crop") == resized(image[:, 10:30], 20, 10)).all()
    assert visible_part((40, 41), 20, 10, "fastai-crop") == ((40, 20), (0, 10))


def test_an_odd_border_is_one_wider_on_the_right_as_fastai_truncates_it() -> None:
    assert visible_part((40, 41), 20, 30, "fastai-pad") == ((40, 60), (0, -9))


@pytest.mark.parametrize("method", ["fastai-pad", "fastai-squish", "fastai-crop"])
def test_an_image_of_the_right_size_is_copied(method: Method) -> None:
    image = noise((128, 352))
    assert (resized(image, 128, 352, method) == image).all()


def test_a_resizer_gives_the_same_for_the_same_image_whatever_came_between() -> None:
    resizer, outs = FastaiResize((50, 70), 32, 64, "fastai-pad"), np.zeros((3, 32, 64), np.uint8)
    for out, seed in zip(outs, (1, 2, 1), strict=True):
        resizer.place(noise((50, 70), seed), out)
    assert (outs[0] == outs[2]).all()
    assert (outs[0] != outs[1]).any()


def test_an_image_too_narrow_to_crop_is_refused_by_name() -> None:
    with pytest.raises(FrameError, match="too narrow for fastai-crop") as caught:
        resized(noise((1000, 1)), 8, 64, "fastai-crop")
    assert caught.value.reason is Reason.FRAME_SHAPE


# -- in a spec


def prepare(image: NDArray[np.uint8], spec: HeightmapSpec) -> NDArray[np.uint8]:
    out = np.empty((spec.height, spec.width), np.uint8)
    Preparer(spec).prepare(image, kind="heightmap", out=out)
    return out


@pytest.mark.parametrize("window", [MILLIMETRE, PercentileWindow()])
def test_the_preparer_resizes_as_its_spec_says(window: MillimetreWindow | PercentileWindow) -> None:
    image = bead((60, 90))
    same_size = prepare(image, HeightmapSpec(window=window, height=60, width=90))
    for method in ("fastai-pad", "fastai-squish", "fastai-crop"):
        made = prepare(image, HeightmapSpec(window=window, height=32, width=64, resize=method))
        assert (made == resized(same_size, 32, 64, method)).all()
    assert (prepare(image, HeightmapSpec(window=window, height=32, width=64)) != made).any()


def test_heights_are_windowed_before_they_are_resized() -> None:
    heights = cv2.GaussianBlur(noise((60, 90)).astype(np.float32), (0, 0), 3) / 25
    out, same_size = np.empty((32, 64), np.uint8), np.empty((60, 90), np.uint8)
    Preparer(HeightmapSpec(window=MILLIMETRE, height=32, width=64, resize="fastai-squish")).prepare(heights, kind="range", out=out)
    Preparer(HeightmapSpec(window=MILLIMETRE, height=60, width=90)).prepare(heights, kind="range", out=same_size)
    assert (out == resized(same_size, 32, 64)).all()


def test_a_frame_whose_cropped_part_is_empty_is_refused() -> None:
    image = np.zeros((40, 200), np.uint8)
    image[:, :30] = noise((40, 30))
    with pytest.raises(FrameError, match="the part of the frame that the network sees is constant") as caught:
        prepare(image, HeightmapSpec(window=MILLIMETRE, height=32, width=32, resize="fastai-crop"))
    assert caught.value.reason is Reason.FRAME_EMPTY


def test_a_spec_that_says_nothing_of_resizing_means_the_letterbox() -> None:
    text = b'{"window": {"by": "percentile"}, "height": 64, "width": 96}'
    assert spec_from_json(text) == HeightmapSpec(window=PercentileWindow(), height=64, width=96, resize="letterbox")
    spec = HeightmapSpec(window=MILLIMETRE, resize="fastai-pad")
    assert spec_from_json(spec_to_json(spec)) == spec


def test_an_unknown_way_of_resizing_is_refused() -> None:
    with pytest.raises(ConfigError):
        spec_from_json(b'{"window": {"by": "percentile"}, "resize": "nearest"}')
    with pytest.raises(ConfigError, match="resize is out of range"):
        HeightmapSpec(window=MILLIMETRE, resize="nearest")  # type: ignore[arg-type]
