"""CloudWatch Logs: which lines functions and executions leave, and the metrics in them."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from ministack.services import cloudwatch, cloudwatch_logs, stepfunctions

from cutout_local.aws.patching import replaces

Fields = Mapping[str, Any]
_LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
_NAMES = {"WARNING": "WARN", "CRITICAL": "FATAL"}  # Python's for Lambda's
_FATAL = {"ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"}
_ERROR = ("Failed", "TimedOut", "Aborted")


@replaces("services.lambda_svc", "_emit_lambda_logs", "logs of functions")
def _function_logs(original: Callable[..., None]) -> Any:
    """Lambda drops JSON lines below `ApplicationLogLevel`; CloudWatch makes metrics of others.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    MiniStack does neither, and makes a group that was deleted again, which is for a role to allow:
    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-loggroups.html
    No upstream issues exist.
    """

    def emit(function: Fields, request_id: str, text: str, *more: Any, **named: Any) -> None:
        config = function.get("config") or function
        logging = config.get("LoggingConfig") or {}
        group = logging.get("LogGroup", own := f"/aws/lambda/{config['FunctionName']}")
        if group not in {own, *cloudwatch_logs._log_groups}:
            return
        least = logging.get("ApplicationLogLevel", "TRACE")
        kept = []
        for line in text.splitlines():
            fields = _fields(line)
            if _rank(fields.get("level", least)) >= _rank(least):
                kept.append(line)
                with suppress(AttributeError, KeyError, TypeError, ValueError):  # no metrics
                    _put_metrics(fields)
        original(function, request_id, "\n".join(kept), *more, **named)

    return emit


def _fields(line: str) -> Fields:
    try:
        found = json.loads(line) if line.startswith("{") else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _rank(level: Any) -> int:
    name = _NAMES.get(level, level)
    return _LEVELS.index(name) if name in _LEVELS else _LEVELS.index("INFO")


def _put_metrics(fields: Fields) -> None:
    for directive in fields.get("_aws", {}).get("CloudWatchMetrics", []):
        for names in directive["Dimensions"]:
            dimensions = {name: str(fields[name]) for name in names}
            for metric, value in _values(directive["Metrics"], fields):
                what = directive["Namespace"], metric["Name"], value, metric.get("Unit", "None")
                cloudwatch.record_metric(*what, dimensions)


def _values(metrics: list[Fields], fields: Fields) -> Iterator[tuple[Fields, float]]:
    for metric in metrics:
        given = fields[metric["Name"]]
        for value in given if isinstance(given, list) else [given]:
            yield metric, value


@replaces("services.stepfunctions", "_add_event", "logs of executions")
def _execution_logs(original: Callable[..., Any]) -> Any:
    """AWS logs the events of executions as the state machine's `loggingConfiguration` says.

    https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
    MiniStack keeps it and logs nothing. No upstream issue exists.
    """

    def add(execution: Any, kind: str, details: Fields | None = None) -> Any:
        event = original(execution, kind, details)
        machine = stepfunctions._state_machines.get(execution["stateMachineArn"])
        logging = (machine or {}).get("loggingConfiguration") or {}
        if _is_logged(logging.get("level", "OFF"), kind):
            for destination in logging["destinations"]:
                arn = destination["cloudWatchLogsLogGroup"]["logGroupArn"]
                with_data = logging.get("includeExecutionData", False)
                _put(arn.split(":")[6], execution, _entry(event, execution, with_data))
        return event

    return add


def _is_logged(level: str, kind: str) -> bool:
    match level:
        case "ALL":
            return True
        case "ERROR":
            return kind.endswith(_ERROR)
        case "FATAL":
            return kind in _FATAL
    return False


def _entry(event: Fields, execution: Fields, with_data: bool) -> str:
    hidden = set() if with_data else {"input", "output"}
    details: Fields = next((value for name, value in event.items() if name.endswith("Details")), {})
    entry = {
        "id": str(event["id"]),
        "type": event["type"],
        "details": {name: value for name, value in details.items() if name not in hidden},
        "execution_arn": execution["executionArn"],
    }
    return json.dumps(entry)


def _put(group: str, execution: Fields, message: str) -> None:
    names = {"logGroupName": group, "logStreamName": f"states/{execution['name']}"}
    cloudwatch_logs._create_log_stream(names)  # or it is there
    event = {"timestamp": int(time.time() * 1000), "message": message}
    cloudwatch_logs._put_log_events({**names, "logEvents": [event]})
