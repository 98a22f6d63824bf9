"""S3: versions, conditions, parts and presigned URLs."""

import ssl
from typing import Any
from uuid import uuid4

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.local_aws.support import Account
from tests.support.waiting import wait_for

KEY = "in/a b+%20ü\n\U0001f600.png"
PART = 5 << 20


def code(refused: pytest.ExceptionInfo[ClientError]) -> str:
    return refused.value.response["Error"]["Code"]


def test_every_version_of_an_object_can_be_read(aws: Account) -> None:
    first = aws.put(KEY, b"first")["VersionId"]
    second = aws.put(KEY, b"second")["VersionId"]
    assert aws.get(KEY, VersionId=first) == b"first"
    assert aws.get(KEY, VersionId=second) == aws.get(KEY) == b"second"


def test_a_deleted_object_has_a_marker_and_keeps_its_versions(aws: Account) -> None:
    key, bucket = uuid4().hex, aws.outputs["Bucket"]
    version = aws.put(key, b"kept")["VersionId"]
    marker = aws.s3.delete_object(Bucket=bucket, Key=key)
    assert marker["DeleteMarker"] is True
    with pytest.raises(aws.s3.exceptions.NoSuchKey):
        aws.get(key)
    with pytest.raises(ClientError) as refused:
        aws.get(key, VersionId=marker["VersionId"])
    assert code(refused) == "MethodNotAllowed"
    assert aws.get(key, VersionId=version) == b"kept"
    aws.s3.delete_object(Bucket=bucket, Key=key, VersionId=marker["VersionId"])
    assert aws.get(key) == b"kept"


def upload(aws: Account, key: str, **condition: str) -> Any:
    place = {"Bucket": aws.outputs["Bucket"], "Key": key}
    upload_id = aws.s3.create_multipart_upload(**place)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": aws.s3.upload_part(**place, UploadId=upload_id, PartNumber=number, Body=body)[
                "ETag"
            ],
        }
        for number, body in enumerate([b"p" * PART, b"end"], 1)
    ]
    return aws.s3.complete_multipart_upload(
        **place, UploadId=upload_id, MultipartUpload={"Parts": parts}, **condition
    )


def test_an_upload_in_parts_is_one_object(aws: Account) -> None:
    key = uuid4().hex
    done = upload(aws, key)
    assert done["ETag"].endswith('-2"')
    assert aws.get(key, VersionId=done["VersionId"]) == b"p" * PART + b"end"


def test_an_upload_in_parts_can_be_made_on_a_condition(aws: Account) -> None:
    key = uuid4().hex
    done = upload(aws, key, IfNoneMatch="*")
    with pytest.raises(ClientError) as refused:
        upload(aws, key, IfNoneMatch="*")
    assert code(refused) == "PreconditionFailed"
    assert upload(aws, key, IfMatch=done["ETag"])["VersionId"] != done["VersionId"]


def test_an_aborted_upload_leaves_nothing(aws: Account) -> None:
    place = {"Bucket": aws.outputs["Bucket"], "Key": uuid4().hex}
    upload_id = aws.s3.create_multipart_upload(**place)["UploadId"]
    aws.s3.upload_part(**place, UploadId=upload_id, PartNumber=1, Body=b"p")
    aws.s3.abort_multipart_upload(**place, UploadId=upload_id)
    with pytest.raises(aws.s3.exceptions.NoSuchKey):
        aws.s3.get_object(**place)


def test_an_object_is_put_only_where_there_is_none_or_the_one_expected(aws: Account) -> None:
    key = uuid4().hex
    etag = aws.put(key, b"1", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError) as exists:
        aws.put(key, b"2", IfNoneMatch="*")
    aws.put(key, b"3", IfMatch=etag)
    with pytest.raises(ClientError) as changed:
        aws.put(key, b"4", IfMatch=etag)
    with pytest.raises(ClientError) as missing:
        aws.put(uuid4().hex, b"5", IfMatch=etag)
    assert code(exists) == code(changed) == "PreconditionFailed"
    assert code(missing) == "NoSuchKey"
    assert aws.get(key) == b"3"


