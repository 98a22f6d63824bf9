from __future__ import annotations

import json
from typing import Any

import pytest

from cutout_local.aws import LocalAws

from .support import eventually, kept_items

AWKWARD_KEYS = [
    "up/a b+c%20d.png",
    "up/ü/\U0001f600 &=?#;:@,$.jpg",
    "up/line\nbreak\r\n.png",
    "up/" + "ü" * 510 + "k",  # 1,024 bytes
    "up//twice/../dots",
    "up/%2F%252F",
]


def announced(aws: LocalAws, count: int) -> list[dict[str, Any]]:
    """The next `count` events in the queue of uploads."""
    sqs, url = aws.client("sqs"), aws.outputs["UploadsUrl"]
    events: list[dict[str, Any]] = []

    def receive() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            events.append(json.loads(message["Body"]))
        return len(events) >= count

    eventually(receive)
    return events


def put(aws: LocalAws, key: str, body: bytes = b"x") -> dict[str, Any]:
    answer: dict[str, Any] = aws.client("s3").put_object(
        Bucket=aws.outputs["Bucket"], Key=key, Body=body
    )
    return answer


def test_an_upload_is_announced_as_s3_announces_it(aws: LocalAws) -> None:
    stored = put(aws, "up/cat.jpg", b"12345")
    (event,) = announced(aws, 1)
    described = event["detail"]["object"]
    assert event["source"] == "aws.s3"
    assert event["detail-type"] == "Object Created"
    assert event["account"] == "123456789012"
    assert event["time"].endswith("Z")
    assert event["detail"]["bucket"]["name"] == aws.outputs["Bucket"]
    assert event["detail"]["reason"] == "PutObject"
    assert described["size"] == 5
    assert described["version-id"] == stored["VersionId"]
    assert f'"{described["etag"]}"' == stored["ETag"]


@pytest.mark.parametrize("key", AWKWARD_KEYS)
def test_a_key_goes_through_as_it_is(aws: LocalAws, key: str) -> None:
    put(aws, key, key.encode())
    (event,) = announced(aws, 1)
    assert event["detail"]["object"]["key"] == key
    stored = aws.client("s3").get_object(Bucket=aws.outputs["Bucket"], Key=key)
    assert stored["Body"].read() == key.encode()


def test_the_rule_s_pattern_decides(aws: LocalAws) -> None:
    put(aws, "elsewhere/cat.jpg")
    put(aws, "up/empty", b"")
    put(aws, "up/last.jpg")
    assert [event["detail"]["object"]["key"] for event in announced(aws, 1)] == ["up/last.jpg"]


def test_later_uploads_have_later_sequencers_and_other_ids(aws: LocalAws) -> None:
    for _ in range(3):
        put(aws, "up/again.jpg")
    events = announced(aws, 3)
    sequencers = [event["detail"]["object"]["sequencer"] for event in events]
    assert sequencers == sorted(set(sequencers))
    assert len({event["id"] for event in events}) == 3


def test_a_multipart_upload_is_announced_once(aws: LocalAws) -> None:
    s3, place = aws.client("s3"), {"Bucket": aws.outputs["Bucket"], "Key": "up/large"}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    part = s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"p")
    s3.complete_multipart_upload(
        **place,
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    put(aws, "up/after")
    events = announced(aws, 2)
    assert [event["detail"]["reason"] for event in events] == [
        "CompleteMultipartUpload",
        "PutObject",
    ]


def test_the_end_of_an_execution_reaches_the_function_that_a_rule_names(aws: LocalAws) -> None:
    states, machine = aws.client("stepfunctions"), aws.outputs["MachineArn"]
    states.start_execution(stateMachineArn=machine, name="good", input='{"say": "hi"}')
    states.start_execution(stateMachineArn=machine, name="bad", input='{"do": "raise", "say": "x"}')
    kept = eventually(lambda: [item for item in kept_items(aws) if "event" in item])
    (event,) = [json.loads(item["event"]) for item in kept]
    detail = event["detail"]
    assert event["detail-type"] == "Step Functions Execution Status Change"
    assert event["resources"] == [detail["executionArn"]]
    assert (detail["name"], detail["status"]) == ("bad", "FAILED")
    assert (detail["error"], detail["cause"]) == ("TemporarilyUnavailable", "x")
    assert json.loads(detail["input"]) == {"do": "raise", "say": "x"}
    assert detail["stopDate"] >= detail["startDate"]
