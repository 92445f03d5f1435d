"""Rows B05 to B07, B09, F01, F02, F05, F06, F08 to F10, F13: bundles and engines that may not be used, given to the product's own loader."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import Bundle, file_entries, open_bundle, verify_bundle
from edge.errors import BundleError, CordonError
from edge.inspector.loader import load_engines
from edge.inspector.machine import CpuMachine
from faults.line.bundles import CENTRES, KEY, PUBLIC, TinyBundle, gray_of, network, probability, resigned, weld_image
from faults.line.network import Canary
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_line_bundles.py"
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TOLERANCE = 0.02
SLOW_S = 5.0
"""Refusing a file of at most a few megabytes must not take longer."""


class Refusals:
    """Gives bundles to the product and counts how each was refused; whatever is taken, or refused by an accident, is a failure."""

    def __init__(self) -> None:
        self.injections, self.failures, self.kinds = 0, list[str](), dict[str, int]()
        self.slowest_s = 0.0

    def verify(self, data: bytes, what: str) -> None:
        """The signature and the hashes must not be accepted."""
        self._expect(lambda: verify_bundle(data, (PUBLIC,)), BundleError, what)

    def open(self, path: Path, what: str) -> None:
        """A file that must not be accepted."""
        self._expect(lambda: open_bundle(path, (PUBLIC,)), BundleError, what)

    def load(self, data: bytes, what: str) -> None:
        """Well signed, and the loader must refuse it."""
        self._expect(lambda: load(verify_bundle(data, (PUBLIC,))), CordonError, what)

    def expect(self, act: Callable[[], object], what: str) -> None:
        """Anything that must be refused by an error of the product's own."""
        self._expect(act, CordonError, what)

    def _expect(self, act: Callable[[], object], kind: type[CordonError], what: str) -> None:
        self.injections += 1
        begin = time.monotonic()
        try:
            act()
        except kind as exc:
            name = type(exc).__name__
            self.kinds[name] = self.kinds.get(name, 0) + 1
        except Exception as exc:  # noqa: BLE001 - an accident is no refusal, and its name belongs in the report
            self.failures.append(f"{what}: {type(exc).__name__} instead of a refusal: {str(exc)[:100]}")
        else:
            self.failures.append(f"{what}: taken")
        took_s = time.monotonic() - begin
        self.slowest_s = max(self.slowest_s, took_s)
        if took_s > SLOW_S:
            self.failures.append(f"{what}: refused only after {took_s:.1f} s")

    def result(self, note: str = "", **more: Any) -> Result:
        """What came of it."""
        told = ", ".join(f"{name} {count}" for name, count in sorted(self.kinds.items()))
        worst_ms = self.slowest_s * 1000
        return Result(injections=self.injections, failures=tuple(self.failures[:8]), counter=told, worst_ms=worst_ms, note=note, **more)


def load(bundle: Bundle) -> object:
    """Every engine of `bundle` on the CPU, proved, as the inspector does at start."""
    return load_engines(bundle, CpuMachine(threads=1), progress=lambda _step: None)


