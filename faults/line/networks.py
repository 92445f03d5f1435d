"""Rows B05 to B07, B09, F13: well-signed bundles whose networks, labels or numbers are wrong, given to the product's own loader."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from edge.bundle import file_entries, verify_bundle
from faults.line.bundles import CENTRES, PUBLIC, TinyBundle, gray_of, network, probability, resigned, weld_image
from faults.line.forged import TEST, Refusals, load
from faults.registry import Effort, Result, injects

TOLERANCE = 0.02


@injects("B05", "F13", test=TEST)
def bad_networks(effort: Effort) -> Result:
    """Well-signed networks that accept everything, nothing, the wrong, or lost a bit: golden inputs must refuse them."""
    refusals, rng = Refusals(), random.Random(effort.seed)  # noqa: S311 - seeded, not secret
    for name in CENTRES:
        for what, made in _bad_networks(CENTRES[name]):
            refusals.load(TinyBundle(files={f"{name}-0.onnx": made}).signed(), f"{name} {what}")
    for promised in ({"T2/bad": 0.01}, {"T2/good": 0.9}, {"T2/good": 0.6}, {"T5/bad": 0.49}, {"router/dark": 0.2}):
        refusals.load(TinyBundle(promised=promised).signed(), f"promises {promised}")
    refusals.load(TinyBundle(files={"T2-0.onnx": network(500)}, promised={"T2/bad": 0.0, "T2/good": 0.0}).signed(), "lies to match")
    refusals.load(TinyBundle(files={"T2/bad": weld_image(40, 9).tobytes()}).signed(), "bad example that is good")
    flipped = _bit_flips(rng, refusals, effort)
    note = f"{flipped} flips of weight bits left every golden score within the tolerance and on its side; those bundles were rightly taken"
    return refusals.result(note=note)


def _bad_networks(centre: int) -> Iterator[tuple[str, bytes]]:
    yield "always accepts", network(10_000)
    yield "never accepts", network(-10_000)
    yield "is inverted", network(centre, sign=-1)
    yield "says 0.5", network(centre, slope=0.0)
    yield "is of another typology", network(CENTRES["T5"] if centre == CENTRES["T2"] else CENTRES["T2"])
    yield "answers NaN", network(float("nan"))
    yield "answers infinity", network(float("inf"))
    yield "is blunt", network(centre, slope=0.05)
    yield "leans", network(centre + 17)
    yield "has three classes", network(centre, classes=3)
    yield "is empty", b""
    yield "is text", b"not a network"


def _bit_flips(rng: random.Random, refusals: Refusals, effort: Effort) -> int:
    """Single bits of the weights' bytes in memory, signed afterwards; returns how many changed nothing that matters."""
    honest = network(CENTRES["T2"])
    at = honest.index(np.float32(0.25).tobytes())
    unchanged = 0
    for _ in range(effort.times(80)):
        data = bytearray(honest)
        data[at + rng.randrange(4)] ^= 1 << rng.randrange(8)
        if not _matters(np.frombuffer(bytes(data[at : at + 4]), np.float32)[0]):
            unchanged += 1
            continue
        refusals.load(TinyBundle(files={"T2-0.onnx": bytes(data)}, router=False).signed(), f"bit flip {data[at : at + 4].hex()}")
    return unchanged


def _matters(slope: np.float32) -> bool:
    """Does a network of this slope (and bias -0.25 x 60) answer a golden input differently than promised, computed here?"""
    centre = CENTRES["T2"]
    for good in (True, False):
        image = weld_image(gray_of("T2", good=good), seed=4 if good else 3)
        with np.errstate(all="ignore"):
            found = float(1 / (1 + np.exp(-(float(image.mean()) * float(slope) - 0.25 * centre))))
        if not abs(found - probability(image, centre)) <= TOLERANCE:
            return True
    return False


@injects("B06", test=TEST)
def permuted(effort: Effort) -> Result:
    """Labels in another order, outputs and inputs of other names, types and shapes, typologies under each other's name."""
    refusals = Refusals()
    refusals.load(TinyBundle(classes=("good", "bad")).signed(), "labels swapped")
    bundle = TinyBundle(members=2)
    manifest = json.loads(msgspec.json.encode(bundle.manifest()))
    for what, change in _port_changes():
        for typology, member in itertools.product(range(2), range(2)):
            changed = json.loads(json.dumps(manifest))
            change(changed["typologies"][typology]["members"][member])
            refusals.load(resigned(json.dumps(changed).encode(), bundle.files), what)
    swapped = json.loads(json.dumps(manifest))
    swapped["typologies"][0]["name"], swapped["typologies"][1]["name"] = "T5", "T2"
    swapped["router"]["member"]["classes"] = ["T5", "T2"]
    refusals.load(resigned(json.dumps(swapped).encode(), bundle.files), "typologies' names swapped, router's too")
    files = dict(bundle.files)
    files["T2-0.onnx"], files["T5-0.onnx"] = files["T5-0.onnx"], files["T2-0.onnx"]
    crossed = msgspec.structs.replace(bundle.manifest(), files=file_entries(files))
    refusals.load(resigned(msgspec.json.encode(crossed), files), "networks of two typologies swapped")
    for key in ("height", "width"):
        changed = json.loads(json.dumps(manifest))
        changed["typologies"][0]["heightmap"][key] = 32
        refusals.load(resigned(json.dumps(changed).encode(), bundle.files), f"other {key}")
    return refusals.result(note=f"seed {effort.seed} plays no part: the table is complete")


