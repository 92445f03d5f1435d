"""Families of tampered bundles: each makes one from chance, and says at which doors of the box it must be refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bench import tamper_bytes as raw
from bench.tamper_parts import ACTIVE, Genuine, Parts
from faults.line.bundles import network

VERIFY, INSTALL, LOAD = "verify", "install", "load"
DOORS = (VERIFY, INSTALL, LOAD)
STORE = (INSTALL, LOAD)
"""Genuine by its signature: the box's policy refuses it."""
LOOK_ALIKES = "\u0430\u0435\u043e\u0440\u0441\u0445\u0456\u2044\u2215\uff0e\uff0f\u202e\u200b\u00a0\ufeff\u0301\u1e9e\u0130"
FORBIDDEN = "/\\ \0\n\r\t\x1b\x7f:*?\"<>|~$`;&%'" + LOOK_ALIKES

Rng = random.Random
Make = Callable[[Genuine, Rng], bytes]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One way to tamper."""

    name: str
    make: Make
    doors: tuple[str, ...] = DOORS
    weight: int = 4


def _by_a_stranger(box: Genuine, rng: Rng) -> bytes:
    changed = box.any(rng).changed(_change(rng))
    forged = changed.signed(box.stranger)
    return rng.choice((forged, replace(forged, key=box.any(rng).key))).data


def _by_a_revoked_key(box: Genuine, rng: Rng) -> bytes:
    return box.make(ACTIVE + rng.randrange(9), key=box.revoked, note=f"{rng.getrandbits(64)}").data


def _edited(box: Genuine, rng: Rng) -> bytes:
    return box.any(rng).changed(_change(rng)).data


def _written_otherwise(box: Genuine, rng: Rng) -> bytes:
    """The same JSON value in other bytes."""
    parts = box.any(rng)
    value = json.loads(parts.manifest)
    indent, sort, space = rng.choice((None, 1, 2)), rng.random() < 0.5, rng.choice((" ", "\n", "\t"))
    text = json.dumps(value, indent=indent, sort_keys=sort).encode() + space.encode() * rng.randrange(40)
    return parts.with_manifest(text + b" " * rng.randrange(40)).data


def _file_changed_with_its_hash(box: Genuine, rng: Rng) -> bytes:
    parts = box.any(rng)
    files = parts.files()
    name = rng.choice(list(files))
    files[name] = rng.choice((rng.randbytes(len(files[name])), files[name] + b"\0" * rng.randrange(1, 99), network(rng.uniform(1, 254))))
    return parts.with_files(files).data


def _mixed_files(box: Genuine, rng: Rng) -> bytes:
    """Networks and golden inputs of one bundle under the manifest of another, with the hashes made to fit or not."""
    one, other = box.make(ACTIVE + 1, note=f"{rng.getrandbits(64)}"), box.any(rng)
    files, theirs = one.files(), other.files()
    for name in rng.sample(list(files), rng.randrange(1, len(files))):
        files[name] = theirs.get(name, files[name][::-1])
    fitting = rng.random() < 0.5
    changed = one.with_files(files) if fitting else replace(one, body=b"".join(files.values()))
    return changed.data if changed.data != one.data else replace(one, body=one.body[::-1]).data


def _golden_exchanged(box: Genuine, rng: Rng) -> bytes:
    """Good and bad golden inputs change places: as files, or as labels and scores in the manifest."""
    parts = box.make(ACTIVE + 1, note=f"{rng.getrandbits(64)}")
    if rng.random() < 0.5:
        files = parts.files()
        names = [name for name in files if not name.endswith(".onnx")]
        one, other = rng.sample(names, 2)
        files[one], files[other] = files[other], files[one]
        return replace(parts, body=b"".join(files.values())).data if rng.random() < 0.5 else parts.with_files(files).data

    def change(manifest: dict[str, Any]) -> None:
        golden = rng.choice(manifest["typologies"])["golden"]
        field = rng.choice(("label", "score", "file"))
        golden[0][field], golden[1][field] = golden[1][field], golden[0][field]

    return parts.changed(change).data


def _entries_reordered(box: Genuine, rng: Rng) -> bytes:
    parts = box.make(ACTIVE + 1, note=f"{rng.getrandbits(64)}")
    files = parts.files()
    names = list(files)
    rng.shuffle(names)
    names = names if names != list(files) else names[::-1]
    how = rng.randrange(3)
    if how == 0:
        return parts.with_files({name: files[name] for name in names}).data
    if how == 1:
        return replace(parts, body=b"".join(files[name] for name in names)).data
    return parts.changed(lambda manifest: manifest["files"].sort(key=lambda entry: names.index(entry["name"]))).data


# By a key that the box trusts, as its owner could be tricked to: what the format itself must refuse.


def _name_that_leads_away(box: Genuine, rng: Rng) -> bytes:
    middle = "".join(rng.choice("abcXYZ019._-") for _ in range(rng.randrange(1, 12)))
    bad = rng.choice(FORBIDDEN)
    name = rng.choice(
        (
            f"../{middle}",
            f"/{middle}",
            f"{middle}/../{middle}",
            f"{middle}//x",
            f"./{middle}",
            f".{middle}",
            f"{middle}/",
            f"-{middle}",
            middle * 210,
        )
        + (f"{middle}{bad if bad != '/' else '//'}{middle}",) * 4
    )
    return _with_more(box.any(rng), [name], box).data


def _names_twice(box: Genuine, rng: Rng) -> bytes:
    name = f"n{rng.getrandbits(60):x}"
    return _with_more(box.any(rng), [name, name], box).data


def _names_that_clash(box: Genuine, rng: Rng) -> bytes:
    name = f"n{rng.getrandbits(60):x}"
    return _with_more(box.any(rng), rng.choice(([name, name.upper()], [name, f"{name}/x"], [f"{name}/a/b", f"{name}/a"])), box).data


def _with_more(parts: Parts, names: list[str], box: Genuine) -> Parts:
    def change(manifest: dict[str, Any]) -> None:
        last = manifest["files"][-1]
        empty = {"offset": last["offset"] + last["size"], "size": 0}
        empty["sha256"] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        manifest["files"] += [{"name": name, **empty} for name in names]

    return parts.changed(change).signed(box.key)


def _sizes(box: Genuine, rng: Rng) -> bytes:
    def change(manifest: dict[str, Any]) -> None:
        entry = rng.choice(manifest["files"])
        field, value = rng.choice(("offset", "size")), rng.choice((2**31, 2**53, 2**62, -1, -(2**40), rng.getrandbits(62), 10**9))
        entry[field] = rng.choice((value, entry[field] + rng.randrange(1, 10_000), entry[field] - rng.randrange(1, 99)))
        manifest["provenance"] = {"note": f"{rng.getrandbits(64)}"}

    return box.any(rng).changed(change).signed(box.key).data


def _key_twice(box: Genuine, rng: Rng) -> bytes:
    """One name for two values: what a person reads is not what the box takes."""
    parts = box.make(ACTIVE + 1, note=f"{rng.getrandbits(64)}")
    value = rng.uniform(0.001, 0.999)
    old, new = rng.choice(
        (
            (b'"threshold":0.5', b'"threshold":0.5,"threshold":%.9f' % value),
            (b'{"format":1', b'{"format":1,"format":1'),
            (b'"label":"good"', b'"label":"bad","label":"good"'),
            (b'"name":"T2"', b'"name":"T9","name":"T2"'),
        )
    )
    return parts.with_manifest(parts.manifest.replace(old, new, 1)).signed(box.key).data


def _nonsense_signed(box: Genuine, rng: Rng) -> bytes:
    """What no schema allows: numbers that are none, wrong types, unknown keys, missing ones, deep nesting."""
    parts = box.make(ACTIVE + 1, note=f"{rng.getrandbits(64)}")
    how = rng.randrange(4)
    if how == 0:
        return parts.with_manifest(b'{"router":' + b"[" * rng.randrange(500, 200_000)).signed(box.key).data
    if how == 1:
        word = rng.choice((b"NaN", b"Infinity", b"-Infinity", b"1e999", b"null", b'"0.5"', b"0.5.5", b"1.0", b"0.0", b"-0.5", b"[0.5]"))
        return parts.with_manifest(parts.manifest.replace(b'"threshold":0.5', b'"threshold":' + word, 1)).signed(box.key).data

    def change(manifest: dict[str, Any]) -> None:
        if how == 2:
            manifest[f"allow_{rng.getrandbits(32):x}"] = True
        else:
            del manifest[rng.choice(("format", "name", "version", "typologies", "files"))]

    return parts.changed(change).signed(box.key).data


# Genuine, but not for this box


def _older(box: Genuine, rng: Rng) -> bytes:
    return box.make(rng.randrange(1, ACTIVE - 1), key=rng.choice((box.key, box.second)), note=f"{rng.getrandbits(64)}").data


def _same_version(box: Genuine, rng: Rng) -> bytes:
    return box.make(rng.choice((ACTIVE - 1, ACTIVE)), note=f"other content {rng.getrandbits(64)}").data


def _another_line(box: Genuine, rng: Rng) -> bytes:
    name = rng.choice(
        (f"line-{rng.getrandbits(48):x}", "tiny ", "Tiny", "t\u0456ny", "tiny\x1b[2J", "", "tiny\n" + "x" * rng.randrange(80))
    )
    return box.make(ACTIVE + 1, name=name, note=f"{rng.getrandbits(64)}").data


def _withdrawn(box: Genuine, rng: Rng) -> bytes:
    """The revoked one, signed anew by any key: its hash stays."""
    return box.withdrawn.signed(rng.choice((box.key, box.second))).data if rng.random() < 0.5 else _lacking(box, rng)


def _lacking(box: Genuine, rng: Rng) -> bytes:
    """Without a typology that the line needs."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["typologies"] = [manifest["typologies"][rng.randrange(2)]]
        manifest["router"] = None
        manifest["provenance"] = {"note": f"{rng.getrandbits(64)}"}

    return box.active.changed(change).changed(lambda manifest: manifest.update(version=ACTIVE + 1)).signed(box.key).data


