"""The page and the figures beside a bundle, made from the one real export."""

import json
import re
from xml.etree import ElementTree as ET

import msgspec
import pytest

from export.paper.html import columns, flipped, page
from export.paper.measured import Measured, figures, measured
from export.paper.plots import plots
from export.paper.report import table
from export.pipeline import Exported

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(exported: Exported) -> Measured:
    return measured(exported, seconds=1.25)


def with_scores(found: Measured, shipped: tuple[float, ...]) -> Measured:
    first, *others = found.certificate.typologies
    changed = msgspec.structs.replace(first, scores=msgspec.structs.replace(first.scores, shipped=shipped))
    return msgspec.structs.replace(found, certificate=msgspec.structs.replace(found.certificate, typologies=(changed, *others)))


def test_the_page_needs_nothing_from_elsewhere(found: Measured) -> None:
    text = page(found)
    links = set(re.findall(r"https?://[^\"'\s<>]+", text))
    assert all("www.w3.org" in link or "purl.org" in link or "creativecommons.org" in link for link in links), links
    assert "<script" not in text
    assert "@import" not in text


def test_the_page_says_what_the_certificate_says(found: Measured) -> None:
    text = page(found)
    for typology in found.certificate.typologies:
        assert f"{typology.name}: threshold {typology.result.threshold:.4f}, 0 escapes of 20 bad" in " ".join(text.split())
    assert found.bundle in text
    assert found.signed_by in text


def test_equal_certificates_give_equal_plots_that_are_well_formed(found: Measured) -> None:
    first, second = found.certificate.typologies
    assert plots(first) == plots(first) != plots(second)
    drawn = ET.fromstring(plots(first))  # noqa: S314 - our own text
    said = "".join(drawn.itertext())
    assert all(word in said for word in ("good (20)", "bad (20)", "ROC", "recall"))


def test_scans_that_are_called_differently_are_listed_by_name(found: Measured) -> None:
    typology = found.certificate.typologies[0]
    assert flipped(typology) == []
    place = typology.scores.bad.index(True)
    shipped = tuple(0.0 if index == place else score for index, score in enumerate(typology.scores.shipped))
    changed = with_scores(found, shipped)
    ((file, bad, _, score),) = flipped(changed.certificate.typologies[0])
    assert (file, bad, score) == (typology.scores.files[place], True, 0.0)
    assert file in page(changed)


def test_the_confusion_rows_add_up(found: Measured) -> None:
    rows = columns(found.certificate.typologies[0])
    assert [name.split(" ")[0].strip(",") for name, *_ in rows] == ["FP32", "shipped", "FP32", "FP32", "shipped"]
    assert all((caught + escaped, passed + overkilled) == (20, 20) for _, caught, escaped, passed, overkilled in rows)


def test_one_flat_object_holds_every_figure_a_script_wants(found: Measured) -> None:
    flat = json.loads(json.dumps(figures(found)))
    assert (flat["bundle"], flat["good"], flat["bad"]) == (found.bundle, 40, 40)
    assert [flat[key] for key in ("escapes_fp32", "escapes_int8", "overkills_fp32", "overkills_int8", "flips")] == [0] * 5
    assert flat["router"]["scans"] > 0
    for typology in flat["typologies"]:
        assert 0 < typology["threshold"] < 1
        assert 0 < typology["bounds"]["escape_rate"] < 0.2
        assert 0 < typology["latency_ms"]["int8"] <= typology["latency_ms"]["int8_p99"]


def test_the_table_tells_the_cross_fitted_counts_too(found: Measured) -> None:
    shown = table(found)
    assert shown.count(" 0/0 (0/0) ") == 2
    assert all(word in shown for word in ("T3", "T9", "router", "int8", "with 95% confidence"))
