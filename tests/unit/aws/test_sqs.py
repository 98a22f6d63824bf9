import json
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from cutout.aws.sqs import MAX_DELAY_SECONDS, UploadQueue
from cutout.domain.errors import ServiceError
from cutout.domain.messages import TaskDue, upload_message

TASK_ID = "0123456789abcdef0123456789abcdef"
SECOND = timedelta(seconds=1)


def ids(count: int) -> list[str]:
    return [f"{number:032x}" for number in range(count)]


def sent(aws: boto3.Session, due: list[tuple[str, timedelta]]) -> list[list[dict[str, Any]]]:
    """The batches that SQS was asked to take, and took."""
    sqs, batches = aws.client("sqs"), list[list[dict[str, Any]]]()
    url = sqs.create_queue(QueueName="uploads")["QueueUrl"]
    sqs.meta.events.register(
        "provide-client-params.sqs.SendMessageBatch",
        lambda params, **_: batches.append(params["Entries"]),
    )
    UploadQueue(sqs, url).send_due(due)
    answered = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    counts = dict[str, str](**answered["Attributes"])
    now, later = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"
    assert int(counts[now]) + int(counts[later]) == len(due)
    return batches


@pytest.mark.parametrize(
    ("wait", "delay"),
    [
        (90 * SECOND, 90),
        (timedelta(seconds=90.001), 91),
        (timedelta(), 0),
        (-SECOND, 0),
        (timedelta(hours=12), MAX_DELAY_SECONDS),
    ],
)
def test_a_task_is_told_of_when_it_is_due(aws: boto3.Session, wait: timedelta, delay: int) -> None:
    ((entry,),) = sent(aws, [(TASK_ID, wait)])

    message = upload_message(entry["MessageBody"])
    assert isinstance(message, TaskDue)
    assert message.detail.task_id == TASK_ID
    assert entry["DelaySeconds"] == delay


def test_sqs_takes_ten_messages_at_once(aws: boto3.Session) -> None:
    batches = sent(aws, [(task_id, SECOND) for task_id in ids(25)])

    assert [len(batch) for batch in batches] == [10, 10, 5]
    told = [json.loads(entry["MessageBody"]) for batch in batches for entry in batch]
    assert [message["detail"]["task_id"] for message in told] == ids(25)


def test_nothing_due_is_nothing_sent(aws: boto3.Session) -> None:
    assert sent(aws, []) == []


def test_sqs_takes_no_longer_delay_than_15_minutes() -> None:
    assert MAX_DELAY_SECONDS == 15 * 60


def test_a_message_that_is_refused_alone_is_logged(
    aws: boto3.Session, caplog: pytest.LogCaptureFixture
) -> None:
    sqs = aws.client("sqs")
    failed = {"Id": TASK_ID, "SenderFault": False, "Code": "InternalError"}
    with Stubber(sqs) as stubbed:
        stubbed.add_response("send_message_batch", {"Successful": [], "Failed": [failed]})
        UploadQueue(sqs, "https://sqs.test/1/uploads").send_due([(TASK_ID, SECOND)])

    assert "SQS refused messages" in caplog.text


@pytest.mark.parametrize(
    ("receives", "seconds"), [(1, 10), (2, 30), (3, 90), (4, 270), (5, 810), (99, 810)]
)
def test_a_failed_message_comes_back_soon_and_then_later(
    aws: boto3.Session, receives: int, seconds: int
) -> None:
    sqs, url = aws.client("sqs"), "https://sqs.test/1/uploads"
    with Stubber(sqs) as stubbed:
        asked = {"QueueUrl": url, "ReceiptHandle": "handle", "VisibilityTimeout": seconds}
        stubbed.add_response("change_message_visibility", {}, asked)
        UploadQueue(sqs, url).retry_soon("handle", receives)
        stubbed.assert_no_pending_responses()


def test_a_queue_that_is_not_there_is_a_service_error(aws: boto3.Session) -> None:
    queue = UploadQueue(aws.client("sqs"), "https://sqs.eu-central-1.amazonaws.com/1/none")
    with pytest.raises(ServiceError, match="failed to take the messages"):
        queue.send_due([(TASK_ID, SECOND)])
    with pytest.raises(ServiceError, match="failed to change"):
        queue.retry_soon("handle", 1)
