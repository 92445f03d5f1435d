"""A static check: nothing on the box forks, and nothing starts processes in a way that forks without exec (E13)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import edge
from faults.registry import Effort, Result, injects

FORBIDDEN_NAMES = {"fork", "forkpty", "register_at_fork", "vfork", "daemonize"}
FORBIDDEN_MODULES = {"multiprocessing", "pty", "billiard", "loky", "joblib"}
FORBIDDEN_CLASSES = {"ProcessPoolExecutor"}


def forks_in(source: str, name: str) -> list[str]:
    """Every place of a module's source that forks, or could: `os.fork`, multiprocessing, process pools, `preexec_fn`."""
    return [f"{name}:{node.lineno}: {what}" for node, what in _suspicious(ast.parse(source))]


def _suspicious(tree: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt | ast.keyword, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_NAMES | FORBIDDEN_CLASSES:
            yield node, node.attr
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((node, found) for found in _imported(node))
        elif isinstance(node, ast.keyword) and node.arg == "preexec_fn":
            yield node, "preexec_fn"


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    names = [alias.name for alias in node.names]
    modules = names if isinstance(node, ast.Import) else [node.module or ""]
    found = [module for module in modules if module.split(".")[0] in FORBIDDEN_MODULES]
    return found + [name for name in names if name in FORBIDDEN_NAMES | FORBIDDEN_CLASSES]


def modules() -> dict[str, str]:
    """Source of every module that runs on the box."""
    root = Path(edge.__file__).parent
    return {str(path.relative_to(root.parent)): path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py"))}


@injects("E13", test="tests/faults/test_cell_forks.py")
def no_forks(_effort: Effort) -> Result:
    """Read every module of edge/."""
    sources = modules()
    found = [place for name, source in sources.items() for place in forks_in(source, name)]
    return Result(injections=len(sources), failures=tuple(found), note=f"{len(sources)} modules read")
