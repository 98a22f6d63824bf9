"""What the pipeline takes for granted of S3, DynamoDB and Secrets Manager."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from cutout_local.aws import LocalAws

KEY = "in/a b+%20ü\n\U0001f600.png"


def test_a_presigned_url_gives_the_version_it_names(aws: LocalAws) -> None:
    s3, place = aws.client("s3"), {"Bucket": aws.outputs["Bucket"], "Key": KEY}
    first = s3.put_object(**place, Body=b"first")["VersionId"]
    s3.put_object(**place, Body=b"second")
    url = s3.generate_presigned_url("get_object", Params={**place, "VersionId": first})
    assert url.startswith(aws.endpoint_url)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"first"


def test_an_aborted_multipart_upload_leaves_nothing(aws: LocalAws) -> None:
    s3, place = aws.client("s3"), {"Bucket": aws.outputs["Bucket"], "Key": "in/aborted"}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"p" * (5 << 20))
    s3.abort_multipart_upload(**place, UploadId=upload)
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(**place)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=aws.outputs["Bucket"])


def test_metadata_and_tags_are_kept(aws: LocalAws) -> None:
    s3, place = aws.client("s3"), {"Bucket": aws.outputs["Bucket"], "Key": "in/tagged"}
    s3.put_object(**place, Body=b"x", Metadata={"cutout-model": "a/b"}, Tagging="k=v%20w")
    assert s3.head_object(**place)["Metadata"] == {"cutout-model": "a/b"}
    assert s3.get_object_tagging(**place)["TagSet"] == [{"Key": "k", "Value": "v w"}]


def test_the_aws_cli_copies_files(aws: LocalAws, tmp_path: Path) -> None:
    photo = tmp_path / "photo 1.jpg"
    photo.write_bytes(b"12345")
    there = f"s3://{aws.outputs['Bucket']}/in/from the cli+1.jpg"
    environment = {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": aws.region,
        "HOME": str(tmp_path),
    }
    cli = Path(sys.executable).with_name("aws")
    subprocess.run([cli, "s3", "cp", photo, there], check=True, env=environment)
    stored = aws.client("s3").get_object(Bucket=aws.outputs["Bucket"], Key="in/from the cli+1.jpg")
    assert stored["Body"].read() == b"12345"


def test_a_conditional_update_is_refused_when_the_condition_fails(aws: LocalAws) -> None:
    table = aws.client("dynamodb")
    change = {
        "TableName": aws.outputs["Table"],
        "Key": {"id": {"S": "conditional"}},
        "UpdateExpression": "SET kind = :new ADD tries :one",
        "ConditionExpression": "attribute_not_exists(kind) OR kind = :old",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        "ReturnValues": "ALL_NEW",
    }
    values = {":new": {"S": "a"}, ":old": {"S": "x"}, ":one": {"N": "1"}}
    after = table.update_item(**change, ExpressionAttributeValues=values)["Attributes"]
    assert after["tries"] == {"N": "1"}
    with pytest.raises(ClientError) as refused:
        table.update_item(**change, ExpressionAttributeValues=values)
    assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert refused.value.response["Item"]["kind"] == {"S": "a"}  # type: ignore[typeddict-item]


def test_an_index_holds_only_items_that_have_its_key(aws: LocalAws) -> None:
    table, name = aws.client("dynamodb"), aws.outputs["Table"]
    table.put_item(TableName=name, Item={"id": {"S": "1"}, "kind": {"S": "open"}})
    table.put_item(TableName=name, Item={"id": {"S": "2"}})
    query = {
        "TableName": name,
        "IndexName": "by-kind",
        "KeyConditionExpression": "kind = :k",
        "ExpressionAttributeValues": {":k": {"S": "open"}},
    }
    assert [item["id"]["S"] for item in table.query(**query)["Items"]] == ["1"]
    table.update_item(TableName=name, Key={"id": {"S": "1"}}, UpdateExpression="REMOVE kind")
    assert table.query(**query)["Items"] == []


def test_the_secret_is_there_by_its_name(aws: LocalAws) -> None:
    secret = aws.client("secretsmanager").get_secret_value(SecretId="api-key")
    assert secret["SecretString"] == "s3cret"
