"""One frame's image with what its numbers mean, as every way of preparing heightmaps takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edge.inspector.frame import FrameHeader


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """An image (rows, cols) of u8 (`heightmap`), u16 or f32 (`range`), or (rows, cols, 3) of f32 x, y, z in mm (`cloud`).

    z = value x `z_scale_mm` + `z_offset_mm`; values equal to `no_data` (or NaN, where it is NaN) are missing points.
    """

    image: NDArray[Any]
    kind: str
    z_scale_mm: float = 1.0
    z_offset_mm: float = 0.0
    no_data: float = 0.0

    @classmethod
    def of(cls, header: FrameHeader, image: NDArray[Any]) -> Scan:
        """The scan of a checked frame."""
        return cls(
            image=image,
            kind=header.kind,
            z_scale_mm=header.z_scale_mm,
            z_offset_mm=header.z_offset_mm,
            no_data=header.no_data_value,
        )
