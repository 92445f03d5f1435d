"""The mutations: cosmic-ray's operators, and two of our own for statements and exceptions; each as the new source of a module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator
from parso.python.tree import Keyword, Name

COMPARISONS = (
    "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt", "Is_IsNot", "IsNot_Is",
)  # fmt: skip
BINARY = (
    "Add_Sub", "Sub_Add", "Mul_FloorDiv", "Div_Mul", "FloorDiv_Mul", "Mod_FloorDiv",
    "BitAnd_BitOr", "BitOr_BitAnd", "BitXor_BitAnd", "LShift_RShift", "RShift_LShift",
)  # fmt: skip
UNARY = ("USub_UAdd", "Delete_Invert", "Delete_Not")
OTHERS = (
    "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak", "NumberReplacer", "RemoveDecorator", "ZeroIterationForLoop",
)  # fmt: skip
NAMES = (
    *(f"core/ReplaceComparisonOperator_{name}" for name in COMPARISONS),
    *(f"core/ReplaceBinaryOperator_{name}" for name in BINARY),
    *(f"core/ReplaceUnaryOperator_{name}" for name in UNARY),
    *(f"core/{name}" for name in OTHERS),
)
_KEPT = ("import_name", "import_from", "pass_stmt", "string", "global_stmt")


class RemoveStatement(Operator):  # type: ignore[misc] # cosmic-ray has no types
    """Puts `pass` in the place of a simple statement: a call, an assignment, a raise, a return."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """One for each simple statement that does something."""
        if (
            node.type == "simple_stmt"
            and node.children[0].type not in _KEPT
            and node.children[0].get_first_leaf().value not in ("pass", "__all__")
        ):
            yield (node.start_pos, node.end_pos)

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002 - there is one way
        """The statement, gone."""
        first = node.get_first_leaf()
        node.children[0] = Keyword("pass", first.start_pos, prefix=first.prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        """For cosmic-ray's own tests."""
        return (Example("f()\n", "pass\n"),)


class ReplaceException(Operator):  # type: ignore[misc] # cosmic-ray has no types
    """Catches another exception in the place of each one named; cosmic-ray's own cannot read dotted names."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """One for each exception an `except` names."""
        for name in self._names(node):
            yield (name.start_pos, name.end_pos)

    def mutate(self, node: Any, index: int) -> Any:
        """The clause, with an exception that nobody raises at this place."""
        old = self._names(node)[index]
        at = old.parent.children.index(old)
        old.parent.children[at] = Name("GeneratorExit", old.start_pos, prefix=old.get_first_leaf().prefix)
        return node

    @staticmethod
    def _names(node: Any) -> list[Any]:
        if node.type != "except_clause":
            return []
        named = node.children[1]
        if named.type != "atom":
            return [named]
        inside = named.children[1]
        return list(inside.children[::2]) if inside.type == "testlist_comp" else [inside]

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        """For cosmic-ray's own tests."""
        return (Example("try: f()\nexcept a.B: pass", "try: f()\nexcept GeneratorExit: pass"),)


class Mutant(NamedTuple):
    """One change: what the line was, what it is now, and the module's whole new source."""

    operator: str
    number: int
    """Line, counted from 1."""
    function: str
    """Name of the innermost function around it, `` at module level."""
    line: str
    becomes: str
    source: str


_OWN = (("RemoveStatement", RemoveStatement()), ("ReplaceException", ReplaceException()))


def mutants(source: str) -> Iterator[Mutant]:
    """Every change of this module that means something; changes of annotations and doc strings do not."""
    meaning = _meaning(source)
    seen: set[str] = set()
    for name, operator in [*((name.removeprefix("core/"), get_operator(name)()) for name in NAMES), *_OWN]:
        for occurrence in range(sum(len(list(operator.mutation_positions(node))) for node in ast_nodes(get_ast(source)))):
            changed = MutationVisitor.mutate_code(source, operator, occurrence)
            if changed is None or changed in seen:
                continue
            seen.add(changed)
            if _meaning(changed) != meaning:
                yield Mutant(name, *_difference(source, changed), changed)


def _meaning(source: str) -> str:
    """The module without what has no effect when it runs; a source that does not parse means itself."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return source
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Attribute):
            node.annotation = ast.Constant(0)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [part for part in body if not _idle(part)]
            while kept and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and ast.dump(kept[-1]) in _LAST:
                kept.pop()
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree)


_LAST = [ast.dump(ast.parse(text).body[0]) for text in ("pass", "return", "return None")]
"""At the end of a function these say what is so without them."""


def _function_at(source: str, number: int) -> str:
    around = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.lineno <= number <= (node.end_lineno or 0)
    ]
    return max(around, key=lambda node: node.lineno).name if around else ""


def _idle(node: ast.AST) -> bool:
    """A text, `pass`, imports for the type checker alone, or the type of an attribute that gets its value elsewhere."""
    if isinstance(node, ast.If):
        test = node.test.operand if isinstance(node.test, ast.UnaryOp) else node.test
        return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"
    if isinstance(node, ast.AnnAssign):
        return node.value is None and isinstance(node.target, ast.Attribute)
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


def _difference(source: str, changed: str) -> tuple[int, str, str, str]:
    before, after = source.splitlines(), changed.splitlines()
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)) - 1)
    return (
        at + 1,
        _function_at(source, at + 1),
        before[at].strip(),
        after[at].strip() if len(after) == len(before) else f"{after[at].strip()} (lines changed)",
    )
