"""A day of operating, by somebody who is allowed what the documentation says and no more."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx
import pytest

from cutout.domain.messages import TaskDue
from cutout.domain.tasks import Status
from cutout.domain.uploads import Upload
from cutout_cli import backfill
from cutout_cli.errors import RunFailed
from cutout_cli.stacks import local
from tests.e2e.conftest import photo, running
from tests.e2e.day import PAGE, STACK, As, Day, lines, shapes
from tests.support.events import load
from tests.support.stack_client import StackClient, event_of
from tests.support.waiting import wait_for

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
OPERATOR = "operator"
INVENTORIES = "inventories"


def documented_policy() -> str:
    """The policy in the documentation."""
    (block,) = re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return str(block)


def actions(policy: str) -> set[str]:
    found = set[str]()
    for statement in json.loads(policy)["Statement"]:
        action = statement["Action"]
        found |= {action} if isinstance(action, str) else set(action)
    return found


@pytest.fixture(scope="module")
def stack() -> Iterator[StackClient]:
    parameters: dict[str, Any] = {
        "NotificationEmail": "operator@example.com",
        "InventoryBucket": INVENTORIES,
        "ReconcileSchedule": "rate(1 day)",
    }
    with running(**STACK, **parameters) as stack:
        yield stack


@pytest.fixture(scope="module")
def operator(stack: StackClient) -> dict[str, str]:
    """The environment of somebody who assumed a role with the documented policy."""
    iam = stack.aws.client("iam")
    anybody = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [anybody]})
    role = iam.create_role(RoleName=OPERATOR, AssumeRolePolicyDocument=trust)["Role"]
    iam.put_role_policy(RoleName=OPERATOR, PolicyName="cli", PolicyDocument=documented_policy())
    assumed = stack.aws.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName=OPERATOR)[
        "Credentials"
    ]
    return stack.env | {
        "AWS_ACCESS_KEY_ID": assumed["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": assumed["SecretAccessKey"],
        "AWS_SESSION_TOKEN": assumed["SessionToken"],
    }


@pytest.fixture
def cutout(operator: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> As:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUTOUT_STATE", str(tmp_path / "state"))
    return As(operator)


def test_a_day_of_operating(stack: StackClient, cutout: As, tmp_path: Path) -> None:
    day = Day(stack, cutout, tmp_path, photos=14)

    page = day.live()

    assert shapes(page) == shapes(PAGE.read_text(encoding="utf-8"))
    (told,) = lines(cutout("status", "--json"))
    assert told["by_status"] == day.ended
    assert told["open"] == 0
    billed = Counter(entry["image"] for entry in stack.predictions() if not entry["refunded"])
    assert [image for image, times in billed.items() if times > 1] == [
        f"/{stack.env['INPUT_BUCKET']}/day/wall-001.jpg"
    ]


def test_what_is_saved_is_deleted_at_the_vendor(stack: StackClient, cutout: As) -> None:
    (told,) = lines(cutout("status", "day/blurred-001.jpg", "--json"))

    assert told["attempt"] == 2
    for entry in stack.billed("day/blurred-001.jpg"):
        answer = httpx.get(
            f"{stack.env['WAVESPEED_BASE_URL']}/api/v3/predictions/{entry['id']}/result",
            headers={"Authorization": f"Bearer {stack.env['WAVESPEED_API_KEY']}"},
        )
        assert answer.status_code == 404


def test_a_story_is_told_by_the_vendors_name_for_it_and_by_the_logs(
    stack: StackClient, cutout: As, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(photo())
    put = cutout("put", "a.jpg", "--prefix", "story/", "--out", "cut", "--json")
    assert [told["status"] for told in lines(put)] == ["completed"]
    assert (tmp_path / "cut" / "a.png").exists()
    assert "0 uploads, 1 were there already" in cutout("put", "a.jpg", "--prefix", "story/").stderr

    (task,) = lines(cutout("status", "story/a.jpg", "--json"))
    (told,) = lines(cutout("explain", "--prediction", task["prediction_id"], "--json"))
    assert told["task_id"] == task["task_id"]
    assert "processing started" in cutout("logs", "story/a.jpg").stdout


def test_dead_letters_are_put_back_to_work(stack: StackClient, cutout: As) -> None:
    upload = stack.upload(photo(), "dead.jpg")
    task = stack.ended(upload)
    queues = {"UploadDeadLetters": event_of(upload), "BackstopDeadLetters": json.dumps(load(
        "execution-aborted"))}  # fmt: skip
    for queue, body in queues.items():
        url = stack.local.physical_name(queue)
        stack.sqs.send_message(QueueUrl=url, MessageBody=body)

    assert {told["queue"] for told in lines(cutout("redrive", "--dry-run", "--json"))} == set(
        queues
    )
    assert {told["queue"] for told in lines(cutout("redrive", "--json"))} == set(queues)
    assert lines(cutout("redrive", "--json")) == []
    assert stack.ledger.get(task.task_id).status is Status.COMPLETED


def test_while_sending_is_paused_uploads_wait(stack: StackClient, cutout: As) -> None:
    cutout("pause")
    upload = stack.upload(photo(), "paused.jpg")
    task = stack.reached(upload, Status.QUEUED, code="waits_for_turn")
    assert "sending is paused" in cutout("status").stdout

    cutout("resume")
    cutout("limit", "--images-per-minute", "60")
    stack.send(TaskDue.body(task.task_id))  # the clock would, within a minute
    stack.reached(upload, Status.COMPLETED)
    cutout("limit", "--images-per-minute", "0")


def test_a_bucket_is_watched(stack: StackClient, cutout: As) -> None:
    bucket = stack.env["INPUT_BUCKET"]

    assert "as before" in cutout("watch-bucket", bucket).stdout
    assert "no longer sends" in cutout("watch-bucket", bucket, "--undo").stdout
    assert cutout("watch-bucket", bucket).stdout == (f"{bucket} sends its events to EventBridge\n")


def test_what_eventbridge_was_not_told_of_is_sent_by_a_backfill(
    stack: StackClient, cutout: As
) -> None:
    bucket = stack.env["INPUT_BUCKET"]
    cutout("watch-bucket", bucket, "--undo")
    missed = [stack.upload(photo(150 + n), f"missed/{n}.jpg") for n in range(5)]
    known = {task.task_id for task in stack.tasks().values()}
    assert not known & {upload.task_id for upload in missed}
    cutout("watch-bucket", bucket)

    (counted,) = lines(cutout("backfill", "--dry-run", "--page-size", "2", "--json"))
    assert (counted["missing"], counted["cost"], counted["sent"]) == (5, "0.05", False)
    twice = ["--prefix", "missed/0", "--prefix", "missed/"]
    (sent,) = lines(cutout("backfill", *twice, "--page-size", "2", "--yes", "--json"))
    assert (sent["objects"], sent["missing"], sent["sent"]) == (5, 5, True)

    assert {stack.ended(upload).status for upload in missed} == {Status.COMPLETED}
    (again,) = lines(cutout("backfill", "--yes", "--json"))
    assert (again["missing"], again["sent"]) == (0, False)
    assert all(len(stack.billed(upload.key)) == 1 for upload in missed)


def inventory(stack: StackClient, uploads: list[Upload]) -> str:
    """The URL of an inventory's manifest, as S3 writes it.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
    """
    made = "2026-11-20T12:00:00.000Z"
    bucket, data = stack.env["INPUT_BUCKET"], "data/1.csv.gz"
    rows = [
        f'"{bucket}","{quote_plus(one.key)}","{one.version_id}","true","false","{one.size}",'
        f'"{made}","{one.etag}"'
        for one in uploads
    ]
    manifest = {
        "sourceBucket": bucket,
        "destinationBucket": f"arn:aws:s3:::{INVENTORIES}",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, "
        "ETag",
        "files": [{"key": data}],
    }
    here: Any = {"LocationConstraint": stack.env["AWS_REGION"]}
    stack.s3.create_bucket(Bucket=INVENTORIES, CreateBucketConfiguration=here)
    body = gzip.compress("\n".join(rows).encode())
    stack.s3.put_object(Bucket=INVENTORIES, Key=data, Body=body)
    stack.s3.put_object(Bucket=INVENTORIES, Key="manifest.json", Body=json.dumps(manifest).encode())
    return f"s3://{INVENTORIES}/manifest.json"


def test_what_an_inventory_names_and_the_ledger_does_not_is_sent(
    stack: StackClient, cutout: As
) -> None:
    known = stack.upload(photo(160), "listed/known.jpg")
    stack.ended(known)
    cutout("watch-bucket", stack.env["INPUT_BUCKET"], "--undo")
    missed = stack.upload(photo(161), "listed/missed one.jpg")
    cutout("watch-bucket", stack.env["INPUT_BUCKET"])

    url = inventory(stack, [known, missed])
    (sent,) = lines(cutout("backfill", "--manifest", url, "--yes", "--json"))

    assert (sent["objects"], sent["missing"], sent["sent"]) == (2, 1, True)
    assert stack.ended(missed).status is Status.COMPLETED


def test_a_backfill_goes_on_in_executions_of_its_own_and_is_stopped(
    stack: StackClient, cutout: As
) -> None:
    keys = [f"long/{n}.jpg" for n in range(4)]
    uploads = [stack.upload(photo(140 + n), key) for n, key in enumerate(keys)]
    runs = backfill.runs(local(stack.env))
    short = {"run": "short", "pages_per_execution": 2, "page_size": 1, "dry_run": True}
    asked = short | {"cursors": [{"prefix": "long/"}]}
    stack.states.start_execution(
        stateMachineArn=stack.local.outputs["BackfillArn"], name="short-1", input=json.dumps(asked)
    )

    assert list(runs.follow("short-1"))[-1] == {"objects": 4, "missing": 0}
    machine = stack.local.outputs["BackfillArn"]
    listed = stack.states.list_executions(stateMachineArn=machine)["executions"]
    assert {e["name"] for e in listed} >= {"short-1", "short-2"}
    assert [stack.ended(upload).status for upload in uploads] == [Status.COMPLETED] * 4

    endless = short | {"run": "endless", "pages_per_execution": 1, "page_size": 1}
    stack.states.start_execution(
        stateMachineArn=machine, name="endless-1", input=json.dumps(endless)
    )
    assert "endless-" in cutout("backfill", "--stop").stderr
    assert runs.running() == []
    with pytest.raises(RunFailed, match="cutout backfill --stop"):
        list(runs.follow("endless-1"))


def test_a_reconciliation_says_what_is_missing_left_and_not_fetched(
    stack: StackClient, cutout: As
) -> None:
    whole, left, lost = (
        stack.upload(photo(170 + n), f"all/{name}.jpg")
        for n, name in enumerate(("whole", "left", "lost"))
    )
    assert {stack.ended(one).status for one in (whole, left, lost)} == {Status.COMPLETED}
    stack.ask_for_fault("task-slow", "all/late.jpg", seconds=4)
    late = stack.upload(photo(174), "all/late.jpg")
    aborted = stack.reached(late, Status.PROCESSING)
    wait_for(lambda: stack.ledger.get(aborted.task_id).polls)
    stack.states.stop_execution(executionArn=stack.execution_arn(aborted))
    assert stack.ended(late).status is Status.FAILED
    stack.s3.delete_object(Bucket=stack.env["INPUT_BUCKET"], Key=left.key)
    stack.s3.delete_object(Bucket=stack.env["OUTPUT_BUCKET"], Key=f"{lost.key}.png")
    cutout("watch-bucket", stack.env["INPUT_BUCKET"], "--undo")
    missing = stack.upload(photo(173), "all/missing.jpg")
    cutout("watch-bucket", stack.env["INPUT_BUCKET"])
    wait_for(lambda: stack.billed(late.key)[0]["status"] == "completed")

    told = cutout("reconcile", "--prefix", "all/", "--page-size", "2", "--json", code=1)

    assert {line["key"]: line["kind"] for line in lines(told)} == {
        missing.key: "missing",
        left.key: "output_left",
        lost.key: "output_missing",
        late.key: "not_fetched",
    }
    assert "4 uploads" in told.stderr
    assert lines(cutout("backfill", "--prefix", "all/", "--yes", "--json"))[0]["sent"]
    cutout("retry", late.key)
    assert stack.ended(missing).status is Status.COMPLETED
    assert stack.reached(late, Status.COMPLETED)
    assert len(stack.billed(late.key)) == 1
    again = cutout("reconcile", "--json", code=1)
    assert [line["kind"] for line in lines(again) if line["key"] == lost.key] == ["output_missing"]


def test_the_schedule_starts_a_reconciliation(stack: StackClient) -> None:
    events, rule = stack.aws.client("events"), stack.local.physical_name("ReconcileRule")
    machine = stack.local.outputs["ReconcileArn"]

    def started() -> set[str]:
        found = stack.states.list_executions(stateMachineArn=machine)["executions"]
        return {execution["executionArn"] for execution in found}

    def ended() -> dict[str, Any] | None:
        found = dict(stack.states.describe_execution(executionArn=scheduled))
        return None if found["status"] == "RUNNING" else found

    before = started()
    assert events.describe_rule(Name=rule)["ScheduleExpression"] == "rate(1 day)"
    events.put_rule(Name=rule, ScheduleExpression="rate(1 minute)")
    scheduled, *_ = wait_for(lambda: started() - before)
    events.put_rule(Name=rule, ScheduleExpression="rate(1 day)")

    run = wait_for(ended)
    assert run["status"] == "SUCCEEDED"
    assert json.loads(run["output"])["counts"].keys() >= {"uploads", "failed", "history"}


def told_to_queue(stack: StackClient) -> str:
    """A queue that gets what the stack's alarms tell."""
    statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}}
    statement |= {"Action": "sqs:SendMessage", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    url: str = stack.sqs.create_queue(QueueName="told", Attributes={"Policy": policy})["QueueUrl"]
    arn = stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    stack.aws.client("sns").subscribe(
        TopicArn=stack.local.physical_name("AlarmTopic"),
        Protocol="sqs",
        Endpoint=arn["Attributes"]["QueueArn"],
    )
    return url


def test_a_doctor_finds_the_stack_well(stack: StackClient, cutout: As) -> None:
    queue = told_to_queue(stack)

    found = lines(cutout("doctor", "--yes", "--json"))

    amiss = {one["check"]: one["text"] for one in found if one["state"] != "ok"}
    amiss.pop("alarms", "")  # the clock's rings until there are numbers
    assert set(amiss) == {"state transitions", "test alarm"}, amiss
    assert amiss["state transitions"].startswith("not known here: ListServiceQuotas")
    assert "was set; see whether its message comes" in amiss["test alarm"]
    assert {"key", "balance", "image", "history", "listeners"} <= {one["check"] for one in found}
    test = "a test by cutout doctor: nothing is wrong"
    assert wait_for(lambda: any(test in told for told in list(stack.take(queue))))


def test_what_is_not_allowed_is_said(stack: StackClient, cutout: As) -> None:
    told = cutout("watch-bucket", stack.env["OUTPUT_BUCKET"], code=1).stderr

    assert "GetBucketNotificationConfiguration: " in told
    assert "s3:GetBucketNotification" in told


def test_the_documented_policy_allows_nothing_that_is_not_called(stack: StackClient) -> None:
    made = {call.action for call, _ in stack.aws.report().calls if call.caller == OPERATOR}

    allowed = actions(documented_policy())
    in_a_form = {action for action in allowed if action.startswith(("cloudformation:", "sns:"))}
    # What tells what is gone, and what MiniStack has no action or no service for.
    not_recorded = {"s3:ListBucket", "lambda:GetAccountSettings", "servicequotas:ListServiceQuotas"}
    assert allowed - made == in_a_form | not_recorded


def test_an_uninstall_leaves_nothing_behind(stack: StackClient, cutout: As) -> None:
    stack.ended(stack.upload(photo(), "last.jpg"))

    told = As(stack.env)("uninstall", "--delete-data", "--yes").stdout

    assert f"goes, with all that it holds: bucket {stack.env['INPUT_BUCKET']}" in told
    assert stack.s3.list_buckets(Prefix="cutout-")["Buckets"] == []
    assert stack.dynamodb.list_tables()["TableNames"] == []
    assert (
        stack.logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/cutout/")["logGroups"] == []
    )
    gone = As(stack.env)("status", code=1).stderr
    assert "there is no stack cutout in this account and region" in gone
