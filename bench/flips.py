"""`cordon bench flips`: every 1-, 2- and 3-bit flip of a frame; the CRC's linearity rules most out, the decoder judges the rest."""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import comb

import numpy as np
from numpy.typing import NDArray

from bench.link_bench import gate_frames, robot_frames
from edge.errors import CordonError
from edge.gate.codec import SEED, Decoder, encode_frame
from edge.gate.fields import FORMS
from edge.gate.messages import Direction, Framing, Message

MAX_FLIPS = 3
HEX = b"0123456789ABCDEF"
ENDS = b"\r\n"

Flips = tuple[int, ...]
"""Bits that are turned: byte * 8 + bit, rising."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What the flips of one frame do. `passed`: each set of flips after which a decoder gives messages, and these."""

    frame: bytes
    message: Message
    tried: int
    passed: dict[Flips, list[Message]] = field(repr=False)

    @property
    def unchanged(self) -> int:
        """Sets of flips that leave exactly the same message: the CR has become LF."""
        return sum(found == [self.message] for found in self.passed.values())

    @property
    def changed(self) -> dict[Flips, list[Message]]:
        """Those after which the decoder gives another message."""
        return {flips: found for flips, found in self.passed.items() if found != [self.message]}


def flipped(frame: bytes, flips: Iterable[int]) -> bytes:
    """The frame with these bits turned."""
    changed = bytearray(frame)
    for bit in flips:
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def heard(frame: bytes, flips: Iterable[int], direction: Direction, framing: Framing) -> list[Message]:
    """What a decoder makes of the flipped frame, with its line ended by one more CR in case its own was hit."""
    return Decoder(direction, framing).feed(flipped(frame, flips) + b"\r")


def survey(message: Message, direction: Direction, framing: Framing) -> Survey:
    """All flips of at most three bits of this message's frame, its `$` and its CR included."""
    frame = encode_frame(message, direction, framing)
    suspects = {*_sealed_again(frame), *_framed_elsewhere(frame, direction)} if framing == "crc" else {*_copied(frame)}
    suspects |= {_sorted(flips) for flips in _turns(frame, len(frame) - 1, ENDS)}
    passed = {flips: found for flips in suspects if flips and (found := heard(frame, flips, direction, framing))}
    tried = sum(comb(len(frame) * 8, count) for count in range(1, MAX_FLIPS + 1))
    return Survey(frame=frame, message=message, tried=tried, passed=passed)


def _turns(frame: bytes, at: int, wanted: bytes) -> list[Flips]:
    """The ways to make the byte at this place one of these with at most three flips; the end's own CR is beyond reach."""
    if at == len(frame):
        return [()] if ENDS[0] in wanted else []
    ways = []
    for byte in wanted:
        change = frame[at] ^ byte
        bits = tuple(at * 8 + bit for bit in range(8) if change >> bit & 1)
        if len(bits) <= MAX_FLIPS:
            ways.append(bits)
    return ways


def _all_of(frame: bytes, needs: Sequence[tuple[int, bytes]]) -> Iterator[Flips]:
    """The ways to meet every need at once with at most three flips."""
    ways: list[Flips] = [()]
    for at, wanted in needs:
        ways = [way + more for way in ways for more in _turns(frame, at, wanted) if len(way) + len(more) <= MAX_FLIPS]
    yield from ways


def _sorted(flips: Iterable[int]) -> Flips:
    return tuple(sorted(flips))


# CRC: the frame begins and ends where it did


def _sealed_again(frame: bytes) -> Iterator[Flips]:
    """Flips of body and check that leave the check right.

    CRC(body xor error) xor CRC(body) depends on the error only and is the xor of what its single bits do. So three flips of the
    body pass when two of these syndromes give the third, two when they give a change of the check that one flip can make, and so on.
    """
    body = frame[1:-10]
    right = zlib.crc32(body, SEED)
    syndromes = np.array([zlib.crc32(flipped(body, [bit]), SEED) ^ right for bit in range(len(body) * 8)], np.uint32)
    wanted: dict[int, list[Flips]] = {0: [()]}
    for bit, syndrome in enumerate(syndromes):
        wanted.setdefault(int(syndrome), []).append((8 + bit,))
    for change, flips in _check_changes(frame):
        wanted.setdefault(change, []).append(flips)
    yield from (_sorted(flips) for flips in wanted[0] if flips)
    for bit in range(len(syndromes)):
        yield from _completed((8 + bit,), int(syndromes[bit]), wanted)
    yield from _completed_pairs(syndromes, wanted)


def _completed_pairs(syndromes: NDArray[np.uint32], wanted: dict[int, list[Flips]]) -> Iterator[Flips]:
    targets = np.array(sorted(wanted), np.uint32)
    for first in range(len(syndromes) - 1):
        sums = syndromes[first] ^ syndromes[first + 1 :]
        for offset in np.flatnonzero(np.isin(sums, targets)):
            yield from _completed((8 + first, 9 + first + int(offset)), int(sums[offset]), wanted)


def _completed(flips: Flips, change: int, wanted: dict[int, list[Flips]]) -> Iterator[Flips]:
    for more in wanted.get(change, []):
        together = {*flips, *more}
        if len(together) == len(flips) + len(more) <= MAX_FLIPS:
            yield _sorted(together)


def _check_changes(frame: bytes) -> list[tuple[int, Flips]]:
    """What at most three flips of the eight digits can make of the check, as a change of its value; all digits stay digits."""
    first = (len(frame) - 9) * 8
    found = []
    for count in range(1, MAX_FLIPS + 1):
        for flips in itertools.combinations(range(first, first + 64), count):
            digits = flipped(frame, flips)[-9:-1]
            if all(digit in HEX for digit in digits):
                found.append((int(digits, 16) ^ int(frame[-9:-1], 16), flips))
    return found


