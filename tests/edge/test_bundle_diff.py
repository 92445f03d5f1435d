"""What changed between two bundles, and that nothing that changed goes unsaid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from bundle_kit import certificate, signed, signed_bytes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tiny import PUBLIC, SPEC, TinyBundle, network

from edge.bundle import Manifest, sign_bundle, verify_bundle
from edge.bundle_diff import MOST_FIGURES, differences
from edge.inspector.heightmap.spec import PercentileWindow


def typology(**changes: Any) -> Callable[[Manifest], Manifest]:
    """A manifest whose T2 has `changes`."""

    def change(manifest: Manifest) -> Manifest:
        first, *rest = manifest.typologies
        return msgspec.structs.replace(manifest, typologies=(msgspec.structs.replace(first, **changes), *rest))

    return change


def changed(second: TinyBundle | None = None, first: TinyBundle | None = None, **keywords: Any) -> tuple[str, ...]:
    return differences(signed(first), signed(second, **keywords))


def test_two_exports_of_the_same_inputs_are_identical_to_the_byte() -> None:
    made = [signed_bytes(TinyBundle(members=2, embedding=True), paper=certificate()) for _ in range(2)]
    assert made[0] == made[1]
    assert differences(*(verify_bundle(data, (PUBLIC,)) for data in made)) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: msgspec.structs.replace(m, version=2), "bundle: version 1 -> 2"),
        (lambda m: msgspec.structs.replace(m, name="line"), "bundle: name tiny -> line"),
        (typology(threshold=0.25), "T2: threshold 0.5 -> 0.25"),
        (typology(combine="weighted"), "T2: combine mean -> weighted"),
        (typology(heightmap=msgspec.structs.replace(SPEC, height=32)), "T2: heightmap: height 16 -> 32"),
        (typology(heightmap=msgspec.structs.replace(SPEC, window=PercentileWindow())), "T2: heightmap: window.by mm -> percentile"),
        (lambda m: msgspec.structs.replace(m, typologies=m.typologies[:1], router=None), "typology T5 removed"),
        (lambda m: msgspec.structs.replace(m, router=None), "router: removed"),
        (lambda m: msgspec.structs.replace(m, router=msgspec.structs.replace(m.router, confidence=0.75)), "router: confidence 0.9 -> 0.75"),
        (lambda m: msgspec.structs.replace(m, provenance={"cordon": "0.2.0"}), "provenance: cordon 0.1.0 -> 0.2.0"),
        (lambda m: msgspec.structs.replace(m, provenance={"cordon": "0.1.0"}), "provenance: torch 2.9 -> none"),
    ],
)
def test_a_change_of_the_manifest_is_told(change: Callable[[Manifest], Manifest], words: str) -> None:
    assert words in changed(change=change)


def test_the_other_way_round_removed_is_added() -> None:
    def alone(manifest: Manifest) -> Manifest:
        return msgspec.structs.replace(manifest, typologies=manifest.typologies[:1], router=None)

    assert {"typology T5 added", "router: added"} <= set(differences(signed(change=alone), signed()))


def test_a_retrained_network_is_told_by_its_digest() -> None:
    lines = changed(TinyBundle(files={"T2-0.onnx": network(centre=61, sign=1)}))
    assert len(lines) == 1
    assert lines[0].startswith("T2: member T2-0: network ")
    assert " -> " in lines[0]


def test_members_that_come_and_go_are_told() -> None:
    lines = changed(TinyBundle(members=2), TinyBundle(members=1))
    assert "T2: member T2-1 added" in lines
    assert not any("T2-0" in line for line in lines)


def test_a_golden_input_with_another_frame_or_answer_is_told() -> None:
    lines = changed(TinyBundle(promised={"T2": (0.01, 0.99)}))
    assert [line.split(" -> ")[1] for line in lines] == ["0.01", "0.99"]
    assert all(line.startswith("T2: golden input T2/") for line in lines)
    other = TinyBundle()
    other.manifest()
    frame = bytearray(other.files["T2/good"])
    frame[0] ^= 1

    class Retouched(TinyBundle):
        def manifest(self) -> Manifest:
            manifest = super().manifest()
            self.files["T2/good"] = bytes(frame)
            return manifest

    assert [line.rsplit(" ", 4)[0] for line in changed(Retouched())] == ["T2: golden input T2/good:"]


def test_the_certificates_figures_are_told_by_name() -> None:
    other = certificate()
    other["typologies"][0]["result"]["shipped"]["shipped"]["overkills"] = 4
    other["typologies"][0]["networks"][0]["source_sha256"] = "12" * 32
    other["typologies"][0]["scores"]["shipped"] = [0.3] * 40
    lines = differences(signed(paper=certificate()), signed(paper=other))
    assert lines == (
        "certificate: typologies.T2.networks.T2-0.source_sha256 abababababab -> 121212121212",
        "certificate: typologies.T2.result.shipped.shipped.overkills 3 -> 4",
        "certificate: typologies.T2.scores.shipped 40 values -> 40 values",
    )


def test_many_changed_figures_are_counted() -> None:
    papers = [{f"figure {i}": i + step for i in range(100)} for step in (0, 1)]
    lines = differences(*(signed(paper=paper) for paper in papers))
    assert len(lines) == MOST_FIGURES + 1
    assert lines[-1].startswith(f"certificate: {100 - MOST_FIGURES} more figures changed")


def test_a_certificate_of_other_bytes_is_told_even_where_it_says_the_same() -> None:
    lines = differences(signed(paper=b'{"a":1}'), signed(paper=b'{"a": 1}'))
    assert lines[0].startswith("certificate: other bytes, ")


def test_files_that_belong_to_nobody_are_told() -> None:
    lines = changed(TinyBundle(files={"certificate.html": b"<html>"}))
    assert lines == ("file certificate.html added",)
    lines = changed(TinyBundle(files={"note": b"a"}), TinyBundle(files={"note": b"b"}))
    assert lines[0].startswith("file note: ")


def test_another_order_is_a_difference() -> None:
    lines = changed(change=lambda m: msgspec.structs.replace(m, typologies=m.typologies[::-1]))
    assert len(lines) == 1
    assert "order or layout only" in lines[0]


def test_another_key_is_a_difference() -> None:
    bundle = TinyBundle()
    manifest = bundle.manifest()
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    mine = signed(change=lambda _: manifest)
    theirs = verify_bundle(sign_bundle(manifest, bundle.files, key), (public,))
    assert mine.hash == theirs.hash
    assert differences(mine, theirs) == (f"bundle: signed by {PUBLIC[:12]} -> {public[:12]}",)


def test_a_network_that_left_the_certificate_is_one_line() -> None:
    other = certificate()
    other["typologies"][0]["networks"][0]["name"] = "T2-9"
    lines = differences(signed(paper=certificate()), signed(paper=other))
    assert lines == ("certificate: typologies.T2.networks.T2-0 removed", "certificate: typologies.T2.networks.T2-9 added")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (0.5, 0.5000062462, "0.5 -> 0.500006"),
        (0.1234567891, 0.1234567892, "0.1234567891 -> 0.1234567892"),
        ([0.25], [0.1234567891, 0.5], "[0.25] -> [0.123457, 0.5]"),
        (1, "1", "1 -> '1'"),
        (None, "none", "None -> 'none'"),
        ("a" * 70 + "b", "a" * 70 + "c", f"'{'a' * 70}b' -> '{'a' * 70}c'"),
    ],
)
def test_two_values_are_told_so_that_they_differ(old: object, new: object, words: str) -> None:
    lines = differences(signed(paper={"figure": old}), signed(paper={"figure": new}))
    assert lines == (f"certificate: figure {words}",)
