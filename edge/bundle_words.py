"""A bundle explained to an operator: who signed it, how every typology is judged, and what was proved before it was signed."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from edge.bundle import Bundle, Golden, Member, RouterSpec, TypologySpec
from edge.bundle_certificate import (
    calibration_words,
    held_out_words,
    named,
    networks,
    read_certificate,
    router_words,
    source_words,
)
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, Rasterise

WIDTH = 12
"""Columns of the words on the left."""
LONGEST = 106
"""Columns of what stands beside them."""
RESIZING = {
    "letterbox": "scaled as a whole to fit {size}, centred, zeros around; no data never mixes with heights",
    "fastai-pad": "scaled as a whole to fit {size}, zeros around, as fastai's Resize with ResizeMethod.Pad",
    "fastai-squish": "stretched to {size}, as fastai's Resize with ResizeMethod.Squish",
    "fastai-crop": "scaled to cover {size} and cropped, as fastai's Resize with ResizeMethod.Crop",
}


def explain(bundle: Bundle) -> Iterator[str]:
    """The lines of `cordon bundle show`."""
    manifest, certificate = bundle.manifest, read_certificate(bundle)
    yield from identity(bundle)
    for spec in manifest.typologies:
        yield ""
        yield from _typology(spec, named(certificate, spec.name), bundle)
    yield ""
    yield from _router(manifest.router, certificate.get("router"), bundle)
    yield ""
    tools = ", ".join(f"{tool} {version}" for tool, version in sorted(manifest.provenance.items()))
    yield from _block("made with", [tools] if tools else ["not said"])
    code = certificate.get("code_sha256")
    yield from _block("code", [f"sha256 {code}"] if isinstance(code, str) else [])
    yield from _block("files", [f"{entry.size:>12,}  {entry.name}" for entry in manifest.files])


def identity(bundle: Bundle) -> Iterator[str]:
    """Which bundle this is, and whose."""
    yield f"genuine: {bundle.manifest.name} version {bundle.manifest.version}"
    yield f"hash   {bundle.hash}"
    yield f"key    {bundle.signed_by}"


def as_json(bundle: Bundle) -> bytes:
    """Everything `explain` draws from, as one JSON object."""
    content = {
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "hash": bundle.hash,
        "signed_by": bundle.signed_by,
        "manifest": bundle.manifest,
        "certificate": read_certificate(bundle),
    }
    return msgspec.json.encode(content)


def _typology(spec: TypologySpec, part: dict[str, Any], bundle: Bundle) -> Iterator[str]:
    yield f"{spec.name}: {threshold_words(spec)}"
    yield from _block("frames", list(heightmap_words(spec.heightmap)))
    yield from _block("score", [combine_words(spec)])
    records = networks(part)
    yield from _block("members", [_member(member, records.get(member.name, {}), spec, bundle) for member in spec.members])
    yield from _block("golden", [_golden(spec.golden)])
    yield from _block("held out", list(held_out_words(part)) or ["not said"])
    yield from _block("calibrated", list(calibration_words(part)))
    yield from _block("source", list(source_words(part)))
    if spec.similar is not None and spec.embedder is not None:
        yield from _block("similar", [f"known welds by the features of {spec.embedder.name}, for `cordon bundle similar`"])


def _router(spec: RouterSpec | None, part: Any, bundle: Bundle) -> Iterator[str]:
    if spec is None:
        yield "router: none, so frames must name their typology or the robot must"
        return
    part = part if isinstance(part, dict) else {}
    yield f"router: names {', '.join(spec.member.classes)} with a probability of at least {spec.confidence:g}, else none"
    yield from _block("frames", list(heightmap_words(spec.heightmap)))
    yield from _block("network", [_network(spec.member, networks(part).get(spec.member.name, {}), bundle)])
    yield from _block("golden", [_golden(spec.golden)])
    yield from _block("held out", list(router_words(part)))
    yield from _block("calibrated", list(calibration_words(part)))
    yield from _block("source", list(source_words(part)))


def threshold_words(spec: TypologySpec) -> str:
    """What the threshold means."""
    if spec.combine == "vote" and len(spec.members) > 1:
        return "good unless most members vote bad (score above 0.5); a tie goes by the mean of badness minus threshold"
    return f"good when the score is at most {spec.threshold:.6g}"


def combine_words(spec: TypologySpec) -> str:
    """How the members' answers become one score."""
    if len(spec.members) == 1 and spec.combine != "vote":
        return f"probability of {spec.bad_label}, 0 to 1"
    return {
        "mean": f"mean of the members' probabilities of {spec.bad_label}",
        "weighted": f"mean of the members' probabilities of {spec.bad_label}, by their weights",
        "vote": f"share of the members that vote {spec.bad_label}, each above its own threshold",
    }[spec.combine]


