"""The review as one browsable page with its pictures beside it: no network, no server, opened from the disk."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from tqdm import tqdm

from edge.errors import DatasetError
from train.baseline import gradient_features
from train.cleaning.duplicates import Pair
from train.cleaning.find import Findings
from train.cleaning.fingerprint import Gray, difference
from train.cleaning.review import COLUMNS, Entry, joined_groups, review_cells

NEIGHBOURS = 2
"""Scans of the other label shown beside each, the most alike by histograms of gradients."""
BRIGHTER = 4
"""Differences are shown this many times as strong."""
SEVERITIES = ("in both labels", "cannot be judged", "label probably wrong", "copy", "groups to join", "label doubtful", "high loss")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image of a card: its file below the page, and what it shows."""

    file: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """One scan of the review as the page shows it; `cells` is its line of review.csv."""

    cells: dict[str, str]
    severity: int
    reasons: tuple[str, ...]
    scores: tuple[float, ...]
    pictures: tuple[Picture, ...]
    neighbours: tuple[Picture, ...]


def write_page(findings: Findings, entries: tuple[Entry, ...], out: Path) -> None:
    """Write OUT/index.html and OUT/images/*.png. Raises DatasetError."""
    pictures = _Pictures(findings, out)
    cards = [_card(findings, entry, pictures) for entry in tqdm(entries, desc="writing pictures", unit="scan", disable=None)]
    text = page(cards, findings)
    path = out / "index.html"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise DatasetError(f"cannot write {path}", seen=exc.strerror, remedy="Check the folder's rights and free space") from exc


def page(cards: list[Card], findings: Findings) -> str:
    """HTML text. Every name is escaped, and only the page's own script may run."""
    environment = Environment(
        loader=PackageLoader("train.cleaning", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("review.html")
    values: Mapping[str, object] = {
        "cards": cards,
        "columns": COLUMNS,
        "rows": [[card.cells[name] for name in COLUMNS] for card in cards],
        "severities": SEVERITIES,
        "confused": findings.confused,
        "seeds": findings.judged.seeds,
        "joined": joined_groups(findings.evidence),
        "scans": len(findings.evidence.scans),
    }
    script = re.search(r"<script>(.*?)</script>", template.render(**values, policy=""), re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script.group(1).encode()).digest()).decode()
    text: str = template.render(**values, policy=f"'sha256-{digest}'")
    return text


def _card(findings: Findings, entry: Entry, pictures: _Pictures) -> Card:
    evidence = findings.evidence
    row = evidence.place.get(entry.index)
    scores = () if row is None else tuple(float(score) for score in findings.judged.badness[:, row])
    own = pictures.of_scan(entry.index, "this scan")
    partners = [picture for pair in entry.pairs for picture in pictures.of_pair(entry.index, pair)]
    return Card(
        cells=dict(zip(COLUMNS, review_cells(evidence, entry), strict=True)),
        severity=entry.severity,
        reasons=entry.reasons,
        scores=scores,
        pictures=tuple(dict.fromkeys([*own, *partners])),
        neighbours=tuple(picture for other in pictures.unlike(entry.index) for picture in pictures.of_scan(other, "")),
    )


class _Pictures:
    """Writes each picture once, under a number: no file name of the folder becomes a name here."""

    def __init__(self, findings: Findings, out: Path) -> None:
        self._findings, self._folder = findings, out / "images"
        self._written: set[str] = set()
        self._near = _neighbours(findings)

    def of_scan(self, index: int, caption: str) -> list[Picture]:
        """The prepared scan; nothing where there is none."""
        image = self._findings.images[index]
        evidence = self._findings.evidence
        said = caption or f"{evidence.names[index]} ({evidence.scans[index].label})"
        return [] if image is None else [Picture(file=self._write(f"{index:06d}.png", image), caption=said)]

    def of_pair(self, index: int, pair: Pair) -> list[Picture]:
        """The other scan of a pair, and where the two differ."""
        other = pair.second if index == pair.first else pair.first
        pictures = self.of_scan(other, "")
        first, second = self._findings.images[pair.first], self._findings.images[pair.second]
        if first is None or second is None:
            return pictures
        gap, changed = difference(first, second, pair.move)
        file = self._write(f"{pair.first:06d}-{pair.second:06d}.png", np.minimum(gap.astype(int) * BRIGHTER, 255).astype(np.uint8))
        move = f"moved by {pair.move[1]}, {pair.move[0]} px" if pair.move != (0, 0) else "not moved"
        caption = f"difference x {BRIGHTER}: {changed} px clearly; likeness {pair.likeness:.2f}, {move}"
        return [*pictures, Picture(file=file, caption=caption)]

    def unlike(self, index: int) -> tuple[int, ...]:
        """The scans of the other label that look most like this one."""
        return self._near.get(index, ())

    def _write(self, name: str, image: Gray) -> str:
        if name not in self._written:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(self._folder / name), image):
                raise DatasetError(f"cannot write {self._folder / name}", remedy="Check the folder's rights and free space")
            self._written.add(name)
        return f"images/{name}"


def _neighbours(findings: Findings) -> dict[int, tuple[int, ...]]:
    """Per scan index, scans of the other label whose gradients are most alike, those of its own weld left out."""
    usable = [index for index, image in enumerate(findings.images) if image is not None]
    features = gradient_features(np.stack([image for image in findings.images if image is not None]))
    bad = np.array([findings.evidence.scans[index].label == "bad" for index in usable])
    copies = {frozenset((pair.first, pair.second)) for pair in findings.duplicates.pairs}
    found: dict[int, tuple[int, ...]] = {}
    for side in (bad, ~bad):
        others = [index for index, there in zip(usable, ~side, strict=True) if there]
        for index, near in zip(np.array(usable)[side], _nearest(features[~side], features[side]), strict=True):
            chosen = [others[place] for place in near if frozenset((int(index), others[place])) not in copies]
            found[int(index)] = tuple(chosen[:NEIGHBOURS])
    return found


def _nearest(among: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.int64]:
    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS + 2, len(among)), algorithm="brute").fit(among.astype(np.float32))
    places: NDArray[np.int64] = search.kneighbors(of.astype(np.float32), return_distance=False)
    return places
