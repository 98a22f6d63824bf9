"""The template's parameters, checked before anything starts, as CloudFormation does.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from cutout_cli.errors import BadParameters
from cutout_local.aws import template

TEMPLATE = Path(__file__).parents[1] / "template.yaml"


@cache
def _declared() -> Mapping[str, Any]:
    parameters: Mapping[str, Any] = template.read(TEMPLATE)["Parameters"]
    return parameters


def defaults() -> dict[str, str]:
    """The template's defaults by the names of the parameters."""
    return {name: str(declared["Default"]) for name, declared in _declared().items()}


def checked(arguments: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` arguments as a mapping. Raises `BadParameters`, which names every mistake."""
    if not arguments:
        return {}
    declared = _declared()
    wrong: list[str] = []
    parameters: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        parameters[name] = value
        if not equals:
            wrong.append(f"{argument!r} is not NAME=VALUE")
        elif name not in declared:
            wrong.append(_unknown(name, declared))
        else:
            wrong += (f"{name}={value}: {what}" for what in _mistakes(value, declared[name]))
    if wrong:
        raise BadParameters("; ".join(wrong))
    return parameters


def _unknown(name: str, declared: Mapping[str, Any]) -> str:
    by_lowercase = {known.lower(): known for known in declared}
    near = get_close_matches(name.lower(), by_lowercase, n=1, cutoff=0.5)
    hint = f"; did you mean {by_lowercase[near[0]]}?" if near else "; template.yaml lists them"
    return f"the template has no parameter {name}{hint}"


def _mistakes(value: str, declared: Mapping[str, Any]) -> Iterator[str]:
    allowed = [str(item) for item in declared.get("AllowedValues", [])]
    if allowed and value not in allowed:
        yield f"must be one of {', '.join(allowed)}"
    pattern = declared.get("AllowedPattern")
    if pattern and not re.fullmatch(pattern, value):
        yield declared.get("ConstraintDescription", f"must match {pattern}")
    if declared["Type"] == "Number":
        yield from _number_mistakes(value, declared)
    elif len(value) > declared.get("MaxLength", len(value)):
        yield f"must have at most {declared['MaxLength']} characters"


def _number_mistakes(value: str, declared: Mapping[str, Any]) -> Iterator[str]:
    if not re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)", value):
        yield "must be a number"
        return
    if float(value) < declared.get("MinValue", float("-inf")):
        yield f"must be at least {declared['MinValue']}"
    if float(value) > declared.get("MaxValue", float("inf")):
        yield f"must be at most {declared['MaxValue']}"