def heightmap_words(spec: HeightmapSpec) -> Iterator[str]:
    """How a frame becomes what the networks see, step by step."""
    if spec.rasterise is not None:
        yield _rasterise_words(spec.rasterise)
    if spec.outliers is not None:
        side = spec.outliers.window
        yield f"points further than {spec.outliers.limit_mm:g} mm from the median of their {side} x {side} neighbourhood are dropped"
    if spec.plane is not None:
        near, tries = spec.plane.inlier_mm, spec.plane.iterations
        yield f"the sheet's plane is fitted (points within {near:g} mm of it, {tries} candidates) and subtracted"
    if isinstance(spec.window, MillimetreWindow):
        low, high = spec.window.low_mm, spec.window.high_mm
        yield f"heights from {low:g} to {high:g} mm become gray 1 to 255, clipped; 8-bit frames stay as they are"
    else:
        low, high = spec.window.low, spec.window.high
        yield f"each frame's own percentiles {low:g} and {high:g} become gray 1 and 255, clipped; in 8-bit frames too"
    yield RESIZING[spec.resize].format(size=f"{spec.height} x {spec.width} pixels")


def _rasterise_words(grid: Rasterise) -> str:
    (rows, cols), (pitch_x, pitch_y) = grid.shape, grid.pitch_mm
    where = f"x from {grid.x_mm[0]:g} to {grid.x_mm[1]:g} mm, y from {grid.y_mm[0]:g} to {grid.y_mm[1]:g} mm"
    gaps = f"gaps of up to {grid.max_gap} cells are filled" if grid.max_gap else "gaps stay"
    return (
        f"point clouds fall into {rows} x {cols} cells of {pitch_x:g} x {pitch_y:g} mm ({where}), the highest point of each counts, {gaps}"
    )


def _member(member: Member, record: dict[str, Any], spec: TypologySpec, bundle: Bundle) -> str:
    text = _network(member, record, bundle)
    if spec.combine == "weighted":
        text += f", weight {member.weight:g} of {sum(m.weight for m in spec.members):g}"
    if member.map is not None:
        text += f", gives a map of {member.map.shape[0]} x {member.map.shape[1]} cells"
    if spec.combine == "vote" and member.threshold is not None:
        text += f", votes {spec.bad_label} above {member.threshold:.6g}"
    return text


def _network(member: Member, record: dict[str, Any], bundle: Bundle) -> str:
    precision, method, kept = record.get("precision"), record.get("method"), record.get("float_layers")
    text = f"{member.name}: {member.architecture}, {member.kind}"
    text += f", {precision}" if isinstance(precision, str) else ""
    text += f" ({len(kept)} layers in float)" if isinstance(kept, list) and kept else ""
    text += f", calibrated by {method}" if isinstance(method, str) and precision != "fp16" else ""
    return f"{text}, {len(bundle.files[member.file]):,} bytes"


def _golden(golden: Sequence[Golden]) -> str:
    counts = ", ".join(f"{count} {label}" for label, count in sorted(Counter(one.label for one in golden).items()))
    return f"{counts}; the box repeats them before it is READY, within {max(one.tolerance for one in golden):.3g}"


def _block(word: str, lines: Sequence[str]) -> Iterator[str]:
    wrapped = [part for line in lines for part in textwrap.wrap(line, LONGEST, subsequent_indent="  ", break_on_hyphens=False)]
    for index, line in enumerate(wrapped):
        yield f"  {word if index == 0 else '':<{WIDTH}}{line}"
