"""Alarms and the dashboard read metrics that the code or AWS emits."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from cutout import observability
from cutout.domain import errors
from cutout.domain.tasks import Status
from tests.support.factories import make_task
from tests.support.template import ROOT, template

RESOURCES: dict[str, dict[str, Any]] = template()["Resources"]
ALARMS = {
    name: resource["Properties"]
    for name, resource in RESOURCES.items()
    if resource["Type"] == "AWS::CloudWatch::Alarm"
}


class Metric(NamedTuple):
    """As CloudWatch tells metrics apart: another set of dimensions is another metric."""

    namespace: str
    name: str
    dimensions: frozenset[str]


def _of_aws(namespace: str, dimension: str, *names: str) -> set[Metric]:
    return {Metric(namespace, name, frozenset({dimension})) for name in names}


AWS = (
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    _of_aws(
        "AWS/SQS",
        "QueueName",
        "ApproximateAgeOfOldestMessage",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesVisible",
    )
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    # https://docs.aws.amazon.com/lambda/latest/dg/urls-monitoring.html
    | _of_aws(
        "AWS/Lambda",
        "FunctionName",
        "Errors",
        "Invocations",
        "RecursiveInvocationsDropped",
        "Throttles",
        "Url4xxCount",
        "Url5xxCount",
    )
    # https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
    | _of_aws(
        "AWS/States",
        "StateMachineArn",
        "ExecutionThrottled",
        "ExecutionsAborted",
        "ExecutionsFailed",
        "ExecutionsStarted",
        "ExecutionsSucceeded",
        "ExecutionsTimedOut",
    )
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
    | _of_aws("AWS/DynamoDB", "TableName", "ReadThrottleEvents", "WriteThrottleEvents")
)


@pytest.fixture
def emitted(capsys: pytest.CaptureFixture[str]) -> set[Metric]:
    """What CloudWatch makes of what the code writes to its log."""
    for status in Status:
        observability.count_task(status)
    observability.count_wait("any")
    observability.count_woken("any", 1)
    observability.count_recovered(1)
    observability.count_findings("any", 1)
    observability.count_stuck(1)
    observability.measure_open(Status.QUEUED, 1)
    observability.measure_oldest(1)
    observability.measure_balance(Decimal(1))
    observability.count_reused()
    now = datetime.now(UTC)
    observability.measure_completed(make_task(created_at=now, entered_at={Status.COMPLETED: now}))
    directives = [
        directive
        for line in capsys.readouterr().out.splitlines()
        for directive in json.loads(line)["_aws"]["CloudWatchMetrics"]
    ]
    return {
        Metric(directive["Namespace"], metric["Name"], frozenset(names))
        for directive in directives
        for names in directive["Dimensions"]
        for metric in directive["Metrics"]
    }


def chosen(items: list[Any]) -> Iterator[dict[str, Any]]:
    """The items of a list with those that a condition leaves out."""
    for item in items:
        yield item["Fn::If"][1] if "Fn::If" in item else item


def read(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics that an alarm reads, directly or in its expression."""
    if "Metrics" not in alarm:
        return [alarm]
    queries = list(chosen(alarm["Metrics"]))
    return [query["MetricStat"]["Metric"] for query in queries if "MetricStat" in query]


def metric(properties: dict[str, Any]) -> Metric:
    names = frozenset(dimension["Name"] for dimension in properties["Dimensions"])
    return Metric(properties["Namespace"], properties["MetricName"], names)


def widgets() -> list[dict[str, Any]]:
    body = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"][0]
    parsed = json.loads(re.sub(r"\$\{[^}]+\}", "0", body))
    return [widget["properties"] for widget in parsed["widgets"]]


def shown(widget: dict[str, Any]) -> Iterator[Metric]:
    """The metrics of a widget, with its abbreviations written out.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
    """
    before: list[str] = []
    for row in widget["metrics"]:
        words = [word for word in row if isinstance(word, str)]
        if not words:
            continue  # an expression
        if words[0] == "...":  # all but the last as before
            words = before[: len(before) - len(words) + 1] + words[1:]
        before = [before[i] if word == "." else word for i, word in enumerate(words)]
        yield Metric(before[0], before[1], frozenset(before[2::2]))


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_reads_metrics_that_are_emitted(name: str, emitted: set[Metric]) -> None:
    assert {metric(properties) for properties in read(ALARMS[name])} <= emitted | AWS


def test_a_widget_shows_metrics_that_are_emitted(emitted: set[Metric]) -> None:
    assert {found for widget in widgets() for found in shown(widget)} <= emitted | AWS


def test_a_widget_searches_by_the_dimensions_of_a_metric_that_is_emitted(
    emitted: set[Metric],
) -> None:
    body = json.dumps(widgets())
    searched = [found.split(",") for found in re.findall(r"SEARCH\('\{([^}]+)\}", body)]

    assert len(searched) == 2
    assert {(each.namespace, each.dimensions) for each in emitted} >= {
        (namespace, frozenset(dimensions)) for namespace, *dimensions in searched
    }


