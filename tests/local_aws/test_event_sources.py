from __future__ import annotations

import hashlib
import json
from typing import Any

from cutout_local.aws import LocalAws

from .support import eventually, kept_items


def send(aws: LocalAws, body: dict[str, Any], **more: Any) -> str:
    sent = aws.client("sqs").send_message(
        QueueUrl=aws.outputs["QueueUrl"], MessageBody=json.dumps(body), **more
    )
    return str(sent["MessageId"])


def record_of(aws: LocalAws, message_id: str) -> dict[str, Any]:
    """The SQS record that the function was called with."""
    found = eventually(lambda: [i for i in kept_items(aws) if i["id"] == message_id])
    record: dict[str, Any] = json.loads(found[0]["record"])
    return record


def dead_letters(aws: LocalAws) -> dict[str, str]:
    """Ids and bodies; they are gone from the queue then."""
    sqs, url = aws.client("sqs"), aws.outputs["DeadLettersUrl"]
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return {message["MessageId"]: message["Body"] for message in messages}


def messages_left(aws: LocalAws) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = aws.client("sqs").get_queue_attributes(
        QueueUrl=aws.outputs["QueueUrl"], AttributeNames=names
    )["Attributes"]
    return sum(int(attributes[name]) for name in names)


def test_a_function_gets_a_true_sqs_event(aws: LocalAws) -> None:
    attribute = {"StringValue": "blue", "DataType": "String"}
    message_id = send(aws, {"do": "keep"}, MessageAttributes={"colour": attribute})
    record = record_of(aws, message_id)
    assert record["messageId"] == message_id
    assert record["body"] == '{"do": "keep"}'
    assert record["md5OfBody"] == hashlib.md5(b'{"do": "keep"}', usedforsecurity=False).hexdigest()
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"].startswith(f"arn:aws:sqs:{aws.region}:123456789012:")
    assert record["awsRegion"] == aws.region
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert int(record["attributes"]["SentTimestamp"]) > 1_700_000_000_000
    assert record["messageAttributes"]["colour"]["stringValue"] == "blue"
    assert record["messageAttributes"]["colour"]["dataType"] == "String"
    assert eventually(lambda: messages_left(aws) == 0)


def test_a_message_that_keeps_failing_goes_to_the_dead_letters_alone(aws: LocalAws) -> None:
    poison, good = send(aws, {"do": "fail"}), send(aws, {"do": "keep"})
    assert eventually(lambda: dead_letters(aws)) == {poison: '{"do": "fail"}'}
    assert record_of(aws, good)["attributes"]["ApproximateReceiveCount"] == "1"
    assert messages_left(aws) == 0


def test_a_function_that_fails_gets_the_batch_again(aws: LocalAws) -> None:
    unreadable = aws.client("sqs").send_message(
        QueueUrl=aws.outputs["QueueUrl"], MessageBody="not json"
    )["MessageId"]
    assert eventually(lambda: dead_letters(aws)) == {unreadable: "not json"}


def test_a_message_that_hides_itself_is_not_seen_before_its_time(aws: LocalAws) -> None:
    message_id = send(aws, {"do": "keep"}, DelaySeconds=1)
    attributes = record_of(aws, message_id)["attributes"]
    first = int(attributes["ApproximateFirstReceiveTimestamp"])
    assert first - int(attributes["SentTimestamp"]) >= 1000
