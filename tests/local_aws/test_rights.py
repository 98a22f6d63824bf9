"""IAM and resource policies."""

import contextlib
import json
import ssl
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.local_aws.support import Account
from tests.support.waiting import wait_for


def call(aws: Account, function: str, service: str, operation: str, **arguments: Any) -> Any:
    return aws.invoke(
        function, do="call", service=service, operation=operation, arguments=arguments
    )


def table(aws: Account) -> dict[str, Any]:
    return {"TableName": aws.outputs["Table"], "Key": {"id": {"S": "rights"}}}


def test_a_function_may_do_what_its_role_allows(aws: Account) -> None:
    assert call(aws, "NarrowHand", "dynamodb", "get_item", **table(aws)) == (None, {"status": 200})


def test_a_function_whose_role_lacks_an_action_is_denied_it(aws: Account) -> None:
    kind, payload = call(aws, "NarrowHand", "dynamodb", "delete_item", **table(aws))
    assert (kind, payload["errorType"]) == ("Unhandled", "ClientError")
    assert "AccessDeniedException" in payload["errorMessage"]
    assert call(aws, "Hand", "dynamodb", "delete_item", **table(aws))[0] is None


def test_s3_denies_as_s3_does(aws: Account) -> None:
    place = {"Bucket": aws.outputs["Bucket"], "Key": "in/denied"}
    _, payload = call(aws, "NarrowHand", "s3", "get_object", **place)
    assert "(AccessDenied)" in payload["errorMessage"]


@pytest.mark.parametrize(("key", "secret"), [(None, "wrong"), ("test", "test"), ("0" * 12, None)])
@pytest.mark.parametrize("service", ["dynamodb", "s3"])
def test_a_caller_without_the_root_user_s_key_and_secret_is_refused(
    aws: Account, service: str, key: str | None, secret: str | None
) -> None:
    with (
        contextlib.closing(aws.stranger(service, key, secret)) as stranger,
        pytest.raises(ClientError, match=r"Signature|InvalidAccessKeyId|UnrecognizedClient"),
    ):
        stranger.list_tables() if service == "dynamodb" else stranger.list_buckets()


def test_a_url_that_the_root_user_has_signed_is_good_for_what_it_says(aws: Account) -> None:
    aws.put("in/signed", b"for you")
    place = {"Bucket": aws.outputs["Bucket"], "Key": "in/signed"}
    url = aws.s3.generate_presigned_url("get_object", Params=place)
    trusting = ssl.create_default_context(cafile=str(aws.aws.certificate.ca))
    assert httpx.get(url, verify=trusting).content == b"for you"
    forged = url.replace("in/signed", "in/other")
    assert httpx.get(forged, verify=trusting).status_code == 403


def test_a_poller_that_may_not_receive_does_not_poll(aws: Account) -> None:
    url = aws.outputs["UnreadQueue"]
    aws.sqs.purge_queue(QueueUrl=url)
    sent = aws.send("UnreadQueue", {"do": "keep"})
    polled_later = aws.send("Queue", {"do": "keep"})
    wait_for(lambda: aws.item(polled_later))
    (message,) = aws.receive(url)
    assert message["MessageId"] == sent
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"  # by this test


def statements(policy: str) -> dict[str, Any]:
    return {each.get("Sid", ""): each for each in json.loads(policy)["Statement"]}


def test_policies_that_deny_plain_http_are_there(aws: Account) -> None:
    bucket = aws.s3.get_bucket_policy(Bucket=aws.outputs["Bucket"])["Policy"]
    queue = aws.sqs.get_queue_attributes(
        QueueUrl=aws.outputs["Uploads"], AttributeNames=["Policy"]
    )["Attributes"]["Policy"]
    for policy in (bucket, queue):
        denied = statements(policy)["OnlyOverTls"]
        assert denied["Effect"] == "Deny"
        secure = denied["Condition"]["Bool"]["aws:SecureTransport"]
        assert str(secure).lower() == "false"


def test_a_denial_in_a_policy_binds_even_the_root_user(aws: Account) -> None:
    url = aws.new_queue()
    deny: dict[str, Any] = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": aws.arn(url),
    }
    deny["Condition"] = {"Bool": {"aws:SecureTransport": "true"}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    with pytest.raises(aws.sqs.exceptions.ClientError, match="AccessDenied"):
        aws.sqs.send_message(QueueUrl=url, MessageBody="x")
