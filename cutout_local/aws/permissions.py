"""What a role must allow for the calls that were made under it.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

from .calls import Call
from .errors import UnmappedCall

_NAMED_ALIKE = ("dynamodb", "events", "lambda", "secretsmanager", "sqs", "states")
"""Services whose actions have the names of the operations, but for those below."""

_DEPENDS_ON_THE_BODY = (
    "dynamodb:BatchExecuteStatement",
    "dynamodb:ExecuteStatement",
    "dynamodb:ExecuteTransaction",
    "dynamodb:TransactWriteItems",
)

_RENAMED = {
    "dynamodb:TransactGetItems": "dynamodb:GetItem",
    "lambda:Invoke": "lambda:InvokeFunction",
    "lambda:InvokeWithResponseStream": "lambda:InvokeFunction",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    # In S3 the names differ too often to be trusted: what is not here is not mapped.
    "s3:AbortMultipartUpload": "s3:AbortMultipartUpload",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:DeleteObject": "s3:DeleteObject",
    "s3:GetObject": "s3:GetObject",
    "s3:GetObjectTagging": "s3:GetObjectTagging",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:ListObjects": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListParts": "s3:ListMultipartUploadParts",
    "s3:PutObject": "s3:PutObject",
    "s3:PutObjectTagging": "s3:PutObjectTagging",
    "s3:UploadPart": "s3:PutObject",
}

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html: the version's action instead;
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html: "also".
_OF_A_VERSION = {
    "s3:DeleteObject": {"s3:DeleteObjectVersion"},
    "s3:GetObject": {"s3:GetObjectVersion"},
    "s3:GetObjectTagging": {"s3:GetObjectTagging", "s3:GetObjectVersionTagging"},
    "s3:HeadObject": {"s3:GetObjectVersion"},
    "s3:PutObjectTagging": {"s3:PutObjectTagging", "s3:PutObjectVersionTagging"},
}


def required_actions(call: Call) -> set[str]:
    """The IAM actions without which AWS refuses the call, e.g. `{"s3:PutObject"}`.

    Not among them: `s3:ListBucket`, without which S3 says of an object that is gone that access is
    denied; what ACLs, object locks and KMS keys need; on which resources the actions are needed.

    Raises `UnmappedCall`.
    """
    name = f"{call.service}:{call.operation}"
    if call.names_version and name in _OF_A_VERSION:
        return set(_OF_A_VERSION[name])
    tagging = {"s3:PutObjectTagging"} if call.sets_tags else set()
    return {_action(name, call.service)} | tagging


def _action(name: str, service: str) -> str:
    if name in _RENAMED:
        return _RENAMED[name]
    if service not in _NAMED_ALIKE or name in _DEPENDS_ON_THE_BODY:
        raise UnmappedCall(f"{name}: what it needs is not in {__name__}")
    return name