def test_an_alarm_on_waits_names_codes_that_wait() -> None:
    codes = {wait("").code for wait in errors.NotNow.__subclasses__()}
    named = {
        dimension["Value"]
        for alarm in ALARMS.values()
        for properties in read(alarm)
        for dimension in properties["Dimensions"]
        if dimension["Name"] == "code"
    }

    assert named
    assert named <= codes


def test_an_expression_uses_what_its_alarm_reads() -> None:
    for name, alarm in ALARMS.items():
        queries = list(chosen(alarm.get("Metrics", [])))
        expressions = [query["Expression"] for query in queries if "Expression" in query]
        ids = {query["Id"] for query in queries if "MetricStat" in query}
        for expression in expressions:
            used = set(re.findall(r"\b[a-z]+\b", expression))
            assert used == ids or "METRICS()" in expression, name


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_tells_somebody_and_only_the_clocks_rings_without_data(name: str) -> None:
    told = json.dumps(ALARMS[name]["AlarmActions"])

    assert "AlarmTopicArn" in told
    assert '"AlarmTopic"' in told
    silence = {"ClockAlarm": "breaching", "LowBalanceAlarm": "ignore"}
    assert ALARMS[name]["TreatMissingData"] == silence.get(name, "notBreaching")
    assert ALARMS[name]["AlarmDescription"]


def test_an_alarm_reads_ten_metrics_at_most() -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-limits.html"""
    assert {name for name, alarm in ALARMS.items() if len(read(alarm)) > 10} == set()


def test_the_page_about_costs_counts_the_metrics_that_alarms_read() -> None:
    """Those of a stack with the template's own parameters."""
    off = {"WebhookOn", "WatchesBalance"}
    metrics = 0
    for name, alarm in ALARMS.items():
        if RESOURCES[name].get("Condition") not in off:
            left_out = [q for q in alarm.get("Metrics", []) if q.get("Fn::If", [""])[0] in off]
            metrics += len(read(alarm)) - len(left_out)

    told = (
        f"| alarms, $0.10 for each of the {metrics} metrics that they read | ${metrics / 10:.2f} |"
    )
    assert told in (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")


FUNCTIONS = {n for n, r in RESOURCES.items() if r["Type"] == "AWS::Serverless::Function"}
MACHINES = {n for n, r in RESOURCES.items() if r["Type"] == "AWS::Serverless::StateMachine"}
# These fail on purpose, or are tried again; what comes of it in the end has an alarm.
ERRORS_OF = {
    "PollFunction": ("FailureRateAlarm", "TasksFailed"),
    "WebhookFunction": ("WebhookErrorsAlarm", "Url5xxCount"),
    "BackfillFunction": ("BackfillAlarm", "ExecutionsFailed"),
    "ReconcileFunction": ("BackfillAlarm", "ExecutionsFailed"),
}


def watched(name: str, of: str) -> set[str]:
    """Of what an alarm reads this metric."""
    found = [properties for properties in read(ALARMS[name]) if properties["MetricName"] == of]
    return {dimension["Value"].get("Ref", "") for p in found for dimension in p["Dimensions"]}


def test_the_throttles_of_every_function_and_of_every_state_machine_ring() -> None:
    assert watched("ThrottlesAlarm", "Throttles") == FUNCTIONS
    assert watched("ServiceThrottlesAlarm", "ExecutionThrottled") == MACHINES


def test_the_errors_of_every_function_ring_by_themselves_or_by_what_comes_of_them() -> None:
    assert watched("FunctionErrorsAlarm", "Errors") == FUNCTIONS - ERRORS_OF.keys()
    assert all(watched(alarm, of) for alarm, of in ERRORS_OF.values())


def test_the_dashboard_shows_errors_and_throttles_of_every_function() -> None:
    body, names = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    # Without the parameters that make them, these are no functions.
    conditional = {name: chosen_name["Fn::If"][1]["Ref"] for name, chosen_name in names.items()}
    for title in ("Errors of functions", "Throttled calls of functions and of the table"):
        (widget,) = re.findall(rf'"title": "{title}".*?\n +\]\}}', body, re.DOTALL)
        shown_names = set(re.findall(r"\$\{(\w+)\}", widget))
        assert {conditional.get(name, name) for name in shown_names} >= FUNCTIONS, title


def test_a_clock_that_never_runs_rings() -> None:
    """Of a function that was never invoked, CloudWatch has no numbers at all."""
    alarm, rule = ALARMS["ClockAlarm"], RESOURCES["ClockFunction"]["Properties"]["Events"]

    assert alarm["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": "ClockFunction"}}]
    assert (alarm["Statistic"], alarm["Threshold"]) == ("Sum", 1)
    assert alarm["ComparisonOperator"] == "LessThanThreshold"
    assert rule["EveryMinute"]["Properties"]["Schedule"] == "rate(1 minute)"
    assert alarm["Period"] >= 60
