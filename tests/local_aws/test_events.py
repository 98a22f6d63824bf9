"""EventBridge: what is announced, to whom, and where it goes when it cannot be delivered."""

import json
from uuid import uuid4

import pytest

from tests.local_aws.support import Account
from tests.support.waiting import wait_for

AWKWARD_KEYS = ["up/a b+c%20d.png", "up/ü/\U0001f600 &=?#;:@,$.jpg", "up//twice", "up/%2F%252F"]


def test_an_upload_is_announced_as_s3_announces_it(aws: Account) -> None:
    stored = aws.put("up/cat.jpg", b"12345")
    (event,) = aws.received("Uploads")
    described = event["detail"]["object"]
    assert (event["source"], event["detail-type"]) == ("aws.s3", "Object Created")
    assert event["detail"]["bucket"]["name"] == aws.outputs["Bucket"]
    assert event["detail"]["reason"] == "PutObject"
    assert described["size"] == 5
    assert f'"{described["etag"]}"' == stored["ETag"]


def test_an_upload_is_announced_with_its_version(aws: Account) -> None:
    stored = aws.put("up/version.jpg")
    (event,) = aws.received("Uploads")
    assert event["detail"]["object"]["version-id"] == stored["VersionId"]


@pytest.mark.parametrize("key", AWKWARD_KEYS)
def test_a_key_goes_through_as_it_is(aws: Account, key: str) -> None:
    aws.put(key)
    (event,) = aws.received("Uploads")
    assert event["detail"]["object"]["key"] == key


def test_the_rule_s_pattern_decides(aws: Account) -> None:
    aws.put("elsewhere/cat.jpg")
    aws.s3.delete_object(Bucket=aws.outputs["Bucket"], Key="up/gone.jpg")
    aws.put("up/last.jpg")
    assert [e["detail"]["object"]["key"] for e in aws.received("Uploads")] == ["up/last.jpg"]


def test_later_uploads_have_later_sequencers_and_other_ids(aws: Account) -> None:
    etags = [aws.put("up/again.jpg", body)["ETag"] for body in (b"1", b"2", b"3")]
    events = aws.received("Uploads", 3)
    objects = [event["detail"]["object"] for event in events]
    in_order = sorted(objects, key=lambda each: str(each["sequencer"]))
    assert [f'"{each["etag"]}"' for each in in_order] == etags
    assert len({each["sequencer"] for each in objects}) == 3
    assert len({event["id"] for event in events}) == 3


def test_copies_and_uploads_in_parts_are_announced_once_with_their_reason(aws: Account) -> None:
    bucket = aws.outputs["Bucket"]
    place = {"Bucket": bucket, "Key": "up/parts"}
    upload = aws.s3.create_multipart_upload(**place)["UploadId"]
    part = aws.s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"p")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    aws.s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload=parts)
    aws.s3.copy_object(Bucket=bucket, Key="up/copy", CopySource=place)
    reasons = sorted(event["detail"]["reason"] for event in aws.received("Uploads", 2))
    assert reasons == ["CompleteMultipartUpload", "CopyObject"]


def test_what_a_queue_does_not_let_in_is_a_dead_letter(aws: Account) -> None:
    aws.tell("test.closed", say="let me in")
    (letter,) = aws.received("UploadDeadLetters")
    assert letter["detail"] == {"say": "let me in"}
    assert aws.left("Closed") == 0


def test_what_an_asynchronous_function_fails_at_is_tried_again_and_handed_on(aws: Account) -> None:
    aws.tell("test.failing", say="no")
    (failure,) = aws.received("Failures")
    assert failure["requestPayload"]["detail"] == {"say": "no"}
    assert failure["responsePayload"]["errorType"] == "LookupError"
    assert failure["requestContext"]["condition"] == "RetriesExhausted"
    group = failure["requestContext"]["functionArn"].replace(":", " ").split()[-1]
    assert len(aws.logged("START", f"/aws/lambda/{group}")) == 2


def test_an_event_reaches_a_rule_with_its_detail_as_it_was(aws: Account) -> None:
    url = aws.new_queue()
    aws.listen(url, {"source": [{"prefix": "test.h"}]})
    aws.tell("test.heard", say='a "b" \\ \n ü \U0001f600', number=0.1)
    (message,) = aws.receive(url)
    assert json.loads(message["Body"])["detail"] == {
        "say": 'a "b" \\ \n ü \U0001f600',
        "number": 0.1,
    }


def test_a_schedule_invokes_its_function_each_minute(aws: Account) -> None:
    aws.tick(3)


def role_of_a_rule(aws: Account, service: str, may_start: str) -> str:
    """A role that this service may assume, for the account's own rules, to start a machine."""
    allow = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    own = {"StringEquals": {"aws:SourceAccount": may_start.split(":")[4]}}
    trust = {"Version": "2012-10-17", "Statement": [{**allow, "Condition": own}]}
    start = {"Effect": "Allow", "Action": "states:StartExecution", "Resource": may_start}
    iam, name = aws.aws.client("iam"), f"r{uuid4().hex}"
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [start]})
    iam.put_role_policy(RoleName=name, PolicyName="start", PolicyDocument=policy)
    return str(role["Arn"])


def test_a_schedule_starts_the_machine_that_its_role_may_start(aws: Account) -> None:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-identity-based.html"""
    started, untrusted, forbidden = (
        aws.machine({"Done": {"Type": "Succeed"}}) for _ in ("started", "untrusted", "forbidden")
    )
    roles = {
        started: role_of_a_rule(aws, "events.amazonaws.com", started),
        untrusted: role_of_a_rule(aws, "lambda.amazonaws.com", untrusted),
        forbidden: role_of_a_rule(aws, "events.amazonaws.com", started),
    }
    rule = f"r{uuid4().hex}"
    aws.events.put_rule(Name=rule, ScheduleExpression="rate(1 minute)")
    targets = [
        {"Id": str(number), "Arn": machine, "RoleArn": role, "Input": '{"say": "now"}'}
        for number, (machine, role) in enumerate(reversed(roles.items()))
    ]
    aws.events.put_targets(Rule=rule, Targets=targets)

    def executions(machine: str) -> list[str]:
        found = aws.states.list_executions(stateMachineArn=machine)["executions"]
        return [one["executionArn"] for one in found]

    first, *_ = wait_for(lambda: executions(started))
    aws.events.disable_rule(Name=rule)
    assert json.loads(aws.ended(first)["input"]) == {"say": "now"}
    assert executions(untrusted) == executions(forbidden) == []
