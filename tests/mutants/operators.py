"""Small changes to Python code, one at a time: each a mistake that somebody could make."""

import ast
import copy
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}
_SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
# Texts that carry a decision: DynamoDB's expressions, and what mutates them.
_EXPRESSION = re.compile(r"attribute_(not_)?exists\(|[<>=] ?:|\bSET |\bREMOVE |\bBETWEEN ")
_IN_EXPRESSIONS = [
    (r" AND (?!:last)", " OR "),
    (r" OR ", " AND "),
    (r"<=", "<"),
    (r">=", ">"),
    (r"<>", "="),
    (r" < ", " <= "),
    (r" > ", " >= "),
    (r"attribute_not_exists", "attribute_exists"),
    (r"attribute_exists", "attribute_not_exists"),
    (r" \+ (?=:)", " - "),
    (r" - (?=:)", " + "),
    (r", \w+ = :\w+", ""),
    (r"\w+ = :\w+, ", ""),
    (r" ?REMOVE [\w, ]+", ""),
    (r", \w+$", ""),
]
Node = TypeVar("Node", bound=ast.AST)
_TELLS = re.compile(r"(logger\.|tell\()")  # what only people read


@dataclass(frozen=True)
class Mutant:
    """One changed place of a module; `name` is unique, and stable while its function is."""

    name: str
    path: Path
    qualname: str  # empty: of the module
    lines: range
    comes_by: frozenset[int]  # lines where it takes effect; empty: anywhere
    make: Callable[[], ast.Module] = field(repr=False, compare=False)


def mutants(path: Path, title: str) -> list[Mutant]:
    """All mutants of a module's file, by the order of its lines; `title` begins their names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: list[Mutant] = []
    seen: Counter[str] = Counter()
    for place, qualname in _places(tree):
        node = place.node
        for changed, said in _changes(node):
            name = f"{title} {qualname or 'module'}: {said}"
            seen[name] += 1
            name += f" ({seen[name]})" if seen[name] > 1 else ""
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            comes_by = frozenset(lines) if qualname else _uses(tree, lines)
            make = partial(place.put, tree, changed)
            found.append(Mutant(name, path, qualname, lines, comes_by, make))
    return found


def _uses(tree: ast.Module, lines: range) -> frozenset[int]:
    """Where functions use the constant that is assigned here; none if the module itself does."""
    assigned = {
        name.id
        for statement in tree.body
        if isinstance(statement, ast.Assign) and statement.lineno <= lines.start
        if lines.start <= (statement.end_lineno or 0)
        for target in statement.targets
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    }
    used: set[int] = set()
    for statement in tree.body:
        uses = {
            node.lineno
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and node.id in assigned and isinstance(node.ctx, ast.Load)
        }
        if uses and not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            return frozenset()
        used |= uses
    return frozenset(used)


@dataclass(frozen=True)
class _Place:
    """Where a node is: in a field of its owner, or in a list there."""

    owner: ast.AST
    field: str
    index: int | None

    @property
    def node(self) -> Any:
        value = getattr(self.owner, self.field)
        return value if self.index is None else value[self.index]

    def put(self, tree: ast.Module, changed: ast.AST) -> ast.Module:
        """Put another node here. The tree is not copied: a process makes one mutant and ends."""
        if self.index is None:
            setattr(self.owner, self.field, changed)
        else:
            getattr(self.owner, self.field)[self.index] = changed
        return ast.fix_missing_locations(tree)


def _places(
    tree: ast.AST, qualname: str = "", *, inside: bool = False
) -> Iterator[tuple[_Place, str]]:
    """Every node that may be changed, and the function it is in, if any."""
    for name, value in ast.iter_fields(tree):
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST) or _is_left_alone(tree, name, node):
                continue
            within, scope = inside, qualname
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                scope = f"{qualname}.{node.name}".lstrip(".")
                within = isinstance(node, ast.FunctionDef)
            if (within or not scope) and hasattr(node, "lineno"):
                yield _Place(tree, name, index), scope
            yield from _places(node, scope, inside=within)


def _is_left_alone(owner: ast.AST, field: str, node: ast.AST) -> bool:
    if field in {"annotation", "returns", "decorator_list", "bases", "args"}:
        return not isinstance(owner, ast.Call)
    if isinstance(owner, ast.Module):
        return not isinstance(node, ast.Assign | ast.FunctionDef | ast.ClassDef)
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    return isinstance(node, ast.Expr) and bool(_TELLS.match(ast.unparse(node)))


def _changes(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """What may stand in a node's place, and how to say so."""
    if isinstance(node, ast.stmt):
        yield from _of_statement(node)
    elif isinstance(node, ast.ExceptHandler):
        caught = ast.unparse(node.type) if node.type else "all"
        yield _with(node, body=[ast.Raise()]), f"except {caught} -> raise"
    elif isinstance(node, ast.expr):
        before = ast.unparse(node)
        for after in _of_expression(node):
            yield after, _said(before, ast.unparse(after))
        if isinstance(node, ast.Call):
            for given, kept in zip(node.keywords, _one_less(node.keywords), strict=True):
                said = f"{ast.unparse(node.func)}(...) without {given.arg or '**'}"
                yield _with(node, keywords=kept), said


