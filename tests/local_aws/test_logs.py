"""CloudWatch: logs, the metrics in them, and alarms."""

import json
import time
from typing import Any
from uuid import uuid4

import pytest

from tests.local_aws.support import Account
from tests.support.waiting import wait_for


def embedded(namespace: str, **values: Any) -> dict[str, Any]:
    """A line in the embedded metric format, with the metrics' values."""
    directive = {
        "Namespace": namespace,
        "Dimensions": [["service"]],
        "Metrics": [{"Name": name, "Unit": "Count"} for name in values],
    }
    return {
        "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]},
        "service": "hand",
        **values,
    }


def test_embedded_metrics_become_metrics(aws: Account) -> None:
    namespace, cloudwatch = uuid4().hex, aws.aws.client("cloudwatch")
    aws.invoke(do="print", fields=embedded(namespace, Done=2, Failed=[1, 0]))
    aws.invoke(do="print", fields=embedded(namespace, Done=[3]))
    (done, failed) = cloudwatch.list_metrics(Namespace=namespace)["Metrics"]
    assert {done["MetricName"], failed["MetricName"]} == {"Done", "Failed"}
    assert done["Dimensions"] == [{"Name": "service", "Value": "hand"}]
    statistics = cloudwatch.get_metric_statistics(
        Namespace=namespace,
        MetricName="Done",
        Dimensions=done["Dimensions"],
        StartTime=time.time() - 600,
        EndTime=time.time() + 60,
        Period=3600,
        Statistics=["Sum"],
    )
    assert sum(point["Sum"] for point in statistics["Datapoints"]) == 5


@pytest.mark.parametrize("fields", [{"_aws": "x"}, {"_aws": {}}, {"level": 7}, {"level": "?"}])
def test_a_line_that_looks_like_metrics_is_logged_as_it_is(aws: Account, fields: Any) -> None:
    mark = uuid4().hex
    aws.invoke(do="print", fields={**fields, "mark": mark})
    assert aws.logged(mark)


def test_lines_below_the_function_s_level_are_dropped(aws: Account) -> None:
    mark = uuid4().hex
    for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
        aws.invoke("NarrowHand", do="print", fields={"level": level, "mark": mark})
    assert [json.loads(line)["level"] for line in aws.logged(mark)] == ["WARNING", "ERROR"]


def test_a_group_that_was_deleted_is_not_made_again(aws: Account) -> None:
    functions, logs, gone = aws.aws.client("lambda"), aws.aws.client("logs"), f"/gone/{uuid4().hex}"
    name = aws.outputs["NarrowHand"]
    kept = functions.get_function_configuration(FunctionName=name)["LoggingConfig"]
    functions.update_function_configuration(
        FunctionName=name, LoggingConfig=kept | {"LogGroup": gone}
    )
    try:
        aws.invoke("NarrowHand", do="print", fields={"level": "ERROR"})
        assert logs.describe_log_groups(logGroupNamePrefix=gone)["logGroups"] == []
    finally:
        functions.update_function_configuration(FunctionName=name, LoggingConfig=kept)


def test_a_state_machine_logs_what_its_level_says_and_no_data(aws: Account) -> None:
    machine, secret = aws.outputs["Machine"], uuid4().hex
    failed = aws.start(machine, {"fail": True, "secret": secret})
    aws.ended(aws.start(machine, {"secret": secret}))
    aws.ended(failed)
    entries = [json.loads(line) for line in aws.logged(failed, aws.outputs["MachineLogs"])]
    assert [entry["type"] for entry in entries] == ["ExecutionFailed"]
    assert entries[0]["details"] == {"error": "Asked", "cause": "for it"}
    assert secret not in json.dumps(entries)


def test_a_state_machine_s_logging_is_described_as_the_template_has_it(aws: Account) -> None:
    logging = aws.states.describe_state_machine(stateMachineArn=aws.outputs["Machine"])[
        "loggingConfiguration"
    ]
    assert logging["level"] == "ERROR"
    (destination,) = logging["destinations"]
    assert aws.outputs["MachineLogs"] in destination["cloudWatchLogsLogGroup"]["logGroupArn"]


def test_an_alarm_of_the_template_tells_its_topic_of_a_breach_and_of_nothing_else(
    aws: Account,
) -> None:
    cloudwatch, name = aws.aws.client("cloudwatch"), aws.outputs["WatchedAlarm"]

    def state() -> str:
        (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return str(alarm["StateValue"])

    wait_for(lambda: state() == "OK", 10)  # missing data is not breaching
    aws.send("LoopDeadLetters", "another queue's")
    aws.send("Watched", "breach")
    (told,) = aws.received("Alarms")
    assert json.loads(told["Message"])["NewStateValue"] == state() == "ALARM"
    for queue in ("Watched", "LoopDeadLetters"):
        aws.sqs.purge_queue(QueueUrl=aws.outputs[queue])


def test_an_alarm_on_an_expression_rings(aws: Account) -> None:
    cloudwatch, name = aws.aws.client("cloudwatch"), aws.outputs["Rate"]

    def is_in(state: str) -> bool:
        (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return bool(alarm["StateValue"] == state)

    def count(metric: str, number: int) -> None:
        data: Any = {"MetricName": metric, "Value": number}
        cloudwatch.put_metric_data(Namespace="Test", MetricData=[data])

    wait_for(lambda: is_in("OK"), 10)  # missing data is not breaching
    count("Errors", 1)
    wait_for(lambda: is_in("ALARM"), 10)
    count("Others", 9)
    wait_for(lambda: is_in("OK"), 10)


def test_executions_are_counted(aws: Account) -> None:
    aws.ended(aws.start(aws.outputs["Machine"], {"fail": True}))
    cloudwatch = aws.aws.client("cloudwatch")
    dimensions = [{"Name": "StateMachineArn", "Value": aws.outputs["Machine"]}]
    found = cloudwatch.list_metrics(Namespace="AWS/States", Dimensions=dimensions)["Metrics"]
    assert {"ExecutionsStarted", "ExecutionsFailed"} <= {each["MetricName"] for each in found}
