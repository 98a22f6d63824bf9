"""What an earlier version wrote, read by this one: a stack is upgraded while tasks are in flight.

`written_earlier.json` was written by the stack of commit a8bab8a (21 November 2026): items of its
table as DynamoDB has them, messages that wait in its queue, and what its executions call and read.
Names of buckets are those of these tests.
"""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cutout.domain.messages import ExecutionEnded, PollRequest
from cutout.domain.tasks import Status, Task
from functions.submit.app import handle_message
from tests.support.harness import TABLE, PipelineHarness, accepted, completed, download
from tests.support.images import jpeg, png

WRITTEN = json.loads((Path(__file__).parent / "written_earlier.json").read_text(encoding="utf-8"))
TASKS = {
    item["status"]["S"] + item.get("code", {"S": ""})["S"]: item
    for item in WRITTEN["items"]
    if "status" in item
}
LATER = timedelta(minutes=30)
A_DAY = 24 * 60 * 60


@pytest.fixture
def upgraded(harness: PipelineHarness) -> PipelineHarness:
    """This version with the table of the earlier one, half an hour after."""
    for item in WRITTEN["items"]:
        harness.dynamodb.put_item(TableName=TABLE, Item=item)
    harness.now = datetime.fromisoformat(WRITTEN["at"]) + LATER
    return harness


def task_that_is(harness: PipelineHarness, status: str) -> Task:
    """The task of the earlier version in this status, whose upload is there."""
    task = harness.ledger.get(TASKS[status]["task_id"]["S"])
    upload = harness.upload(jpeg(40, 30), task.key)
    harness.dynamodb.update_item(
        TableName=TABLE,
        Key={"task_id": {"S": task.task_id}},
        UpdateExpression="SET version_id = :version, etag = :etag, #size = :size",
        ExpressionAttributeNames={"#size": "size"},
        ExpressionAttributeValues={
            ":version": {"S": str(upload.version_id)},
            ":etag": {"S": upload.etag},
            ":size": {"N": str(upload.size)},
        },
    )
    return task


@pytest.mark.parametrize("item", TASKS.values(), ids=TASKS)
def test_every_task_is_what_it_was(upgraded: PipelineHarness, item: dict[str, Any]) -> None:
    task = upgraded.ledger.get(item["task_id"]["S"])

    written = set(item) - {"object", "open_status", "expires_at"}
    assert written <= set(task.model_dump(exclude_none=True))
    assert task.status == item["status"]["S"]
    assert upgraded.ledger.of_object(task.bucket, task.key) == [task]


def test_what_waits_is_woken(upgraded: PipelineHarness) -> None:
    assert "over_budget" not in upgraded.tick()

    upgraded.pass_time(A_DAY)

    assert upgraded.tick()["over_budget"] == 1


def test_a_task_in_flight_gets_its_png_and_the_execution_its_answer(
    upgraded: PipelineHarness,
) -> None:
    task = task_that_is(upgraded, "processing")
    upgraded.answers = [completed(str(task.prediction_id)), download(png(40, 30))]

    request = PollRequest.model_validate({"task_id": task.task_id})
    answer = upgraded.poller(deadline_seconds=7200).poll(request.task_id).model_dump(mode="json")

    assert answer["status"] == "completed"
    assert set(WRITTEN["execution"]["reads"]) <= set(answer)
    assert upgraded.s3.get_object(Bucket="cutouts", Key=task.output_key)["Body"].read()


def test_an_execution_that_fails_has_its_task_closed(upgraded: PipelineHarness) -> None:
    task = task_that_is(upgraded, "processing")
    asked = json.loads(
        json.dumps(WRITTEN["execution"]["closes_with"]).replace("NAME", task.execution_name)
    )

    upgraded.backstop().close(ExecutionEnded.model_validate(asked).detail)

    assert upgraded.ledger.get(task.task_id).code == "timed_out"


@pytest.mark.parametrize("message", WRITTEN["messages"], ids=lambda message: message["about"])
def test_messages_that_wait_in_the_queue_are_understood(
    upgraded: PipelineHarness, message: dict[str, str]
) -> None:
    task = task_that_is(upgraded, message["about"])
    upgraded.answers = [accepted("p2")] * 2
    body = message["body"].replace("TASK_ID", task.task_id)
    upgraded.pass_time(A_DAY)

    handle_message(body, upgraded.submitter(), upgraded.retrier())

    assert upgraded.ledger.get(task.task_id).status is Status.PROCESSING
