"""Which files show the same weld: equal bytes, equal pixels, or the same relief after registration."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from tqdm import tqdm

from scans.folder import Scan
from train.cleaning.fingerprint import Gray, common_strength, difference, likeness, relief_of, spectrum_of, whiten

NEIGHBOURS = 8
"""Candidates per scan, by spectrum: in measurements every copy was among them."""
STRANGERS = 1000
"""Pairs drawn at random, to see how alike different welds of this folder are."""
FACTOR, ALTERED_FACTOR = 1.6, 2.0
"""How much more alike than 95 of 100 pairs of strangers (in Fisher's z) two scans of one weld are: where they differ nowhere, and where
they differ in one place, which most pairs of strangers do as well. Measured, see docs/cleaning.md.
"""
LIKENESS = (0.4, 0.9)
"""Where the limits may lie, whatever the strangers say."""
CHANGED_PX = 20
"""Scans of one weld that differ clearly on more pixels than this are not the same picture: one has a defect the other has not."""
PACKED = 40.0
"""Reliefs are kept as 8-bit whole numbers of 1 / 40."""

Kind = Literal["same bytes", "same pixels", "same weld", "same weld, altered"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two scans (their indices) that show one weld; `move` brings the second onto the first, in pixels of the compared size."""

    first: int
    second: int
    kind: Kind
    likeness: float = 1.0
    move: tuple[int, int] = (0, 0)
    changed: int = 0


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """All pairs found; from which likeness on two reliefs counted as one weld's, and as one weld's with a change (nan: too few scans)."""

    pairs: tuple[Pair, ...]
    limit: float
    altered_limit: float


def find_duplicates(pixels: Sequence[str], content: Sequence[str], images: Sequence[Gray | None]) -> Duplicates:
    """Compare every scan with those that could be its copy.

    `pixels` and `content` are hashes of the pixels and the bytes; `images` u8 [128, 352] prepared, None where that is impossible:
    such a scan has only equal copies.
    """
    exact = _exact(pixels, content)
    copies = {pair.second for pair in exact}
    chosen = [index for index, image in enumerate(images) if image is not None and index not in copies]
    near, (limit, altered) = _near(chosen, images)
    return Duplicates(pairs=(*exact, *near), limit=limit, altered_limit=altered)


def merged_groups(scans: Sequence[Scan], pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Each scan's group when scans of one weld are in one: of those joined, the name of the largest, the first among equals."""
    size = Counter(scan.group for scan in scans)
    parent = {scan.group: scan.group for scan in scans}

    def root(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    for pair in pairs:
        joined = (root(scans[pair.first].group), root(scans[pair.second].group))
        first, second = sorted(joined, key=lambda group: (-size[group], group))
        parent[second] = first
    return tuple(root(scan.group) for scan in scans)


def pixel_hash(image: NDArray[Any]) -> str:
    """The same for equal heights, however they were stored."""
    return hashlib.sha256(repr(image.shape).encode() + image.astype(np.float32).tobytes()).hexdigest()


def _exact(pixels: Sequence[str], content: Sequence[str]) -> tuple[Pair, ...]:
    """The first of equal scans with each of the others."""
    equal: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(pixels):
        equal[digest].append(index)
    found = []
    for first, *others in equal.values():
        for other in others:
            same: Kind = "same bytes" if content[first] == content[other] else "same pixels"
            found.append(Pair(first=first, second=other, kind=same))
    return tuple(found)


def _near(chosen: list[int], images: Sequence[Gray | None]) -> tuple[tuple[Pair, ...], tuple[float, float]]:
    if len(chosen) < 3:
        return (), (float("nan"), float("nan"))
    reliefs = _reliefs([image for index in chosen if (image := images[index]) is not None])
    candidates = _candidates(reliefs)
    limits = _limits(reliefs, candidates)
    pairs = []
    for a, b in tqdm(candidates, desc="comparing scans", unit="pair", disable=None):
        alike, move = likeness(_unpacked(reliefs[a]), _unpacked(reliefs[b]))
        if alike < limits[0]:
            continue
        first, second = chosen[a], chosen[b]
        one, other = images[first], images[second]
        assert one is not None
        assert other is not None
        changed = difference(one, other, move)[1]
        if changed > CHANGED_PX and alike < limits[1]:
            continue
        kind: Kind = "same weld" if changed <= CHANGED_PX else "same weld, altered"
        pairs.append(Pair(first=first, second=second, kind=kind, likeness=alike, move=move, changed=changed))
    return tuple(pairs), limits


def _reliefs(images: list[Gray]) -> list[NDArray[np.int8]]:
    strength = common_strength(relief_of(image) for image in images)
    return [_packed(whiten(relief_of(image), strength)) for image in tqdm(images, desc="relief of scans", unit="scan", disable=None)]


def _candidates(reliefs: list[NDArray[np.int8]]) -> list[tuple[int, int]]:
    spectra = np.stack([spectrum_of(_unpacked(relief)) for relief in reliefs])
    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS + 1, len(reliefs)), algorithm="brute").fit(spectra)
    near = search.kneighbors(spectra, return_distance=False)
    return sorted({(min(a, int(b)), max(a, int(b))) for a, row in enumerate(near) for b in row if a != b})


def _limits(reliefs: list[NDArray[np.int8]], candidates: list[tuple[int, int]]) -> tuple[float, float]:
    """From how alike strangers are: pairs drawn at random, candidates left out as long as others remain."""
    rng = np.random.default_rng(0)
    count = len(reliefs)
    everything = list(combinations(range(count), 2)) if count < 60 else [_two(rng, count) for _ in range(2 * STRANGERS)]
    strangers = sorted(set(everything) - set(candidates)) or everything
    drawn = [strangers[index] for index in rng.permutation(len(strangers))[:STRANGERS]]
    alike = [likeness(_unpacked(reliefs[a]), _unpacked(reliefs[b]))[0] for a, b in drawn]
    usual = np.quantile(np.arctanh(np.clip(alike, 0.0, 0.99)), 0.95)
    limit, altered = (float(np.clip(np.tanh(factor * usual), *LIKENESS)) for factor in (FACTOR, ALTERED_FACTOR))
    return limit, altered


def _two(rng: np.random.Generator, count: int) -> tuple[int, int]:
    a, b = sorted(int(index) for index in rng.choice(count, 2, replace=False))
    return a, b


def _packed(relief: NDArray[np.float32]) -> NDArray[np.int8]:
    packed: NDArray[np.int8] = np.rint(relief * PACKED).astype(np.int8)
    return packed


def _unpacked(relief: NDArray[np.int8]) -> NDArray[np.float32]:
    return np.asarray(relief / np.float32(PACKED), dtype=np.float32)
