"""The drawn map beside an archived image: the heightmap as the networks saw it, made once more, coloured where they saw a defect."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass

import cv2
import msgspec
import numpy as np

from edge.errors import FrameError
from edge.inspector.explaining import Explained
from edge.inspector.frame import FrameHeader, payload_image
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.inspector.judging import Finding
from edge.inspector.scan import Scan
from edge.map_image import encoded, overlay
from edge.map_text import unpack

PREPARERS = 32
"""Kept for the next image; bundles come and go."""

log = logging.getLogger("cordon.archive")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is to be drawn: the map as in the record, how the heightmap was made, and what was said of the weld."""

    text: str
    heightmap: HeightmapSpec
    typology: str
    score: float
    threshold: float

    @classmethod
    def of(cls, finding: Finding, explained: Explained) -> Shown | None:
        """None where there is no map."""
        if explained.text is None or explained.spec is None:
            return None
        spec = explained.spec
        return cls(text=explained.text, heightmap=spec.heightmap, typology=spec.name, score=finding.score, threshold=finding.threshold)


class Drawer:
    """Used by the archive's thread; the heightmap is prepared again here, so that judging a frame copies nothing for it."""

    def __init__(self) -> None:
        self._preparers: OrderedDict[bytes, Preparer] = OrderedDict()

    def draw(self, header: FrameHeader, payload: memoryview | bytes, shown: Shown | None) -> bytes | None:
        """PNG of the map over its heightmap; None without one, or where it cannot be drawn, which the log says."""
        if shown is None:
            return None
        try:
            return self._drawn(header, payload, shown)
        except (FrameError, ValueError, cv2.error) as exc:
            log.warning("a map of %s was not drawn: %s", header.camera, exc)
            return None

    def _drawn(self, header: FrameHeader, payload: memoryview | bytes, shown: Shown) -> bytes:
        spec, found = shown.heightmap, unpack(shown.text)
        preparer = self._preparer(spec)
        gray, scan = np.zeros((spec.height, spec.width), np.uint8), Scan.of(header, payload_image(header, payload))
        preparer.prepare(
            scan.image, kind=scan.kind, z_scale_mm=scan.z_scale_mm, z_offset_mm=scan.z_offset_mm, no_data=scan.no_data, out=gray
        )
        cells = np.frombuffer(found.cells, np.uint8).reshape(found.rows, found.columns) * (found.peak / 255.0)
        caption = f"{header.part} {header.weld} {shown.typology}: score {shown.score:.4f}, threshold {shown.threshold:.4f}"
        return encoded(overlay(gray, cells, [caption], peak=found.peak))

    def _preparer(self, spec: HeightmapSpec) -> Preparer:
        key = msgspec.json.encode(spec)
        if key not in self._preparers:
            self._preparers[key] = Preparer(spec)
            if len(self._preparers) > PREPARERS:
                self._preparers.popitem(last=False)
        return self._preparers[key]
