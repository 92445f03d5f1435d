"""The commented example of the configuration, made of the tables' own definitions: no key can be missing and no default be wrong."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from edge.config.checks import collecting, number
from edge.config.keys import Key, Table, tables
from edge.config.mistakes import placeholder
from edge.config.toml_text import toml_value

WIDTH = 118
HEAD = """\
# Cordon's one configuration file with every key there is, made by `cordon config example`. On a box `sudo cordon setup` writes a short one.
# By hand: copy this to /etc/cordon/cordon.toml (root:cordon, mode 0640), fill in what is marked <-, then: cordon config check
# A line that begins with # and a key is that key's default; with <- its value is made up. Take the # away to give another value.
# Two such signs (##) mark what takes the place of something else here, and cannot stand beside it."""
EXAMPLES: Mapping[str, object] = {
    "gate.port": "/dev/robot",
    "gate.records": "/var/lib/cordon/records.db",
    "gate.socket": "/run/cordon/gate.sock",
    "gate.recipes": "/etc/cordon/recipe.toml",
    "gate.challenge.part": (
        {"name": "CHALLENGE-BAD", "weld": "W1", "expect": "bad"},
        {"name": "CHALLENGE-GOOD", "weld": "W1", "expect": "good"},
    ),
    "inspector.trusted_keys": ("0" * 64,),
    "inspector.bundle": "/var/lib/cordon/line.cordon",
    "inspector.camera.name": "cam0",
    "inspector.camera.endpoint": "tcp://192.168.1.20:5555",
    "inspector.gpu.engines": "/var/lib/cordon/engines",
    "inspector.gpu.box_keys": ("0" * 64,),
    "inspector.gpu.cache": "/var/cache/cordon/rtx",
    "inspector.archive.folder": "/var/lib/cordon/images",
    "inspector.curve.key": "/etc/cordon/keys/box.curve",
    "metrics.textfile": "/var/lib/prometheus/node-exporter/cordon.prom",
}
"""Values for keys without a default; several tables where one would not do."""
USUAL = ("/dev/robot", "/var/lib/cordon/records.db", "/run/cordon/gate.sock")
"""Examples that are right on most boxes and need not be filled in."""
ALTERNATIVES = frozenset({"inspector.bundle"})
"""Keys that exclude a table which the example has."""
DEPENDENT = frozenset({"gate.margin_ms"})
"""Keys whose range depends on another key; their description says how."""
GIVEN = frozenset({"inspector.bundles"})
"""Tables that may be absent and are in the example all the same."""


def example(*, whole: bool = False) -> str:
    """The file as text; `whole`: with every key in force, for reading only (it holds what excludes each other)."""
    return "\n\n".join([HEAD] * (not whole) + [block for table in tables() for block in _blocks(table, whole=whole)]) + "\n"


def _blocks(table: Table, *, whole: bool) -> Iterator[str]:
    off = "" if whole or not _absent(table.path) else "#"
    header = f"[[{table.path}]]" if table.many else f"[{table.path}]"
    about = f"{table.text[:1].upper()}{table.text[1:]}"
    entries: Any = EXAMPLES.get(table.path, ({},)) if table.many else ({},)
    limits = ranges(table)
    for place, entry in enumerate(entries):
        lines = [*_comment(about), f"{off}{header}"] if place == 0 else [f"{off}{header}"]
        for key in table.keys:
            lines += _lines(table, key, limits, entry, off=off, whole=whole, first=place == 0)
        yield "\n".join(lines)


def _lines(
    table: Table, key: Key, limits: Mapping[str, str], entry: Mapping[str, object], *, off: str, whole: bool, first: bool
) -> Iterator[str]:
    path = f"{table.path}.{key.name}"
    known = key.default is not None
    value = entry.get(key.name, key.default if known else EXAMPLES.get(path))
    if first:
        yield from _comment(described(key, limits.get(key.name, "")))
    off = "" if whole else "##" if path in ALTERNATIVES else off or ("" if key.required else "#")
    mark = "" if whole or known or value in USUAL or key.name in entry else "  # <-"
    yield f"{off}{key.name} = {toml_value(value)}{mark}"


def _absent(path: str) -> bool:
    """Is this table, or one that it lies in, left out of the example?"""
    return any(table.optional and table.path not in GIVEN and f"{path}.".startswith(f"{table.path}.") for table in tables())


def described(key: Key, limits: str) -> str:
    """What a key means and takes, in one paragraph; `limits` as `ranges` gives them."""
    takes = f"{key.takes[:1].upper()}{key.takes[1:]}." if key.takes.startswith("one of") else f"From {limits}." if limits else ""
    return f"{key.text} {takes}".strip()


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, WIDTH))


def ranges(table: Table) -> dict[str, str]:
    """`5 to 60000` for each number that has bounds of its own: asked of the table's checks, with a value that is in no range."""
    required = {field.name: placeholder(field.type) for field in msgspec.structs.fields(table.kind) if field.required}
    found: dict[str, str] = {}
    for key in table.keys:
        path = f"{table.path}.{key.name}"
        if "number" not in key.takes or path in DEPENDENT:
            continue
        with collecting() as refusals:
            table.kind(**{**required, key.name: float("nan")})
        for refusal in refusals:
            if refusal.key == path and refusal.low is not None and refusal.high is not None:
                found[key.name] = f"{number(refusal.low)} to {number(refusal.high)}"
    return found
