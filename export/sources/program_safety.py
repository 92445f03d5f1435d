"""Whether a torch.export archive holds nothing but tensors and ATen operators, decided before PyTorch parses it.

PyTorch's reader is no barrier: it evaluates symbolic expressions, compiles guards and names into Python, resolves operators by
attribute access, and unpickles whatever the archive marks as pickled. So each of these is held to a narrow form first.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.errors import ExportError
from export.sources.state import read_weights_only

_NAME = re.compile(r"[\w.+\-: @]*")
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!__|from_file)\w+\.(?!__)\w+|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|getitem|eq|ne|ge|gt|le|lt)|"
    r"torch\.sym_(max|min|int|float|not)|math\.(ceil|floor|trunc)"
)
_EXPRESSION = re.compile(r"(?:[su]\d+|\d+|Symbol|Integer|Mul|Add|Pow|FloorDiv|Mod|Max|Min|True|False|positive|integer|[-+*/()=,<> '])*")
_UNREAD = frozenset({"metadata", "guards_code"})
"""Node metadata is never called, and the guards are not asked for."""
_TREES = frozenset({"in_spec", "out_spec"})


def require_only_tensors(path: Path) -> None:
    """Raises ExportError naming the part of the archive through which code could run, or that it is no archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                _require_member(path, name, archive)
    except (OSError, zipfile.BadZipFile, ValueError, RecursionError) as exc:
        raise ExportError(
            f"{path} is not a torch.export file", seen=exc, remedy="Save it with torch.export.save, or copy it again"
        ) from exc


def _require_member(path: Path, name: str, archive: zipfile.ZipFile) -> None:
    if name.endswith(".pt"):
        read_weights_only(archive.read(name), f"{path}: {name}")
    elif name.endswith(".json"):
        for key, found in _strings(json.loads(archive.read(name))):
            if not _is_harmless(key, found):
                raise _refusal(path, f"{name}: {key} {found[:80]!r}")
    elif name.endswith((".so", ".py", ".cpp", ".cubin", ".pkl")) or "custom_obj" in name or "opaque_obj" in name:
        raise _refusal(path, name)


def _is_harmless(key: str, found: str) -> bool:
    if key in _TREES:
        return all(_is_harmless("in_spec" if inner_key == "context" else "name", inner) for inner_key, inner in _strings(json.loads(found)))
    if key == "expr_str":
        return _EXPRESSION.fullmatch(found) is not None
    if key == "target":
        return _OPERATOR.fullmatch(found) is not None
    return key != "use_pickle" and _NAME.fullmatch(found) is not None


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string with the key it stands under, and the keys themselves; what is pickled counts as a string too."""
    if isinstance(value, dict):
        for inner, item in value.items():
            yield "name", inner
            if inner == "use_pickle" and item is not False:
                yield inner, repr(item)
            if inner not in _UNREAD:
                yield from _strings(item, inner)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, key)
    elif isinstance(value, str):
        yield key, value


def _refusal(path: Path, seen: str) -> ExportError:
    return ExportError(
        f"{path} holds more than tensors and ATen operators: loading it could execute code from the file",
        seen=seen,
        remedy="Give --trust-pickle if you made the file yourself, or export the network as ONNX",
    )
