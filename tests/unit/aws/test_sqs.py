import json
from datetime import timedelta
from typing import Any

import boto3
import pytest

from cutout.aws.sqs import MAX_DELAY_SECONDS, UploadQueue
from cutout.domain.errors import ServiceError

BODY = json.dumps({"key": "up/ a+b%20c/ü 🐈.png"})


def requeue(aws: boto3.Session, wait: timedelta) -> dict[str, Any]:
    """Put the message back; what SQS was asked for."""
    sqs, asked = aws.client("sqs"), dict[str, Any]()
    url = sqs.create_queue(QueueName="uploads")["QueueUrl"]
    sqs.meta.events.register(
        "provide-client-params.sqs.SendMessage", lambda params, **_: asked.update(params)
    )
    UploadQueue(sqs, url).requeue(BODY, wait)
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessagesDelayed"] == "1"
    return asked


@pytest.mark.parametrize(
    ("wait", "delay"),
    [
        (timedelta(seconds=90), timedelta(seconds=90)),
        (timedelta(seconds=90.001), timedelta(seconds=91)),
        (timedelta(milliseconds=1), timedelta(seconds=1)),
        (timedelta(hours=12), timedelta(seconds=MAX_DELAY_SECONDS)),
    ],
)
def test_a_message_comes_back_after_the_wait(
    aws: boto3.Session, wait: timedelta, delay: timedelta
) -> None:
    asked = requeue(aws, wait)
    assert asked["MessageBody"] == BODY
    assert asked["DelaySeconds"] == delay.total_seconds()


def test_sqs_takes_no_longer_delay_than_15_minutes() -> None:
    assert MAX_DELAY_SECONDS == 15 * 60


def test_a_queue_that_is_not_there_is_a_service_error(aws: boto3.Session) -> None:
    queue = UploadQueue(aws.client("sqs"), "https://sqs.eu-central-1.amazonaws.com/1/none")
    with pytest.raises(ServiceError, match="failed to take the message"):
        queue.requeue(BODY, timedelta(seconds=1))
