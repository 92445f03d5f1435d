"""Rows F01, F02, F05, F08, F09: bundles that are forged, altered, mixed, monstrous or pickles, given to the product's own loader."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import Bundle, open_bundle, verify_bundle
from edge.errors import BundleError, CordonError
from edge.inspector.loader import load_engines
from edge.inspector.machine import CpuMachine
from faults.line.bundles import KEY, PUBLIC, TinyBundle, resigned
from faults.line.peers import Canary
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_line_bundles.py"
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
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
    refusals, rng = Refusals(), random.Random(effort.seed)  # noqa: S311 - seeded, not secret
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
        refusals.expect(partial(verify_bundle, good, trusted), f"trusted {trusted}")
    return refusals.result()


def _plus_order(s: bytes) -> bytes:
    order = 2**252 + 27742317777372353535851937790883648493
    return ((int.from_bytes(s, "little") + order) % 2**256).to_bytes(32, "little")


@injects("F02", test=TEST)
def every_byte(effort: Effort) -> Result:
    """Every byte of a whole small bundle changed, and the file cut at every place."""
    refusals, rng = Refusals(), random.Random(effort.seed)  # noqa: S311 - seeded, not secret
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
    refusals, rng = Refusals(), random.Random(effort.seed)  # noqa: S311 - seeded, not secret
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
    for field, value in itertools.product(("offset", "size"), (-1, 1, 2**31, 2**63, 2**64, 1e30, "0", None, 0.5)):
        changed = json.loads(json.dumps(manifest))
        changed["files"][1][field] = value
        refusals.verify(resigned(json.dumps(changed).encode(), bundle.files), f"{field} {value}")
    good = bundle.signed()
    for length in (0, 1, 2**22 + 1, 2**31, 2**32 - 1):
        refusals.verify(good[:104] + length.to_bytes(4, "little") + good[108:], f"manifest length {length}")
    _strange_files(refusals, effort.folder)
    return refusals.result(note="nothing is ever unpacked: names are keys in memory, and files are stored uncompressed")


NAMES: tuple[str, ...] = (
    "../x",
    "/etc/passwd",
    "a/../../x",
    "./x",
    "a//b",
    "a/",
    "/",
    "",
    ".",
    "..",
    "a\\b",
    "..\\x",
    "C:x",
    "a\0b",
    "a\nb",
    "~/x",
    "a b",
    "x" * 201,
)
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
