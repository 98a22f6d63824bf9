from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cutout_local.aws.expressions import ExpressionFailed, declare, evaluate
from cutout_local.aws.state_machines import substituted

AWKWARD = 'a "b" \\ \n\t\x00 / \' ` $x {% %} ü \u2028 \U0001f600'


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$partition([1, 2, 3], 2)", [[1, 2], [3]]),
        ("$range(0, 10, 5)", [0, 5, 10]),
        ("$range(3, 1, -1)", [3, 2, 1]),
        ('$parse("{\\"a\\": [1, null]}").a', [1, None]),
        ('$exists($parse("null"))', True),
        ('$length($hash("abc", "SHA-384"))', 96),
        ("$random(7) = $random(7)", True),
        ("$length($uuid())", 36),
        ("$uuid() = $uuid()", False),
        ('$toMillis("1970-01-01T00:00:01.500Z")', 1500),
        ("$states.nothing", None),
    ],
)
def test_the_functions_that_aws_adds_to_jsonata(expression: str, value: Any) -> None:
    assert evaluate(expression) == value


def test_a_hash_is_the_algorithm_s_own() -> None:
    assert evaluate('$hash("abc", "SHA-1")') == "a9993e364706816aba3e25717850c26c9cd0d89d"


@pytest.mark.parametrize(
    "expression", ["1 +", '$parse("{")', '$hash("a", "CRC")', "$range(1, 2, 0)", '1 + "a"']
)
def test_an_expression_that_makes_no_sense_fails(expression: str) -> None:
    with pytest.raises(ExpressionFailed):
        evaluate(expression)


@pytest.mark.parametrize(
    "value",
    [AWKWARD, {AWKWARD: [AWKWARD]}, None, [], [[1]], {}, {"a": None}, 0, -1.5, True, ""],
)
def test_a_variable_keeps_its_value(value: Any) -> None:
    assert evaluate(f"({declare({'$v': value})} $v)") == value


def test_a_time_is_written_as_step_functions_writes_it() -> None:
    moment = dt.datetime(2026, 1, 2, 4, 4, 5, 678901, dt.timezone(dt.timedelta(hours=1)))
    assert evaluate(f"({declare({'$t': {'at': moment}})} $t.at)") == "2026-01-02T03:04:05.678Z"


def test_substitutions_fill_names_in_and_leave_the_rest() -> None:
    text = "${Arn} ${Unknown} {% $x %} $1_$2"
    assert substituted(text, {"Arn": "arn:x"}) == "arn:x ${Unknown} {% $x %} $1_$2"
