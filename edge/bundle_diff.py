"""What changed from one bundle to another, in words; nothing to say exactly when the signed bytes are equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from edge.bundle import Bundle, Golden, Manifest, Member, RouterSpec, TypologySpec
from edge.bundle_certificate import NAME, read_certificate
from edge.inspector.heightmap.spec import HeightmapSpec

MOST_FIGURES = 24
"""Changed figures of the certificates that are shown one by one."""
MOST_CHARACTERS = 60
"""Of one value."""
_MISSING = "none"
_SHORT = 12
"""Digits of a SHA-256 that are shown."""
Figures = dict[str, Any]


def differences(first: Bundle, second: Bundle) -> tuple[str, ...]:
    """One line per change, from `first` to `second`; empty exactly when both are the same manifest under the same key."""
    before, after = first.manifest, second.manifest
    lines = [
        *_fields("bundle", {"name": before.name, "version": before.version}, {"name": after.name, "version": after.version}),
        *_fields("bundle", {"signed by": first.signed_by}, {"signed by": second.signed_by}),
        *_typologies(first, second),
        *_router(first, second),
        *_fields("provenance", before.provenance, after.provenance),
        *_certificates(first, second),
        *_other_files(first, second),
    ]
    if not lines and first.hash != second.hash:
        lines.append(f"manifests differ in order or layout only: {first.hash} -> {second.hash}")
    return tuple(lines)


def _typologies(first: Bundle, second: Bundle) -> Iterator[str]:
    before = {spec.name: spec for spec in first.manifest.typologies}
    after = {spec.name: spec for spec in second.manifest.typologies}
    yield from _added_and_removed("typology", before, after)
    for name, spec in before.items():
        if name in after:
            yield from _typology(spec, after[name], first, second)


def _typology(before: TypologySpec, after: TypologySpec, first: Bundle, second: Bundle) -> Iterator[str]:
    name = before.name
    yield from _fields(name, *({key: getattr(s, key) for key in ("threshold", "combine", "bad_label")} for s in (before, after)))
    yield from _heightmaps(name, before.heightmap, after.heightmap)
    members = {m.name: m for m in before.members}, {m.name: m for m in after.members}
    yield from _added_and_removed(f"{name}: member", *members)
    for member in before.members:
        if member.name in members[1]:
            yield from _member(name, member, members[1][member.name], first, second)
    yield from _golden(name, before.golden, after.golden, first, second)
    similar = [_digest(bundle, spec.similar) for bundle, spec in ((first, before), (second, after))]
    yield from _fields(name, {"known welds": similar[0]}, {"known welds": similar[1]})


def _router(first: Bundle, second: Bundle) -> Iterator[str]:
    before, after = first.manifest.router, second.manifest.router
    if before is None or after is None:
        if before is not after:
            yield f"router: {'added' if before is None else 'removed'}"
        return
    yield from _fields("router", {"confidence": before.confidence}, {"confidence": after.confidence})
    yield from _heightmaps("router", before.heightmap, after.heightmap)
    yield from _member("router", before.member, after.member, first, second)
    yield from _golden("router", before.golden, after.golden, first, second)


def _heightmaps(where: str, before: HeightmapSpec, after: HeightmapSpec) -> Iterator[str]:
    yield from _nested(f"{where}: heightmap", "", msgspec.to_builtins(before), msgspec.to_builtins(after))


def _member(where: str, before: Member, after: Member, first: Bundle, second: Bundle) -> Iterator[str]:
    label = f"{where}: member {before.name}"
    yield from _fields(label, *(msgspec.to_builtins(member) for member in (before, after)))
    yield from _fields(label, {"network": _digest(first, before.file)}, {"network": _digest(second, after.file)})


def _golden(where: str, before: Sequence[Golden], after: Sequence[Golden], first: Bundle, second: Bundle) -> Iterator[str]:
    pair = {one.file: one for one in before}, {one.file: one for one in after}
    yield from _added_and_removed(f"{where}: golden input", *pair)
    for name in pair[0]:
        if name in pair[1]:
            label = f"{where}: golden input {name}"
            yield from _fields(label, *(msgspec.to_builtins(side[name]) for side in pair))
            yield from _fields(label, {"frame": _digest(first, name)}, {"frame": _digest(second, name)})


def _certificates(first: Bundle, second: Bundle) -> Iterator[str]:
    lines = list(_nested("certificate", "", _own_figures(first), _own_figures(second)))
    if not lines and _digest(first, NAME) != _digest(second, NAME):
        lines.append(f"certificate: other bytes, {_change(_digest(first, NAME), _digest(second, NAME))}")
    yield from lines[:MOST_FIGURES]
    if len(lines) > MOST_FIGURES:
        yield f"certificate: {len(lines) - MOST_FIGURES} more figures changed; `cordon bundle show --json` gives them all"


def _own_figures(bundle: Bundle) -> Figures:
    """The certificate less what it repeats from the manifest."""
    manifest = bundle.manifest
    repeated = {"name": manifest.name, "version": manifest.version, "tools": manifest.provenance}
    return {key: value for key, value in read_certificate(bundle).items() if key not in repeated or repeated[key] != value}


def _other_files(first: Bundle, second: Bundle) -> Iterator[str]:
    told = _told(first.manifest) | _told(second.manifest)
    files = [{entry.name: entry.sha256 for entry in b.manifest.files if entry.name not in told} for b in (first, second)]
    yield from _added_and_removed("file", *files)
    for name, digest in files[0].items():
        if files[1].get(name, digest) != digest:
            yield f"file {name}: {_change(digest, files[1][name])}"


def _told(manifest: Manifest) -> set[str]:
    """Files whose changes are told where they belong."""
    parts: list[TypologySpec | RouterSpec] = [*manifest.typologies, *([manifest.router] if manifest.router else [])]
    told = {golden.file for part in parts for golden in part.golden} | {NAME}
    for part in parts:
        members = (part.member,) if isinstance(part, RouterSpec) else part.members
        told |= {member.file for member in members}
    return told | {spec.similar for spec in manifest.typologies if spec.similar is not None}


def _added_and_removed(what: str, before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    yield from (f"{what} {name} removed" for name in before if name not in after)
    yield from (f"{what} {name} added" for name in after if name not in before)


def _fields(where: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key, _MISSING), after.get(key, _MISSING)
        if old != new:
            yield f"{where}: {key} {_change(old, new)}"


def _nested(where: str, path: str, before: object, after: object) -> Iterator[str]:
    """Changes inside JSON by dotted paths; a part that is there on one side only is told as one."""
    old, new = _parts(before), _parts(after)
    if old is None or new is None:
        if before != after:
            yield f"{where}: {path} {_change(before, after)}"
        return
    for key in dict.fromkeys((*old, *new)):
        inside = f"{path}.{key}" if path else key
        if key in old and key in new:
            yield from _nested(where, inside, old[key], new[key])
        else:
            yield f"{where}: {inside} {'removed' if key in old else 'added'}"


def _parts(node: object) -> Figures | None:
    """What lies inside; parts of a list that all have names go by them, other lists are one value."""
    if isinstance(node, list) and node and all(isinstance(part, dict) and isinstance(part.get("name"), str) for part in node):
        named = {part["name"]: part for part in node}
        return named if len(named) == len(node) else None
    return node if isinstance(node, dict) else None


def _change(old: object, new: object) -> str:
    """Both values, as short as they can be told apart."""
    pair = _shown(old), _shown(new)
    if pair[0] == pair[1] and not isinstance(old, list | tuple):
        pair = repr(old), repr(new)
    return f"{pair[0]} -> {pair[1]}"


def _shown(value: object) -> str:
    if value is None:
        return _MISSING
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        text = ", ".join(map(_shown, value))
        return f"[{text}]" if len(text) <= MOST_CHARACTERS else f"{len(value)} values"
    text = str(value)
    if len(text) == 64 and all(digit in "0123456789abcdef" for digit in text):
        return text[:_SHORT]
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}..."


def _digest(bundle: Bundle, name: str | None) -> str | None:
    return next((entry.sha256 for entry in bundle.manifest.files if entry.name == name), None)
