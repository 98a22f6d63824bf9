"""Each patch of MiniStack is still needed: without it, the same probe finds AWS's rules broken."""

import ast
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

import cutout_local.aws
from cutout_local.aws.errors import DeployFailed
from tests.local_aws.support import Account, account
from tests.support.waiting import wait_for

Probe = Callable[[Account], bool]
PROBES: dict[str, Probe] = {}
"""Whether an account does as AWS does, by the name of the patch that makes it so."""
SOURCES = Path(cutout_local.aws.__file__).parent


def patch(name: str) -> Callable[[Probe], Probe]:
    def register(probe: Probe) -> Probe:
        PROBES[name] = probe
        return probe

    return register


def names() -> set[str]:
    """As the sources have them: importing these would start MiniStack in this process."""
    calls = (
        node
        for file in SOURCES.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "replaces"
    )
    return {ast.literal_eval(call.args[2]) for call in calls}


def leave_token(aws: Account, key: str, seconds: int | str) -> str:
    """A machine that waits for its token for so long."""
    token = {":t": {"S": "{% $states.context.Task.Token %}"}}
    update = {"UpdateExpression": "SET task_token = :t", "ExpressionAttributeValues": token}
    state = aws.update(key, update, TimeoutSeconds=seconds, End=True)
    return aws.machine({"Ask": {**state, "Resource": state["Resource"] + ".waitForTaskToken"}})


@patch("aborted stays aborted")
def stays_aborted(aws: Account) -> bool:
    key = uuid4().hex
    execution = aws.start(leave_token(aws, key, 1))
    wait_for(lambda: aws.item(key))
    aws.states.stop_execution(executionArn=execution)
    wait_for(lambda: "TaskFailed" in aws.history(execution), 5)
    return bool(aws.ended(execution)["status"] == "ABORTED")


@patch("alarms on expressions")
def alarm_is_made(aws: Account) -> bool:
    return bool(aws.outputs["Rate"])


@patch("batch reports")
def misspelt_report_fails_the_batch(aws: Account) -> bool:
    aws.send("Queue", {"do": "report", "report": {"batchItemFailures": [{"id": "misspelt"}]}})
    wait_for(lambda: aws.left("Queue") == 0)
    return bool(aws.receive(aws.outputs["DeadLetters"], seconds=2))


@patch("calls of queues")
def messages_are_moved(aws: Account) -> bool:
    with suppress(ClientError):
        aws.sqs.start_message_move_task(SourceArn=aws.arn(aws.new_queue()))
        return True
    return False


@patch("calls by role")
def role_binds_an_execution(aws: Account) -> bool:
    update = aws.update(uuid4().hex, {"UpdateExpression": "SET kind = id"}, End=True)
    return bool(aws.run({"Update": update}, role="NarrowRole")["status"] == "FAILED")


@patch("definition in YAML")
def yaml_is_a_definition(aws: Account) -> bool:
    return bool(aws.ended(aws.start(aws.outputs["Machine"]), 5)["status"] == "SUCCEEDED")


