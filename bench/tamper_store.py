"""Tampering with the store itself: its state, links, folders, rights, and files that change while they are read."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench.tamper_box import Box, Seen
from edge.bundles.state import STATE, Proof, encode_state
from edge.bundles.store import VERSIONS
from edge.errors import BundleError, CordonError

Rng = random.Random
Spoil = Callable[[Box, Rng], object]


def _state_path(box: Box) -> Path:
    return box.store.folder / STATE


def _state_bit(box: Box, rng: Rng) -> None:
    data = bytearray(_state_path(box).read_bytes())
    bit = rng.randrange(len(data) * 8)
    data[bit // 8] ^= 1 << bit % 8
    _state_path(box).write_bytes(data)


def _state_bytes(box: Box, rng: Rng) -> None:
    data = _state_path(box).read_bytes()
    at, size = rng.randrange(len(data)), rng.randrange(1, 99)
    _state_path(box).write_bytes(
        rng.choice((data[:at], data[at:] or b"x", data + rng.randbytes(size), data[:at] + rng.randbytes(size) + data[at:]))
    )


def _state_with_checksum(box: Box, rng: Rng) -> None:
    state = box.store.state()
    stray = f"{rng.getrandbits(256):064x}"
    choices: tuple[dict[str, Any], ...] = (
        {"active": stray},
        {"active": "../" * rng.randrange(1, 9) + "etc"},
        {"active": "", "highest": rng.randrange(9)},
        {"active": stray, "proved": {**state.proved, stray: Proof(version=state.highest, answers=6, backend="")}},
        {"active": state.active.upper()},
        {"highest": state.highest - rng.randrange(1, 99)},
        {"floor": state.highest + rng.randrange(1, 10**9)},
        {"floor": -rng.randrange(1, 10**9)},
        {"proved": {}},
        {"line": f"line-{rng.getrandbits(32)}", "highest": rng.randrange(3)},
    )
    _state_path(box).write_bytes(encode_state(msgspec.structs.replace(state, **rng.choice(choices))))


def _another_in_its_place(box: Box, rng: Rng) -> None:
    parts = rng.choice((box.genuine.before, *box.genuine.others[:2], box.genuine.withdrawn))
    box.file.write_bytes(parts.data)


def _folders_swapped(box: Box, rng: Rng) -> None:
    versions = box.store.folder / VERSIONS
    other = next(name for name in box.installed if name != box.name)
    (versions / box.name).rename(versions / "away")
    (versions / other).rename(versions / box.name)
    if rng.random() < 0.5:
        (versions / "away").rename(versions / other)


def _linked(box: Box, rng: Rng) -> None:
    path = rng.choice((box.file, box.file.parent, box.file.parent.parent, box.store.folder, _state_path(box)))
    away = path.with_name(f"away{rng.getrandbits(30):x}")
    path.rename(away)
    path.symlink_to(rng.choice((away, Path(away.name), Path("/dev/zero"), path)))


def _hard_linked(box: Box, rng: Rng) -> None:
    path = rng.choice((box.file, _state_path(box)))
    os.link(path, path.with_name(f"second{rng.getrandbits(30):x}"))


def _writable(box: Box, rng: Rng) -> None:
    path = rng.choice((box.file, box.file.parent, box.file.parent.parent, box.store.folder, _state_path(box)))
    path.chmod(path.stat().st_mode | rng.choice((0o002, 0o020, 0o022)))


def _no_file(box: Box, rng: Rng) -> None:
    path = rng.choice((box.file, _state_path(box)))
    path.unlink()
    rng.choice((lambda: None, lambda: os.mkfifo(path), path.mkdir, path.touch))()


def _sparse(box: Box, rng: Rng) -> None:
    with rng.choice((box.file, _state_path(box))).open("r+b") as file:
        file.truncate(rng.choice((2**31 + 1, 2**33, 5_000_000)) + rng.randrange(10**6))


SPOILS: dict[str, Spoil] = {
    "state: one bit": _state_bit,
    "state: cut, longer, inserted": _state_bytes,
    "state: edited with a right checksum": _state_with_checksum,
    "another genuine bundle in its place": _another_in_its_place,
    "folders of two versions swapped": _folders_swapped,
    "symbolic links": _linked,
    "hard links": _hard_linked,
    "writable by others": _writable,
    "gone, a pipe, a folder, empty": _no_file,
    "huge and sparse": _sparse,
}


def spoil_stores(box: Box, folder: Path, *, count: int, rng: Rng, seen: Seen) -> dict[str, int]:
    """`count` spoilt copies of the box's store, each loaded from; returns how often each way was tried."""
    tried = dict.fromkeys(SPOILS, 0)
    template, place = folder / "template", box.store.folder
    box.file.write_bytes(box.genuine.active.data)
    shutil.copytree(place, template)
    for number in range(count):
        name = list(SPOILS)[number % len(SPOILS)]
        SPOILS[name](box, rng)
        seen.trial(box.load, f"store {number}, {name}")
        tried[name] += 1
        _restore(place, template)
        if box.load().hash != box.name:
            raise CordonError("the restored store does not load its bundle", remedy="Look at bench/tamper_store.py")
    shutil.rmtree(template)
    return tried


def _restore(place: Path, template: Path) -> None:
    for path in place.parent.glob("away*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    place.unlink() if place.is_symlink() else shutil.rmtree(place)
    shutil.copytree(template, place)


def race(box: Box, *, count: int, rng: Rng, seen: Seen) -> tuple[int, int]:
    """Loads while another thread puts genuine and tampered bytes in the file's place; returns how many were taken whole, and refused.

    What is taken must be the active bundle to its last byte, else it counts as accepted.
    """
    good, ending = box.genuine.active.data, threading.Event()
    bad = bytearray(good)
    bad[-1 - rng.randrange(99)] ^= 1
    contents = (good, bytes(bad), good, good[:-7], box.genuine.before.data)
    thread = threading.Thread(target=_replace_for_ever, args=(box.file, contents, ending), daemon=True)
    thread.start()
    taken = refused = 0
    try:
        for number in range(count):
            try:
                bundle = box.load()
            except BundleError:
                refused += 1
                continue
            taken += 1
            body = b"".join(bundle.files[entry.name] for entry in bundle.manifest.files)
            if bundle.hash != box.name or body != box.genuine.active.body:
                seen.accepted.append(f"race {number}")
    finally:
        ending.set()
        thread.join()
        box.file.write_bytes(good)
    return taken, refused


def _replace_for_ever(path: Path, contents: tuple[bytes, ...], ending: threading.Event) -> None:
    number, other = 0, path.with_name("other")
    while not ending.is_set():
        number += 1
        data = contents[number % len(contents)]
        if number % 3:
            other.write_bytes(data)
            other.replace(path)
        else:
            with path.open("r+b") as file:
                file.write(data)
                file.truncate()
        time.sleep(0.0002)
