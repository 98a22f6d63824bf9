"""The commands that operate a stack, around an AWS in memory."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from botocore.exceptions import WaiterError

from cutout.domain import errors
from cutout.domain.messages import RetryRequest
from cutout.domain.tasks import Status
from cutout_cli.advice import ADVICE
from cutout_cli.bucket import watch
from cutout_cli.errors import BucketNotWatched, NotRemoved
from cutout_cli.logs import FunctionLogs
from cutout_cli.redrive import DeadLetters
from cutout_cli.status import time_of
from cutout_cli.uninstall import Plan, Uninstaller
from tests.support.events import load
from tests.support.harness import NOW, TABLE, PipelineHarness, answer
from tests.support.images import jpeg
from tests.support.template import template
from tests.unit.cli.conftest import CloudFormation, Cutout, FakeStack, Fates

FAILED = (Status.FAILED, "timed_out", "the vendor had no result")
WAITING = (Status.QUEUED, "waits_for_slot", "its turn comes at 12:30")


def vendor_says(harness: PipelineHarness, *statuses: str) -> None:
    def saying(status: str) -> Callable[[httpx.Request], httpx.Response]:
        return lambda request: answer(id=request.url.path.split("/")[-2], status=status)

    harness.answers = [saying(status) for status in statuses]


def messages(harness: PipelineHarness, stack: FakeStack, queue: str = "") -> list[dict[str, Any]]:
    """What is in the upload queue, or in a dead-letter queue."""
    url = stack.of_type("AWS::SQS::Queue")[queue] if queue else stack.outputs["UploadQueueUrl"]
    found = harness.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in found]


# ------------------------------------------------------------------ status


def test_the_summary_counts_all_and_says_what_is_open(cutout: Cutout, upload: Any) -> None:
    upload("a.jpg")
    upload("b.jpg", *FAILED)
    upload("c.jpg", *WAITING)
    upload("d.jpg", Status.UNCERTAIN, "answer_lost", "nobody knows")

    told = cutout("status").stdout

    assert "1 completed" in told
    assert "open      1 task, the oldest of 2026-11-20 12:00:00 UTC" in told
    assert "at most 10 submitted" in told
    assert "today     $0 of $5" in told


def test_the_summary_for_programs(cutout: Cutout, upload: Any, harness: PipelineHarness) -> None:
    upload("c.jpg", *WAITING)
    today = datetime.now(UTC).date().isoformat()
    harness.table.update(
        "#governor",
        "SET spent_on = :day, spent = :spent",
        values={":day": today, ":spent": 120_000},
    )

    told = json.loads(cutout("status", "--json").stdout)

    assert told["by_status"] == {"queued": 1}
    assert (told["open"], told["spent_today"], told["daily_budget"]) == (1, "0.12", "5")
    finish = datetime.fromisoformat(told["expected_finish"]) - datetime.now(UTC)
    assert timedelta(0) < finish < timedelta(minutes=1)


def test_rate_and_budget_change_at_once_and_show(cutout: Cutout, stack: FakeStack) -> None:
    assert cutout("limit").stdout == "images are sent, 10 a minute, for $5 a day\n"

    changed = cutout("limit", "--images-per-minute", "0", "--daily-budget", "7.5")

    assert changed.stdout == "images are sent, at any rate, for $7.5 a day\n"
    told = json.loads(cutout("status", "--json").stdout)
    assert (told["images_per_minute"], told["daily_budget"]) == (0, "7.5")


def test_a_pause_shows_until_it_ends(cutout: Cutout, upload: Any) -> None:
    upload("c.jpg", *WAITING)

    assert cutout("pause").stdout == "sending is paused, 10 a minute, for $5 a day\n"
    told = json.loads(cutout("status", "--json").stdout)
    assert (told["paused"], told["expected_finish"]) == (True, None)
    assert "go on with: cutout resume" in cutout("status").stdout

    assert cutout("resume").stdout == "images are sent, 10 a minute, for $5 a day\n"
    assert "paused" not in cutout("status").stdout


def test_a_limit_out_of_bounds_is_refused(cutout: Cutout) -> None:
    refused = cutout("limit", "--daily-budget", "-1")

    assert "greater than or equal to 0" in refused.stderr


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        (["--failed"], ["a/b.jpg", "x.jpg"]),
        (["--open"], ["a/c.jpg"]),
        (["--open", "--failed"], ["a/b.jpg", "a/c.jpg", "x.jpg"]),
        (["--prefix", "a/"], ["a/a.jpg", "a/b.jpg", "a/c.jpg"]),
        (["--prefix", "a/", "--failed"], ["a/b.jpg"]),
        (["--failed", "--since", "1h"], []),
        (["--failed", "--since", "2026-11-20T11:59"], ["a/b.jpg", "x.jpg"]),
        (["a/c.jpg"], ["a/c.jpg"]),
    ],
)
def test_tasks_are_chosen(cutout: Cutout, upload: Any, options: list[str], keys: list[str]) -> None:
    upload("a/a.jpg")
    upload("a/b.jpg", *FAILED)
    upload("a/c.jpg", *WAITING)
    upload("x.jpg", *FAILED)

    lines = cutout("status", *options, "--json").stdout.splitlines()

    assert sorted(json.loads(line)["key"] for line in lines) == keys


def test_a_key_has_a_line_for_each_revision(
    cutout: Cutout, upload: Any, harness: PipelineHarness
) -> None:
    upload("a.jpg", *FAILED)
    harness.pass_time(60)
    upload("a.jpg", Status.COMPLETED, "", "")

    newest, oldest = cutout("status", "a.jpg").stdout.splitlines()

    assert newest.startswith("completed  2026-11-20 12:01:05 UTC  a.jpg")
    assert oldest == (
        "failed     2026-11-20 12:00:05 UTC  a.jpg: the vendor had no result (timed_out)"
    )


def test_a_key_that_is_not_there_has_neighbours(cutout: Cutout, upload: Any) -> None:
    upload("album/cat.jpg")

    done = cutout("status", "album/cat.jpeg")

    assert done.exit_code == 1
    assert "has no upload of 'album/cat.jpeg'; near it are: album/cat.jpg" in done.stderr


def test_an_object_whose_event_never_came_is_told_from_a_wrong_key(
    cutout: Cutout, harness: PipelineHarness, stack: FakeStack
) -> None:
    harness.upload(jpeg(), "early.jpg")

    assert "the bucket has it: its event has not come" in cutout("status", "early.jpg").stderr


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("2h", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00+01:00", datetime(2026, 1, 31, 11, tzinfo=UTC)),
    ],
)
def test_a_time_is_an_age_or_iso_8601(text: str, time: datetime) -> None:
    assert time_of(text, NOW) == time


def test_a_time_that_is_none_is_a_usage_error(cutout: Cutout, stack: FakeStack) -> None:
    done = cutout("status", "--since", "yesterday")

    assert (done.exit_code, done.stdout) == (2, "")
    assert "'yesterday' is no time" in done.stderr


# ------------------------------------------------------------------ explain and logs


def test_a_story_has_what_happened_what_it_cost_and_what_to_do(
    cutout: Cutout, upload: Any, harness: PipelineHarness
) -> None:
    task = upload("a cat.jpg", *FAILED)
    vendor_says(harness, "completed")

    told = cutout("explain", "a cat.jpg").stdout

    assert told.startswith(f"a cat.jpg: task {task.task_id} is failed\n")
    assert f"12:00:02 UTC  accepted by the vendor as prediction {task.prediction_id}" in told
    assert "12:00:05 UTC  failed: the vendor had no result (timed_out)" in told
    assert "an image that the vendor completes costs $0.01" in told
    assert f"the vendor now: prediction {task.prediction_id} is completed" in told
    assert "fetched for nothing: cutout retry 'a cat.jpg'\n" in told


def test_a_wait_is_explained_with_its_end(
    cutout: Cutout, upload: Any, harness: PipelineHarness
) -> None:
    task = upload("c.jpg", *WAITING)
    harness.ledger.update(task, submit_after=NOW + timedelta(minutes=30))

    told = cutout("explain", task.task_id).stdout

    assert "it waits, until 2026-11-20 12:30:00 UTC: its turn comes at 12:30" in told
    assert "nothing was paid: it was never sent" in told


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("hold", "it waits for a callback or for a person; OnUncertain is hold"),
        ("settle", "the vendor's history is looked into at 2026-11-20 12:10:00 UTC, unless"),
        ("resubmit", "it is sent again at 2026-11-20 12:10:00 UTC, unless a callback comes"),
    ],
)
def test_what_becomes_of_an_uncertain_task_is_explained(
    cutout: Cutout, upload: Any, harness: PipelineHarness, stack: FakeStack, policy: str, told: str
) -> None:
    stack.parameters["OnUncertain"] = policy
    task = upload("lost.jpg", Status.UNCERTAIN, "answer_lost", "nobody knows")
    harness.ledger.update(task, due_at=NOW + timedelta(minutes=10))

    story = cutout("explain", "lost.jpg").stdout

    assert told in story
    assert "it may have been paid: $0.01" in story


def test_a_copy_is_told_as_one(cutout: Cutout, upload: Any, harness: PipelineHarness) -> None:
    first, task = upload("first.jpg"), upload("copy.jpg", Status.PROCESSING, "", "")
    harness.ledger.update(task, reused_from=first.task_id, prediction_id=None)

    story = cutout("explain", "copy.jpg").stdout
    assert f"to be a copy of the PNG of task {first.task_id}" in story
    assert "nothing is paid: an upload with the same content was" in story
    told = cutout("status", "copy.jpg").stdout
    assert f"copy.jpg: a copy of the PNG of task {first.task_id}" in told
    assert json.loads(cutout("status", "copy.jpg", "--json").stdout)["reused_from"] == first.task_id


def test_a_story_is_found_by_the_vendors_id(cutout: Cutout, upload: Any, stack: FakeStack) -> None:
    stack.asks_vendor = False
    task = upload("a.jpg")

    told = json.loads(cutout("explain", "--prediction", task.prediction_id, "--json").stdout)

    assert (told["task_id"], told["status"]) == (task.task_id, "completed")
    assert told["steps"][-1]["text"] == "the PNG was saved as s3://cutouts/a.jpg.png"
    assert "the vendor was not asked: WAVESPEED_API_KEY is not set" in told["now"]


def test_a_failed_call_of_the_wait_loop_is_part_of_the_story(
    cutout: Cutout, upload: Any, stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = upload("a.jpg", *FAILED)
    stack.asks_vendor = False
    failed = {"error": "TimedOut", "cause": '{"errorMessage": "no result within 10 s"}'}
    events = [
        {"type": "ExecutionStarted", "timestamp": NOW, "executionStartedEventDetails": {}},
        {"type": "TaskFailed", "timestamp": NOW, "taskFailedEventDetails": failed},
        {"type": "ExecutionFailed", "timestamp": NOW, "executionFailedEventDetails": failed},
    ]
    states = stack.client("stepfunctions")
    paginator = states.get_paginator("get_execution_history")

    def paginate(executionArn: str) -> list[dict[str, Any]]:  # noqa: N803 - boto3's
        assert executionArn.endswith(f":{task.task_id}-1")
        return [{"events": events}]

    monkeypatch.setattr(paginator, "paginate", paginate)
    monkeypatch.setattr(states, "get_paginator", lambda _operation: paginator)

    told = cutout("explain", "a.jpg").stdout
    assert "wait loop 1: a call failed: TimedOut: no result within 10 s" in told
    assert "wait loop 1 failed: TimedOut: no result within 10 s" in told


def codes() -> set[str]:
    """Every code that an error of ours can write into the ledger."""
    kinds = (errors.Rejected, errors.NotNow, errors.Failed)
    found = {kind for parent in kinds for kind in parent.__subclasses__()}
    ours = {kind for kind in found if kind.__module__ == errors.__name__}
    return {errors.code_of(kind.__name__) for kind in ours} | {"answer_lost", "superseded"}


@pytest.mark.parametrize(
    "code", sorted(codes() | {"waits_for_slot", "waits_for_turn", "execution_ended"})
)
def test_there_is_advice_about_every_code(code: str) -> None:
    assert code in ADVICE, "say what to do about it in cutout_cli/advice.py"


def log(aws: Any, group: str, **fields: Any) -> None:
    client = aws.client("logs")
    for call in (client.create_log_group, client.create_log_stream):
        more = {"logStreamName": "s"} if call == client.create_log_stream else {}
        with suppress(client.exceptions.ResourceAlreadyExistsException):
            call(logGroupName=group, **more)
    at = int(fields.pop("at", NOW).timestamp() * 1000)
    event = {"timestamp": at, "message": json.dumps(fields)}
    client.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])


@pytest.fixture
def log_groups(cloudformation: CloudFormation, aws: Any) -> None:
    for name in ("submit", "poll"):
        group = ("AWS::Logs::LogGroup", f"/cutout/{name}")
        cloudformation.resources[f"{name.capitalize()}Logs"] = group


def test_the_lines_about_a_task_come_with_the_errors_of_their_runs(
    cutout: Cutout, upload: Any, aws: Any, log_groups: None
) -> None:
    task = upload("a.jpg")
    later = NOW + timedelta(seconds=5)
    log(aws, "/cutout/poll", at=later, level="ERROR", errorType="TimedOut",
        errorMessage="no result", requestId="run-1")  # fmt: skip
    log(aws, "/cutout/poll", level="INFO", message="polled", task_id=task.task_id,
        function_request_id="run-1")  # fmt: skip
    log(aws, "/cutout/submit", level="INFO", message="another", task_id="other")

    lines = cutout("logs", "a.jpg").stdout.splitlines()

    assert lines == [
        "2026-11-20 12:00:00 UTC  poll     INFO     polled",
        "2026-11-20 12:00:05 UTC  poll     ERROR    TimedOut: no result",
    ]


def test_an_error_of_a_function_is_found_since_a_time(
    stack: FakeStack, aws: Any, log_groups: None
) -> None:
    log(aws, "/cutout/submit", level="ERROR", message="it failed", exception_name="KeyError",
        exception="Traceback\n  File\nKeyError: 'TASKS_TABLE'")  # fmt: skip
    log(aws, "/cutout/poll", level="INFO", message="no ERROR at all")

    (line,) = FunctionLogs(stack).errors(NOW)
    assert (line.function, line.text) == ("submit", "it failed: KeyError: 'TASKS_TABLE'")


# ------------------------------------------------------------------ retry and redrive


def test_a_result_that_the_vendor_has_is_fetched_for_nothing(
    cutout: Cutout, upload: Any, harness: PipelineHarness, stack: FakeStack
) -> None:
    task = upload("a.jpg", *FAILED)
    vendor_says(harness, "completed")

    done = cutout("retry", "a.jpg")

    assert "is fetched for nothing: it is completed" in done.stdout
    assert done.stderr == "1 fetched for nothing\n"
    assert messages(harness, stack) == [json.loads(RetryRequest.body(task.task_id, attempt=1))]


def test_many_are_retried_after_their_price_was_told(
    cutout: Cutout, upload: Any, harness: PipelineHarness, stack: FakeStack
) -> None:
    upload("a/1.jpg", *FAILED)
    upload("a/2.jpg", *FAILED)
    upload("a/3.jpg", Status.FAILED, "prediction_failed", "no subject")
    upload("b.jpg", *FAILED)
    some = ("retry", "--prefix", "a/", "--code", "timed_out")

    vendor_says(harness, "failed", "processing")
    dry = cutout(*some, "--dry-run", "--json")
    assert sorted(json.loads(line)["cost"] for line in dry.stdout.splitlines()) == [
        "nothing",
        "paid",
    ]
    assert dry.stderr == "1 fetched for nothing, 1 paid ($0.01)\n"
    vendor_says(harness, "failed", "processing")
    unasked = cutout(*some)
    assert unasked.exit_code == 1
    assert "There is nobody to ask; add --yes" in unasked.stderr
    assert messages(harness, stack) == []

    vendor_says(harness, "failed", "processing")
    assert cutout(*some, "--yes").exit_code == 0
    assert len(messages(harness, stack)) == 2


@pytest.mark.parametrize(
    ("fate", "refusal"),
    [
        (
            (Status.COMPLETED, "", ""),
            "completed, is left as it is: it has its PNG, s3://cutouts/a.jpg.png",
        ),
        ((Status.UNCERTAIN, "answer_lost", "?"), "may have accepted and billed it"),
    ],
)
def test_what_would_do_nothing_or_pay_twice_is_refused(
    cutout: Cutout, upload: Any, harness: PipelineHarness, stack: FakeStack, fate: Any, refusal: str
) -> None:
    upload("a.jpg", *fate)

    done = cutout("retry", "a.jpg")

    assert done.exit_code == 1
    assert refusal in done.stderr
    assert messages(harness, stack) == []


def test_a_status_that_there_is_not_is_a_usage_error(cutout: Cutout, stack: FakeStack) -> None:
    done = cutout("retry", "--status", "stuck")

    assert done.exit_code == 2
    assert "'stuck' is not a valid Status; there are queued, submitting" in done.stderr


def test_what_is_not_there_is_told_with_the_way_to_others(cutout: Cutout, stack: FakeStack) -> None:
    done = cutout("retry", "--code", "too_many_pixels")

    assert done.exit_code == 1
    assert "no task is failed with the code too_many_pixels; other statuses" in done.stderr


def test_what_was_rejected_is_checked_again_before_it_is_paid(cutout: Cutout, upload: Any) -> None:
    upload("a.jpg", Status.REJECTED, "upload_too_large", "it has 60 MB")

    told = cutout("retry", "a.jpg", "--dry-run").stdout
    assert "is checked again and, if it passes now, sent and paid" in told


def test_without_the_vendors_key_the_price_is_unknown(
    cutout: Cutout, upload: Any, stack: FakeStack
) -> None:
    stack.asks_vendor = False
    upload("a.jpg", *FAILED)

    done = cutout("retry", "a.jpg", "--dry-run")

    assert "if the vendor has a result, else paid again (the vendor is not asked" in done.stdout
    assert done.stderr == "1 fetched if the vendor has a result, else paid\n"


@pytest.mark.parametrize("arguments", [[], ["a.jpg", "--failed"]])
def test_a_retry_needs_to_know_of_what(
    cutout: Cutout, stack: FakeStack, arguments: list[str]
) -> None:
    assert cutout("retry", *arguments).exit_code == 2


def test_dead_letters_are_shown_and_stay(
    cutout: Cutout, harness: PipelineHarness, stack: FakeStack
) -> None:
    queues = stack.of_type("AWS::SQS::Queue")
    event = load("object-created-put")
    harness.sqs.send_message(QueueUrl=queues["UploadDeadLetters"], MessageBody=json.dumps(event))
    harness.sqs.send_message(QueueUrl=queues["UploadDeadLetters"], MessageBody="noise")

    done = cutout("redrive", "--dry-run")

    key = event["detail"]["object"]["key"]
    assert sorted(done.stdout.splitlines()) == [
        "UploadDeadLetters: unknown message of 5 characters",
        f"UploadDeadLetters: upload of {key}",
    ]
    assert done.stderr == "2 messages found\n"
    assert len(harness.sqs.receive_message(
        QueueUrl=queues["UploadDeadLetters"], MaxNumberOfMessages=10)["Messages"]) == 2  # fmt: skip


def test_a_dead_letter_that_nobody_understands_stays_until_it_is_deleted(
    cutout: Cutout, harness: PipelineHarness, stack: FakeStack
) -> None:
    url = stack.of_type("AWS::SQS::Queue")["UploadDeadLetters"]
    harness.sqs.send_message(QueueUrl=url, MessageBody="noise")

    done = cutout("redrive")
    assert done.stdout == "UploadDeadLetters: unknown message of 5 characters\n"
    assert done.stderr == (
        "0 messages put back to work; 1 unknown kept (--delete-unknown deletes them)\n"
    )
    assert messages(harness, stack) == []

    told = cutout("redrive", "--delete-unknown", "--json").stdout
    assert json.loads(told) == {"queue": "UploadDeadLetters", "about": None, "done": "deleted"}
    assert messages(harness, stack, "UploadDeadLetters") == []


def test_dead_letters_of_both_queues_go_back_to_work(
    cutout: Cutout, harness: PipelineHarness, stack: FakeStack, cloudformation: CloudFormation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    queues = stack.of_type("AWS::SQS::Queue")
    upload, ended = load("object-created-put"), load("execution-aborted")
    lambda_record = {"requestPayload": ended, "responsePayload": {"errorType": "X"}}
    for queue, body in {"UploadDeadLetters": upload, "BackstopDeadLetters": lambda_record}.items():
        harness.sqs.send_message(QueueUrl=queues[queue], MessageBody=json.dumps(body))
    cloudformation.resources["BackstopFunction"] = ("AWS::Lambda::Function", "backstop-1")
    del stack.__dict__["resources"]
    invoked: list[dict[str, Any]] = []

    class Lambda:
        def invoke(self, **asked: Any) -> dict[str, Any]:
            invoked.append(asked)
            return {}

    client = stack.client
    monkeypatch.setitem(
        stack.__dict__, "client", lambda name: Lambda() if name == "lambda" else client(name)
    )

    done = cutout("redrive")

    assert done.stderr == "2 messages put back to work\n"
    assert messages(harness, stack) == [upload]
    assert [(asked["FunctionName"], json.loads(asked["Payload"])) for asked in invoked] == [
        ("backstop-1", ended)
    ]
    assert messages(harness, stack, "UploadDeadLetters") == []
    assert messages(harness, stack, "BackstopDeadLetters") == []


# ------------------------------------------------------------------ put


def test_photos_are_put_once(
    cutout: Cutout, fates: Fates, stack: FakeStack, tmp_path: Path
) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "cat.jpg").write_bytes(jpeg())

    first = cutout("put", "album", "--prefix", "in/", "--metadata", "cutout-sync=true")
    again = cutout("put", "album", "--prefix", "in/", "--metadata", "cutout-sync=true", "--json")
    other = cutout("put", "album", "--prefix", "in/")

    assert first.stdout == "album/cat.jpg -> in/cat.jpg  uploaded\n"
    assert json.loads(again.stdout)["uploaded"] is False
    assert other.stdout == "album/cat.jpg -> in/cat.jpg  uploaded\n"
    s3 = fates.harness.s3
    assert len(s3.list_object_versions(Bucket="uploads")["Versions"]) == 2
    assert s3.head_object(Bucket="uploads", Key="in/cat.jpg")["Metadata"] == {}


def test_photos_are_followed_to_their_pngs(
    cutout: Cutout, fates: Fates, stack: FakeStack, tmp_path: Path
) -> None:
    stack.asks_vendor = False
    fates.by_key = {"bad.jpg": (Status.REJECTED, "unsupported_format", "no image")}
    for name in ("cat.jpg", "bad.jpg"):
        (tmp_path / name).write_bytes(jpeg())

    done = cutout("put", "cat.jpg", "bad.jpg", "--out", "cut")

    assert done.exit_code == 1
    assert "done      cat.jpg -> cut/cat.png" in done.stdout
    assert "rejected  bad.jpg: no image (unsupported_format)" in done.stdout
    assert (tmp_path / "cut" / "cat.png").exists()


def test_uploads_into_a_bucket_without_versions_cannot_be_followed(
    cutout: Cutout, harness: PipelineHarness, stack: FakeStack, tmp_path: Path
) -> None:
    suspended: Any = {"Status": "Suspended"}
    harness.s3.put_bucket_versioning(Bucket="uploads", VersioningConfiguration=suspended)
    (tmp_path / "cat.jpg").write_bytes(jpeg())

    done = cutout("put", "cat.jpg", "--wait")

    assert done.exit_code == 1
    assert "keeps no versions" in done.stderr


@pytest.mark.parametrize("metadata", ["nothing", "=x", "name=ä"])
def test_metadata_that_s3_would_refuse_is_a_usage_error(
    cutout: Cutout, stack: FakeStack, tmp_path: Path, metadata: str
) -> None:
    (tmp_path / "cat.jpg").write_bytes(jpeg())

    assert cutout("put", "cat.jpg", "--metadata", metadata).exit_code == 2


# ------------------------------------------------------------------ watch-bucket and uninstall


class Bucket:
    """The notifications of one bucket, replaced as a whole by each write, if it is written."""

    def __init__(self, *, written: bool = True) -> None:
        self.now: dict[str, Any] = {"QueueConfigurations": [{"Id": "own"}]}
        self._written = written

    def get_bucket_notification_configuration(self, **_: str) -> dict[str, Any]:
        return {"ResponseMetadata": {}, **self.now}

    def put_bucket_notification_configuration(self, **asked: Any) -> None:
        assert asked["SkipDestinationValidation"]  # S3 would send test messages to all others
        if self._written:
            self.now = asked["NotificationConfiguration"]


def test_a_bucket_keeps_its_other_notifications(
    cutout: Cutout, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = Bucket()
    before = s3.now
    monkeypatch.setattr("cutout_cli.stacks.find_account", lambda *_: lambda _service: s3)

    watched = cutout("watch-bucket", "uploads").stdout
    assert watched == "uploads sends its events to EventBridge\n"
    assert s3.now == before | {"EventBridgeConfiguration": {}}
    assert cutout("watch-bucket", "uploads").stdout.endswith("EventBridge, as before\n")
    assert cutout("watch-bucket", "uploads", "--undo").exit_code == 0
    assert s3.now == before


def test_a_change_by_somebody_else_is_noticed() -> None:
    with pytest.raises(BucketNotWatched, match="somebody else"):
        watch(Bucket(written=False), "uploads", on=True)


def test_an_uninstall_says_what_goes_and_does_nothing_unasked(
    cutout: Cutout, upload: Any, cloudformation: CloudFormation
) -> None:
    upload("c.jpg", *WAITING)
    cloudformation.parameters |= {"ApiKeySecret": "cutout/key", "ApiKeySecretArn": ""}
    cloudformation.resources |= {
        "InputBucket": ("AWS::S3::Bucket", "uploads"),
        "OutputBucket": ("AWS::S3::Bucket", "cutouts"),
        "TasksTable": ("AWS::DynamoDB::Table", "tasks"),
    }

    done = cutout("uninstall")

    assert done.stdout.splitlines() == [
        "goes: 2 AWS::SQS::Queue",
        "stays: bucket uploads",
        "stays: bucket cutouts",
        "stays: table tasks, the ledger",
        "stays: the secret cutout/key, which is not the stack's",
        "lost: 1 open task, which may have been paid",
    ]
    assert done.exit_code == 1
    assert "delete the stack cutout? There is nobody to ask; add --yes" in done.stderr
    assert cutout("uninstall", "--dry-run", "--delete-data").exit_code == 0


class Deletion:
    """A stack that CloudFormation can delete, or cannot."""

    def __init__(self, stack: FakeStack, fails: bool) -> None:
        self.deleted: list[str] = []
        self._fails = fails
        self._described = stack.client("cloudformation")

    def describe_stacks(self, **asked: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._described.describe_stacks(**asked)
        answer["Stacks"][0]["StackId"] = "arn:of-the-stack"
        return answer

    def delete_stack(self, *, StackName: str) -> None:  # noqa: N803 - boto3's
        self.deleted.append(StackName)

    def get_waiter(self, name: str) -> "Deletion":
        assert name == "stack_delete_complete"
        return self

    def wait(self, *, StackName: str, **_: Any) -> None:  # noqa: N803 - boto3's
        assert StackName == "arn:of-the-stack"
        if self._fails:
            raise WaiterError("stack_delete_complete", "it failed", {})


@pytest.mark.parametrize("delete_data", [True, False])
def test_data_is_deleted_only_when_that_is_asked_for(
    upload: Any,
    harness: PipelineHarness,
    stack: FakeStack,
    monkeypatch: pytest.MonkeyPatch,
    delete_data: bool,
) -> None:
    upload("a.jpg")
    harness.upload(jpeg(), "a.jpg")
    harness.s3.delete_object(Bucket="uploads", Key="a.jpg")
    deletion, client, told = Deletion(stack, fails=False), stack.client, list[str]()
    uninstaller = Uninstaller(stack)
    plan = Plan({"I": "uploads", "O": "cutouts", "C": "converted"}, {"T": TABLE}, {}, "s")
    clients = {"cloudformation": deletion}
    monkeypatch.setitem(stack.__dict__, "client", lambda name: clients.get(name) or client(name))

    uninstaller.remove(plan, delete_data=delete_data, tell=told.append)

    assert deletion.deleted == ["cutout"]
    left = sorted(bucket["Name"] for bucket in harness.s3.list_buckets()["Buckets"])
    tables = harness.dynamodb.list_tables()["TableNames"]
    assert (left, tables) == (
        ([], []) if delete_data else (["converted", "cutouts", "uploads"], [TABLE])
    )
    if delete_data:
        assert "bucket uploads is deleted, with 3 versions of objects" in told


def test_a_stack_that_cannot_be_deleted_keeps_its_data(
    upload: Any, harness: PipelineHarness, stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload("a.jpg")
    deletion = Deletion(stack, fails=True)
    monkeypatch.setitem(stack.__dict__, "client", lambda _name: deletion)

    with pytest.raises(NotRemoved, match="could not delete cutout"):
        Uninstaller(stack).remove(
            Plan({"I": "uploads"}, {}, {}, "s"), delete_data=True, tell=lambda _text: None
        )

    assert harness.s3.list_objects_v2(Bucket="uploads")["KeyCount"] == 1


def test_the_summary_is_watched_until_ctrl_c(
    cutout: Cutout, upload: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    clock = SimpleNamespace(sleep=sleep, monotonic=lambda: 0.0)
    monkeypatch.setattr("cutout_cli.operations.time", clock)

    done = cutout("status", "--watch", "--json")

    assert done.exit_code == 130
    assert len(done.stdout.splitlines()) == len(slept) == 2
    assert slept == [2, 2]


def test_the_dead_letter_queues_are_all_that_the_template_has(stack: FakeStack) -> None:
    resources = template()["Resources"]
    queues = {
        name
        for name, resource in resources.items()
        if resource["Type"] == "AWS::SQS::Queue" and name != "UploadQueue"
    }

    assert set(DeadLetters(stack).queues) == queues
