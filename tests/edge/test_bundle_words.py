"""What `cordon bundle show` tells an operator."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from bundle_kit import certificate, signed
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TinyBundle

from edge.bundle import Manifest
from edge.bundle_words import RESIZING, as_json, explain, heightmap_words
from edge.inspector.heightmap.spec import (
    HeightmapSpec,
    MillimetreWindow,
    OutlierFilter,
    PercentileWindow,
    PlaneRemoval,
    Rasterise,
    Resizing,
)


def shown(*arguments: Any, **keywords: Any) -> str:
    return "\n".join(explain(signed(*arguments, **keywords)))


def test_the_identity_is_the_one_a_gate_may_pin() -> None:
    bundle = signed()
    lines = list(explain(bundle))
    assert lines[:3] == ["genuine: tiny version 1", f"hash   {bundle.hash}", f"key    {bundle.signed_by}"]


def test_a_frames_way_is_told_in_its_order() -> None:
    spec = HeightmapSpec(
        window=PercentileWindow(low=2, high=98),
        height=128,
        width=352,
        outliers=OutlierFilter(window=5, limit_mm=1.5),
        plane=PlaneRemoval(inlier_mm=0.5, iterations=32),
    )
    outliers, plane, window, size = heightmap_words(spec)
    assert "1.5 mm" in outliers
    assert "5 x 5" in outliers
    assert "0.5 mm" in plane
    assert "percentiles 2 and 98" in window
    assert "128 x 352" in size
    metric = HeightmapSpec(window=MillimetreWindow(low_mm=-2, high_mm=5.5))
    assert "from -2 to 5.5 mm" in next(iter(heightmap_words(metric)))


@pytest.mark.parametrize(("max_gap", "words"), [(3, "gaps of up to 3 cells are filled"), (0, "gaps stay")])
def test_the_grid_of_clouds_is_told_first(max_gap: int, words: str) -> None:
    grid = Rasterise(x_mm=(-5, 30.2), y_mm=(0, 12.7), pitch_mm=(0.2, 0.1), max_gap=max_gap)
    first = next(iter(heightmap_words(HeightmapSpec(window=PercentileWindow(), rasterise=grid))))
    assert "128 x 177 cells of 0.2 x 0.1 mm (x from -5 to 30.2 mm, y from 0 to 12.7 mm)" in first
    assert words in first


def test_every_way_of_resizing_has_its_words() -> None:
    assert set(RESIZING) == set(Resizing.__args__)  # type: ignore[attr-defined]


def test_one_network_is_told_without_a_committee() -> None:
    text = shown()
    assert "T2: good when the score is at most 0.5" in text
    assert "probability of bad, 0 to 1" in text
    assert "T2-0: tiny, classifier, 355 bytes" in text
    assert "1 bad, 1 good; the box repeats them" in text


def test_weights_are_told_where_they_count() -> None:
    assert "weight 2 of 6" in shown(TinyBundle(members=3, combine="weighted"))
    assert "weight" not in shown(TinyBundle(members=3, combine="mean"))


def test_votes_are_told_with_every_members_threshold() -> None:
    text = shown(TinyBundle(members=2, combine="vote"))
    assert "share of the members that vote bad" in text
    assert "votes bad above 0.4" in text
    assert "a tie goes by the mean" in text


def test_the_certificates_figures_are_told() -> None:
    text = shown(paper=certificate())
    for words in (
        "T2-0: tiny, classifier, mixed (2 layers in float), calibrated by entropy, 355 bytes",
        "100 good and 60 bad scans; 5 more were refused before any network",
        "escapes 0 of 60, FP32 0; true rate below 4.87%",
        "(rates with 95% confidence, at best: the same scans chose the threshold)",
        "overkills 3 of 100, FP32 2; true rate below 7.52%",
        "; 7 with every threshold chosen on other scans",
        "called otherwise than by FP32: 0 escapes and 2 overkills more, 0 and 1 fewer",
        "scores differ from FP32 by at most 0.032",
        "64 images of 210 (30 bad, 34 good), set cdcdcdcdcdcd",
        f"T2-0 sha256 {'ab' * 32} (data welds, seed 42)",
        "50 scans: 48 named rightly, 0 wrongly, 2 not at all (FP32 49 and 1)",
        "router: tiny, classifier, int8, calibrated by max",
        "cordon 0.1.0, torch 2.9",
        f"code        sha256 {'ef' * 32}",
        "  certificate.json",
    ):
        assert words in text
    assert text.count("not said") == 1, "T5 is not in the certificate"


def test_without_a_router_it_says_who_must_name_the_typology() -> None:
    assert "router: none, so frames must name their typology" in shown(TinyBundle(router=False))


@pytest.mark.parametrize(
    "paper",
    [b"", b"\xff", b'{"\xff": 1}', b"[" * 100_000, b"[1, 2]", b"null", b'{"typologies": 3}', b'{"typologies": [1, {"name": "T2"}]}'],
)
def test_a_certificate_that_is_none_leaves_the_rest_readable(paper: bytes) -> None:
    assert shown(paper=paper).count("not said") == 2


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, -1, 3, 10**400])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["good", "sha256", "name", "x"]), inner, max_size=2),
    max_leaves=4,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a JSON document."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in inside for place in places(value, (*path, key)))]


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([place for place in places(certificate()) if place]), junk)
def test_no_value_in_a_certificate_can_stop_the_explanation(place: tuple[Any, ...], value: Any) -> None:
    paper = certificate()
    node = paper
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    assert "T5: good when" in shown(paper=paper)


def test_json_holds_everything_that_is_told() -> None:
    bundle = signed(paper=certificate())
    found = msgspec.json.decode(as_json(bundle))
    assert (found["hash"], found["signed_by"], found["version"]) == (bundle.hash, bundle.signed_by, 1)
    assert msgspec.convert(found["manifest"], Manifest) == bundle.manifest
    assert found["certificate"] == certificate()
