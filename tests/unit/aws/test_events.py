import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from cutout.aws.events import EventBus
from cutout.domain.errors import ServiceError
from cutout.domain.messages import CutoutFailed
from tests.support.factories import make_task, make_upload


def events_that_match(
    aws: boto3.Session, pattern: dict[str, Any], bus: str = "default"
) -> list[Any]:
    """Publish a failure while a rule with this pattern sends to a queue; what arrives there."""
    events, sqs = aws.client("events"), aws.client("sqs")
    url = sqs.create_queue(QueueName="heard")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    events.put_rule(Name="hear", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="hear", Targets=[{"Id": "queue", "Arn": arn["QueueArn"]}])
    task = make_task(make_upload(key="a/ü 🐈.jpg"))
    event = CutoutFailed.of(task, "too_large", "the object has too many bytes")
    EventBus(events, bus).publish(event)
    messages = sqs.receive_message(QueueUrl=url).get("Messages", [])
    return [json.loads(message["Body"]) for message in messages]


def test_a_failure_is_published_with_its_reason(aws: boto3.Session) -> None:
    (event,) = events_that_match(aws, {"source": ["cutout"], "detail-type": ["Cutout Failed"]})
    task = make_task(make_upload(key="a/ü 🐈.jpg"))
    assert event["detail"] == {
        "version": "1",
        "task_id": task.task_id,
        "bucket": task.bucket,
        "key": "a/ü 🐈.jpg",
        "code": "too_large",
        "reason": "the object has too many bytes",
    }


def test_a_bus_that_is_not_there_is_a_service_error(aws: boto3.Session) -> None:
    with pytest.raises(ServiceError, match="refused the event"):
        events_that_match(aws, {"source": ["cutout"]}, bus="no-such-bus")


def test_an_event_that_is_refused_by_itself_is_a_service_error(aws: boto3.Session) -> None:
    client = aws.client("events")
    refusal = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}
    with Stubber(client) as stubber:
        stubber.add_response("put_events", refusal)
        with pytest.raises(ServiceError, match="refused the event"):
            EventBus(client, "default").publish(CutoutFailed.of(make_task(), "failed", "why"))
