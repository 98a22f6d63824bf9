"""SQS, and Lambda that polls it."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.local_aws.support import Account
from tests.support.waiting import wait_for


def record(aws: Account, message_id: str) -> Any:
    """What the worker was given."""
    kept = wait_for(lambda: aws.item(message_id), 15)
    return json.loads(kept["record"]["S"])


def test_a_message_that_is_not_deleted_comes_back_after_its_visibility_timeout(
    aws: Account,
) -> None:
    url = aws.new_queue(VisibilityTimeout="1")
    aws.sqs.send_message(QueueUrl=url, MessageBody="again")
    first = aws.sqs.receive_message(QueueUrl=url)["Messages"][0]
    assert "Messages" not in aws.sqs.receive_message(QueueUrl=url)
    (second,) = aws.receive(url)
    assert second["MessageId"] == first["MessageId"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"


def test_a_queue_has_the_visibility_timeout_of_the_template(aws: Account) -> None:
    asked = {"QueueUrl": aws.outputs["Queue"], "AttributeNames": ["VisibilityTimeout"]}
    assert aws.sqs.get_queue_attributes(**asked)["Attributes"] == {"VisibilityTimeout": "1"}


def test_a_visibility_timeout_can_be_changed_for_one_message(aws: Account) -> None:
    url = aws.new_queue(VisibilityTimeout="60")
    aws.sqs.send_message(QueueUrl=url, MessageBody="sooner")
    handle = aws.sqs.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    aws.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    assert aws.receive(url, seconds=2)


def test_a_message_that_is_received_too_often_is_a_dead_letter(aws: Account) -> None:
    dead = aws.new_queue()
    redrive = {"deadLetterTargetArn": aws.arn(dead), "maxReceiveCount": 2}
    url = aws.new_queue(VisibilityTimeout="0", RedrivePolicy=json.dumps(redrive))
    sent = aws.sqs.send_message(QueueUrl=url, MessageBody="poison")["MessageId"]
    for _ in range(2):
        assert aws.sqs.receive_message(QueueUrl=url)["Messages"]
    assert "Messages" not in aws.sqs.receive_message(QueueUrl=url)
    (letter,) = aws.receive(dead)
    assert (letter["MessageId"], letter["Body"]) == (sent, "poison")


def test_a_function_gets_a_true_sqs_event_and_the_message_is_deleted(aws: Account) -> None:
    sent = aws.send("Queue", {"do": "keep"})
    seen = record(aws, sent)
    assert seen["body"] == '{"do": "keep"}'
    assert seen["eventSource"] == "aws:sqs"
    assert seen["eventSourceARN"] == aws.arn(aws.outputs["Queue"])
    assert seen["attributes"]["ApproximateReceiveCount"] == "1"
    assert wait_for(lambda: aws.left("Queue") == 0)


def test_of_a_batch_only_the_messages_that_failed_come_back(aws: Account) -> None:
    bodies = [{"do": "fail"}, {"do": "keep"}, {"do": "keep"}]
    entries = [{"Id": str(n), "MessageBody": json.dumps(b)} for n, b in enumerate(bodies)]
    sent = aws.sqs.send_message_batch(QueueUrl=aws.outputs["Queue"], Entries=entries)["Successful"]
    poison, *good = [entry["MessageId"] for entry in sent]
    (letter,) = aws.receive(aws.outputs["DeadLetters"])
    assert letter["MessageId"] == poison
    assert letter["Attributes"]["ApproximateReceiveCount"] == "3"  # the redrive receives it, too
    counts = [record(aws, each)["attributes"]["ApproximateReceiveCount"] for each in good]
    assert counts == ["1", "1"]
    assert aws.left("Queue") == 0


def test_a_batch_whose_function_raises_comes_back_whole(aws: Account) -> None:
    bodies = ["not json", json.dumps({"do": "nothing"})]
    entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
    aws.sqs.send_message_batch(QueueUrl=aws.outputs["Queue"], Entries=entries)
    letters = aws.receive(aws.outputs["DeadLetters"], 1)
    assert "not json" in {letter["Body"] for letter in letters}
    assert wait_for(lambda: aws.left("Queue") == 0)


def test_a_report_that_cannot_be_trusted_keeps_the_whole_batch(aws: Account) -> None:
    reports: list[Any] = ["not an object", {"itemIdentifier": ""}, {"identifier": "misspelt"}]
    for report in reports:
        aws.send("Queue", {"do": "report", "report": {"batchItemFailures": [report]}})
    wait_for(lambda: aws.left("Queue") == 0)
    assert len(aws.receive(aws.outputs["DeadLetters"], len(reports), seconds=1)) == len(reports)


def test_a_function_that_sends_to_its_own_queue_is_stopped_after_16_turns(aws: Account) -> None:
    key = uuid4().hex
    aws.send("LoopQueue", key)
    (letter,) = aws.receive(aws.outputs["LoopDeadLetters"])
    assert letter["Body"] == key
    assert aws.item(key)["turns"] == {"N": "16"}
    assert wait_for(lambda: aws.left("LoopQueue") == 0, 5)  # the last turn may just be ending


def test_a_loop_that_has_no_dead_letter_queue_is_stopped_all_the_same(aws: Account) -> None:
    url, key = aws.outputs["LoopQueue"], uuid4().hex
    policy = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": ""})
    try:
        aws.send("LoopQueue", key)
        wait_for(lambda: aws.item(key).get("turns") == {"N": "16"})
        wait_for(lambda: aws.left("LoopQueue") == 0, 5)
    finally:
        aws.sqs.set_queue_attributes(QueueUrl=url, Attributes=policy["Attributes"])


def test_dead_letters_are_moved_back_where_they_came_from(aws: Account) -> None:
    dead = aws.new_queue()
    redrive = {"deadLetterTargetArn": aws.arn(dead), "maxReceiveCount": 1}
    url = aws.new_queue(VisibilityTimeout="0", RedrivePolicy=json.dumps(redrive))
    aws.sqs.send_message(QueueUrl=url, MessageBody="again")
    aws.sqs.receive_message(QueueUrl=url)
    assert "Messages" not in aws.sqs.receive_message(QueueUrl=url)
    aws.sqs.start_message_move_task(SourceArn=aws.arn(dead))
    (message,) = aws.receive(url)
    assert (message["Body"], message["Attributes"]["ApproximateReceiveCount"]) == ("again", "1")
    (task,) = aws.sqs.list_message_move_tasks(SourceArn=aws.arn(dead))["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)


def test_messages_are_moved_to_another_queue_and_to_none_that_is_not_there(aws: Account) -> None:
    source, target = aws.new_queue(), aws.new_queue()
    aws.sqs.send_message(QueueUrl=source, MessageBody="elsewhere")
    move, there = aws.sqs.start_message_move_task, aws.arn(source)
    with pytest.raises(aws.sqs.exceptions.ResourceNotFoundException):
        move(SourceArn=there, DestinationArn=aws.arn(target) + "x")
    move(SourceArn=there, DestinationArn=aws.arn(target))
    (message,) = aws.receive(target)
    assert message["Body"] == "elsewhere"
