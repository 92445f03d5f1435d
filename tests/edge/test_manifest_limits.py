"""Every rule of a manifest at its edges: the last value that is allowed, the first that is not, and what is meant when nothing is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edge.errors import BundleFormatError
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow
from edge.manifest import FileEntry, Golden, Manifest, Member, RouterSpec, TypologySpec

SPEC = HeightmapSpec(window=PercentileWindow())
NEXT_UP, NEXT_DOWN = math.inf, -math.inf


def member(**changes: Any) -> Member:
    values = {"name": "m", "file": "m.onnx", "architecture": "tiny", "input": "in", "output": "out", "classes": ("bad", "good")}
    return Member(**{**values, **changes})


def golden(**changes: Any) -> Golden:
    values = {"file": "bad.bin", "label": "bad", "kind": "heightmap", "shape": (3, 4), "dtype": "u1", "score": 0.9}
    return Golden(**{**values, **changes})


GOOD_AND_BAD = (golden(), golden(file="good.bin", label="good", score=0.1))


def typology(**changes: Any) -> TypologySpec:
    values = {"name": "T1", "heightmap": SPEC, "members": (member(),), "threshold": 0.5, "golden": GOOD_AND_BAD}
    return TypologySpec(**{**values, **changes})


def router(**changes: Any) -> RouterSpec:
    chosen = member(name="r", file="r.onnx", classes=("T1", "T2"))
    values = {"heightmap": SPEC, "member": chosen, "confidence": 0.9, "golden": (golden(file="r.bin", label="T1"),)}
    return RouterSpec(**{**values, **changes})


def entries(*names: str) -> tuple[FileEntry, ...]:
    return tuple(FileEntry(name, 0, 0, "") for name in names)


FILES = ("m.onnx", "bad.bin", "good.bin")
TWO = (typology(), typology(name="T2"))


def manifest(**changes: Any) -> Manifest:
    values = {"format": 1, "name": "line", "version": 1, "typologies": (typology(),), "files": entries(*FILES)}
    return Manifest(**{**values, **changes})


def test_what_a_manifest_does_not_say_is_as_documented() -> None:
    assert (member().kind, member().weight, member().threshold, member().embedding) == ("classifier", 1.0, None, None)
    said = golden()
    assert (said.pitch_mm, said.z_scale_mm, said.z_offset_mm, said.no_data) == ((1.0, 1.0), 1.0, 0.0, 0.0)
    assert (said.tolerance, said.members) == (0.02, ())
    assert (typology().bad_label, typology().combine, typology().similar) == ("bad", "mean", None)
    assert (manifest().router, manifest().provenance) == (None, {})


VOTERS = (member(threshold=0.4), member(name="n", file="n.onnx", threshold=0.6))
SEEING = (member(), member(name="n", file="n.onnx", embedding="features"))

ALLOWED: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (member, {"name": "m" * 64}),
    (member, {"name": "0.a_b-c"}),
    (member, {"file": "f" * 200}),
    (member, {"file": "a/b.c/d_e-f"}),
    (member, {"classes": ("a", "b", "c")}),
    (member, {"weight": 1e-6}),
    (member, {"weight": 1e6}),
    (member, {"threshold": math.nextafter(0.0, NEXT_UP)}),
    (member, {"threshold": math.nextafter(1.0, NEXT_DOWN)}),
    (member, {"embedding": "features"}),
    (golden, {"score": 0.0, "members": (0.0, 1.0)}),
    (golden, {"score": 1.0}),
    (golden, {"tolerance": math.nextafter(0.0, NEXT_UP)}),
    (golden, {"tolerance": math.nextafter(1.0, NEXT_DOWN)}),
    (typology, {"threshold": math.nextafter(0.0, NEXT_UP)}),
    (typology, {"threshold": math.nextafter(1.0, NEXT_DOWN)}),
    (typology, {"golden": (golden(members=(0.9,)), golden(label="good"))}),
    (typology, {"golden": (golden(members=(0.9,)), golden(label="good", members=(0.1,)))}),
    (typology, {"golden": (*GOOD_AND_BAD, golden(label="odd"))}),
    (typology, {"bad_label": "good"}),
    (typology, {"members": VOTERS, "combine": "vote"}),
    (typology, {"members": (VOTERS[0], member(name="n", file="n.onnx")), "combine": "weighted", "threshold": 0.4}),
    (typology, {"members": SEEING, "similar": "similar.bin"}),
    (router, {"confidence": 0.5}),
    (router, {"confidence": math.nextafter(1.0, NEXT_DOWN)}),
    (manifest, {"version": 2}),
    (manifest, {"typologies": TWO, "router": router(), "files": entries(*FILES, "r.onnx", "r.bin")}),
    (manifest, {"files": entries(*FILES, "certificate.json")}),
    (manifest, {"typologies": (typology(members=SEEING, similar="s"),), "files": entries(*FILES, "n.onnx", "s")}),
]
THREE = (*TWO, typology(name="T3"))
REFUSED: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (member, {"name": "m" * 65}, "member name not usable (seen: mmm"),
    (member, {"file": "f" * 201}, f"parts joined by /) not usable (seen: {'f' * 201})"),
    (member, {"file": "f" * 500}, f"parts joined by /) not usable (seen: {'f' * 400})"),
    (member, {"file": "f\n"}, "file name"),
    (member, {"classes": ("bad",)}, "classes of member m"),
    (member, {"classes": ("bad", "good", "bad")}, "classes of member m"),
    (member, {"weight": math.nextafter(1e-6, NEXT_DOWN)}, "weight of member m"),
    (member, {"weight": math.nextafter(1e6, NEXT_UP)}, "weight of member m"),
    (member, {"weight": math.nan}, "weight of member m"),
    (member, {"threshold": 0.0}, "threshold of member m"),
    (member, {"threshold": 1.0}, "threshold of member m"),
    (member, {"input": ""}, "input and outputs of member m"),
    (member, {"output": "in"}, "input and outputs of member m"),
    (member, {"embedding": ""}, "input and outputs of member m"),
    (member, {"embedding": "out"}, "input and outputs of member m"),
    (golden, {"file": ""}, "file name"),
    (golden, {"score": math.nextafter(0.0, NEXT_DOWN)}, "scores of golden input bad.bin"),
    (golden, {"score": math.nextafter(1.0, NEXT_UP)}, "scores of golden input bad.bin"),
    (golden, {"members": (0.5, math.nan)}, "scores of golden input bad.bin"),
    (golden, {"tolerance": 0.0}, "tolerance of golden input bad.bin"),
    (golden, {"tolerance": 1.0}, "tolerance of golden input bad.bin"),
    (typology, {"name": "T 1"}, "typology name"),
    (typology, {"threshold": 0.0}, "threshold of typology T1"),
    (typology, {"threshold": 1.0}, "threshold of typology T1"),
    (typology, {"threshold": math.nan}, "threshold of typology T1"),
    (typology, {"golden": (golden(), golden())}, "golden inputs of typology T1 (need good and bad)"),
    (typology, {"golden": (golden(label="good"), golden(label="odd"))}, "golden inputs of typology T1 (need good and bad)"),
    (typology, {"golden": (golden(members=(0.9, 0.9)), golden(label="good"))}, "members' scores in golden inputs of typology T1"),
    (typology, {"members": ()}, "members of typology T1"),
    (typology, {"bad_label": "worse"}, "bad_label of typology T1"),
    (typology, {"members": (member(), member(file="n.onnx"))}, "members' names of typology T1"),
    (typology, {"members": (member(), member(name="n"))}, "members' files of typology T1"),
    (typology, {"members": (VOTERS[0], member(name="n", file="n.onnx")), "combine": "vote"}, "members' thresholds of typology T1"),
    (typology, {"members": VOTERS, "combine": "vote", "threshold": 0.4}, "threshold of typology T1 (a vote needs 0.5)"),
    (typology, {"similar": "similar.bin"}, "similar welds of typology T1"),
    (typology, {"members": SEEING, "similar": "../similar"}, "file name"),
    (router, {"member": member(kind="siamese")}, "kind of the router's network"),
    (router, {"confidence": math.nextafter(0.5, NEXT_DOWN)}, "router confidence"),
    (router, {"confidence": 1.0}, "router confidence"),
    (router, {"golden": ()}, "golden inputs of the router"),
    (manifest, {"version": 0}, "bundle version"),
    (manifest, {"typologies": ()}, "typologies (need at least one, each once)"),
    (manifest, {"typologies": (typology(), typology())}, "typologies (need at least one, each once)"),
    (manifest, {"router": router(), "files": entries(*FILES, "r.onnx", "r.bin")}, "router classes"),
    (manifest, {"files": entries(*FILES, "a//b")}, "file name"),
    *[
        (manifest, {"files": entries(*(name for name in FILES if name != gone))}, f"does not list not usable (seen: ['{gone}'])")
        for gone in FILES
    ],
    (manifest, {"typologies": TWO, "router": router(), "files": entries(*FILES, "r.onnx")}, "['r.bin']"),
    (manifest, {"typologies": TWO, "router": router(), "files": entries(*FILES, "r.bin")}, "['r.onnx']"),
    (manifest, {"typologies": (typology(members=SEEING, similar="s"),), "files": entries(*FILES, "n.onnx")}, "['s']"),
]


@pytest.mark.parametrize(("make", "changes"), ALLOWED)
def test_the_last_value_that_is_allowed_stays_as_it_is(make: Callable[..., Any], changes: dict[str, Any]) -> None:
    made = make(**changes)
    assert {key: getattr(made, key) for key in changes} == changes


@pytest.mark.parametrize(("make", "changes", "told"), REFUSED)
def test_the_first_value_that_is_not_allowed_is_named(make: Callable[..., Any], changes: dict[str, Any], told: str) -> None:
    with pytest.raises(BundleFormatError) as caught:
        make(**changes)
    assert told in str(caught.value)
    assert str(caught.value).endswith("Export the bundle again with `cordon export`")


def test_a_router_of_fewer_classes_than_typologies_will_do() -> None:
    made = manifest(typologies=THREE, router=router(), files=entries(*FILES, "r.onnx", "r.bin"))
    assert made.router is not None


def test_the_stored_embeddings_belong_to_the_first_member_that_gives_some() -> None:
    more = (*SEEING, member(name="o", file="o.onnx", embedding="features"))
    assert typology(members=more).embedder == more[1]
    assert typology().embedder is None


def test_a_manifest_survives_its_own_encoding() -> None:
    made = manifest(typologies=TWO, router=router(), files=entries(*FILES, "r.onnx", "r.bin"))
    assert msgspec.json.decode(msgspec.json.encode(made), type=Manifest) == made