@patch("evaluation of alarms")
def missing_data_is_told(aws: Account) -> bool:
    cloudwatch, name = aws.aws.client("cloudwatch"), uuid4().hex
    metric = {"Namespace": "AWS/SQS", "MetricName": "ApproximateNumberOfMessagesVisible"}
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        **metric,
        Dimensions=[{"Name": "QueueName", "Value": name}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    of_no_queue = {"MetricName": metric["MetricName"], "Value": 1}
    cloudwatch.put_metric_data(Namespace="AWS/SQS", MetricData=[of_no_queue])
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return alarm["StateValue"] in {"INSUFFICIENT_DATA", "OK"}


@patch("function URLs")
def url_leads_here(aws: Account) -> bool:
    return aws.outputs["WebUrl"].startswith(aws.aws.endpoint_url)


@patch("limits of metadata and tags")
def metadata_is_limited(aws: Account) -> bool:
    with suppress(ClientError):
        aws.put(uuid4().hex, Metadata={"a": "x" * 2048})
        return False
    return True


@patch("logs of executions")
def failed_execution_is_logged(aws: Account) -> bool:
    execution = aws.start(aws.outputs["Machine"], {"fail": True})
    aws.ended(execution)
    return bool(aws.logged(execution, aws.outputs["MachineLogs"], seconds=3))


@patch("logs of functions")
def debug_line_is_dropped(aws: Account) -> bool:
    mark = uuid4().hex
    for level in ("DEBUG", "ERROR"):
        aws.invoke("NarrowHand", do="print", fields={"level": level, "mark": mark})
    return len(aws.logged(mark)) == 1


@patch("metrics of executions")
def executions_are_counted(aws: Account) -> bool:
    aws.ended(aws.start(aws.outputs["Machine"]))
    metrics = aws.aws.client("cloudwatch").list_metrics(Namespace="AWS/States")["Metrics"]
    return bool(metrics)


@patch("poller by role")
def poller_needs_a_right(aws: Account) -> bool:
    aws.sqs.purge_queue(QueueUrl=aws.outputs["UnreadQueue"])
    aws.send("UnreadQueue", {"do": "keep"})
    sent = aws.send("Queue", {"do": "keep"})  # polled after it
    wait_for(lambda: aws.item(sent))
    (message,) = aws.sqs.receive_message(
        QueueUrl=aws.outputs["UnreadQueue"], MessageSystemAttributeNames=["All"]
    ).get("Messages", [None])
    return bool(message)


@patch("range of a version")
def version_has_ranges(aws: Account) -> bool:
    key = uuid4().hex
    version = aws.put(key, b"first")["VersionId"]
    aws.put(key, b"second, longer")
    return aws.get(key, VersionId=version, Range="bytes=1-2") == b"ir"


@patch("recursive loops")
def loop_is_stopped(aws: Account) -> bool:
    key = uuid4().hex
    aws.send("LoopQueue", key)

    def turns() -> int:
        return int(aws.item(key).get("turns", {"N": 0})["N"])

    wait_for(lambda: turns() > 16 or aws.left("LoopDeadLetters"), 15)
    aws.sqs.purge_queue(QueueUrl=aws.outputs["LoopDeadLetters"])
    return turns() == 16


@patch("repeated starts")
def same_start_is_the_same_execution(aws: Account) -> bool:
    machine = aws.machine({"Sleep": {"Type": "Wait", "Seconds": 1, "End": True}})
    execution = aws.start(machine, name="one")
    try:
        return aws.start(machine, name="one") == execution
    except aws.states.exceptions.ExecutionAlreadyExists:
        return False


def lifecycle(aws: Account) -> Any:
    with suppress(ClientError):  # there is none
        return aws.s3.get_bucket_lifecycle_configuration(Bucket=aws.outputs["Bucket"])["Rules"]


@patch("properties left out")
def properties_have_their_effect(aws: Account) -> bool:
    name, table = aws.outputs["NarrowHand"], aws.outputs["Table"]
    reserved = aws.functions.get_function_concurrency(FunctionName=name)
    ttl = aws.dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    backups = aws.dynamodb.describe_continuous_backups(TableName=table)
    status = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    rule = {
        "ID": "all",
        "Filter": {"Prefix": ""},
        "Status": "Enabled",
        "Expiration": {"Days": 3},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 2},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }
    return bool(
        lifecycle(aws) == [rule]
        and reserved.get("ReservedConcurrentExecutions") == 1
        and ttl.get("AttributeName") == "expires_at"
        and status["PointInTimeRecoveryStatus"] == "ENABLED"
    )


@patch("retries")
def retry_keeps_its_limit(aws: Account) -> bool:
    retry = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 3, "MaxAttempts": 1}
    ask = aws.task({"do": "raise"}, Retry=[{**retry, "MaxDelaySeconds": 1}], End=True)
    execution = aws.ended(aws.start(aws.machine({"Ask": ask})))
    return bool((execution["stopDate"] - execution["startDate"]).total_seconds() < 3)


@patch("root user's key")
def root_has_one_key(aws: Account) -> bool:
    with closing(aws.stranger("s3", None, "wrong")) as stranger, suppress(ClientError):
        stranger.list_buckets()
        return False
    return True


def user(aws: Account, service: str, action: str, resource: str) -> Any:
    """A client of somebody who may do this and nothing else."""
    iam, name = aws.aws.client("iam"), f"u{uuid4().hex}"
    iam.create_user(UserName=name)
    allow = {"Effect": "Allow", "Action": action, "Resource": resource}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_user_policy(UserName=name, PolicyName="one", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return aws.stranger(service, key["AccessKeyId"], key["SecretAccessKey"])


@patch("rights of batches")
def right_to_send_is_enough(aws: Account) -> bool:
    url = aws.new_queue()
    with closing(user(aws, "sqs", "sqs:SendMessage", "*")) as sender, suppress(ClientError):
        sender.send_message_batch(QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "b"}])
        return True
    return False


