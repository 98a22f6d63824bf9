"""CloudWatch: metrics that services publish, and alarms that are evaluated."""

import operator
import os
import time
from collections.abc import Callable
from typing import Any

from ministack.services import cloudwatch, sqs

from cutout_local.aws import expressions
from cutout_local.aws.patching import replaces

_COMPARE = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_MISSING = {"breaching": "ALARM", "notBreaching": "OK", "missing": "INSUFFICIENT_DATA"}
_QUEUE_METRICS = {
    "ApproximateNumberOfMessagesVisible": "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible": "ApproximateNumberOfMessagesNotVisible",
}
_ENDS = {"FAILED": "Failed", "TIMED_OUT": "TimedOut", "ABORTED": "Aborted", "RUNNING": "Started"}


@replaces("services.stepfunctions", "_emit_execution_status_event", "metrics of executions")
def _executions(original: Callable[[Any], None]) -> Any:
    """https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html

    MiniStack publishes none. No upstream issue exists.
    """

    def emit(execution: Any) -> None:
        name = f"Executions{_ENDS.get(execution['status'], 'Succeeded')}"
        machine = {"StateMachineArn": execution["stateMachineArn"]}
        cloudwatch.record_metric("AWS/States", name, 1, "Count", machine)
        original(execution)

    return emit


@replaces("services.cloudwatch", "_evaluate_alarm", "evaluation of alarms")
def _alarm(_original: Callable[[Any], None]) -> Any:
    """AWS compares the metric with these dimensions, and knows what a missing one means.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
    MiniStack takes the metric with all dimensions, and waits for data. No upstream issue exists.
    All evaluation periods are taken for one.
    """

    def evaluate(alarm: dict[str, Any]) -> None:
        state, reason = _state(alarm)
        if state != alarm["StateValue"]:
            change = {"AlarmName": alarm["AlarmName"], "StateValue": state, "StateReason": reason}
            cloudwatch._set_alarm_state({}, change, False, is_json=True)

    return evaluate


def _state(alarm: dict[str, Any]) -> tuple[str, str]:
    value = _expression(alarm) if "Metrics" in alarm else _statistic(alarm, alarm)
    if value is None:
        state = _MISSING.get(alarm["TreatMissingData"], alarm["StateValue"])
        return state, "no datapoints were received"
    operation = alarm["ComparisonOperator"]
    breaching = _COMPARE[operation](value, alarm["Threshold"])
    reason = f"Threshold Crossed: {value} {operation} {alarm['Threshold']}"
    return "ALARM" if breaching else "OK", reason


def _expression(alarm: dict[str, Any]) -> float | None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create-alarm-on-metric-math-expression.html"""
    found = {
        metric["Id"]: _statistic(metric["MetricStat"] | metric["MetricStat"]["Metric"], alarm)
        for metric in alarm["Metrics"]
        if "MetricStat" in metric
    }
    (result,) = (metric for metric in alarm["Metrics"] if metric.get("ReturnData", True))
    return expressions.value(result["Expression"], found)


def _statistic(asked: dict[str, Any], alarm: dict[str, Any]) -> float | None:
    dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(asked.get("Dimensions", [])))
    metric = (asked["Namespace"], asked["MetricName"], dimensions)
    since = time.time() - int(asked["Period"]) * alarm["EvaluationPeriods"]
    points = [p for p in cloudwatch._metrics.get(metric, []) if p["Timestamp"] >= since]
    if not points:
        return None
    statistic = asked.get("ExtendedStatistic") or asked.get("Statistic") or asked["Stat"]
    value: float = cloudwatch._stat_value(cloudwatch._calc_stats(points), statistic, points)
    return value


def watch() -> None:
    """Publish the queues' metrics and evaluate the alarms twice a minute, for ever."""
    while True:
        time.sleep(30 * float(os.environ["CUTOUT_SCHEDULE_SCALE"]))
        with sqs._queues_lock:
            for queue in list(sqs._queues.values()):
                _publish(queue)
        cloudwatch._evaluate_all_alarms()


def _publish(queue: dict[str, Any]) -> None:
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"""
    sqs._refresh_counts(queue)
    now, of_queue = time.time(), {"QueueName": queue["name"]}
    for metric, attribute in _QUEUE_METRICS.items():
        count = float(queue["attributes"][attribute])
        cloudwatch.record_metric("AWS/SQS", metric, count, "Count", of_queue)
    age = max((now - message.get("sent_at", now) for message in queue["messages"]), default=0)
    cloudwatch.record_metric("AWS/SQS", "ApproximateAgeOfOldestMessage", age, "Seconds", of_queue)
