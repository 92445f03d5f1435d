"""What a manifest may say: members, weights, votes, names, and what belongs to whom."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from tiny import KEY, PUBLIC, TinyBundle

from edge.bundle import Manifest, Member, TypologySpec, sign_bundle, verify_bundle
from edge.errors import BundleFormatError


def typology(**changes: Any) -> TypologySpec:
    return msgspec.structs.replace(TinyBundle(members=3, embedding=True).manifest().typologies[0], **changes)


def member(**changes: Any) -> Member:
    return msgspec.structs.replace(typology().members[0], **changes)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf, 1e-300, 1e300])
def test_a_weight_is_a_sane_positive_number(weight: float) -> None:
    with pytest.raises(BundleFormatError, match="weight of member T2-0"):
        member(weight=weight)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1, math.nan, math.inf])
def test_a_members_threshold_lies_between_0_and_1(threshold: float) -> None:
    with pytest.raises(BundleFormatError, match="threshold of member T2-0"):
        member(threshold=threshold)


def test_every_voting_member_needs_its_own_threshold() -> None:
    members = typology().members
    silent = (*members[:2], msgspec.structs.replace(members[2], threshold=None))
    assert typology(members=silent, combine="weighted").combine == "weighted"
    with pytest.raises(BundleFormatError, match="members' thresholds of typology T2"):
        typology(members=silent, combine="vote")


@pytest.mark.parametrize("threshold", [0.4999999, 0.6])
def test_a_vote_is_decided_at_a_half(threshold: float) -> None:
    with pytest.raises(BundleFormatError, match=r"a vote needs 0\.5"):
        typology(combine="vote", threshold=threshold)


@pytest.mark.parametrize("key", ["name", "file"])
def test_members_are_told_apart(key: str) -> None:
    first, second, _ = typology().members
    twin = msgspec.structs.replace(second, **{key: getattr(first, key)})
    with pytest.raises(BundleFormatError, match=f"members' {key}s of typology T2"):
        typology(members=(first, twin))


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "../T2", "T2/a", "-x", "x\n", "x" * 65, "é"])
def test_a_members_name_is_one_plain_word(name: str) -> None:
    with pytest.raises(BundleFormatError, match="member name"):
        member(name=name)


BAD_FILES = ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", "a\\b", "C:a", "a\nb", "a\x00", ".hidden", "a/.b", "x" * 201]


@pytest.mark.parametrize("name", BAD_FILES)
def test_file_names_hold_no_path_tricks(name: str) -> None:
    golden = typology().golden[0]
    for make in (
        lambda: member(file=name),
        lambda: msgspec.structs.replace(golden, file=name),
        lambda: typology(similar=name),
        lambda: listed(name),
    ):
        with pytest.raises(BundleFormatError, match="file name"):
            make()


def listed(name: str) -> Manifest:
    manifest = TinyBundle().manifest()
    return msgspec.structs.replace(manifest, files=(*manifest.files, msgspec.structs.replace(manifest.files[0], name=name)))


@pytest.mark.parametrize("classes", [(), ("bad",), ("bad", "bad")])
def test_a_network_tells_at_least_two_things_apart(classes: tuple[str, ...]) -> None:
    with pytest.raises(BundleFormatError, match="classes of member"):
        member(classes=classes)


@pytest.mark.parametrize("ports", [{"input": ""}, {"output": "heightmap"}, {"embedding": "scores"}, {"embedding": ""}])
def test_input_and_outputs_have_names_of_their_own(ports: dict[str, str]) -> None:
    with pytest.raises(BundleFormatError, match="input and outputs"):
        member(**ports)


@pytest.mark.parametrize("kind", ["siamese", "autoencoder"])
def test_only_a_classifier_names_typologies(kind: str) -> None:
    assert member(kind=kind).kind == kind
    router = TinyBundle().manifest().router
    assert router is not None
    with pytest.raises(BundleFormatError, match="kind of the router's network"):
        msgspec.structs.replace(router, member=msgspec.structs.replace(router.member, kind=kind))


def test_known_welds_need_a_member_that_gives_embeddings() -> None:
    assert typology(similar="T2/similar.msgpack").embedder == typology().members[0]
    with pytest.raises(BundleFormatError, match="similar welds of typology T2"):
        typology(similar="T2/similar.msgpack", members=typology().members[1:])


def test_known_welds_must_be_in_the_bundle() -> None:
    manifest = TinyBundle(embedding=True).manifest()
    changed = msgspec.structs.replace(manifest.typologies[0], similar="T2/similar.msgpack")
    with pytest.raises(BundleFormatError, match=r"T2/similar\.msgpack"):
        msgspec.structs.replace(manifest, typologies=(changed, *manifest.typologies[1:]))


@pytest.mark.parametrize("changes", [{"score": math.nan}, {"score": 1.5}, {"members": (0.1, 2.0)}, {"tolerance": 0.0}, {"tolerance": 1.0}])
def test_a_golden_answer_is_a_badness_with_a_tolerance(changes: dict[str, Any]) -> None:
    with pytest.raises(BundleFormatError, match="golden input T2/good"):
        msgspec.structs.replace(typology().golden[0], **changes)


def resigned(old: bytes, new: bytes) -> bytes:
    """A genuine signature over a manifest that an exporter of another release could have written."""
    bundle = TinyBundle()
    data = sign_bundle(bundle.manifest(), bundle.files, KEY)
    length = int.from_bytes(data[104:108], "little")
    assert old in data[108 : 108 + length]
    text = data[108 : 108 + length].replace(old, new)
    head = data[:8] + bytes.fromhex(PUBLIC)
    size = len(text).to_bytes(4, "little")
    return head + KEY.sign(head + size + text) + size + text + data[108 + length :]


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        (b'"combine":"mean"', b'"combine":"median"', "median"),
        (b'"weight":1.0', b'"weight":0.0', "weight"),
        (b'"high_mm":10.0', b'"high_mm":-1.0', "window"),
        (b'"kind":"classifier"', b'"kind":"oracle"', "oracle"),
        (b'"name":"tiny"', b'"name":"\xff"', "utf-8"),
    ],
)
def test_a_genuine_signature_does_not_make_a_wrong_manifest_right(old: bytes, new: bytes, seen: str) -> None:
    with pytest.raises(BundleFormatError, match=seen):
        verify_bundle(resigned(old, new), (PUBLIC,))
