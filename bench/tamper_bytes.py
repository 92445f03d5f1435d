"""Tampered bundles that know nothing of what a bundle says: bits, bytes, blocks, and the fields before the manifest."""

from __future__ import annotations

import random
from dataclasses import replace

from bench.tamper_parts import ACTIVE, Genuine, Parts

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of Ed25519's group: a signature's second half plus this is the same to a careless verifier."""

Rng = random.Random


def one_bit(box: Genuine, rng: Rng) -> bytes:
    """One bit flipped, anywhere."""
    data = bytearray(box.any(rng).data)
    bit = rng.randrange(len(data) * 8)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def some_bits(box: Genuine, rng: Rng) -> bytes:
    """Two to eight bits flipped."""
    data = bytearray(box.any(rng).data)
    for _ in range(rng.randrange(2, 9)):
        bit = rng.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def head_byte(box: Genuine, rng: Rng) -> bytes:
    """One byte of magic, key, signature or length drawn anew."""
    data = bytearray(box.any(rng).data)
    data[rng.randrange(108)] = rng.randrange(256)
    return bytes(data)


def two_bytes_swapped(box: Genuine, rng: Rng) -> bytes:
    """Two bytes in each other's place."""
    data = bytearray(box.any(rng).data)
    one, other = rng.sample(range(len(data)), 2)
    data[one], data[other] = data[other], data[one]
    return bytes(data)


def two_blocks_swapped(box: Genuine, rng: Rng) -> bytes:
    """Two blocks in each other's place."""
    data = box.any(rng).data
    cuts = sorted(rng.sample(range(len(data) + 1), 4))
    a, b, c, d = cuts
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def overwritten(box: Genuine, rng: Rng) -> bytes:
    """A run of bytes drawn anew."""
    data = bytearray(box.any(rng).data)
    size = rng.choice((1, 4, 16, 64, 512))
    at = rng.randrange(len(data) - size)
    data[at : at + size] = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
    return bytes(data)


def cut(box: Genuine, rng: Rng) -> bytes:
    """The end is missing."""
    data = box.any(rng).data
    return data[: rng.randrange(len(data))]


def head_cut(box: Genuine, rng: Rng) -> bytes:
    """The beginning is missing."""
    data = box.any(rng).data
    return data[rng.randrange(1, len(data)) :]


def longer(box: Genuine, rng: Rng) -> bytes:
    """Bytes behind the end."""
    data, more = box.any(rng).data, rng.randbytes(rng.choice((1, 7, 300)))
    return rng.choice((data + more, more + data, data + bytes(len(more)) + more[:1], data + data + more[:1]))


def inserted(box: Genuine, rng: Rng) -> bytes:
    """Bytes put in between."""
    data = box.any(rng).data
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at:]


def removed(box: Genuine, rng: Rng) -> bytes:
    """Up to eight bytes taken out."""
    data = box.any(rng).data
    at = rng.randrange(len(data) - 9)
    return data[:at] + data[at + rng.randrange(1, 9) :]


def spliced(box: Genuine, rng: Rng) -> bytes:
    """The beginning of one bundle, the end of another."""
    one, other = box.any(rng).data, box.any(rng).data
    return one[: rng.randrange(len(one))] + other[rng.randrange(len(other)) :]


def spliced_in_place(box: Genuine, rng: Rng) -> bytes:
    """One bundle up to some byte, another from there on."""
    one, other = box.any(rng).data, box.any(rng).data
    at = rng.randrange(8, min(len(one), len(other)))
    return one[:at] + other[at:]


def parts_exchanged(box: Genuine, rng: Rng) -> bytes:
    """Key, signature, length, manifest and body of different bundles."""
    pieces = {name: getattr(box.any(rng), name) for name in ("key", "signature", "length", "manifest", "body")}
    return replace(Parts(magic=box.active.magic, **pieces), body=pieces["body"] + rng.randbytes(rng.choice((0, 0, 1)))).data


def header_fields(box: Genuine, rng: Rng) -> bytes:
    """Magic, key and signature exchanged for what a careless verifier might take."""
    parts = box.any(rng)
    return replace(
        parts,
        magic=rng.choice((parts.magic, parts.magic[:6] + rng.randbytes(2), parts.magic[::-1])),
        key=rng.choice((parts.key, parts.key[::-1], rng.randbytes(32), bytes(32), _small_order(rng))),
        signature=rng.choice(
            (rng.randbytes(64), bytes(64), parts.signature[32:] + parts.signature[:32], parts.signature[:32] + rng.randbytes(32))
        ),
    ).data


def _small_order(rng: Rng) -> bytes:
    return rng.choice((b"\x01" + bytes(31), bytes(32), b"\xec" + b"\xff" * 30 + b"\x7f", b"\xed" + b"\xff" * 30 + b"\x7f"))


def signature_plus_order(box: Genuine, rng: Rng) -> bytes:
    """A genuine signature whose second half is larger by a multiple of the group's order."""
    parts = box.make(ACTIVE + 1, note=f"{rng.getrandbits(64)}")
    scalar = int.from_bytes(parts.signature[32:], "little") + ORDER * rng.randrange(1, 15)
    return replace(parts, signature=parts.signature[:32] + scalar.to_bytes(32, "little")).data


def length_field(box: Genuine, rng: Rng) -> bytes:
    """Another length of the manifest."""
    parts = box.any(rng)
    size = len(parts.manifest)
    value = rng.choice((size + rng.randrange(-200, 200), rng.getrandbits(32), 0xFFFFFFFF, rng.getrandbits(24), size << 8, size | 1 << 31))
    return replace(parts, length=(value & 0xFFFFFFFF).to_bytes(4, "little")).data