def split(data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Magic and key, signature, length and manifest, files."""
    length = int.from_bytes(data[104:108], "little")
    return data[:40], data[40:104], data[104 : 108 + length], data[108 + length :]


@injects("F01", test=TEST)
def signatures(effort: Effort) -> Result:
    """Unsigned, signed by a stranger, by a key of the wrong kind, with a signature too many, or cut from another bundle."""
    refusals, rng = Refusals(), random.Random(effort.seed)
    good = TinyBundle().signed()
    verify_bundle(good, (PUBLIC,))
    head, signature, manifest, files = split(good)
    strange = split(TinyBundle().signed(STRANGER))
    key = head[8:]
    cases = {
        "no signature": head + bytes(64) + manifest + files,
        "of a stranger": b"".join(strange),
        "the stranger's signature under our key": head + strange[1] + manifest + files,
        "our signature under the stranger's key": head[:8] + strange[0][8:] + signature + manifest + files,
        "two signatures": head + signature + signature + manifest + files,
        "two keys": head + key + signature + manifest + files,
        "signature left out": head + manifest + files,
        "halves swapped": head + signature[32:] + signature[:32] + manifest + files,
        "s plus the group's order": head + signature[:32] + _plus_order(signature[32:]) + manifest + files,
        "key of small order": head[:8] + bytes([1]) + bytes(31) + bytes([1]) + bytes(63) + manifest + files,
        "all zero": head[:8] + bytes(32) + bytes(64) + manifest + files,
        "signed manifest only": KEY.sign(manifest[4:]).join((head, manifest + files)),
        "appended": good + b"\0",
        "appended a whole bundle": good + good,
        "empty": b"",
        "only the head": good[:107],
    }
    for what, data in cases.items():
        refusals.verify(data, what)
    for _ in range(effort.times(2_000)):
        refusals.verify(head + rng.randbytes(64) + manifest + files, "random signature")
    for trusted in ((), ("00" * 32,), (PUBLIC.upper(),), (PUBLIC[:-1],), (PUBLIC + "0",)):
        refusals.expect(lambda trusted=trusted: verify_bundle(good, trusted), f"trusted {trusted}")
    return refusals.result()


def _plus_order(s: bytes) -> bytes:
    order = 2**252 + 27742317777372353535851937790883648493
    return ((int.from_bytes(s, "little") + order) % 2**256).to_bytes(32, "little")


@injects("F02", test=TEST)
def every_byte(effort: Effort) -> Result:
    """Every byte of a whole small bundle changed, and the file cut at every place."""
    refusals, rng = Refusals(), random.Random(effort.seed)
    good = bytearray(TinyBundle(router=False).signed())
    step = 1 if effort.name != "quick" else 37
    for _ in range(effort.times(1)):
        for index in range(0, len(good), step):
            was = good[index]
            good[index] ^= rng.randint(1, 255)
            refusals.verify(bytes(good), f"byte {index}")
            good[index] = was
    for cut in range(0, len(good), 4 * step):
        refusals.verify(bytes(good[:cut]), f"cut at {cut}")
    return refusals.result(note=f"a bundle of {len(good)} bytes")


@injects("F05", test=TEST)
def mixed(effort: Effort) -> Result:
    """Heads, signatures, manifests and files of two good bundles in every combination, and single files swapped."""
    refusals, rng = Refusals(), random.Random(effort.seed)
    pairs = ((TinyBundle(version=1), TinyBundle(version=2)), (TinyBundle(members=2), TinyBundle(members=2, promised={"T2/good": 0.008})))
    for first, second in pairs:
        whole = [split(bundle.signed()) for bundle in (first, second)]
        for picks in itertools.product((0, 1), repeat=4):
            chosen = b"".join(whole[pick][index] for index, pick in enumerate(picks))
            if chosen not in (b"".join(whole[0]), b"".join(whole[1])):
                refusals.verify(chosen, f"parts {picks}")
    bundle = TinyBundle(members=3)
    head, signature, manifest, _ = split(bundle.signed())
    names = list(bundle.files)
    for _ in range(effort.times(300)):
        files = dict(bundle.files)
        one, other = rng.sample(names, 2)
        if files[one] == files[other]:
            continue
        files[one], files[other] = files[other], files[one]
        refusals.verify(head + signature + manifest + b"".join(files.values()), f"{one} and {other} swapped")
    return refusals.result()


@injects("F08", test=TEST)
def names_and_sizes(effort: Effort) -> Result:
    """File names that lead elsewhere, links, devices and pipes as bundles, manifests too long, too deep or lying about sizes."""
    refusals = Refusals()
    bundle = TinyBundle()
    manifest = json.loads(msgspec.json.encode(bundle.manifest()))
    for name in NAMES:
        refusals.verify(resigned(_with_name(manifest, name), bundle.files), f"name {name[:40]!r}")
    for what, text in _monsters(manifest):
        refusals.verify(resigned(text, bundle.files), what)
    for field, value in itertools.product(("offset", "size"), (-1, 1, 2**31, 2**63, 2**64, 1e30, "0", None, float(0.5))):
        changed = json.loads(json.dumps(manifest))
        changed["files"][1][field] = value
        refusals.verify(resigned(json.dumps(changed).encode(), bundle.files), f"{field} {value}")
    good = bundle.signed()
    for length in (0, 1, 2**22 + 1, 2**31, 2**32 - 1):
        refusals.verify(good[:104] + length.to_bytes(4, "little") + good[108:], f"manifest length {length}")
    _strange_files(refusals, effort.folder)
    return refusals.result(note="nothing is ever unpacked: names are keys in memory, and files are stored uncompressed")


NAMES = ("../x", "/etc/passwd", "a/../../x", "./x", "a//b", "a/", "/", "", ".", "..", "a\\b", "..\\x", "C:x", "a\0b", "a\nb", "~/x", "a b", "x" * 201)
NAMES += ("-rf", ".hidden", "a/.b", "é", "a\u202eb", "%2e%2e/x", "a;b", "$(id)", "`id`", "a|b", "a/" * 150 + "b")


def _with_name(manifest: dict[str, Any], name: str) -> bytes:
    changed = json.loads(json.dumps(manifest))
    changed["files"][0]["name"] = name
    return json.dumps(changed).encode()


def _monsters(manifest: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    yield "4 MiB and a byte", json.dumps(manifest).encode() + b" " * (2**22 + 1)
    for depth in (1_000, 100_000, 1_000_000):
        yield f"arrays {depth} deep", b"[" * depth + b"]" * depth
        yield f"objects {depth} deep", b'{"typologies":' * depth
    yield "200000 files", json.dumps(manifest | {"files": [{"name": "a", "offset": 0, "size": 0, "sha256": ""}] * 50_000}).encode()[: 2**22]
    yield "a number of a million digits", b'{"format":' + b"9" * 1_000_000 + b"}"
    yield "provenance of a million keys", json.dumps(manifest | {"provenance": {str(n): "" for n in range(200_000)}, "format": 2}).encode()
    yield "unknown key", json.dumps(manifest | {"plugin": "x.so"}).encode()
    yield "no JSON", b"\x80\x04" + bytes(100)
    yield "doubled keys", json.dumps(manifest).encode()[:-1] + b',"format":2}'


def _strange_files(refusals: Refusals, folder: Path) -> None:
    """Things that are no files of bytes; none may hang or fill the reader."""
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "nowhere").symlink_to(folder / "absent")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    with (folder / "hole").open("wb") as hole:
        hole.truncate(2**31 + 1)
    for name in ("loop", "nowhere", "zero", "passwd", "pipe", "hole", ""):
        refusals.open(folder / name, f"file {name!r}")


@injects("F09", test=TEST)
def pickles(effort: Effort) -> Result:
    """Pickles as bundle, as network, as golden input and inside the manifest: refused, and never executed."""
    refusals = Refusals()
    canary = effort.folder / "canary"
    loads: list[bytes] = [pickle.dumps(Canary(canary), protocol) for protocol in range(6)]
    loads += [_torch_like(pickle.dumps(Canary(canary)))]
    for load_bytes in loads:
        refusals.verify(load_bytes, "pickle as bundle")
        for file in ("T2-0.onnx", "router.onnx"):
            refusals.load(TinyBundle(files={file: load_bytes}).signed(), f"pickle as {file}")
        refusals.load(TinyBundle(files={"T2/good": load_bytes}).signed(), "pickle as golden input")
        refusals.verify(resigned(load_bytes, {}), "pickle as manifest")
    if canary.exists():
        refusals.failures.append("a pickle was executed")
    return refusals.result()


def _torch_like(data: bytes) -> bytes:
    """A zip as torch.save makes it."""
    import io  # noqa: PLC0415
    import zipfile  # noqa: PLC0415

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    return buffer.getvalue()


@injects("B05", "F13", test=TEST)
def bad_networks(effort: Effort) -> Result:
    """Well-signed networks that accept everything, nothing, the wrong, or lost a bit: golden inputs must refuse them."""
    refusals, rng = Refusals(), random.Random(effort.seed)
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
    for _ in range(effort.times(160)):
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
    refusals, rng = Refusals(), random.Random(effort.seed)
    taken = 0
    for _ in range(effort.times(120)):
        good, bad = (probability(weld_image(gray_of("T2", good=g), 4 if g else 3), CENTRES["T2"]) for g in (True, False))
        shift = {"T2/good": min(1.0, max(0.0, good + rng.uniform(-0.06, 0.06))), "T2/bad": min(1.0, max(0.0, bad + rng.uniform(-0.06, 0.06)))}
        off = max(abs(shift["T2/good"] - good), abs(shift["T2/bad"] - bad))
        data = TinyBundle(promised=shift, router=False).signed()
        if off > TOLERANCE + 1e-4:
            refusals.load(data, f"off by {off:.4f}")
        elif off < TOLERANCE - 1e-4:
            refusals.injections += 1
            taken += 1
            load(verify_bundle(data, (PUBLIC,)))
    note = f"{taken} differed by less than the tolerance of {TOLERANCE} and were taken; one runtime judges at a time, none is voted against another"
    return refusals.result(note=note)


@injects("B09", test=TEST)
def thresholds(effort: Effort) -> Result:
    """Every number of the manifest that decides, as NaN, infinite, negative, zero, too large, text, nothing, list; or left out."""
    refusals = Refusals()
    bundle = TinyBundle(members=2)
    manifest = json.loads(msgspec.json.encode(bundle.manifest()))
    numbers = ("NaN", "Infinity", "-Infinity", "1e999", "-0.1", "1.5", "-1", "2", '"0.5"', '"NaN"', "null", "[]", "[0.5]", "{}", "true", "1e400")
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


