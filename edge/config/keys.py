"""Every key of the configuration with its table, default and description, as the modules of this package define them."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from edge.config.hints import entry_of, struct_in, wanted
from edge.config.load import Config


class Key(NamedTuple):
    """One key. `default` is None both for keys that must be given (`required`) and for those that are absent unless given."""

    name: str
    kind: Any
    required: bool
    default: object
    text: str
    """What the key means, in one paragraph."""
    takes: str
    """Which values it takes, in words."""


class Table(NamedTuple):
    """One table. `path` is dotted, `many`: there may be several of it, in double brackets; `optional`: it may be absent."""

    path: str
    kind: type[msgspec.Struct]
    many: bool
    optional: bool
    text: str
    keys: tuple[Key, ...]


@cache
def tables() -> tuple[Table, ...]:
    """Every table of the file with keys of its own, parents first; plain keys and tables below apart."""
    return tuple(_below(Config, "", many=False, optional=False))


def _below(kind: type[msgspec.Struct], path: str, *, many: bool, optional: bool) -> Iterator[Table]:
    told, own, inner = descriptions(kind), [], []
    for field in msgspec.structs.fields(kind):
        entry = entry_of(field.type)
        table = struct_in(field.type) or (struct_in(entry) if entry is not None else None)
        if table is not None:
            where = f"{path}.{field.encode_name}" if path else field.encode_name
            inner.append((table, where, entry is not None, not field.required and field.default is None))
        else:
            own.append(_key(field, told.get(field.name, "")))
    if path:
        yield Table(path, kind, many, optional, class_text(kind), tuple(own))
    for table, where, several, absent in inner:
        yield from _below(table, where, many=several, optional=absent)


def _key(field: msgspec.structs.FieldInfo, text: str) -> Key:
    default = None if field.default is msgspec.NODEFAULT else field.default
    return Key(field.encode_name, field.type, field.required, default, text, wanted(field.type))


@cache
def descriptions(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Attribute docstrings, which Python itself forgets: read from the source, so that nobody writes them twice."""
    found: dict[str, str] = {}
    body = _definition(kind).body
    for line, after in pairwise(body):
        documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and documented:
            found[line.target.id] = _flat(after.value.value)  # type: ignore[attr-defined]
    return found


def class_text(kind: type[msgspec.Struct]) -> str:
    """What a table is for, without the name of the table that its docstring begins with."""
    text = _flat(ast.get_docstring(_definition(kind)) or "")
    head, colon, rest = text.partition("`: ")
    return rest if colon and head.startswith("`[") else text


def _definition(kind: type[msgspec.Struct]) -> ast.ClassDef:
    tree = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)


def _flat(text: str) -> str:
    return " ".join(text.split())