# CRC: another `$`, another end


def _framed_elsewhere(frame: bytes, direction: Direction) -> Iterator[Flips]:
    """Flips that may make a whole frame between other delimiters than the frame's own, found by what such a frame needs at least."""
    size = len(frame)
    for begin, end in itertools.combinations(range(size + 1), 2):
        if (begin, end) == (0, size - 1) or end - begin < 14 or not _turns(frame, begin, b"$") or not _turns(frame, end, ENDS):
            continue
        digits = [(at, HEX) for at in range(end - 8, end)]
        for form in FORMS[direction]:
            head = f"{form.prefix},".encode("ascii")
            letters = [(begin + 1 + at, head[at : at + 1]) for at in range(3)]
            needs = [(begin, b"$"), (end, ENDS), (end - 9, b"*"), *letters, *digits]
            commas = abs(frame[begin + 4 : end - 9].count(b",") - (form.texts - 1))
            yield from _with_the_rest(frame, needs, commas)


def _with_the_rest(frame: bytes, needs: Sequence[tuple[int, bytes]], commas: int) -> Iterator[Flips]:
    """Every way to meet the needs, with every way to use the flips that are left, unless more commas are wrong than these can mend."""
    for way in _all_of(frame, needs):
        left = MAX_FLIPS - len(way)
        if commas <= left:
            others = [bit for bit in range(len(frame) * 8) if bit not in way]
            for count in range(left + 1):
                yield from (_sorted(way + more) for more in itertools.combinations(others, count))


# twice


def _copied(frame: bytes) -> Iterator[Flips]:
    """Flips after which some `$X=X` ends with CR or LF: the same flip in both copies, or a shorter frame within the frame."""
    size = len(frame)
    for begin, end in itertools.combinations(range(size + 1), 2):
        half, odd = divmod(end - begin - 2, 2)
        if odd or half < 4:
            continue
        one, other = begin + 1, begin + 2 + half
        for way in _all_of(frame, [(begin, b"$"), (end, ENDS), (other - 1, b"=")]):
            left = MAX_FLIPS - len(way)
            apart = _apart(frame[one : one + half], frame[other : other + half], left)
            if apart is None:
                continue
            for sides in itertools.product((one, other), repeat=len(apart)):
                mended = way + tuple(side * 8 + bit for side, bit in zip(sides, apart, strict=True))
                yield _sorted(mended)
                if len(mended) + 2 <= MAX_FLIPS:
                    yield from (_sorted({*mended, one * 8 + bit, other * 8 + bit}) for bit in range(half * 8))


def _apart(one: bytes, other: bytes, limit: int) -> Flips | None:
    """The bits in which two texts of equal length differ, or None when they are more than `limit`."""
    bits: list[int] = []
    for at, (left, right) in enumerate(zip(one, other, strict=True)):
        if left != right:
            bits += [at * 8 + bit for bit in range(8) if (left ^ right) >> bit & 1]
            if len(bits) > limit:
                return None
    return tuple(bits)


# the command


def measured_messages() -> list[tuple[Direction, Message]]:
    """One message of every type and direction, as a real line has them."""
    sides: list[tuple[Direction, list[Message]]] = [("R", robot_frames()), ("G", gate_frames())]
    return [(side, message) for side, all_of in sides for message in {type(message): message for message in all_of}.values()]


def check_by_hand(found: Survey, direction: Direction, framing: Framing, *, triples: int, seed: int) -> int:
    """Put every single and double flip and random triple ones through the decoder; raises CordonError where the survey is wrong."""
    bits, chance = range(len(found.frame) * 8), random.Random(seed)  # noqa: S311 - a sample, repeatable by its seed
    random_triples = (_sorted(chance.sample(bits, 3)) for _ in range(triples))
    tried = 0
    for flips in itertools.chain(itertools.combinations(bits, 1), itertools.combinations(bits, 2), random_triples):
        tried += 1
        if heard(found.frame, flips, direction, framing) != found.passed.get(flips, []):
            raise CordonError("the survey of flips is wrong", seen=f"{flips} of {found.frame!r}", remedy="Correct bench/flips.py")
    return tried


def main(argv: Sequence[str]) -> int:
    """Every flip of up to three bits of every type of frame; the last line printed is JSON. Status 1 when a CRC frame became another."""
    parser = argparse.ArgumentParser(prog="cordon bench flips", description=main.__doc__)
    parser.add_argument(
        "--triples", type=int, default=100_000, help="random triple flips per frame through the decoder (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    print(f"{'frame':<14}{'from':<5}{'framing':<9}{'bytes':>6}{'flips of 1 to 3 bits':>22}{'same':>6}{'other message':>15}{'by hand':>11}")
    totals = {"crc": [0, 0], "twice": [0, 0]}
    by_hand, start = 0, time.monotonic()
    for framing in ("crc", "twice"):
        for direction, message in measured_messages():
            found = survey(message, direction, framing)
            checked = check_by_hand(found, direction, framing, triples=arguments.triples, seed=arguments.seed)
            name, other = type(message).__name__, len(found.changed)
            print(
                f"{name:<14}{direction:<5}{framing:<9}{len(found.frame):>6}{found.tried:>22,}{found.unchanged:>6}{other:>15,}{checked:>11,}"
            )
            totals[framing][0] += found.tried
            totals[framing][1] += other
            by_hand += checked
    names = {f"{framing}_{what}": value for framing, both in totals.items() for what, value in zip(("flips", "passed"), both, strict=True)}
    print(json.dumps({**names, "by_hand": by_hand, "seconds": round(time.monotonic() - start, 1)}))
    return int(totals["crc"][1] > 0)