def _said(before: str, after: str) -> str:
    def short(text: str) -> str:
        text = " ".join(text.split())
        return text if len(text) <= 160 else f"{text[:100]} ... {text[-55:]}"

    return f"{short(before)} -> {short(after)}"


def _of_statement(node: ast.stmt) -> Iterator[tuple[ast.AST, str]]:
    text = ast.unparse(node).split("\n", maxsplit=1)[0]
    match node:
        case ast.Expr() | ast.Raise() | ast.AugAssign() | ast.Continue() | ast.Break():
            yield ast.Pass(), _said(text, "pass")
        case ast.Return(value=ast.expr() as given) if ast.unparse(given) not in {"None", "False"}:
            yield ast.Return(), _said(text, "return")
        case ast.If():
            for value in (True, False):
                yield _with(node, test=ast.Constant(value)), _said(text, f"if {value}:")
        case ast.Match(cases=cases):
            for place, case in enumerate(cases):
                left = cases[:place] + cases[place + 1 :]
                said = f"case {ast.unparse(case.pattern)} is left out"
                yield (_with(node, cases=left) if left else ast.Pass()), said
    body = getattr(node, "body", [])
    for first, (one, two) in enumerate(pairwise(body)):
        if _is_call(one) and _is_call(two):
            swapped = [*body[:first], two, one, *body[first + 2 :]]
            yield _with(node, body=swapped), f"{ast.unparse(two)} before {ast.unparse(one)}"


def _is_call(node: ast.stmt) -> bool:
    told = bool(_TELLS.match(ast.unparse(node)))
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and not told


def _of_expression(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(ops=[operator]):
            for other in _COMPARED[type(operator)]:
                yield _with(node, ops=[other()])
        case ast.BoolOp(op=op, values=values):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
            for kept in _one_less(values):
                yield _with(node, values=kept) if len(kept) > 1 else kept[0]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.IfExp(body=body, orelse=orelse):
            yield from (body, orelse)
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            yield from (left, right)
        case ast.BinOp(op=op) if other_op := _COMPUTED.get(type(op)):
            yield _with(node, op=other_op())
        case ast.Call():
            yield from _of_call(node)
        case _:
            yield from _of_value(node)


def _of_value(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(number) | float(number)):
            yield ast.Constant(number + 1)
            yield ast.Constant(number - 1)
        case ast.Constant(value=str(text)) if _EXPRESSION.search(text):
            yield from map(ast.Constant, _expressions(text))
        case ast.Dict(keys=keys, values=values) if "':" not in ast.unparse(node):
            for some, some_values in zip(_one_less(keys), _one_less(values), strict=True):
                yield _with(node, keys=some, values=some_values)
        case ast.Set(elts=elements) | ast.Tuple(elts=elements) if len(elements) > 1:
            for kept in _one_less(elements):
                yield _with(node, elts=kept)


def _one_less(some: Sequence[Any]) -> Iterator[list[Any]]:
    """The list without each of its members in turn."""
    for place in range(len(some)):
        yield [*some[:place], *some[place + 1 :]]


def _of_call(node: ast.Call) -> Iterator[ast.expr]:
    if isinstance(node.func, ast.Name) and node.func.id in _SWAPPED:
        yield _with(node, func=ast.Name(_SWAPPED[node.func.id], ast.Load()))
    if isinstance(node.func, ast.Attribute) and node.func.attr in {"ljust", "strip", "astimezone"}:
        yield node.func.value


def _expressions(text: str) -> Iterator[str]:
    made = {text}
    for pattern, new in _IN_EXPRESSIONS:
        for hit in re.finditer(pattern, text):
            changed = text[: hit.start()] + new + text[hit.end() :]
            if changed not in made:
                made.add(changed)
                yield changed


def _with(node: Node, **fields: object) -> Node:
    """A copy with other fields."""
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed
