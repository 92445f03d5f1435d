"""`cordon bench tamper`: distinct tampered bundles against verify, install and load; not one may get through, and genuine ones must."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.tamper_box import Box, Seen
from bench.tamper_make import FAMILIES, Family
from bench.tamper_parts import Genuine
from bench.tamper_store import race, spoil_stores
from edge.errors import CordonError

CONTROL_EVERY = 250
"""Trials between two controls with genuine bundles."""
STORES_SHARE, RACES_SHARE = 50, 20
MAX_DRAWS = 1_000


@dataclass
class Tally:
    """What was tried, and what came of it."""

    seen: Seen = field(default_factory=Seen)
    families: dict[str, int] = field(default_factory=dict)
    doors: int = 0
    controls: int = 0
    stores: dict[str, int] = field(default_factory=dict)
    raced: tuple[int, int] = (0, 0)


class Source:
    """Distinct tampered bundles; number and seed alone say which."""

    def __init__(self, genuine: Genuine) -> None:
        self._genuine = genuine
        self._known = {_digest(data) for data in genuine.every}
        self._weights = [family.weight for family in FAMILIES]

    def make(self, number: int) -> tuple[Family, bytes]:
        """Tampered bundle `number`; ask for them in order. Raises CordonError when chance finds no new one."""
        rng = random.Random(f"{self._genuine.seed} {number}")  # noqa: S311 - repeatable, not secret
        for _ in range(MAX_DRAWS):
            family = rng.choices(FAMILIES, self._weights)[0]
            data = family.make(self._genuine, rng)
            digest = _digest(data)
            if digest not in self._known:
                self._known.add(digest)
                return family, data
        raise CordonError("no new tampered bundle was found", seen=f"number {number}", remedy="Ask for fewer, or take another seed")


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def tamper(genuine: Genuine, folder: Path, *, first: int, count: int, say: bool = False) -> Tally:
    """Bundles `first` to `first` + `count` - 1, then spoilt stores and races in proportion. Raises CordonError when a control fails."""
    source, box, tally = Source(genuine), Box(folder, genuine), Tally()
    for number in range(first):
        source.make(number)
    began_s = time.monotonic()
    for done, number in enumerate(range(first, first + count)):
        if done % CONTROL_EVERY == 0:
            _control(box, tally)
            if say:
                _progress(done, count, time.monotonic() - began_s, tally)
        family, data = source.make(number)
        for door in family.doors:
            tally.seen.trial(lambda door=door, data=data: box.through(door, data), f"bundle {number}, {family.name}, at {door}")  # type: ignore[misc]
        tally.doors += len(family.doors)
        tally.families[family.name] = tally.families.get(family.name, 0) + 1
    _control(box, tally)
    rng = random.Random(genuine.seed)  # noqa: S311 - repeatable, not secret
    tally.stores = spoil_stores(box, folder, count=max(len(tally.families), count // STORES_SHARE), rng=rng, seen=tally.seen)
    tally.raced = race(box, count=max(100, count // RACES_SHARE), rng=rng, seen=tally.seen)
    _control(box, tally)
    return tally


def _control(box: Box, tally: Tally) -> None:
    box.control(tally.controls, clean=not tally.seen.accepted)
    tally.controls += 1


def _progress(done: int, count: int, took_s: float, tally: Tally) -> None:
    if sys.stderr.isatty() or done % (40 * CONTROL_EVERY) == 0:
        end = "\r" if sys.stderr.isatty() else "\n"
        bad = len(tally.seen.accepted) + len(tally.seen.broken)
        print(f"{done:,} of {count:,} bundles, {took_s:.0f} s, {bad} accepted or broken", end=end, file=sys.stderr, flush=True)


def _print(tally: Tally, count: int) -> None:
    print(f"{'family':<42}{'bundles':>9}")
    for family in FAMILIES:
        print(f"{family.name:<42}{tally.families.get(family.name, 0):>9,}")
    print(f"{'together':<42}{count:>9,}   at {tally.doors:,} doors")
    print(f"{'spoilt store':<42}{'loads':>9}")
    for name, tried in tally.stores.items():
        print(f"{name:<42}{tried:>9,}")
    taken, refused = tally.raced
    print(f"{'swapped while it is read':<42}{taken + refused:>9,}   {taken:,} taken whole, {refused:,} refused")
    print("refused: " + ", ".join(f"{kind} {number:,}" for kind, number in sorted(tally.seen.refused.items())))
    print(f"controls: {tally.controls}, in each a genuine bundle passed every door and a new one was installed")
    for what, found in (("ACCEPTED", tally.seen.accepted), ("BROKEN", tally.seen.broken)):
        for text in found[:20]:
            print(f"{what} {text}")


def main(argv: Sequence[str]) -> int:
    """Tampered bundles against verify, install and load; the last line printed is JSON. Status 1: one was accepted or broke something."""
    parser = argparse.ArgumentParser(prog="cordon bench tamper", description=main.__doc__)
    parser.add_argument("--bundles", type=int, default=100_000, help="how many distinct ones (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="go on with this one: what an interrupted run printed (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bundle", type=Path, help="an exported bundle that is tampered with as well")
    parser.add_argument("--key", help="the public key that signed it, 64 hex digits")
    arguments = parser.parse_args(argv)
    if (arguments.bundle is None) != (arguments.key is None):
        parser.error("--bundle and --key belong together")
    real = None if arguments.bundle is None else (arguments.bundle.read_bytes(), bytes.fromhex(arguments.key))
    began_s = time.monotonic()
    print(f"seed {arguments.seed}, bundles {arguments.first:,} to {arguments.first + arguments.bundles - 1:,}", flush=True)
    with tempfile.TemporaryDirectory(prefix="cordon-tamper-") as folder:
        tally = tamper(Genuine(arguments.seed, real), Path(folder), first=arguments.first, count=arguments.bundles, say=True)
    took_s = time.monotonic() - began_s
    _print(tally, arguments.bundles)
    taken, refused = tally.raced
    figures = {
        "bundles": arguments.bundles,
        "seed": arguments.seed,
        "doors": tally.doors,
        "stores": sum(tally.stores.values()),
        "races": taken + refused,
        "controls": tally.controls,
        "accepted": len(tally.seen.accepted),
        "broken": len(tally.seen.broken),
        "seconds": round(took_s, 1),
    }
    print(json.dumps(figures))
    return 1 if tally.seen.accepted or tally.seen.broken else 0
