"""Known welds: packed at export, unpacked on the box, found by direction."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.bundle_similar import nearest, pack_similar, unpack_similar
from edge.errors import BundleContentError, BundleError, ExportError

Vectors = NDArray[np.float32]


def vectors(count: int = 12, features: int = 40, *, scale: float = 1.0) -> Vectors:
    return (np.random.default_rng(5).normal(size=(count, features)) * scale).astype(np.float32)


def packed(embeddings: Vectors) -> bytes:
    return pack_similar([f"w{i}.png" for i in range(len(embeddings))], ["good", "bad"] * (len(embeddings) // 2), embeddings)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_what_was_packed_is_found_whatever_its_length(scale: float) -> None:
    embeddings = vectors(scale=scale)
    known = unpack_similar(packed(embeddings))
    for index, embedding in enumerate(embeddings):
        first = nearest(known, embedding, 1)[0]
        assert (first.name, first.label) == (f"w{index}.png", ("good", "bad")[index % 2])
        assert first.distance < 1e-4


def test_the_order_is_that_of_exact_cosine_distances() -> None:
    embeddings, asked = vectors(), vectors(13)[-1].astype(np.float64)
    cosines = embeddings.astype(np.float64) @ asked / np.linalg.norm(embeddings, axis=1) / np.linalg.norm(asked)
    found = nearest(unpack_similar(packed(embeddings)), asked.astype(np.float32), 5)
    assert [weld.name for weld in found] == [f"w{i}.png" for i in np.argsort(1 - cosines)[:5]]
    assert [weld.distance for weld in found] == pytest.approx(np.sort(1 - cosines)[:5], abs=1e-3)


def test_equal_inputs_give_equal_bytes_and_half_the_size() -> None:
    embeddings = vectors(100, 512)
    assert packed(embeddings) == packed(embeddings.copy())
    assert len(packed(embeddings)) < 0.55 * embeddings.nbytes


def test_fewer_known_welds_than_asked_for_are_all_given() -> None:
    assert len(nearest(unpack_similar(packed(vectors(4))), vectors(1)[0], 50)) == 4


@pytest.mark.parametrize("row", [np.zeros(3), np.full(3, np.nan), np.array([1, np.inf, 0])])
def test_a_vector_without_a_direction_is_not_packed(row: Vectors) -> None:
    with pytest.raises(ExportError, match=r"embedding of b\.png has no direction"):
        pack_similar(["a.png", "b.png"], ["good", "bad"], np.stack([np.ones(3), row]).astype(np.float32))


@pytest.mark.parametrize(("names", "labels", "shape"), [(1, 2, (2, 3)), (2, 1, (2, 3)), (2, 2, (3, 3)), (0, 0, (0, 3)), (2, 2, (2, 0))])
def test_names_labels_and_embeddings_belong_together(names: int, labels: int, shape: tuple[int, int]) -> None:
    with pytest.raises(ExportError, match="a name, a label and an embedding each"):
        pack_similar(["n"] * names, ["good"] * labels, np.ones(shape, np.float32))


@pytest.mark.parametrize("changes", [{"features": 39}, {"features": -40}, {"names": []}, {"labels": ["good"]}, {"format": 2}, {"extra": 1}])
def test_a_file_that_contradicts_itself_is_refused(changes: dict[str, object]) -> None:
    content = msgspec.msgpack.decode(packed(vectors())) | changes
    with pytest.raises(BundleContentError, match="cannot be searched"):
        unpack_similar(msgspec.msgpack.encode(content))


def test_numbers_that_are_none_are_refused() -> None:
    content = msgspec.msgpack.decode(packed(vectors()))
    content["embeddings"] = np.full(len(content["embeddings"]) // 2, np.nan, "<f2").tobytes()
    with pytest.raises(BundleContentError, match="no numbers"):
        unpack_similar(msgspec.msgpack.encode(content))


@given(st.binary(max_size=200))
@example(b"\x81\xa3\x00\x00\x80")
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        unpack_similar(data)


@pytest.mark.parametrize("asked", [np.ones(39), np.zeros(40), np.full(40, np.nan)])
def test_another_networks_features_are_not_compared(asked: Vectors) -> None:
    with pytest.raises(BundleContentError, match="cannot be searched"):
        nearest(unpack_similar(packed(vectors())), asked.astype(np.float32), 3)
