"""CloudWatch's metric math, as far as alarms of templates here use it.

Arithmetic and comparisons, FILL with a number, IF, and SUM(METRICS()), of one datapoint a metric.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

import ast
import operator
from collections.abc import Callable, Mapping

Values = Mapping[str, float | None]

_OPERATORS: dict[type[ast.operator | ast.cmpop], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
}


def value(expression: str, metrics: Values) -> float | None:
    """The result for metrics by their ids; None stands for a missing datapoint.

    Raises `ValueError` for what is not known here.
    """
    return _value(ast.parse(expression, mode="eval").body, metrics)


def _value(node: ast.expr, metrics: Values) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in metrics:
            return metrics[name]
        case ast.BinOp(left=left, op=operation, right=right):
            return _calculated(operation, left, right, metrics)
        case ast.Compare(left=left, ops=[operation], comparators=[right]):
            return _calculated(operation, left, right, metrics)
        case ast.Call(func=ast.Name(id="FILL"), args=[metric, default]):
            found = _value(metric, metrics)
            return _value(default, metrics) if found is None else found
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            holds = _value(condition, metrics)
            return None if holds is None else _value(then if holds else otherwise, metrics)
        case ast.Call(func=ast.Name(id="SUM"), args=[ast.Call(func=ast.Name(id="METRICS"))]):
            known = [found for found in metrics.values() if found is not None]
            return sum(known) if known else None
    raise ValueError(f"metric math that is not known here: {ast.unparse(node)}")


def _calculated(
    operation: ast.operator | ast.cmpop, left: ast.expr, right: ast.expr, metrics: Values
) -> float | None:
    """Where a datapoint is missing on one side, there is no result."""
    one, other = _value(left, metrics), _value(right, metrics)
    if one is None or other is None:
        return None
    return float(_OPERATORS[type(operation)](one, other))