@patch("rule targets")
def queue_lets_nobody_in(aws: Account) -> bool:
    aws.tell("test.closed")
    wait_for(lambda: aws.left("Closed") or aws.left("UploadDeadLetters"))
    aws.sqs.purge_queue(QueueUrl=aws.outputs["UploadDeadLetters"])
    return aws.left("Closed") == 0


@patch("runtime client")
def error_has_its_class(aws: Account) -> bool:
    return bool(aws.invoke(do="raise")[1]["errorType"] == "TemporarilyUnavailable")


@patch("schedules")
def minutes_are_short(aws: Account) -> bool:
    aws.tick(1, seconds=5)
    return True


@patch("timeout of an execution")
def execution_times_out(aws: Account) -> bool:
    sleep = {"Type": "Wait", "Seconds": 2, "End": True}
    execution = aws.start(aws.machine({"Sleep": sleep}, TimeoutSeconds=1))
    return bool(aws.ended(execution)["status"] == "TIMED_OUT")


@patch("throttled events")
def event_waits_for_concurrency(aws: Account) -> bool:
    mark, name = uuid4().hex, aws.outputs["NarrowHand"]
    printed = json.dumps({"do": "print", "fields": {"level": "ERROR", "mark": mark}})
    with ThreadPoolExecutor(1) as pool:
        begun = aws.aws.folder / mark
        nap = pool.submit(aws.invoke, "NarrowHand", do="sleep", seconds=5, begun=str(begun))
        wait_for(begun.exists)
        aws.functions.invoke(FunctionName=name, InvocationType="Event", Payload=printed)
        nap.result()
    return bool(aws.logged(mark, seconds=4))


@patch("rules need their bus")
def rule_needs_its_bus(aws: Account) -> bool:
    formation, name = aws.aws.client("cloudformation"), f"s{uuid4().hex}"
    rule = {"EventBusName": "nowhere", "EventPattern": {"source": ["test"]}}
    template = {"Resources": {"Rule": {"Type": "AWS::Events::Rule", "Properties": rule}}}
    formation.create_stack(StackName=name, TemplateBody=json.dumps(template))

    def status() -> str:
        found = str(formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])
        return found * (not found.endswith("IN_PROGRESS"))

    return wait_for(status) == "ROLLBACK_COMPLETE"


@patch("timeout in JSONata")
def timeout_is_evaluated(aws: Account) -> bool:
    execution = aws.start(leave_token(aws, uuid4().hex, "{% 1 %}"))
    return bool(aws.ended(execution)["error"] == "States.Timeout")


@patch("types of properties")
def parameters_are_numbers(aws: Account) -> bool:
    """Among them `MaximumConcurrency`, without which nothing is polled."""
    sent = aws.send("Queue", {"do": "keep"})
    return bool(wait_for(lambda: aws.item(sent), 5))


@patch("version in the event")
def event_names_the_version(aws: Account) -> bool:
    aws.put("up/version")
    (event,) = aws.received("Uploads")
    return "version-id" in event["detail"]["object"]


@patch("wildcards and line breaks")
def any_key_may_be_read(aws: Account) -> bool:
    place = {"Bucket": aws.outputs["Bucket"], "Key": "two\nlines"}
    aws.put(place["Key"])
    objects = f"arn:aws:s3:::{place['Bucket']}/*"
    with closing(user(aws, "s3", "s3:GetObject", objects)) as reader, suppress(ClientError):
        reader.get_object(**place)
        return True
    return False


def test_every_patch_has_a_probe() -> None:
    assert PROBES.keys() == names()


@pytest.mark.parametrize("name", sorted(PROBES))
def test_with_the_patch_it_is_as_on_aws(aws: Account, name: str) -> None:
    assert PROBES[name](aws)


@pytest.mark.upstream  # the answer changes with MiniStack's version, not with ours
@pytest.mark.parametrize("name", sorted(PROBES))
def test_the_patch_is_still_needed(tmp_path: Path, name: str) -> None:
    try:
        with account(tmp_path, without_patch=name) as unpatched:
            right = PROBES[name](unpatched)
    except (DeployFailed, AssertionError):
        right = False
    assert not right, f"MiniStack does this by itself now: remove the patch {name!r}"
