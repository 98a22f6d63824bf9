"""Metric math as the template's alarms use it."""

import pytest

from cutout_local.aws.expressions import value
from tests.support.template import resources

RATE = "IF(failed > 4, 100 * failed / (failed + FILL(completed, 0)), 0)"


@pytest.mark.parametrize(
    ("expression", "metrics", "expected"),
    [
        (RATE, {"failed": 5.0, "completed": 15.0}, 25),
        (RATE, {"failed": 4.0, "completed": 0.0}, 0),
        (RATE, {"failed": 5.0, "completed": None}, 100),
        (RATE, {"failed": None, "completed": 9.0}, None),
        ("SUM(METRICS())", {"a": 1.0, "b": None, "c": 2.0}, 3),
        ("SUM(METRICS())", {"a": None, "b": None}, None),
        ("a / b - 1", {"a": 3.0, "b": 2.0}, 0.5),
        ("a + b", {"a": 3.0, "b": None}, None),
        ("IF(a <= b, a, b)", {"a": 3.0, "b": 2.0}, 2),
    ],
)
def test_an_expression_has_its_value(
    expression: str, metrics: dict[str, float | None], expected: float | None
) -> None:
    assert value(expression, metrics) == expected


@pytest.mark.parametrize("expression", ["RATE(a)", "b", "__import__('os')", "a.real", "'a'"])
def test_what_is_not_known_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="not known here"):
        value(expression, {"a": 1.0})


def test_every_expression_of_the_template_is_known() -> None:
    alarms = [
        alarm["Metrics"]
        for alarm in resources("AWS::CloudWatch::Alarm").values()
        if "Metrics" in alarm
    ]

    assert alarms
    for metrics in alarms:
        plain = [metric for metric in metrics if "Fn::If" not in metric]
        (result,) = [metric for metric in plain if "Expression" in metric]
        ids = {metric["Id"]: 1.0 for metric in plain if metric is not result}
        assert value(result["Expression"], ids) is not None