def _port_changes() -> Iterator[tuple[str, Callable[[dict[str, Any]], object]]]:
    yield "classes reversed", lambda m: m["classes"].reverse()
    yield "a class more", lambda m: m["classes"].append("third")
    yield "one class", lambda m: m["classes"].pop()
    yield "classes doubled", lambda m: m.update(classes=["bad", "bad"])
    yield "input renamed", lambda m: m.update(input="image")
    yield "output renamed", lambda m: m.update(output="logits")
    yield "input is output", lambda m: m.update(input=m["output"], output=m["input"])
    yield "embedding promised", lambda m: m.update(embedding="embedding")
    yield "embedding is output", lambda m: m.update(embedding=m["output"])


@injects("B07", test=TEST)
def disagreeing(effort: Effort) -> Result:
    """Another runtime's answers: networks whose scores differ a little from the promised ones; beyond the tolerance they are refused."""
    refusals, rng = Refusals(), random.Random(effort.seed)  # noqa: S311 - seeded, not secret
    taken = 0
    for _ in range(effort.times(40)):
        good, bad = (probability(weld_image(gray_of("T2", good=g), 4 if g else 3), CENTRES["T2"]) for g in (True, False))
        shift = {
            "T2/good": min(1.0, max(0.0, good + rng.uniform(-0.06, 0.06))),
            "T2/bad": min(1.0, max(0.0, bad + rng.uniform(-0.06, 0.06))),
        }
        off = max(abs(shift["T2/good"] - good), abs(shift["T2/bad"] - bad))
        data = TinyBundle(promised=shift, router=False).signed()
        if off > TOLERANCE + 1e-4:
            refusals.load(data, f"off by {off:.4f}")
        elif off < TOLERANCE - 1e-4:
            refusals.injections += 1
            taken += 1
            load(verify_bundle(data, (PUBLIC,)))
    note = f"{taken} differed by less than the tolerance of {TOLERANCE} and were taken; one runtime judges at a time"
    return refusals.result(note=note)


@injects("B09", test=TEST)
def thresholds(effort: Effort) -> Result:
    """Every number of the manifest that decides, as NaN, infinite, negative, zero, too large, text, nothing, list; or left out."""
    refusals = Refusals()
    bundle = TinyBundle(members=2)
    manifest = json.loads(msgspec.json.encode(bundle.manifest()))
    numbers = (
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-0.1",
        "1.5",
        "-1",
        "2",
        '"0.5"',
        '"NaN"',
        "null",
        "[]",
        "[0.5]",
        "{}",
        "true",
        "1e400",
    )
    for path, extra in _deciding():
        for value in (*numbers, *extra):
            text = json.dumps(_put(manifest, path, "@@")).replace('"@@"', value).encode()
            refusals.verify(resigned(text, bundle.files), f"{path} = {value}")
        refusals.verify(resigned(json.dumps(_put(manifest, path, None, remove=True)).encode(), bundle.files), f"{path} left out")
    return refusals.result(note=f"seed {effort.seed} plays no part: the table is complete")


def _deciding() -> Iterator[tuple[tuple[str | int, ...], tuple[str, ...]]]:
    yield ("typologies", 0, "threshold"), ("0", "1", "0.0", "1.0")
    yield ("typologies", 1, "threshold"), ("0", "1")
    yield ("typologies", 0, "golden", 0, "score"), ()
    yield ("typologies", 0, "golden", 1, "score"), ()
    yield ("router", "confidence"), ("0", "0.49", "1")
    yield ("router", "golden", 0, "score"), ()


def _put(manifest: dict[str, Any], path: tuple[str | int, ...], value: object, *, remove: bool = False) -> dict[str, Any]:
    changed: Any = json.loads(json.dumps(manifest))
    place = changed
    for step in path[:-1]:
        place = place[step]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    whole: dict[str, Any] = changed
    return whole
