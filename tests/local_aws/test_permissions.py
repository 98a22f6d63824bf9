from __future__ import annotations

import pytest

from cutout_local.aws import Call, UnmappedCall, required_actions


@pytest.mark.parametrize(
    ("service", "operation", "actions"),
    [
        ("s3", "HeadObject", {"s3:GetObject"}),
        ("s3", "GetObject", {"s3:GetObject"}),
        ("s3", "GetObjectTagging", {"s3:GetObjectTagging"}),
        ("s3", "ListObjectsV2", {"s3:ListBucket"}),
        ("s3", "PutObject", {"s3:PutObject"}),
        ("s3", "CreateMultipartUpload", {"s3:PutObject"}),
        ("s3", "UploadPart", {"s3:PutObject"}),
        ("s3", "CompleteMultipartUpload", {"s3:PutObject"}),
        ("s3", "AbortMultipartUpload", {"s3:AbortMultipartUpload"}),
        ("lambda", "Invoke", {"lambda:InvokeFunction"}),
        ("states", "StartExecution", {"states:StartExecution"}),
        ("states", "SendTaskSuccess", {"states:SendTaskSuccess"}),
        ("sqs", "DeleteMessage", {"sqs:DeleteMessage"}),
        ("sqs", "DeleteMessageBatch", {"sqs:DeleteMessage"}),
        ("dynamodb", "UpdateItem", {"dynamodb:UpdateItem"}),
        ("events", "PutEvents", {"events:PutEvents"}),
        ("secretsmanager", "GetSecretValue", {"secretsmanager:GetSecretValue"}),
    ],
)
def test_a_call_needs_the_action_that_aws_documents(
    service: str, operation: str, actions: set[str]
) -> None:
    assert required_actions(Call("F", service, operation)) == actions


@pytest.mark.parametrize(
    ("operation", "actions"),
    [
        ("HeadObject", {"s3:GetObjectVersion"}),
        ("GetObject", {"s3:GetObjectVersion"}),
        ("GetObjectTagging", {"s3:GetObjectTagging", "s3:GetObjectVersionTagging"}),
        ("DeleteObject", {"s3:DeleteObjectVersion"}),
    ],
)
def test_a_version_of_an_object_has_actions_of_its_own(operation: str, actions: set[str]) -> None:
    assert required_actions(Call("F", "s3", operation, names_version=True)) == actions


@pytest.mark.parametrize("operation", ["PutObject", "CreateMultipartUpload"])
def test_to_put_an_object_with_tags_is_to_tag_it_too(operation: str) -> None:
    call = Call("F", "s3", operation, sets_tags=True)
    assert required_actions(call) == {"s3:PutObject", "s3:PutObjectTagging"}


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("s3", "CopyObject"),
        ("s3", "Unknown"),
        ("sts", "GetCallerIdentity"),
        ("dynamodb", "TransactWriteItems"),
    ],
)
def test_nothing_is_guessed(service: str, operation: str) -> None:
    with pytest.raises(UnmappedCall, match=f"{service}:{operation}"):
        required_actions(Call("F", service, operation))