def test_an_object_is_read_only_if_it_is_the_one_expected(aws: Account) -> None:
    key = uuid4().hex
    etag = aws.put(key, b"1")["ETag"]
    assert aws.get(key, IfMatch=etag) == b"1"
    aws.put(key, b"2")
    with pytest.raises(ClientError) as refused:
        aws.get(key, IfMatch=etag)
    assert code(refused) == "PreconditionFailed"
    with pytest.raises(ClientError) as unchanged:
        aws.get(key, IfNoneMatch=aws.s3.head_object(Bucket=aws.outputs["Bucket"], Key=key)["ETag"])
    assert code(unchanged) == "304"


def test_a_presigned_url_gives_the_version_it_names_over_tls(aws: Account) -> None:
    place = {"Bucket": aws.outputs["Bucket"], "Key": KEY}
    first = aws.put(KEY, b"first")["VersionId"]
    aws.put(KEY, b"second")
    url = aws.s3.generate_presigned_url("get_object", Params={**place, "VersionId": first})
    assert url.startswith("https://")
    trusting = ssl.create_default_context(cafile=str(aws.aws.certificate.ca))
    assert httpx.get(url, verify=trusting).content == b"first"
    assert httpx.get(url.replace("Signature=", "Signature=0"), verify=trusting).status_code == 403
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(url)


def test_a_presigned_url_ends(aws: Account) -> None:
    aws.put("in/ended")
    place = {"Bucket": aws.outputs["Bucket"], "Key": "in/ended"}
    short, long = (
        aws.s3.generate_presigned_url("get_object", Params=place, ExpiresIn=seconds)
        for seconds in (1, 600)
    )
    trusting = ssl.create_default_context(cafile=str(aws.aws.certificate.ca))
    wait_for(lambda: httpx.get(short, verify=trusting).status_code == 403)
    assert httpx.get(long, verify=trusting).status_code == 200


def test_metadata_and_tags_are_kept(aws: Account) -> None:
    place = {"Bucket": aws.outputs["Bucket"], "Key": uuid4().hex}
    aws.s3.put_object(**place, Body=b"x", Metadata={"cutout-model": "a/b"}, Tagging="k=v%20w")
    assert aws.s3.head_object(**place)["Metadata"] == {"cutout-model": "a/b"}
    assert aws.s3.get_object_tagging(**place)["TagSet"] == [{"Key": "k", "Value": "v w"}]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"Metadata": {"a": "x" * 2048}}, "MetadataTooLarge"),
        ({"Metadata": {"a": "x" * 1000, "b": "y" * 1047}}, "MetadataTooLarge"),
        ({"Tagging": "&".join(f"k{n}=v" for n in range(11))}, "BadRequest"),
        ({"Tagging": "k=" + "v" * 257}, "InvalidTag"),
        ({"Tagging": "k" * 129 + "=v"}, "InvalidTag"),
        ({"Tagging": "=v"}, "InvalidTag"),
        ({"Tagging": "k=a%7Bb"}, "InvalidTag"),
    ],
)
def test_what_is_too_much_or_not_allowed_is_refused_and_changes_nothing(
    aws: Account, more: dict[str, Any], code: str
) -> None:
    key, bucket = uuid4().hex, aws.outputs["Bucket"]
    aws.put(key, b"before")
    with pytest.raises(ClientError, match=code):
        aws.put(key, b"after", **more)
    with pytest.raises(ClientError, match=code):
        aws.s3.create_multipart_upload(Bucket=bucket, Key=key, **more)
    assert aws.get(key) == b"before"


def test_what_is_just_allowed_is_kept(aws: Account) -> None:
    key, tags = uuid4().hex, "&".join(f"{n}={'v' * 256}" for n in range(9))
    metadata = {"a": "x" * 1000, "b": "y" * 1046}
    aws.put(key, b"", Metadata=metadata, Tagging=f"{tags}&a%20+-%3D._:/%40=")
    place = {"Bucket": aws.outputs["Bucket"], "Key": key}
    assert aws.s3.head_object(**place)["Metadata"] == metadata
    assert len(aws.s3.get_object_tagging(**place)["TagSet"]) == 10
    refused = {"TagSet": [{"Key": "k", "Value": "{"}]}
    with pytest.raises(ClientError, match="InvalidTag"):
        aws.s3.put_object_tagging(**place, Tagging=refused)
