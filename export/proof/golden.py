"""Golden inputs: recorded frames with the answers this very INT8 file gave, which a box must repeat before it may say READY."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.prepare import Prepared
from edge.errors import ExportError
from edge.manifest import Golden
from export.proof.threshold import Scores
from scans.folder import Scale, Scan, kind_of, read_image

MAX_TOLERANCE, MIN_TOLERANCE = 0.02, 0.005
"""What a score may differ on another box: half its distance from the threshold, within these limits."""
PER_LABEL = 2
MISSING = -1048576.0
"""Stands for NaN in golden inputs; no camera measures a kilometre."""
Frames = dict[str, bytes]


def choose_golden(
    scores: Scores, badness: Sequence[Scores], away: Scores, proof: Prepared, scale: Scale, *, folder: str
) -> tuple[tuple[Golden, ...], Frames]:
    """Two good and two bad held-out frames from the middle of their label's scores [N], with each member's badness; and their payloads.

    `away` [N] is how far a scan is from being judged otherwise, negative where it is judged wrongly. Raises ExportError when there
    are not enough that are clear of that.
    """
    golden: list[Golden] = []
    frames: Frames = {}
    for label in ("good", "bad"):
        clear = [i for i in np.argsort(scores, kind="stable") if proof.labels[i] == label and away[i] >= 2 * MIN_TOLERANCE]
        for number, index in enumerate(_middle(_different(clear, proof), PER_LABEL), start=1):
            name = f"{folder}/golden-{label}-{number}.raw"
            members = tuple(float(values[index]) for values in badness)
            made, frames[name] = _record(
                name, label, float(scores[index]), proof.scans[index], scale, away=float(away[index]), members=members
            )
            golden.append(made)
        if sum(g.label == label for g in golden) < PER_LABEL:
            raise ExportError(
                f"{folder}: too few {label} held-out scans are clear of the threshold to serve as golden inputs",
                seen=f"{len(clear)} further than {2 * MIN_TOLERANCE:g} from it",
                remedy="Train the network further, or hold out more scans",
            )
    return tuple(golden), frames


def choose_router_golden(
    answers: NDArray[np.float32], proof: Prepared, classes: Sequence[str], confidence: float, scales: dict[str, Scale]
) -> tuple[tuple[Golden, ...], Frames]:
    """One frame per typology that the router names with confidence and room to spare. Raises ExportError when one has none."""
    golden: list[Golden] = []
    frames: Frames = {}
    for column, label in enumerate(classes):
        sure = answers[:, column].astype(np.float64)
        order = np.argsort(sure, kind="stable")
        clear = [i for i in order if proof.labels[i] == label and sure[i] >= confidence + 2 * MIN_TOLERANCE]
        if not clear:
            highest = max((sure[i] for i in order if proof.labels[i] == label), default=0.0)
            raise ExportError(
                f"the router names no held-out scan of {label} with confidence",
                seen=f"highest {highest:.4f}, wanted {confidence + 2 * MIN_TOLERANCE:g}",
                remedy="Train the router further, or lower router.confidence",
            )
        index = clear[len(clear) // 2]
        name = f"router/golden-{label}.raw"
        made, frames[name] = _record(
            name, label, float(sure[index]), proof.scans[index], scales[label], away=float(sure[index]) - confidence
        )
        golden.append(made)
    return tuple(golden), frames


def _record(
    name: str, label: str, score: float, scan: Scan, scale: Scale, *, away: float, members: tuple[float, ...] = ()
) -> tuple[Golden, bytes]:
    image, no_data = _finite(read_image(scan.path), scale.no_data)
    kinds = {"uint8": "u1", "uint16": "u2", "float32": "f4"}
    little_endian = image.astype(image.dtype.newbyteorder("<"), copy=False)
    golden = Golden(
        file=name,
        label=label,
        kind=kind_of(image),
        shape=(image.shape[0], image.shape[1]),
        dtype=kinds[image.dtype.name],  # type: ignore[arg-type]
        score=score,
        pitch_mm=scale.pitch_mm,
        z_scale_mm=scale.z_scale_mm,
        z_offset_mm=scale.z_offset_mm,
        no_data=no_data,
        tolerance=min(MAX_TOLERANCE, away / 2),
        members=members,
    )
    return golden, little_endian.tobytes()


def _finite(image: NDArray[Any], no_data: float) -> tuple[NDArray[Any], float]:
    """Missing points marked by a number: the manifest is JSON, which has no NaN."""
    if not math.isnan(no_data):
        return image, no_data
    return np.where(np.isnan(image), np.float32(MISSING), image), MISSING


def _different(indices: list[int], proof: Prepared) -> list[int]:
    """One index per content."""
    first: dict[bytes, int] = {}
    for index in indices:
        first.setdefault(proof.images[index].tobytes(), index)
    return list(first.values())


def _middle(indices: list[int], count: int) -> list[int]:
    """`count` entries spread around the middle of a sorted list."""
    places = np.linspace(0, len(indices) - 1, count + 2)[1:-1] if len(indices) > count else np.arange(len(indices))
    return [indices[int(round(place))] for place in places]  # noqa: RUF046 - numpy's round gives a float