def _change(rng: Rng) -> Callable[[dict[str, Any]], None]:
    """One edit that somebody would like to make."""

    def change(manifest: dict[str, Any]) -> None:
        typology = rng.choice(manifest["typologies"])
        edits: list[Callable[[], object]] = [
            lambda: typology.update(threshold=rng.uniform(0.5, 1.0)),
            lambda: manifest.update(version=ACTIVE + rng.randrange(1, 2**40)),
            lambda: manifest.update(provenance={"note": f"{rng.getrandbits(64)}"}),
            lambda: rng.choice(typology["golden"]).update(tolerance=rng.uniform(0.1, 1.0)),
            lambda: rng.choice(typology["golden"]).update(score=rng.random()),
            lambda: rng.choice(typology["members"]).update(classes=["good", "bad"], weight=rng.random()),
            lambda: rng.choice(manifest["files"]).update(sha256=f"{rng.getrandbits(256):064x}"),
            lambda: rng.choice(manifest["files"]).update(offset=rng.randrange(10**6)),
            lambda: manifest.update(name=f"line-{rng.getrandbits(40):x}"),
            lambda: typology.update(bad_label=rng.choice(("good", f"x{rng.getrandbits(30):x}")), name=f"T{rng.randrange(10**9)}"),
        ]
        for edit in rng.sample(edits, rng.randrange(1, 4)):
            edit()

    return change


FAMILIES = (
    Family(name="one bit", make=raw.one_bit, weight=30),
    Family(name="some bits", make=raw.some_bits),
    Family(name="a byte of the head", make=raw.head_byte),
    Family(name="two bytes swapped", make=raw.two_bytes_swapped),
    Family(name="two blocks swapped", make=raw.two_blocks_swapped),
    Family(name="overwritten", make=raw.overwritten),
    Family(name="cut short", make=raw.cut),
    Family(name="beginning cut off", make=raw.head_cut),
    Family(name="longer", make=raw.longer),
    Family(name="inserted", make=raw.inserted),
    Family(name="removed", make=raw.removed),
    Family(name="two bundles spliced", make=raw.spliced),
    Family(name="two bundles spliced in place", make=raw.spliced_in_place),
    Family(name="parts of several bundles", make=raw.parts_exchanged, weight=2),
    Family(name="magic, key, signature", make=raw.header_fields),
    Family(name="signature plus the order", make=raw.signature_plus_order, weight=1),
    Family(name="length of the manifest", make=raw.length_field),
    Family(name="by a stranger", make=_by_a_stranger),
    Family(name="by a revoked key", make=_by_a_revoked_key, weight=1, doors=STORE),
    Family(name="manifest edited", make=_edited),
    Family(name="manifest written otherwise", make=_written_otherwise),
    Family(name="a file changed with its hash", make=_file_changed_with_its_hash),
    Family(name="files of two bundles", make=_mixed_files, weight=2),
    Family(name="golden inputs exchanged", make=_golden_exchanged, weight=2),
    Family(name="files in another order", make=_entries_reordered, weight=2),
    Family(name="signed: a name that leads away", make=_name_that_leads_away),
    Family(name="signed: a name twice", make=_names_twice, weight=1),
    Family(name="signed: names that clash", make=_names_that_clash, weight=1, doors=STORE),
    Family(name="signed: sizes and offsets", make=_sizes),
    Family(name="signed: a key twice", make=_key_twice, weight=1),
    Family(name="signed: no manifest", make=_nonsense_signed, weight=1),
    Family(name="genuine: older", make=_older, weight=1, doors=STORE),
    Family(name="genuine: same version", make=_same_version, weight=1, doors=STORE),
    Family(name="genuine: another line", make=_another_line, weight=1, doors=STORE),
    Family(name="genuine: revoked, or lacks a typology", make=_withdrawn, weight=1, doors=STORE),
)
